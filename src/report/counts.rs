//! What is counted even where nothing is written: each data thread counts on cache lines of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{PerThread, Reason};

const REASONS: usize = Reason::ALL.len();

pub(super) struct Counts(PerThread<Mine>);

struct Mine {
    refused: [AtomicU64; REASONS],
    lost: AtomicU64,
}

impl Counts {
    pub(super) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| Mine {
            refused: [const { AtomicU64::new(0) }; REASONS],
            lost: AtomicU64::new(0),
        }))
    }

    pub(super) fn add_refused(&self, reason: Reason) {
        // `Reason::ALL` has every reason once, in the order of their declaration.
        self.0.mine().refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, reason: Reason) -> u64 {
        self.0
            .iter()
            .map(|mine| mine.refused[reason as usize].load(Ordering::Relaxed))
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
