//! Counting the requests of a connection whose response is not sent yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A count of requests in flight, or, once entered, one of them: it leaves the count when it is dropped.
#[derive(Debug, Default)]
pub struct InFlight {
    count: Arc<AtomicUsize>,
    entered: bool,
}

impl InFlight {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// One more.
    pub fn enter(&self) -> InFlight {
        self.count.fetch_add(1, Relaxed);
        InFlight {
            count: Arc::clone(&self.count),
            entered: true,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.entered {
            self.count.fetch_sub(1, Relaxed);
        }
    }
}
