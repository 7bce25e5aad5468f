//! What is to be written, between the data threads and the one that writes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Job;
use super::folder::Writer;
use crate::report::CLOSE_WAIT_MAX;

/// Requests that may wait to be written. One that comes to a full queue is dropped and counted: it is a failure among many, and
/// those before it tell the same.
pub const QUEUE_MAX: usize = 64;

/// The queue, and what became of what was in it. Where there was never a rule there is no thread.
#[derive(Default)]
pub(in crate::report) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    thread: Thread,
    closed: bool,
    count: Written,
}

/// Whether somebody writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    None,
    Runs,
    Ended,
}

/// What became of the requests that fired a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// They have a file.
    pub written: u64,
    /// They were dropped: their rules fired too often, or the queue was full.
    pub dropped: u64,
    /// Their file could not be written.
    pub failed: u64,
}

impl Queue {
    /// Starts the thread that writes, if there is none.
    pub(in crate::report) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let mut state = self.state();
        if state.thread != Thread::None {
            return Ok(());
        }
        let queue = Arc::clone(self);
        let run = move || {
            let _end = End(&queue);
            queue.run();
        };
        thread::Builder::new()
            .name("failed-requests".to_owned())
            .spawn(run)?;
        state.thread = Thread::Runs;
        Ok(())
    }

    /// Hands a request over, if there is room.
    pub(super) fn push(&self, job: Job) {
        let mut state = self.state();
        if state.jobs.len() >= QUEUE_MAX || state.closed || state.thread != Thread::Runs {
            state.count.dropped += 1;
            return;
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_all();
    }

    /// One is not to be written: its rules fire too often.
    pub(super) fn let_go(&self) {
        self.state().count.dropped += 1;
    }

    /// What became of them so far.
    pub(in crate::report) fn count(&self) -> Written {
        self.state().count
    }

    /// Has what waits written, and the thread end. Waits a while for that.
    pub(in crate::report) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.changed.notify_all();
        // Whether it was done in time makes no difference to the caller: it goes on.
        let _ = self
            .changed
            .wait_timeout_while(state, CLOSE_WAIT_MAX, |it| it.thread == Thread::Runs)
            .map_err(PoisonError::into_inner);
    }

    fn run(&self) {
        let mut writer = Writer::default();
        while let Some(job) = self.next() {
            let written = writer.write(&job);
            let mut state = self.state();
            match written {
                true => state.count.written += 1,
                false => state.count.failed += 1,
            }
            let dropped = state.count.dropped;
            drop(state);
            writer.tell_of_dropped(dropped);
        }
    }

    /// Waits for the next one; none at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A panic while the lock was held would have left a list that is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells that the thread is at its end, however it came to that.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state().thread = Thread::Ended;
        self.0.changed.notify_all();
    }
}
