//! Handshakes that were done. One costs a data thread hundreds of microseconds; a lock that nobody else wants costs nothing
//! beside that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Sum;
use super::histogram::Durations;
use crate::model::{BindingKey, PerThread, TlsFacts};

/// The handshakes of all threads.
#[derive(Debug)]
pub(super) struct Handshakes(PerThread<Mutex<Mine>>);

#[derive(Debug, Default)]
struct Mine {
    /// Bounded by the bindings of the configurations since the start, the versions and the suites.
    done: HashMap<Kind, u64>,
    durations: [Durations; TRANSPORTS.len() * 2],
}

/// What tells handshakes apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The binding that it was made for; none where it was made for no single one.
    pub binding: Option<Arc<BindingKey>>,
    /// What it was made over.
    pub transport: &'static str,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The suite, by its name at IANA.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// What handshakes are made over.
pub const TRANSPORTS: [&str; 2] = ["tcp", "quic"];

impl Handshakes {
    pub(super) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| Mutex::default()))
    }

    /// `transport`: its place in [`TRANSPORTS`].
    pub(super) fn add(&self, transport: usize, facts: &TlsFacts, duration: Duration) {
        let mut mine = lock(self.0.mine());
        let kind = Kind {
            binding: facts.binding.clone(),
            transport: TRANSPORTS[transport],
            version: facts.version,
            cipher: facts.cipher,
            resumed: facts.resumed,
        };
        mine.durations[transport * 2 + usize::from(facts.resumed)].add(duration);
        *mine.done.entry(kind).or_default() += 1;
    }

    /// Forgets those of bindings that are no more.
    pub(super) fn keep(&self, is_there: impl Fn(&BindingKey) -> bool) {
        for thread in self.0.iter() {
            let mut thread = lock(thread);
            (thread.done).retain(|kind, _| kind.binding.as_deref().is_none_or(&is_there));
        }
    }

    /// How many there were of each kind.
    pub(super) fn done(&self) -> HashMap<Kind, u64> {
        let mut all = HashMap::new();
        for thread in self.0.iter() {
            for (kind, count) in &lock(thread).done {
                *all.entry(kind.clone()).or_default() += count;
            }
        }
        all
    }

    /// How long they took, by transport and by whether they resumed a session.
    pub(super) fn durations(&self) -> Vec<(&'static str, bool, Sum)> {
        let sum = |index: usize| {
            let mut sum = Sum::default();
            for thread in self.0.iter() {
                lock(thread).durations[index].add_to(&mut sum);
            }
            (TRANSPORTS[index / 2], index % 2 == 1, sum)
        };
        (0..TRANSPORTS.len() * 2).map(sum).collect()
    }
}

/// Nothing is left half done under this lock.
fn lock(mine: &Mutex<Mine>) -> MutexGuard<'_, Mine> {
    mine.lock().unwrap_or_else(PoisonError::into_inner)
}
