//! The clock: timers that cost nothing while all goes well, and the time of a request's steps.

mod pace;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::time::{Instant, Sleep};

use crate::model::journal::{Journal, Step};

pub use pace::Pace;

/// Notes that a step of a request happens now, where somebody asked for its steps; otherwise this is a look at an `Option`.
pub fn note(journal: Option<&Arc<Journal>>, step: impl FnOnce() -> Step) {
    if let Some(journal) = journal {
        journal.note(std::time::Instant::now(), step());
    }
}

/// A timer that is set again only when it has rung: a deadline that keeps moving away costs one look at the clock.
#[derive(Default)]
pub struct LazyTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Set in one task, and not asked yet in the one that has it now.
    moved: bool,
}

impl LazyTimer {
    /// Whether `deadline` has come; if not, the task is woken when it may have.
    ///
    /// A timer that was set in one task and is asked in another must be told so, by [`LazyTimer::moved`].
    pub fn poll_until(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) -> bool {
        if now >= deadline {
            return true;
        }
        match &mut self.sleep {
            Some(sleep) => {
                let rings = sleep.deadline();
                let in_time = rings > now && rings <= deadline;
                if in_time && !self.moved {
                    return false;
                }
                if !in_time {
                    sleep.as_mut().reset(deadline);
                }
            }
            empty => *empty = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        self.moved = false;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx).is_ready() && now >= deadline,
            None => false,
        }
    }

    /// The timer belongs to another task from now on: that is the one to wake.
    pub fn moved(&mut self) {
        self.moved = true;
    }
}
