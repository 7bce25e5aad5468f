//! What workers say on stdout and stderr: a log event a line, bounded in length and in number, and the last of it kept.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What is kept of what a worker said: the last 64 KiB, as it said it.
#[derive(Debug, Default)]
pub struct Tail(Mutex<VecDeque<u8>>);

const KEPT_MAX: usize = 64 << 10;

impl Tail {
    /// Takes what was said.
    pub fn push(&self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT_MAX)..];
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = (kept.len() + bytes.len()).saturating_sub(KEPT_MAX);
        kept.drain(..over);
        kept.extend(bytes);
    }

    /// What is kept, the oldest first.
    pub fn bytes(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().copied().collect()
    }

    /// The last line that says something, shown.
    pub fn last_line(&self) -> Option<String> {
        let bytes = self.bytes();
        let mut lines = bytes.rsplit(|byte| *byte == b'\n');
        let line = lines.find(|line| line.iter().any(|byte| !byte.is_ascii_whitespace()))?;
        Some(shown(&line[..line.len().min(LINE_MAX)]))
    }
}

/// A line as a log shows it: control characters, and what is not UTF-8, are escaped.
pub fn shown(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => shown.push(' '),
                control if control.is_control() => {
                    // Writing to a string does not fail.
                    let _ = write!(shown, "{}", control.escape_default());
                }
                other => shown.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Cuts a stream into lines. One that is too long is cut into its beginning, which is marked, and nothing.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    cut: bool,
}

/// With its fields a line of the log stays below the 4 KiB that a pipe takes whole, even where much is escaped.
const LINE_MAX: usize = 2 << 10;

impl Lines {
    /// Takes a piece of the stream, and hands out every line that it ends.
    pub fn take(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8], bool)) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            self.add(&piece[..end]);
            self.hand_out(&mut each);
            piece = &piece[end + 1..];
        }
        self.add(piece);
    }

    /// The stream has ended, and with it its last line.
    pub fn end(&mut self, mut each: impl FnMut(&[u8], bool)) {
        if !self.line.is_empty() {
            self.hand_out(&mut each);
        }
    }

    fn add(&mut self, piece: &[u8]) {
        let room = LINE_MAX - self.line.len();
        self.cut |= piece.len() > room;
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn hand_out(&mut self, each: &mut impl FnMut(&[u8], bool)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if !line.is_empty() {
            each(line, self.cut);
        }
        self.line.clear();
        self.cut = false;
    }
}

/// How many lines go to the log: so many at once, and so many a second for good.
#[derive(Debug)]
pub struct Rate {
    left: f64,
    last: Instant,
    dropped: u64,
    told: Option<Instant>,
}

/// journald's own: ten thousand in half a minute.
const BURST: f64 = 10_000.0;
const A_SECOND: f64 = 333.0;
const TELL_EVERY: Duration = Duration::from_secs(10);

impl Rate {
    /// Begins with all of them.
    pub fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            last: now,
            dropped: 0,
            told: None,
        }
    }

    /// Whether another line may be written.
    pub fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last);
        self.left = (self.left + passed.as_secs_f64() * A_SECOND).min(BURST);
        self.last = now;
        let allows = self.left >= 1.0;
        match allows {
            true => self.left -= 1.0,
            false => self.dropped += 1,
        }
        allows
    }

    /// How many lines were dropped since this was last told, if it is time to tell.
    pub fn to_tell(&mut self, now: Instant) -> Option<u64> {
        let due = self
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if self.dropped == 0 || !due {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.dropped))
    }

    /// How many lines were dropped and never told of.
    pub fn untold(&mut self) -> Option<u64> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then_some(dropped)
    }
}

/// Whose output it is.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The pool.
    pub pool: String,
    /// The worker's number in it.
    pub worker: u64,
    /// Its process.
    pub pid: u32,
    /// `stdout` or `stderr`.
    pub stream: &'static str,
}

impl Speaker {
    fn say(&self, line: &[u8], cut: bool) {
        let Self {
            pool,
            worker,
            pid,
            stream,
        } = self;
        let line = shown(line);
        match cut {
            false => tracing::info!(target: TARGET, pool, worker, pid, stream, line, "worker says"),
            true => {
                tracing::info!(target: TARGET, pool, worker, pid, stream, line, cut, "worker says");
            }
        }
    }

    fn tell_dropped(&self, dropped: Option<u64>) {
        let Self {
            pool,
            worker,
            pid,
            stream,
        } = self;
        if let Some(dropped) = dropped {
            tracing::warn!(target: TARGET, pool, worker, pid, stream, dropped, "a worker says more than the log takes");
        }
    }
}

/// What `PORTUNUS_LOG` names it by: `info,portunus::worker::output=off` silences every worker.
const TARGET: &str = "portunus::worker::output";

/// Reads what a worker says until nobody is left to say anything. It never waits for the log.
pub async fn pump(mut from: impl AsyncRead + Unpin, speaker: Speaker, tail: &Tail) {
    let mut buffer = vec![0; READ_SIZE];
    let (mut lines, mut rate) = (Lines::default(), Rate::new(Instant::now()));
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let piece = &buffer[..count];
        tail.push(piece);
        let now = Instant::now();
        lines.take(piece, |line, cut| {
            if rate.allows(now) {
                speaker.say(line, cut);
            }
        });
        speaker.tell_dropped(rate.to_tell(now));
    }
    lines.end(|line, cut| speaker.say(line, cut));
    speaker.tell_dropped(rate.untold());
}

/// What a pipe holds.
const READ_SIZE: usize = 64 << 10;

#[cfg(test)]
mod tests;
