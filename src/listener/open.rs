//! The connections of one data thread that are open, for whoever asks. A connection enters once and leaves once; what it does
//! meanwhile costs nothing here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use slab::Slab;

use crate::model::{Connection, Protocol};

/// The connections of one data thread.
#[derive(Debug, Default)]
pub struct OpenConnections(Mutex<Slab<OpenConnection>>);

/// A connection that speaks HTTP.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// Its facts.
    pub connection: Arc<Connection>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Since when: from the end of its handshake.
    pub since: Instant,
}

/// A connection's place among those that are open. Dropping it leaves.
#[derive(Debug)]
pub(super) struct OpenPlace {
    all: Arc<OpenConnections>,
    place: usize,
}

impl OpenConnections {
    pub(super) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        protocol: Protocol,
    ) -> OpenPlace {
        let place = self.lock().insert(OpenConnection {
            connection: Arc::clone(connection),
            protocol,
            since: Instant::now(),
        });
        OpenPlace {
            all: Arc::clone(self),
            place,
        }
    }

    /// How many there are, and the first of them, no more than `max`: the data thread waits while they are copied.
    pub fn first(&self, max: usize) -> (usize, Vec<OpenConnection>) {
        let all = self.lock();
        let first = all.iter().take(max).map(|(_, open)| open.clone());
        (all.len(), first.collect())
    }

    fn lock(&self) -> MutexGuard<'_, Slab<OpenConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let left = self.all.lock().try_remove(self.place);
        debug_assert!(left.is_some(), "a connection leaves once");
    }
}
