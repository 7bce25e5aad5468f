//! Connections that the server makes to itself: what becomes of them is told by whoever makes them, and is no client's
//! failure.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{ClientAddr, LocalAddr, Protocol};

/// Such connections.
#[derive(Default)]
pub(super) struct Own {
    /// How many there are, for all who ask while there is none.
    count: AtomicUsize,
    made: Mutex<VecDeque<(Ends, Instant)>>,
}

/// Between which ends a connection is. The client's alone would not tell it from others: a client that goes to another port of
/// ours, or over TCP and not over UDP, may come from the very same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    client: ClientAddr,
    local: LocalAddr,
    over_udp: bool,
}

impl Ends {
    fn of(client: ClientAddr, local: LocalAddr, protocol: Protocol) -> Self {
        Self {
            client,
            local,
            over_udp: matches!(protocol, Protocol::Quic | Protocol::Http3),
        }
    }
}

impl Own {
    /// Takes note of a connection that is about to be made. It is known for as long as such a connection may take; then its
    /// ends may be anybody's again.
    pub(super) fn add(&self, client: ClientAddr, local: LocalAddr, protocol: Protocol) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MADE_MAX {
            made.pop_front();
        }
        let ends = Ends::of(client, local, protocol);
        made.push_back((ends, Instant::now() + KNOWN_FOR));
        self.count.store(made.len(), Ordering::Release);
    }

    /// Whether a connection between these ends is one of ours.
    pub(super) fn has(&self, client: ClientAddr, local: LocalAddr, protocol: Protocol) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while made.front().is_some_and(|(_, until)| *until < now) {
            made.pop_front();
        }
        self.count.store(made.len(), Ordering::Release);
        let ends = Ends::of(client, local, protocol);
        made.iter().any(|(own, _)| *own == ends)
    }
}

/// Longer than a handshake with ourselves may take, and shorter than it takes a system to use a port again.
const KNOWN_FOR: Duration = Duration::from_secs(15);

/// They are made one after the other, and seldom; of more the oldest are forgotten.
const MADE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> ClientAddr {
        ClientAddr::new(([127, 0, 0, 1], port).into())
    }

    fn to(port: u16) -> LocalAddr {
        LocalAddr::new(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn an_own_connection_is_known_by_both_of_its_ends_and_what_it_goes_over() {
        let own = Own::default();
        assert!(!own.has(from(1), to(443), Protocol::Tls));
        own.add(from(1), to(443), Protocol::Tls);
        for (is, client, local, protocol) in [
            (true, from(1), to(443), Protocol::Tcp),
            (true, from(1), to(443), Protocol::Http2),
            (false, from(2), to(443), Protocol::Tls),
            (false, from(1), to(80), Protocol::Http1),
            (false, from(1), to(443), Protocol::Quic),
        ] {
            assert_eq!(own.has(client, local, protocol), is, "{client} {local}");
        }
        own.add(from(1), to(443), Protocol::Quic);
        assert!(own.has(from(1), to(443), Protocol::Http3));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let own = Own::default();
        for port in 0..=MADE_MAX {
            let port = u16::try_from(port).expect("a port");
            own.add(from(port), to(443), Protocol::Tls);
        }
        let has = |port| own.has(from(port), to(443), Protocol::Tls);
        assert!(!has(0), "the oldest is forgotten");
        assert!(has(1));
        assert_eq!(own.count.load(Ordering::Relaxed), MADE_MAX);
    }
}
