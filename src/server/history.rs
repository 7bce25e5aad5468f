//! The last hour in small steps: what was counted in each, and how it stood at its end. Pure: whoever calls says what time it is,
//! and what was counted since the start; the steps are the differences.
//!
//! An hour is bounded: so many steps, each of a size that the reasons and [`QUEUES_MAX`] bound, whatever clients do. What tells
//! series apart is the configuration's own.

mod told;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::Reason;
use crate::report::metrics::{CLASSES, Counted};

/// The steps of the last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    steps: VecDeque<Step>,
    /// How many there ever were.
    taken: u64,
    before: Before,
}

/// What was counted since the start, and how it stands now.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// By binding and pool.
    pub traffic: Vec<Counted>,
    /// By reason, in the order of [`Reason::ALL`].
    pub refused: Vec<u64>,
    /// Handshakes that were done.
    pub handshakes: u64,
    /// Connections that are open.
    pub connections: usize,
    /// By pool: its name, how many requests have a slot, and how many wait for one.
    pub pools: Vec<(String, u32, u32)>,
}

/// What the step before ended with.
#[derive(Debug, Default)]
struct Before {
    at: Duration,
    /// By binding and pool.
    traffic: HashMap<(String, String), Series>,
    refused: Vec<u64>,
    handshakes: u64,
    /// The names of pools, so that steps share them.
    names: HashMap<String, Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Series {
    by_class: [u64; CLASSES.len()],
    durations: [u64; BUCKETS],
    received: u64,
    sent: u64,
}

/// One step.
#[derive(Debug)]
struct Step {
    number: u64,
    /// When it ended, since the process began; no clock that is set changes it.
    at: Duration,
    /// The same, as a clock on the wall shows it.
    time: SystemTime,
    took: Duration,
    /// What was counted in it, of all bindings.
    traffic: Series,
    refused: Box<[(Reason, u64)]>,
    handshakes: u64,
    connections: usize,
    running: u32,
    waiting: u32,
    /// Requests that wait, by pool, of those in which some do.
    queues: Box<[(Arc<str>, u32)]>,
    /// Responses, by binding: of the last step alone.
    of_bindings: HashMap<String, u64>,
}

impl History {
    /// Takes a step. `at`: since the process began; `time`: the same on the wall.
    pub(super) fn take(&mut self, at: Duration, time: SystemTime, look: Look) {
        let took = at.saturating_sub(self.before.at);
        if took.is_zero() {
            return;
        }
        if let Some(last) = self.steps.back_mut() {
            last.of_bindings = HashMap::new();
        }
        let step = self.step(at, time, took, look);
        self.before.at = at;
        self.steps.push_back(step);
        self.taken += 1;
        let is_old = |step: &Step| at.saturating_sub(step.at) >= KEPT;
        while self.steps.len() > STEPS_MAX || self.steps.front().is_some_and(is_old) {
            self.steps.pop_front();
        }
    }

    fn step(&mut self, at: Duration, time: SystemTime, took: Duration, look: Look) -> Step {
        let before = &mut self.before;
        let (traffic, of_bindings) = before.traffic_since(&look.traffic);
        let refused = refused_since(&before.refused, &look.refused);
        let handshakes = look.handshakes.saturating_sub(before.handshakes);
        (before.refused, before.handshakes) = (look.refused, look.handshakes);
        let sum = |of: fn(&(String, u32, u32)) -> u32| look.pools.iter().map(of).sum();
        Step {
            number: self.taken,
            at,
            time,
            took,
            traffic,
            refused,
            handshakes,
            connections: look.connections,
            running: sum(|(_, running, _)| *running),
            waiting: sum(|(.., waiting)| *waiting),
            queues: before.queues(&look.pools),
            of_bindings,
        }
    }
}

impl Before {
    /// What came to each series since, in all and by binding. A series that is new, or was begun anew, counts from nothing.
    fn traffic_since(&mut self, all: &[Counted]) -> (Series, HashMap<String, u64>) {
        let (mut total, mut of_bindings) = (Series::default(), HashMap::new());
        let mut now = HashMap::with_capacity(all.len());
        for counted in all {
            let key = (counted.binding.clone(), counted.pool.clone());
            let series = Series::of(counted);
            let before = self.traffic.get(&key).copied().unwrap_or_default();
            let since = series.since(&before);
            total.add(&since);
            *of_bindings.entry(key.0.clone()).or_default() += since.responses();
            now.insert(key, series);
        }
        self.traffic = now;
        (total, of_bindings)
    }

    /// The fullest queues.
    fn queues(&mut self, pools: &[(String, u32, u32)]) -> Box<[(Arc<str>, u32)]> {
        // Names of pools that are gone go with their last step.
        (self.names).retain(|name, _| pools.iter().any(|(known, ..)| known == name));
        let mut full: Vec<_> = pools.iter().filter(|(.., waiting)| *waiting > 0).collect();
        full.sort_by_key(|(.., waiting)| std::cmp::Reverse(*waiting));
        full.truncate(QUEUES_MAX);
        let named = full.into_iter().map(|(name, _, waiting)| {
            let shared = self.names.entry(name.clone());
            let shared = shared.or_insert_with(|| Arc::from(&**name));
            (Arc::clone(shared), *waiting)
        });
        named.collect()
    }
}

fn refused_since(before: &[u64], now: &[u64]) -> Box<[(Reason, u64)]> {
    let of = |index: usize| now[index].saturating_sub(before.get(index).copied().unwrap_or(0));
    let all = Reason::ALL.iter().take(now.len()).enumerate();
    all.map(|(index, reason)| (*reason, of(index)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

impl Series {
    fn of(counted: &Counted) -> Self {
        let mut series = Self {
            received: counted.received.sum as u64,
            sent: counted.sent.sum as u64,
            ..Self::default()
        };
        for (_, class, sum) in &counted.durations {
            if let Some(class) = CLASSES.iter().position(|known| known == class) {
                series.by_class[class] += sum.count();
            }
            for (all, count) in series.durations.iter_mut().zip(&sum.counts) {
                *all += count;
            }
        }
        series
    }

    fn since(&self, before: &Self) -> Self {
        if self.responses() < before.responses() {
            return *self;
        }
        let less = |now: &[u64], before: &[u64], to: &mut [u64]| {
            for ((to, now), before) in to.iter_mut().zip(now).zip(before) {
                *to = now.saturating_sub(*before);
            }
        };
        let mut since = Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            ..Self::default()
        };
        less(&self.by_class, &before.by_class, &mut since.by_class);
        less(&self.durations, &before.durations, &mut since.durations);
        since
    }

    fn add(&mut self, other: &Self) {
        let both = self.by_class.iter_mut().zip(other.by_class);
        both.for_each(|(all, one)| *all += one);
        let both = self.durations.iter_mut().zip(other.durations);
        both.for_each(|(all, one)| *all += one);
        self.received += other.received;
        self.sent += other.sent;
    }

    fn responses(&self) -> u64 {
        self.by_class.iter().sum()
    }
}

/// What is kept.
pub(super) const KEPT: Duration = Duration::from_secs(3600);
/// An hour of steps of five seconds.
const STEPS_MAX: usize = 720;
/// Pools whose queue one step remembers, the fullest first.
const QUEUES_MAX: usize = 64;
/// The bounds of durations, and what is above all of them.
const BUCKETS: usize = 16;

#[cfg(test)]
mod tests;
