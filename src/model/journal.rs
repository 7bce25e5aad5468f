//! What became of one request, step by step, for whoever asked to see it.
//!
//! A [`Journal`] is there only where somebody asked for it (`http::recording` decides that when a request's head is read);
//! otherwise there is none anywhere, and a step costs the look at an `Option` that is empty. Who serves the request notes its
//! steps as they happen, from whatever task they happen in, and reads no clock here: the time comes with the step.
//!
//! - **Bounded.** Of a long list the first [`FIRST_STEPS`] are kept and the last [`LAST_STEPS`], and how many lay between: a way
//!   is understood from how it began and how it ended, and the many tries of one that was sent again and again are in between.
//! - **Ordered.** Steps are in the order in which they were noted, which is that of time.
//! - **Raw.** A [`Step`] holds what was there: header fields with their secrets. Whoever writes steps down leaves those out.
//!
//! What is a span to a tracer is the time between two steps: from [`Step::QueueEntered`] to [`Step::QueueLeft`] (or the
//! [`Step::Refused`] that ended the wait), from [`Step::HandlerBegan`] to [`Step::HandlerAnswered`], and of each upstream
//! attempt, by its number, from [`AttemptStep::Began`] to the [`AttemptStep::Answered`] or [`AttemptStep::Failed`] of the same
//! number. An attempt without an end was let go: the client went away, or the other of two that were hedged was faster.

mod step;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use step::{AttemptStep, Cause, RequestHead, ResponseHead, Step};

/// The steps of one request, from the reading of its head on.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    began_at: SystemTime,
    attempts: AtomicU32,
    ring: Mutex<Ring>,
}

/// A step, and when it was.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Since the request began.
    pub after: Duration,
    /// What happened.
    pub step: Step,
}

/// What is kept of a request's steps.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// The first of them, and where some are left out also the last.
    pub noted: Vec<Noted>,
    /// How many are left out between the first [`FIRST_STEPS`] and the rest.
    pub left_out: u64,
}

#[derive(Debug, Default)]
struct Ring {
    first: Vec<Noted>,
    last: VecDeque<Noted>,
    left_out: u64,
}

impl Journal {
    /// The journal of a request whose head was read at `began`, which a clock on the wall showed as `began_at`.
    pub fn new(began: Instant, began_at: SystemTime) -> Self {
        Self {
            began,
            began_at,
            attempts: AtomicU32::new(0),
            ring: Mutex::default(),
        }
    }

    /// When the request began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// When the request began, by the clock on the wall.
    pub fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// Notes that this happened at `now`.
    pub fn note(&self, now: Instant, step: Step) {
        let after = now.saturating_duration_since(self.began);
        self.ring().push(Noted { after, step });
    }

    /// A number for another attempt with an upstream: 1, 2, 3, …
    pub fn next_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// What is kept of its steps so far.
    pub fn steps(&self) -> Steps {
        let ring = self.ring();
        Steps {
            noted: ring.first.iter().chain(&ring.last).cloned().collect(),
            left_out: ring.left_out,
        }
    }

    /// A panic while the lock was held would have left a list that is whole.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, noted: Noted) {
        if self.first.len() < FIRST_STEPS {
            return self.first.push(noted);
        }
        if self.last.len() == LAST_STEPS {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(noted);
    }
}

/// Of a request's steps the first that are kept: its way to the handler, and the first tries.
pub const FIRST_STEPS: usize = 32;

/// Of a request's steps the last that are kept: the last tries, and how it ended.
pub const LAST_STEPS: usize = 32;

#[cfg(test)]
mod tests;
