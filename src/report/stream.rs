//! One log on its way from its sink to its target.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::format;
use super::sink::Sink;
use super::target::{ReportError, Target};
use crate::config::{AccessFormat, LogTarget};

/// How long a target that refused a write (a full disk, say) is left alone.
pub const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A sink, its target, and what was fetched from the one and not yet taken by the other.
pub(super) struct Stream {
    pub(super) sink: Arc<Sink>,
    /// Which log it is.
    pub(super) log: &'static str,
    target: Target,
    /// Whole lines, at most one buffer's worth. Nothing more is fetched before all of it is written: what a target does
    /// not take stays in the sink, where there is a bound.
    pending: Vec<u8>,
    /// So much of `pending` is written.
    written: usize,
    /// The thread whose buffer is fetched next; each its turn, so that a slow target starves none.
    next: usize,
    /// A target that refused a write is not tried before.
    retry_at: Option<Instant>,
}

/// How far [`Stream::carry`] came.
#[derive(Debug)]
pub(super) enum Progress {
    /// There was nothing to write.
    Nothing,
    /// Everything is written.
    Done,
    /// The target has no room just now.
    Blocked,
    /// The target refuses, now or a moment ago.
    Refused(Option<io::Error>),
}

impl Stream {
    /// Opens a log; none when it is off.
    pub(super) fn open(
        log: &'static str,
        target: &LogTarget,
        format: AccessFormat,
        threads: usize,
    ) -> Result<Option<Stream>, ReportError> {
        Ok(Target::open(log, target)?.map(|target| Stream {
            sink: Arc::new(Sink::new(threads, format)),
            log,
            target,
            pending: format::header(format, SystemTime::now()),
            written: 0,
            next: 0,
            retry_at: None,
        }))
    }

    /// As messages call its target.
    pub(super) fn name(&self) -> &str {
        &self.target.name
    }

    /// Writes what there is, as far as the target takes it.
    pub(super) fn carry(&mut self, now: Instant) -> Progress {
        if self.retry_at.is_some_and(|at| now < at) {
            return Progress::Refused(None);
        }
        self.retry_at = None;
        let mut progress = Progress::Nothing;
        // Each thread's turn once, and no more: other logs want to be written too.
        for _ in 0..self.sink.threads() {
            match self.write_pending() {
                Progress::Nothing => {}
                Progress::Done => progress = Progress::Done,
                halted => return self.halt(halted, now),
            }
            self.sink.swap(self.next, &mut self.pending);
            self.next = (self.next + 1) % self.sink.threads();
        }
        match self.write_pending() {
            Progress::Nothing => progress,
            Progress::Done => Progress::Done,
            halted => self.halt(halted, now),
        }
    }

    fn halt(&mut self, progress: Progress, now: Instant) -> Progress {
        if let Progress::Refused(_) = progress {
            self.retry_at = Some(now + RETRY_EVERY);
        }
        progress
    }

    fn write_pending(&mut self) -> Progress {
        if self.pending.is_empty() {
            return Progress::Nothing;
        }
        while self.written < self.pending.len() {
            match self.target.write(&self.pending[self.written..]) {
                Ok(0) => return Progress::Refused(Some(io::ErrorKind::WriteZero.into())),
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Blocked;
                }
                Err(error) => return Progress::Refused(Some(error)),
            }
        }
        self.pending.clear();
        self.written = 0;
        Progress::Done
    }

    /// Whether there are lines that the target has not taken.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Waits until the target has room, or as long as `most`.
    pub(super) fn wait_for_room(&self, most: Duration) {
        self.target.wait_for_room(most);
    }

    /// Whether nothing is left to write. Memory that is not in use goes back.
    pub(super) fn settle(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.pending = Vec::new();
        self.sink.settle()
    }

    /// Lines that were taken and not written.
    pub(super) fn lines_left(&self) -> u64 {
        memchr::memchr_iter(b'\n', &self.left()).count() as u64
    }

    /// What was taken and not written.
    pub(super) fn left(&self) -> Vec<u8> {
        let mut left = self.pending[self.written..].to_vec();
        left.extend(self.sink.peek());
        left
    }
}
