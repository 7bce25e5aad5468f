//! Counting what is under way on a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts requests whose response is not sent yet: each holds an [`InFlight`], and leaves the count when that is dropped.
#[derive(Debug, Default)]
pub(crate) struct FlightCount(Arc<()>);

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    _one: Arc<()>,
}

impl FlightCount {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    /// One more.
    pub(crate) fn enter(&self) -> InFlight {
        InFlight {
            _one: Arc::clone(&self.0),
        }
    }
}

/// Counts one more, and says how many that makes. One thread writes, so this need not be one step.
pub(super) fn one_more(count: &AtomicU64) -> u64 {
    let more = count.load(Relaxed) + 1;
    count.store(more, Relaxed);
    more
}
