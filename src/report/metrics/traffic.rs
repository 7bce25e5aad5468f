//! Responses, counted by the binding and the pool of their requests.
//!
//! A configuration is given its series when it is built, and a request finds its own by two indices. Series outlive a reload
//! as long as their binding and their pool are there by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Sum;
use super::histogram::{Durations, Sizes};
use crate::model::{Count, PerThreadLazily, Protocol, Reason};

/// The responses to requests of one binding that were for one pool.
#[derive(Debug)]
pub struct Traffic(PerThreadLazily<ThreadTraffic>);

#[derive(Debug, Default)]
struct ThreadTraffic {
    /// By protocol and class of status; most of them never come up.
    durations: [OnceLock<Box<Durations>>; PROTOCOLS.len() * CLASSES.len()],
    received: Sizes,
    sent: Sizes,
}

/// What the requests of one pool had to wait, and what became of those that failed.
#[derive(Debug)]
pub struct PoolTraffic(PerThreadLazily<ThreadPool>);

#[derive(Debug)]
struct ThreadPool {
    waits: Durations,
    refused: [Count; Reason::ALL.len()],
}

/// A response at its end.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// What was spoken.
    pub protocol: Protocol,
    /// Its status.
    pub status: u16,
    /// From the request's first step to its own end.
    pub duration: Duration,
    /// Bytes of the request's content that were read.
    pub received: u64,
    /// Bytes of its own content that were sent.
    pub sent: u64,
}

/// Where the requests of one configuration are counted.
#[derive(Debug)]
pub struct Tallies {
    /// Of requests that are for no binding.
    nowhere: Arc<Traffic>,
    /// For each binding by its index: for each of its pools by theirs, in their order, and for none.
    bindings: Box<[OfBinding]>,
    pools: Box<[Arc<PoolTraffic>]>,
}

type OfBinding = Box<[(Option<usize>, Arc<Traffic>)]>;

/// All series there are.
#[derive(Debug, Default)]
pub(super) struct Book {
    traffic: Mutex<BTreeMap<(String, String), Arc<Traffic>>>,
    pools: Mutex<BTreeMap<String, Arc<PoolTraffic>>>,
}

/// What was counted of one binding and pool.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// As logs write it; empty: none.
    pub binding: String,
    /// The name; empty: none.
    pub pool: String,
    /// By protocol and class of status, of those that came up.
    pub durations: Vec<(&'static str, &'static str, Sum)>,
    /// Of requests.
    pub received: Sum,
    /// Of responses.
    pub sent: Sum,
}

/// What was counted of one pool.
#[derive(Clone, Debug)]
pub struct PoolCounted {
    /// The name.
    pub pool: String,
    /// Of requests that waited and got a slot.
    pub waits: Sum,
    /// By reason, in the order of [`Reason::ALL`].
    pub refused: Vec<u64>,
}

/// As the access log writes them.
pub const PROTOCOLS: [&str; 3] = ["http/1.1", "h2", "h3"];

/// The classes of statuses.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Each protocol with each class, in the order in which a thread has its histograms.
static KINDS: [(&str, &str); PROTOCOLS.len() * CLASSES.len()] = {
    let mut kinds = [("", ""); PROTOCOLS.len() * CLASSES.len()];
    let mut index = 0;
    while index < kinds.len() {
        kinds[index] = (
            PROTOCOLS[index / CLASSES.len()],
            CLASSES[index % CLASSES.len()],
        );
        index += 1;
    }
    kinds
};

impl Traffic {
    /// Counts a response.
    pub fn count(&self, answered: &Answered) {
        let mine = self.0.mine();
        let protocol = match answered.protocol {
            Protocol::Http2 => 1,
            Protocol::Http3 => 2,
            _ => 0,
        };
        // The http crate takes 100 to 999; above 599 nobody knows what is meant.
        let class = usize::from(answered.status / 100).clamp(1, CLASSES.len()) - 1;
        mine.durations[protocol * CLASSES.len() + class]
            .get_or_init(Box::default)
            .add(answered.duration);
        mine.received.add(answered.received);
        mine.sent.add(answered.sent);
    }

    fn counted(&self, binding: &str, pool: &str) -> Counted {
        let mut counted = Counted {
            binding: binding.to_owned(),
            pool: pool.to_owned(),
            ..Counted::default()
        };
        for thread in self.0.iter() {
            thread.received.add_to(&mut counted.received);
            thread.sent.add_to(&mut counted.sent);
        }
        for (index, &(protocol, class)) in KINDS.iter().enumerate() {
            let mut sum = Sum::default();
            let threads = self.0.iter().filter_map(|it| it.durations[index].get());
            threads.for_each(|it| it.add_to(&mut sum));
            if sum.count() > 0 {
                counted.durations.push((protocol, class, sum));
            }
        }
        counted
    }
}

