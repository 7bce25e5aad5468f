//! How many were at most so large: counted by one thread, added up when read.

use super::list::{Kind, Metric};
use crate::model::Count;

/// Upper bounds of durations. OpenTelemetry's for `http.server.request.duration`, with three below them: what is
/// served from memory takes microseconds.
pub(super) static SECONDS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Upper bounds of sizes in bytes.
pub(super) static SIZES: [f64; 7] = [0.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

const NANOS: [u64; SECONDS.len()] = scaled(&SECONDS, 1e9);
const BYTES: [u64; SIZES.len()] = scaled(&SIZES, 1.0);

const fn scaled<const N: usize>(bounds: &[f64; N], unit: f64) -> [u64; N] {
    let mut whole = [0; N];
    let mut index = 0;
    while index < N {
        // To the nearest: a product of floating point may lie just below what is meant.
        whole[index] = (bounds[index] * unit + 0.5) as u64;
        index += 1;
    }
    whole
}

/// Durations, as one thread counts them.
#[derive(Debug, Default)]
pub struct Durations(Histogram<{ SECONDS.len() }>);

/// Sizes, as one thread counts them.
#[derive(Debug, Default)]
pub(super) struct Sizes(Histogram<{ SIZES.len() }>);

#[derive(Debug)]
struct Histogram<const N: usize> {
    /// Those above one bound, and not above the next.
    counts: [Count; N],
    above: Count,
    sum: Count,
}

/// What several threads have counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// For each bound, how many are above the one before it and not above it; last, how many are above all.
    pub counts: Vec<u64>,
    /// All of them together, in the metric's unit.
    pub sum: f64,
}

impl Durations {
    /// Counts one.
    pub fn add(&self, duration: std::time::Duration) {
        // 584 years of them fit.
        self.0.add(&NANOS, duration.as_nanos() as u64);
    }

    /// Adds those of this thread to all.
    pub fn add_to(&self, sum: &mut Sum) {
        self.0.add_to(sum, 1e-9);
    }
}

impl Sizes {
    pub(super) fn add(&self, bytes: u64) {
        self.0.add(&BYTES, bytes);
    }

    pub(super) fn add_to(&self, sum: &mut Sum) {
        self.0.add_to(sum, 1.0);
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| Count::default()),
            above: Count::default(),
            sum: Count::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&self, bounds: &[u64; N], value: u64) {
        let bound = bounds.iter().position(|bound| value <= *bound);
        let count = bound.map_or(&self.above, |bound| &self.counts[bound]);
        count.add(1);
        self.sum.add(value);
    }

    fn add_to(&self, sum: &mut Sum, unit: f64) {
        sum.counts.resize(N + 1, 0);
        let counts = self.counts.iter().chain([&self.above]);
        for (all, count) in sum.counts.iter_mut().zip(counts) {
            *all += count.get();
        }
        sum.sum += self.sum.get() as f64 * unit;
    }
}

/// Below what the smallest share of them lies that is at least `share`, by what lies between the bounds of a histogram: as
/// Prometheus' `histogram_quantile` says it. None where there are none; above all bounds it is the last of them.
pub fn quantile(metric: &Metric, counts: &[u64], share: f64) -> Option<f64> {
    let Kind::Histogram(bounds) = metric.kind else {
        return None;
    };
    let all: u64 = counts.iter().sum();
    let rank = all as f64 * share;
    let (mut below, mut lower) = (0.0, 0.0);
    for (bound, count) in bounds.iter().zip(counts) {
        let here = *count as f64;
        if here > 0.0 && below + here >= rank {
            return Some(lower + (bound - lower) * ((rank - below) / here).clamp(0.0, 1.0));
        }
        (below, lower) = (below + here, *bound);
    }
    (all > 0).then_some(lower)
}

impl Sum {
    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds others of the same metric.
    pub fn add(&mut self, others: &Self) {
        self.counts
            .resize(others.counts.len().max(self.counts.len()), 0);
        for (all, count) in self.counts.iter_mut().zip(&others.counts) {
            *all += count;
        }
        self.sum += others.sum;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_value_counts_below_the_first_bound_that_it_does_not_exceed() {
        let (durations, mut sum) = (Durations::default(), Sum::default());
        for micros in [0, 500, 501, 1_000, 60_000_000, 60_000_001] {
            durations.add(Duration::from_micros(micros));
        }
        durations.add_to(&mut sum);
        assert_eq!(sum.counts[..3], [2, 2, 0]);
        assert_eq!(sum.counts[14..], [1, 1]);
        assert_eq!(sum.count(), 6);
        assert!((sum.sum - 120.002_002).abs() < 1e-6, "{}", sum.sum);
    }

    #[test]
    fn a_quantile_lies_between_the_bounds_that_it_lies_between() {
        let at =
            |counts: &[u64], share| quantile(&super::super::list::REQUEST_DURATION, counts, share);
        let mut counts = [0; SECONDS.len() + 1];
        assert_eq!(at(&counts, 0.5), None);
        // A hundred between 1 and 2.5 ms.
        counts[2] = 100;
        let close = |is: Option<f64>, to: f64| is.is_some_and(|is| (is - to).abs() < 1e-9);
        assert!(close(at(&counts, 0.5), 0.00175));
        assert!(close(at(&counts, 1.0), 0.0025));
        // One more that took longer than there are bounds for.
        counts[SECONDS.len()] = 100;
        assert!(close(at(&counts, 0.5), 0.0025));
        assert!(close(at(&counts, 0.99), 60.0));
    }
}
