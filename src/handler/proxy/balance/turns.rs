//! Choosing by turns, by load and by chance. Pure: weights, loads and chance come from outside.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::ring::{STEP, mix};

/// What is to be chosen from.
pub(super) trait Choices {
    /// How many there are.
    fn count(&self) -> usize;
    /// Whether this one may be chosen.
    fn is_open(&self, index: usize) -> bool;
    /// Its share, relative to the others.
    fn weight(&self, index: usize) -> u64;
    /// What it works on.
    fn load(&self, index: usize) -> u64;
}

/// Smooth weighted turns, as nginx takes them: `a a b a c a a` rather than `a a a a a b c`.
///
/// One data thread's. Its words are atomic only because a test may share it; nobody else writes there meanwhile.
#[derive(Debug)]
pub(super) struct Smooth {
    credit: Box<[AtomicI64]>,
    /// Who goes first of equals.
    first: usize,
}

impl Smooth {
    /// `thread` takes another first turn than the others, so that they do not all begin with the same upstream.
    pub(super) fn new(thread: usize, count: usize) -> Self {
        Self {
            credit: (0..count).map(|_| AtomicI64::new(0)).collect(),
            first: thread % count.max(1),
        }
    }

    pub(super) fn next(&self, from: &impl Choices) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(i64, usize)> = None;
        let (behind, first) = self.credit.split_at(self.first);
        let in_order = first.iter().chain(behind).enumerate();
        for (step, credit) in in_order {
            let index = (self.first + step) % self.credit.len();
            if !from.is_open(index) {
                continue;
            }
            let weight = i64::try_from(from.weight(index)).unwrap_or(i64::MAX >> 16);
            total += weight;
            let now = credit.load(Relaxed) + weight;
            credit.store(now, Relaxed);
            if best.is_none_or(|(most, _)| now > most) {
                best = Some((now, index));
            }
        }
        let (credit, index) = best?;
        self.credit[index].store(credit - total, Relaxed);
        Some(index)
    }
}

/// The one with the least load for its weight; among equals, the first from `turn` on.
pub(super) fn least(from: &impl Choices, turn: usize) -> Option<usize> {
    let count = from.count();
    let mut best: Option<usize> = None;
    for step in 0..count {
        let index = turn.wrapping_add(step) % count;
        if from.is_open(index) && best.is_none_or(|best| is_freer(from, index, best)) {
            best = Some(index);
        }
    }
    best
}

/// Two by chance, each as likely as its weight says, and of them the one with the lesser load.
pub(super) fn two(from: &impl Choices, mut random: impl FnMut() -> u64) -> Option<usize> {
    let first = drawn(from, None, random())?;
    match drawn(from, Some(first), random()) {
        Some(second) if is_freer(from, second, first) => Some(second),
        _ => Some(first),
    }
}

/// One by chance, but not `except`.
fn drawn(from: &impl Choices, except: Option<usize>, random: u64) -> Option<usize> {
    let open = || (0..from.count()).filter(|index| Some(*index) != except && from.is_open(*index));
    let total: u64 = open().map(|index| from.weight(index)).sum();
    let mut left = scaled(random, total);
    let mut last = None;
    for index in open() {
        last = Some(index);
        let weight = from.weight(index);
        if left < weight {
            break;
        }
        left -= weight;
    }
    last
}

/// Whether another request is less of a burden to one than to another.
fn is_freer(from: &impl Choices, one: usize, other: usize) -> bool {
    let burden =
        |of: usize, by: usize| u128::from(from.load(of) + 1) * u128::from(from.weight(by).max(1));
    burden(one, other) < burden(other, one)
}

/// A number below `below` (0 if that is 0), of a number of which any is as likely.
pub(super) fn scaled(random: u64, below: u64) -> u64 {
    ((u128::from(random) * u128::from(below)) >> 64) as u64
}

/// Chance, of one data thread: splitmix64. It balances, and keeps no secret.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(mix(seed)))
    }

    pub(super) fn next(&self) -> u64 {
        let state = self.0.load(Relaxed).wrapping_add(STEP);
        self.0.store(state, Relaxed);
        mix(state)
    }
}

#[cfg(test)]
mod tests;
