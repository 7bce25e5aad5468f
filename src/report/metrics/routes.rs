//! Requests, counted by the route that took them.
//!
//! A site's counts outlive a reload as long as its routes are the same; otherwise they begin anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::model::{Count, PerThread};

/// The requests that each of a site's routes took.
#[derive(Debug)]
pub struct RouteCounts {
    routes: usize,
    /// One slice for each data thread, made by itself.
    threads: PerThread<OnceLock<Box<[Count]>>>,
}

/// A site by its name, and its routes as they are written.
type Site = (String, Vec<String>);

/// The counts of all sites.
#[derive(Debug, Default)]
pub(super) struct Routed(Mutex<BTreeMap<Site, Arc<RouteCounts>>>);

impl RouteCounts {
    fn new(threads: usize, routes: usize) -> Self {
        Self {
            routes,
            threads: PerThread::new(threads, |_| OnceLock::new()),
        }
    }

    /// A route took a request.
    pub fn count(&self, route: usize) {
        let make = || (0..self.routes).map(|_| Count::default()).collect();
        if let Some(count) = self.threads.mine().get_or_init(make).get(route) {
            count.add(1);
        }
    }

    /// How many requests a route took.
    pub fn of(&self, route: usize) -> u64 {
        let threads = self.threads.iter().filter_map(OnceLock::get);
        let counts = threads.filter_map(|counts| counts.get(route));
        counts.map(Count::get).sum()
    }
}

impl Routed {
    /// The counts of these sites, those of others that nobody counts in any more are let go.
    pub(super) fn open(
        &self,
        threads: usize,
        sites: impl Iterator<Item = Site>,
    ) -> Box<[Arc<RouteCounts>]> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, counts| Arc::strong_count(counts) > 1);
        sites
            .map(|site| {
                let routes = site.1.len();
                let counts = all.entry(site);
                let new = || Arc::new(RouteCounts::new(threads, routes));
                Arc::clone(counts.or_insert_with(new))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_s_counts_go_on_while_its_routes_are_the_same() {
        let routed = Routed::default();
        let open = |paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            routed.open(2, [("shop".to_owned(), paths)].into_iter())
        };
        let first = open(&["/", "/api"]);
        first[0].count(1);
        first[0].count(1);
        first[0].count(9);
        let same = open(&["/", "/api"]);
        assert_eq!((same[0].of(0), same[0].of(1)), (0, 2));
        drop((first, same));
        let other = open(&["/", "/cart"]);
        assert_eq!((other[0].of(0), other[0].of(1)), (0, 0));
    }
}
