//! How a line is written: the error log's JSON, and the three formats of the access log.
//!
//! Whatever a client sent is escaped, so that nobody can write a line, or a field, that is not his.

mod audit;
mod clock;
mod common;
mod json;
mod w3c;

use std::cell::RefCell;
use std::time::SystemTime;

use crate::config::AccessFormat;

use self::clock::Clock;
use super::{Access, Audited, Refused};

/// The longest text of one field, in bytes; what is longer is cut and ends in `...`. It bounds a line (about seven fields
/// are the client's) at what a reader of logs still takes, and keeps a flood of long targets from filling the buffers.
pub const FIELD_BYTES_MAX: usize = 4096;

/// A thread's line is written into the same memory each time; a longer line than this does not stay in it.
const SCRATCH_BYTES_KEPT: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch { clock: Clock::new(), line: Vec::new() })
    };
}

struct Scratch {
    clock: Clock,
    line: Vec<u8>,
}

/// Writes the error log's line of a refusal, its line end included, and gives it to `take`.
pub(super) fn refused<R>(
    time: SystemTime,
    entry: &Refused<'_>,
    take: impl FnOnce(&[u8]) -> R,
) -> R {
    with_line(time, |clock, line| json::refused(clock, entry, line), take)
}

/// Writes the access log's line of a request, its line end included, and gives it to `take`.
pub(super) fn accessed<R>(
    format: AccessFormat,
    entry: &Access<'_>,
    take: impl FnOnce(&[u8]) -> R,
) -> R {
    let write = match format {
        AccessFormat::Json => json::accessed,
        AccessFormat::W3c => w3c::accessed,
        AccessFormat::Common => common::accessed,
    };
    with_line(entry.time, |clock, line| write(clock, entry, line), take)
}

/// Writes the audit log's line of a change, its line end included, and gives it to `take`.
pub(super) fn audited<R>(
    time: SystemTime,
    entry: &Audited<'_>,
    take: impl FnOnce(&[u8]) -> R,
) -> R {
    with_line(time, |clock, line| audit::audited(clock, entry, line), take)
}

/// What an access log begins with.
pub(super) fn header(format: AccessFormat, now: SystemTime) -> Vec<u8> {
    match format {
        AccessFormat::W3c => {
            let mut clock = Clock::new();
            clock.set(now);
            w3c::header(&clock)
        }
        AccessFormat::Json | AccessFormat::Common => Vec::new(),
    }
}

fn with_line<R>(
    time: SystemTime,
    write: impl FnOnce(&Clock, &mut Vec<u8>),
    take: impl FnOnce(&[u8]) -> R,
) -> R {
    SCRATCH.with_borrow_mut(|Scratch { clock, line }| {
        clock.set(time);
        line.clear();
        write(clock, line);
        line.push(b'\n');
        let taken = take(line);
        if line.capacity() > SCRATCH_BYTES_KEPT {
            *line = Vec::new();
        }
        taken
    })
}

/// The text as far as a field holds it, and what stands for the rest.
fn cut(text: &str) -> (&str, &'static str) {
    if text.len() <= FIELD_BYTES_MAX {
        (text, "")
    } else {
        (&text[..text.floor_char_boundary(FIELD_BYTES_MAX)], "...")
    }
}

/// The version as request lines write it, which is what readers of the older formats know.
fn http_version(version: &str) -> &str {
    match version {
        "http/1.0" => "HTTP/1.0",
        "http/1.1" => "HTTP/1.1",
        "h2" => "HTTP/2.0",
        "h3" => "HTTP/3.0",
        other => other,
    }
}

#[cfg(test)]
mod tests;
