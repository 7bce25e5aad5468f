//! Counting by one thread what another may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts one more, and says how many that makes. One thread writes, so this need not be one step.
pub(super) fn one_more(count: &AtomicU64) -> u64 {
    let more = count.load(Relaxed) + 1;
    count.store(more, Relaxed);
    more
}
