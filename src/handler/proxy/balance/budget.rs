//! How many requests may be sent a second time: a share of all, so that retries cannot multiply an outage. Pure.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One data thread's savings, in hundredths of a retry. Every request pays in its share, every retry takes a whole one out.
///
/// Its words are atomic only because a test may share it; nobody else writes there meanwhile.
#[derive(Debug)]
pub(super) struct Budget {
    /// What a request pays in: the budget, in percent.
    share: u64,
    saved: AtomicU64,
    /// What can be saved.
    most: u64,
    /// When something was last given for nothing, in milliseconds.
    given_at: AtomicU64,
}

impl Budget {
    /// `percent`: the share of requests that may be retried. With 0 none is, and nothing is given for nothing.
    pub(super) fn new(percent: u8) -> Self {
        let saved = if percent == 0 { 0 } else { FREE };
        Self {
            share: u64::from(percent),
            saved: AtomicU64::new(saved),
            most: SAVED_MAX,
            given_at: AtomicU64::new(0),
        }
    }

    /// A budget of which all is paid for by requests, and little is saved up: when all are slow, it is used up at once.
    pub(super) fn paid_for(percent: u8) -> Self {
        Self {
            saved: AtomicU64::new(0),
            most: FREE,
            ..Self::new(percent)
        }
    }

    /// A request comes.
    pub(super) fn request(&self) {
        let saved = self.saved.load(Relaxed);
        self.saved
            .store((saved + self.share).min(self.most), Relaxed);
    }

    /// Whether one may be retried.
    pub(super) fn retry(&self, now: Duration) -> bool {
        let saved = self.with_gift(now);
        let enough = saved >= ONE;
        let left = if enough { saved - ONE } else { saved };
        self.saved.store(left, Relaxed);
        enough
    }

    /// Where few requests come, a share of them is nothing: then there is one a second for nothing.
    fn with_gift(&self, now: Duration) -> u64 {
        let saved = self.saved.load(Relaxed);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let seconds = now.saturating_sub(self.given_at.load(Relaxed)) / 1000;
        if seconds == 0 || self.share == 0 {
            return saved;
        }
        self.given_at.store(now, Relaxed);
        saved.max(saved.saturating_add(seconds * ONE).min(FREE))
    }
}

/// A retry.
const ONE: u64 = 100;

/// What may be retried without any request having paid for it.
const FREE: u64 = 10 * ONE;

/// What can be saved: enough for all that is under way on one thread when an upstream dies, and no more than a moment's
/// load on those that are left.
const SAVED_MAX: u64 = 500 * ONE;

#[cfg(test)]
mod tests;
