//! Where data threads leave their lines: for each thread a bounded buffer, which the writer swaps for an empty one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::AccessFormat;
use crate::model::PerThread;

/// What one thread may have written to one log and the writer not fetched, in bytes. At 300 bytes a line and ten fetches
/// a second it takes 35,000 lines a second for each thread, before which it is the disk that is too slow; a thread's line
/// beyond it is dropped and counted.
pub const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// The lines of one log, from the opening of its target until the next.
pub(super) struct Sink {
    /// How its lines are written.
    pub(super) format: AccessFormat,
    buffers: PerThread<Mutex<Buffer>>,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    /// The writer will not come again.
    closed: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It was taken.
    Taken(Level),
    /// There was no room.
    Full,
    /// Another sink has taken this one's place.
    Closed,
}

/// How full a line that was taken left the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// It is the first line since the writer came: the writer may be asleep.
    First,
    /// The writer comes in time.
    Rising,
    /// The buffer has just become half full: the writer should come at once.
    Half,
}

impl Sink {
    pub(super) fn new(threads: usize, format: AccessFormat) -> Self {
        Self {
            format,
            buffers: PerThread::new(threads, |_| Mutex::default()),
        }
    }

    /// Takes a whole line, or nothing of it.
    pub(super) fn push(&self, line: &[u8]) -> Pushed {
        const HALF: usize = BUFFER_BYTES_MAX / 2;
        let mut buffer = lock(self.buffers.mine());
        if buffer.closed {
            return Pushed::Closed;
        }
        let before = buffer.lines.len();
        let after = before + line.len();
        if after > BUFFER_BYTES_MAX {
            return Pushed::Full;
        }
        buffer.lines.extend_from_slice(line);
        Pushed::Taken(match before {
            0 => Level::First,
            1..HALF if after >= HALF => Level::Half,
            _ => Level::Rising,
        })
    }

    /// How many threads have a buffer here.
    pub(super) fn threads(&self) -> usize {
        self.buffers.iter().count()
    }

    /// Fetches what thread `index` has left, and leaves `empty` in its place.
    pub(super) fn swap(&self, index: usize, empty: &mut Vec<u8>) {
        debug_assert!(empty.is_empty());
        if let Some(buffer) = self.buffers.iter().nth(index) {
            let mut buffer = lock(buffer);
            if !buffer.lines.is_empty() {
                std::mem::swap(&mut buffer.lines, empty);
            }
        }
    }

    /// Whether nobody has left anything. Memory of empty buffers goes back.
    pub(super) fn settle(&self) -> bool {
        let mut empty = true;
        for buffer in self.buffers.iter() {
            let mut buffer = lock(buffer);
            if buffer.lines.is_empty() {
                buffer.lines = Vec::new();
            } else {
                empty = false;
            }
        }
        empty
    }

    /// Takes no more lines; what was taken can still be fetched.
    pub(super) fn close(&self) {
        for buffer in self.buffers.iter() {
            lock(buffer).closed = true;
        }
    }

    /// A copy of what was taken and not fetched.
    pub(super) fn peek(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for buffer in self.buffers.iter() {
            all.extend_from_slice(&lock(buffer).lines);
        }
        all
    }
}

/// A buffer holds whole lines at any time, so one that a panic left behind is as good as any.
fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}
