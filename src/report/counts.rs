//! What is counted even where nothing is written: each data thread counts on cache lines of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{PerThread, Protocol, Reason};

const REASONS: usize = Reason::ALL.len();

/// [`Protocol`] has so many.
const PROTOCOLS: usize = Protocol::Http3 as usize + 1;

pub(super) struct Counts(PerThread<Mine>);

struct Mine {
    refused: [[AtomicU64; REASONS]; PROTOCOLS],
    lost: AtomicU64,
}

impl Counts {
    pub(super) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| Mine {
            refused: [const { [const { AtomicU64::new(0) }; REASONS] }; PROTOCOLS],
            lost: AtomicU64::new(0),
        }))
    }

    pub(super) fn add_refused(&self, protocol: Protocol, reason: Reason) {
        // `Reason::ALL` has every reason once, in the order of their declaration.
        self.0.mine().refused[protocol as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, reason: Reason) -> u64 {
        let threads = self.0.iter().flat_map(|mine| &mine.refused);
        threads
            .map(|reasons| reasons[reason as usize].load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn refused_in(&self, protocol: Protocol, reason: Reason) -> u64 {
        self.0
            .iter()
            .map(|mine| mine.refused[protocol as usize][reason as usize].load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn add_lost(&self, lines: u64) {
        self.0.mine().lost.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.0
            .iter()
            .map(|mine| mine.lost.load(Ordering::Relaxed))
            .sum()
    }
}
