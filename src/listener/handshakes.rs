//! How many TLS handshakes a data thread runs at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The handshakes of one data thread, of one kind.
#[derive(Debug)]
pub(super) struct Handshakes {
    running: AtomicUsize,
    max: usize,
}

/// One handshake that runs. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct HandshakePlace(Arc<Handshakes>);

impl Handshakes {
    /// Room for so many.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            max,
        })
    }

    /// A place among the handshakes that run at once; none when all are taken.
    pub(super) fn enter(self: &Arc<Self>) -> Option<HandshakePlace> {
        let place = HandshakePlace(Arc::clone(self));
        (self.running.fetch_add(1, Relaxed) < self.max).then_some(place)
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// Handshakes that a data thread runs at once. A half-open one costs about 4 kB, a running one a few hundred microseconds.
pub const HANDSHAKES_MAX: usize = 4096;

/// QUIC handshakes that a data thread runs at once with clients that have not shown that they are where they say. Beyond it
/// every client is asked to show it first (Retry, RFC 9000 section 8.1.2), which costs it a round trip and us no state.
pub const UNVALIDATED_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_run_at_once_than_there_are_places_and_each_that_ends_frees_one() {
        let handshakes = Handshakes::new(HANDSHAKES_MAX);
        let mut running: Vec<_> = (0..HANDSHAKES_MAX)
            .map(|_| handshakes.enter().expect("a place"))
            .collect();
        assert!(handshakes.enter().is_none());
        // One that found no place has taken none.
        assert!(handshakes.enter().is_none());
        running.pop();
        running.push(handshakes.enter().expect("the place that is free again"));
        assert!(handshakes.enter().is_none());
        running.clear();
        assert_eq!(handshakes.running.load(Relaxed), 0);
    }
}