impl Counted {
    /// How many responses.
    pub fn responses(&self) -> u64 {
        self.durations.iter().map(|(.., sum)| sum.count()).sum()
    }

    /// Those of one binding, of what [`Metrics::traffic`](super::Metrics::traffic) gives, which is in the order of their names.
    pub fn of_binding<'a>(all: &'a [Self], binding: &str) -> &'a [Self] {
        let begin = all.partition_point(|it| it.binding.as_str() < binding);
        let length = all[begin..].partition_point(|it| it.binding == binding);
        &all[begin..begin + length]
    }

    /// How many of a class of status.
    pub fn of_class(&self, class: &str) -> u64 {
        let of = self.durations.iter().filter(|(_, of, _)| *of == class);
        of.map(|(.., sum)| sum.count()).sum()
    }
}

impl PoolCounted {
    /// That of one pool, of what [`Metrics::pools`](super::Metrics::pools) gives, which is in the order of their names.
    pub fn of_pool<'a>(all: &'a [Self], pool: &str) -> Option<&'a Self> {
        let found = all.binary_search_by(|it| it.pool.as_str().cmp(pool));
        found.ok().map(|place| &all[place])
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        Self {
            waits: Durations::default(),
            refused: std::array::from_fn(|_| Count::default()),
        }
    }
}

impl PoolTraffic {
    /// A request that had to wait has a slot.
    pub fn waited(&self, wait: Duration) {
        self.0.mine().waits.add(wait);
    }

    /// A request of this pool failed.
    pub fn refused(&self, reason: Reason) {
        // `Reason::ALL` has every reason once, in the order of their declaration.
        self.0.mine().refused[reason as usize].add(1);
    }
}

impl Tallies {
    /// Where a response is counted.
    pub fn traffic(&self, binding: Option<usize>, pool: Option<usize>) -> &Traffic {
        let of = binding.and_then(|binding| self.bindings.get(binding));
        let found = of.and_then(|of| {
            let place = of.binary_search_by_key(&pool, |(pool, _)| *pool);
            place.ok().map(|place| &of[place].1)
        });
        found.unwrap_or(&self.nowhere)
    }

    /// Where what becomes of a pool's requests is counted.
    pub fn pool(&self, pool: usize) -> Option<&PoolTraffic> {
        self.pools.get(pool).map(|pool| &**pool)
    }
}

impl Book {
    /// The series of a configuration: bindings by their names, each with the pools that its requests may be for, and pools by
    /// theirs. Those that no configuration has any more are let go.
    pub(super) fn open<'a>(
        &self,
        threads: usize,
        bindings: impl Iterator<Item = (String, Vec<usize>)>,
        pools: impl Iterator<Item = &'a str>,
    ) -> Tallies {
        let names: Vec<&str> = pools.collect();
        let mut all = lock(&self.traffic);
        all.retain(|_, traffic| Arc::strong_count(traffic) > 1);
        let mut open = |binding: &str, pool: &str| {
            let new = || Arc::new(Traffic(PerThreadLazily::new(threads)));
            let place = all.entry((binding.to_owned(), pool.to_owned()));
            Arc::clone(place.or_insert_with(new))
        };
        let nowhere = open("", "");
        let bindings = bindings.map(|(binding, mut pools)| {
            pools.sort_unstable();
            pools.dedup();
            let pools = pools.into_iter().map(Some);
            let of = [None].into_iter().chain(pools);
            of.map(|pool| (pool, open(&binding, pool.map_or("", |pool| names[pool]))))
                .collect()
        });
        let bindings = bindings.collect();
        let mut of_pools = lock(&self.pools);
        of_pools.retain(|_, pool| Arc::strong_count(pool) > 1);
        let pools = names.iter().map(|name| {
            let new = || Arc::new(PoolTraffic(PerThreadLazily::new(threads)));
            Arc::clone(of_pools.entry((*name).to_owned()).or_insert_with(new))
        });
        Tallies {
            nowhere,
            bindings,
            pools: pools.collect(),
        }
    }

    pub(super) fn traffic(&self) -> Vec<Counted> {
        let all = lock(&self.traffic);
        all.iter()
            .map(|((binding, pool), traffic)| traffic.counted(binding, pool))
            .collect()
    }

    pub(super) fn pools(&self) -> Vec<PoolCounted> {
        let all = lock(&self.pools);
        let counted = |(name, pool): (&String, &Arc<PoolTraffic>)| {
            let mut waits = Sum::default();
            let mut refused = vec![0; Reason::ALL.len()];
            for thread in pool.0.iter() {
                thread.waits.add_to(&mut waits);
                for (all, one) in refused.iter_mut().zip(&thread.refused) {
                    *all += one.get();
                }
            }
            PoolCounted {
                pool: name.clone(),
                waits,
                refused,
            }
        };
        all.iter().map(counted).collect()
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
