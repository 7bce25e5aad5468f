//! Connections that the server makes to itself: what becomes of them is told by whoever makes them, and is no client's
//! failure.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::ClientAddr;

/// The addresses that such connections come from.
#[derive(Default)]
pub(super) struct Own {
    /// How many there are, for all who ask while there is none.
    count: AtomicUsize,
    addresses: Mutex<VecDeque<(ClientAddr, Instant)>>,
}

impl Own {
    /// Takes note of a connection that is about to be made. It is known for as long as such a connection may take; then the
    /// address may be anybody's again.
    pub(super) fn add(&self, address: ClientAddr) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_MAX {
            addresses.pop_front();
        }
        addresses.push_back((address, Instant::now() + KNOWN_FOR));
        self.count.store(addresses.len(), Ordering::Release);
    }

    /// Whether a connection from there is one of ours.
    pub(super) fn has(&self, address: ClientAddr) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while addresses.front().is_some_and(|(_, until)| *until < now) {
            addresses.pop_front();
        }
        self.count.store(addresses.len(), Ordering::Release);
        addresses.iter().any(|(own, _)| *own == address)
    }
}

/// Longer than a handshake with ourselves may take, and shorter than it takes a system to use a port again.
const KNOWN_FOR: Duration = Duration::from_secs(15);

/// They are made one after the other, and seldom; of more the oldest are forgotten.
const ADDRESSES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> ClientAddr {
        ClientAddr::new(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn an_own_connection_is_known_by_address_and_port() {
        let own = Own::default();
        assert!(!own.has(from(1)));
        own.add(from(1));
        assert!(own.has(from(1)));
        assert!(!own.has(from(2)));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let own = Own::default();
        for port in 0..=ADDRESSES_MAX {
            own.add(from(u16::try_from(port).expect("a port")));
        }
        assert!(!own.has(from(0)), "the oldest is forgotten");
        assert!(own.has(from(1)));
        assert_eq!(own.count.load(Ordering::Relaxed), ADDRESSES_MAX);
    }
}
