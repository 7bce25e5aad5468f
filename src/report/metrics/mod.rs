//! What is counted, for `/metrics` and for `portunus show`.
//!
//! Each data thread counts on cache lines of its own and shares none of it; what all have counted is added up when somebody
//! asks. [`list`] has every metric; who writes them all is `server`, which knows what rooms above this one have counted.
//!
//! ```text
//! data threads ─► Count, histograms (a set a thread) ─► Sum ─► Exposition ─► GET /metrics
//! ```

mod exposition;
mod handshakes;
mod histogram;
pub mod list;
mod recent;
mod routes;
mod spans;
mod traffic;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub use exposition::{CONTENT_TYPE, Exposition, Series};
pub use handshakes::{Kind as HandshakeKind, TRANSPORTS};
pub use histogram::{Durations, Sum, quantile};
pub use recent::{HANDSHAKES_MAX, PastRefusal, REFUSALS_MAX};
pub use routes::RouteCounts;
pub use spans::{SpanCounts, SpanLoss};
pub use traffic::{
    Answered, CLASSES, Counted, PROTOCOLS, PoolCounted, PoolTraffic, Tallies, Traffic,
};

use super::Refused;
use crate::model::{BindingKey, Count, PerThread, TlsFacts};
use handshakes::Handshakes;
use recent::Recent;
use routes::Routed;
use traffic::Book;

/// What is counted beside the refusals.
pub struct Metrics {
    threads: usize,
    book: Book,
    routed: Routed,
    handshakes: Handshakes,
    recent: Recent,
    accepted: PerThread<[Count; 3]>,
    /// Without close_notify, and with it.
    closed: PerThread<[Count; 2]>,
    reloads: Mutex<Reloads>,
    spans: Arc<SpanCounts>,
    started: SystemTime,
}

/// What a connection was accepted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// HTTP in cleartext.
    Cleartext,
    /// TLS over TCP.
    Tls,
    /// QUIC.
    Quic,
}

/// What became of reloads.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// How many were taken.
    pub taken: u64,
    /// How many were refused.
    pub refused: u64,
    /// Whether the last one was taken.
    pub last_taken: bool,
    /// When the configuration that runs was taken.
    pub taken_at: SystemTime,
}

impl Metrics {
    pub(super) fn new(threads: usize) -> Self {
        let started = SystemTime::now();
        Self {
            threads,
            book: Book::default(),
            routed: Routed::default(),
            handshakes: Handshakes::new(threads),
            recent: Recent::new(threads),
            accepted: PerThread::new(threads, |_| Default::default()),
            closed: PerThread::new(threads, |_| Default::default()),
            reloads: Mutex::new(Reloads {
                taken: 0,
                refused: 0,
                last_taken: true,
                taken_at: started,
            }),
            spans: Arc::default(),
            started,
        }
    }

    /// Where the requests of a configuration are counted. `bindings`: each with the pools, by their index in `pools`, that its
    /// requests may be for.
    pub fn tallies<'a>(
        &self,
        bindings: impl Iterator<Item = (String, Vec<usize>)>,
        pools: impl Iterator<Item = &'a str>,
    ) -> Tallies {
        self.book.open(self.threads, bindings, pools)
    }

    /// What became of spans.
    pub fn spans(&self) -> &Arc<SpanCounts> {
        &self.spans
    }

    /// Where the requests of each site's routes are counted. `sites`: the name of each, and its routes as they are written.
    pub fn routes(
        &self,
        sites: impl Iterator<Item = (String, Vec<String>)>,
    ) -> Box<[Arc<RouteCounts>]> {
        self.routed.open(self.threads, sites)
    }

    /// A connection has a place.
    pub fn accepted(&self, accepted: Accepted) {
        self.accepted.mine()[accepted as usize].add(1);
    }

    /// A handshake was done.
    pub fn shook_hands(&self, over_quic: bool, facts: &TlsFacts, duration: Duration) {
        self.handshakes.add(usize::from(over_quic), facts, duration);
    }

    /// A client has ended a connection with TLS over TCP; whether it said so first (close_notify).
    pub fn closed(&self, said: bool) {
        self.closed.mine()[usize::from(said)].add(1);
    }

    /// Something was refused.
    pub(super) fn refused(&self, refused: &Refused<'_>) {
        self.recent.add(refused);
    }

    /// A configuration was taken, or refused. `is_bound`: the bindings that there are now.
    pub fn reloaded(&self, taken: bool, is_bound: impl Fn(&BindingKey) -> bool) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.last_taken = taken;
        if taken {
            reloads.taken += 1;
            reloads.taken_at = SystemTime::now();
            self.handshakes.keep(is_bound);
        } else {
            reloads.refused += 1;
        }
    }

    /// What became of reloads.
    pub fn reloads(&self) -> Reloads {
        *self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted of each binding and pool, in the order of their names.
    pub fn traffic(&self) -> Vec<Counted> {
        self.book.traffic()
    }

    /// What was counted of each pool, in the order of their names.
    pub fn pools(&self) -> Vec<PoolCounted> {
        self.book.pools()
    }

    /// How many handshakes were done of each kind.
    pub fn handshakes(&self) -> HashMap<HandshakeKind, u64> {
        self.handshakes.done()
    }

    /// How long handshakes took, by transport and by whether they resumed a session.
    pub fn handshake_durations(&self) -> Vec<(&'static str, bool, Sum)> {
        self.handshakes.durations()
    }

    /// The last handshakes that failed, the latest first.
    pub fn handshake_failures(&self) -> Vec<PastRefusal> {
        self.recent.handshakes()
    }

    /// What was refused last and is asked for, handshakes that failed among it, the latest first.
    pub fn refusals(&self, wanted: impl Fn(&PastRefusal) -> bool) -> Vec<PastRefusal> {
        self.recent.refusals(wanted)
    }

    /// How many connections were given a place.
    pub fn accepted_count(&self, accepted: Accepted) -> u64 {
        let threads = self.accepted.iter();
        threads.map(|thread| thread[accepted as usize].get()).sum()
    }

    /// The same of all kinds.
    pub fn accepted_total(&self) -> u64 {
        let threads = self.accepted.iter();
        threads
            .flat_map(|thread| thread.iter().map(Count::get))
            .sum()
    }

    /// How many connections with TLS over TCP their clients have ended, with close_notify or without it.
    pub fn closed_count(&self, said: bool) -> u64 {
        let threads = self.closed.iter();
        threads.map(|thread| thread[usize::from(said)].get()).sum()
    }

    /// When counting began: with the process.
    pub fn started(&self) -> SystemTime {
        self.started
    }
}

#[cfg(test)]
mod tests;
