//! The server's own log: what `tracing` is told, on standard error.
//!
//! A line is written by the thread that has something to say, but only if standard error has room for it: a pipe that
//! nobody reads holds no thread up. Lines that find no room are dropped, and the next line that finds some says how many.

use std::io::{self, IsTerminal as _, Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

use super::target::{PIPE_BUF, write_if_room};
use crate::config::{Log, LogFormat};

/// The variable that overrides the configuration's level.
pub const LEVEL_VARIABLE: &str = "PORTUNUS_LOG";

/// The server's own log, once it is started.
pub struct OwnLog {
    filter: reload::Handle<Targets, Registry>,
    format: LogFormat,
}

/// The server's own log cannot be had as asked.
#[derive(Debug, thiserror::Error)]
pub enum OwnLogError {
    /// The level is none.
    #[error(
        "{origin} says {text:?}, which names no level: expected off, error, warn, info, debug or trace, or a list such as info,portunus=debug"
    )]
    Level {
        /// Where it is said.
        origin: &'static str,
        /// What is said.
        text: String,
    },
    /// The variable is not UTF-8.
    #[error("${LEVEL_VARIABLE} is not UTF-8: expected a level, such as debug")]
    NotUnicode,
    /// Something in this process has started a log already.
    #[error("the server's own log was started twice")]
    Started(#[source] TryInitError),
    /// The log is gone.
    #[error("the server's own log cannot change its level")]
    Reload(#[source] reload::Error),
}

/// Starts the server's own log.
pub fn start(log: &Log) -> Result<OwnLog, OwnLogError> {
    let (filter, handle) = reload::Layer::new(wanted(log)?);
    let stderr = io::stderr();
    let layer = fmt::layer().with_ansi(stderr.is_terminal());
    let layer = layer.with_writer(MakeLines(Arc::new(Lines::new(stderr))));
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        // The list of spans holds the current one too.
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_ansi(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(OwnLogError::Started)?;
    Ok(OwnLog {
        filter: handle,
        format: log.format,
    })
}

impl OwnLog {
    /// How its lines are written, until the next start.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Takes over the level of a reloaded configuration. The format stays until the next start.
    pub fn reload(&self, log: &Log) -> Result<(), OwnLogError> {
        let wanted = wanted(log)?;
        self.filter.reload(wanted).map_err(OwnLogError::Reload)
    }
}

fn wanted(log: &Log) -> Result<Targets, OwnLogError> {
    match std::env::var(LEVEL_VARIABLE) {
        Ok(text) if !text.is_empty() => parse("$PORTUNUS_LOG", &text),
        Ok(_) | Err(std::env::VarError::NotPresent) => parse("level in [log]", &log.level),
        Err(std::env::VarError::NotUnicode(_)) => Err(OwnLogError::NotUnicode),
    }
}

/// Reads a level, or a list of levels for targets.
///
/// `Targets` takes a word that is no level for the name of a target, so that `inof` would silence everything; here a word
/// alone must be a level.
fn parse(origin: &'static str, text: &str) -> Result<Targets, OwnLogError> {
    let wrong = || OwnLogError::Level {
        origin,
        text: text.to_owned(),
    };
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, part),
        };
        // The parser takes nothing at all for `error`.
        if level.is_empty() {
            return Err(wrong());
        }
        let level: LevelFilter = level.parse().map_err(|_| wrong())?;
        targets = match target {
            Some("") => return Err(wrong()),
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

/// Standard error, or in tests a pipe.
struct Lines<W> {
    stream: W,
    /// Lines that found no room since the last that did.
    dropped: AtomicU64,
}

impl<W: AsFd> Lines<W>
where
    for<'a> &'a W: Write,
{
    fn new(stream: W) -> Self {
        Self {
            stream,
            dropped: AtomicU64::new(0),
        }
    }

    /// Writes a line if there is room for it. A line longer than a pipe takes at once is cut.
    fn line(&self, line: &[u8]) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let mut text = Vec::new();
        if dropped > 0 {
            // A write to a Vec cannot fail.
            let _ = writeln!(text, "({dropped} lines found no room here)");
        }
        text.extend_from_slice(line);
        if text.len() > PIPE_BUF {
            text.truncate(PIPE_BUF - 1);
            text.push(b'\n');
        }
        if write_if_room(&mut Borrowed(&self.stream), &text).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

struct Borrowed<'a, W>(&'a W);

impl<W> Write for Borrowed<'_, W>
where
    for<'a> &'a W: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.0;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: AsFd> AsFd for Borrowed<'_, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Hands `tracing` its writer. It writes a line with one call.
#[derive(Clone)]
struct MakeLines(Arc<Lines<Stderr>>);

impl<'a> MakeWriter<'a> for MakeLines {
    type Writer = &'a MakeLines;

    fn make_writer(&'a self) -> &'a MakeLines {
        self
    }
}

impl Write for &MakeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
