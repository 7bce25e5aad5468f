//! What is counted of a pool's workers, for whoever asks without waiting for their supervisor.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts of one pool. Its supervisor writes them, and nobody else.
#[derive(Debug, Default)]
pub struct Tally {
    phases: [AtomicU64; PHASES.len()],
    starts: AtomicU64,
    recycles: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

/// The phases of a worker's life, as [`WorkerView`](super::WorkerView) names them.
pub const PHASES: [&str; 5] = ["starting", "ready", "suspended", "draining", "ending"];

/// How a worker failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its program could not be started.
    Launch,
    /// It was not ready within `startup_timeout`.
    Startup,
    /// It ended without being told to.
    Exit,
    /// It did not answer, or not well.
    Unresponsive,
    /// It did not end when it was told to, and was killed.
    Shutdown,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Launch,
        Self::Startup,
        Self::Exit,
        Self::Unresponsive,
        Self::Shutdown,
    ];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Startup => "startup",
            Self::Exit => "exit",
            Self::Unresponsive => "unresponsive",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Tally {
    pub(super) fn starts(&self) {
        self.starts.fetch_add(1, Relaxed);
    }

    pub(super) fn recycles(&self) {
        self.recycles.fetch_add(1, Relaxed);
    }

    pub(super) fn fails(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Relaxed);
    }

    /// The workers that there are now, each by its phase.
    pub(super) fn stand(&self, workers: impl Iterator<Item = &'static str>) {
        let mut now = [0; PHASES.len()];
        for phase in workers {
            let place = PHASES.iter().position(|it| *it == phase);
            debug_assert!(place.is_some(), "{phase} is a phase");
            now[place.unwrap_or_default()] += 1;
        }
        for (all, one) in self.phases.iter().zip(now) {
            all.store(one, Relaxed);
        }
    }

    /// How many workers there are in each phase.
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.phases.iter().map(|count| count.load(Relaxed));
        PHASES.into_iter().zip(counts)
    }

    /// How many were started.
    pub fn started(&self) -> u64 {
        self.starts.load(Relaxed)
    }

    /// How often others were started to follow those that there were.
    pub fn recycled(&self) -> u64 {
        self.recycles.load(Relaxed)
    }

    /// How many failed in this way.
    pub fn failed(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Relaxed)
    }
}
