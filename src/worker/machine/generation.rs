//! A generation of workers.

use std::time::Instant;

use super::{Why, WorkerId};

/// Workers that were started together, and those that took the place of the ones that failed.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    /// What it was begun for.
    pub(super) why: Why,
    pub(super) workers: Vec<Worker>,
    /// Since when it takes new requests.
    pub(super) serving_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) phase: Phase,
    /// Requests that it was seen to have had.
    pub(super) requests: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is to be ready by then.
    Starting {
        until: Instant,
    },
    Ready {
        since: Instant,
    },
    /// It takes no more requests, and may take until then for those it has.
    Draining {
        until: Instant,
    },
    /// It was told to end, and is killed then.
    Terminating {
        kill_at: Instant,
    },
    /// Nothing more can be done but to wait for the system.
    Killed,
}

impl Phase {
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Phase::Starting { until } | Phase::Draining { until } => Some(until),
            Phase::Terminating { kill_at } => Some(kill_at),
            Phase::Ready { .. } | Phase::Killed => None,
        }
    }
}

impl Worker {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// Whether it is to go on.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. } | Phase::Starting { .. })
    }
}

impl Generation {
    pub(super) fn find(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let at = self.workers.iter().position(|worker| worker.id == id)?;
        Some(self.workers.remove(at))
    }

    /// Workers that are ready, or will be.
    pub(super) fn len_but_ending(&self) -> usize {
        self.workers.iter().filter(|it| it.is_wanted()).count()
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = WorkerId> {
        (self.workers.iter())
            .filter(|worker| worker.is_ready())
            .map(|worker| worker.id)
    }
}
