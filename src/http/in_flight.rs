//! Counting the requests of a connection whose response is not sent yet.

use std::sync::Arc;

/// Counts requests in flight: each holds an [`InFlight`], and leaves the count when that is dropped.
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
