//! What one connection does, for whoever asks: counted by its own data thread with plain stores, read from anywhere.
//!
//! A request that is answered at once costs one count. One that waits for a slot or for its handler is noted with its host and
//! target, so that a request that hangs can be named while it does; of several on one connection, the one that was noted first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::uri::PathAndQuery;

use super::{Count, HostName};

/// What a connection does, and has done.
#[derive(Debug, Default)]
pub struct Activity {
    flights: Arc<Flights>,
    requests: Count,
    received: Count,
    sent: Count,
    reads_head: AtomicBool,
    left_http: AtomicBool,
}

/// What the requests that are under way share with their connection.
#[derive(Debug, Default)]
struct Flights {
    queued: Count,
    working: Count,
    /// Of the request that came to a pool last.
    edge: AtomicUsize,
    pool: AtomicUsize,
    noted: Mutex<Option<Noted>>,
}

/// One request under way: its response is not sent yet. Dropping it ends that.
#[derive(Debug)]
pub struct InFlight {
    /// When it came.
    pub since: Instant,
    flights: Arc<Flights>,
    stand: Stand,
    is_noted: bool,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stand {
    /// Its answer is being found, or sent.
    #[default]
    Moving,
    /// It waits in its pool's queue.
    Queued,
    /// It is with its pool's handler.
    Working,
}

/// A pool, for as long as the edge that it is of is there to be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolMark {
    /// The address of the edge; 0: none.
    pub edge: usize,
    /// The pool's index in it.
    pub pool: usize,
}

/// A request that waits or is worked on, or whose response is being sent after that.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The host that it asked for.
    pub host: HostName,
    /// Its target.
    pub target: PathAndQuery,
    /// When it came.
    pub since: Instant,
}

/// What a connection does at one moment.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Requests whose response is not sent: the streams that are open, over HTTP/2 and HTTP/3.
    pub in_flight: usize,
    /// Of those, requests that wait in a queue.
    pub queued: u64,
    /// Of those, requests that are with a handler.
    pub working: u64,
    /// Where the last one that had to wait went.
    pub pool: PoolMark,
    /// Whether a part of a request's head has come.
    pub reads_head: bool,
    /// Whether it has left HTTP for a protocol of its own.
    pub left_http: bool,
    /// The request that was noted.
    pub noted: Option<Noted>,
}

impl Activity {
    /// Another request is under way, which came at this time.
    pub fn enter(&self, since: Instant) -> InFlight {
        self.requests.add(1);
        InFlight {
            since,
            flights: Arc::clone(&self.flights),
            stand: Stand::Moving,
            is_noted: false,
        }
    }

    /// Requests whose response is not sent.
    pub fn in_flight(&self) -> usize {
        // This one is no request's.
        Arc::strong_count(&self.flights) - 1
    }

    /// Bytes came.
    pub fn receive(&self, bytes: usize) {
        self.received.add(bytes as u64);
    }

    /// Bytes were sent.
    pub fn send(&self, bytes: usize) {
        self.sent.add(bytes as u64);
    }

    /// A part of a head has come, or the rest of it.
    pub fn reads_head(&self, reads: bool) {
        self.reads_head.store(reads, Relaxed);
    }

    /// It has left HTTP.
    pub fn leave_http(&self) {
        self.left_http.store(true, Relaxed);
    }

    /// Requests that ever came.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Bytes that came, and bytes that were sent.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// What it does now. Its parts are read one after the other, while it goes on.
    pub fn doing(&self) -> Doing {
        let flights = &self.flights;
        Doing {
            in_flight: self.in_flight(),
            queued: flights.queued.get(),
            working: flights.working.get(),
            pool: PoolMark {
                edge: flights.edge.load(Relaxed),
                pool: flights.pool.load(Relaxed),
            },
            reads_head: self.reads_head.load(Relaxed),
            left_http: self.left_http.load(Relaxed),
            noted: flights.noted().clone(),
        }
    }
}

impl Flights {
    fn noted(&self) -> MutexGuard<'_, Option<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, stand: Stand) -> Option<&Count> {
        match stand {
            Stand::Moving => None,
            Stand::Queued => Some(&self.queued),
            Stand::Working => Some(&self.working),
        }
    }
}

impl InFlight {
    /// It has to wait, in its pool's queue or for its handler.
    pub fn waits(
        &mut self,
        stand: Stand,
        mark: PoolMark,
        asked: impl FnOnce() -> (HostName, PathAndQuery),
    ) {
        self.flights.edge.store(mark.edge, Relaxed);
        self.flights.pool.store(mark.pool, Relaxed);
        if !self.is_noted {
            let mut place = self.flights.noted();
            if place.is_none() {
                let (host, target) = asked();
                *place = Some(Noted {
                    host,
                    target,
                    since: self.since,
                });
                drop(place);
                self.is_noted = true;
            }
        }
        self.stand(stand);
    }

    /// It has its answer.
    pub fn moves(&mut self) {
        if self.stand != Stand::Moving {
            self.stand(Stand::Moving);
        }
    }

    fn stand(&mut self, stand: Stand) {
        if let Some(count) = self.flights.count(self.stand) {
            count.add(u64::MAX);
        }
        if let Some(count) = self.flights.count(stand) {
            count.add(1);
        }
        self.stand = stand;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.moves();
        if self.is_noted {
            *self.flights.noted() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(path: &'static str) -> impl FnOnce() -> (HostName, PathAndQuery) {
        move || {
            let host = HostName::parse("shop.test").expect("a host");
            (host, PathAndQuery::from_static(path))
        }
    }

    fn path(activity: &Activity) -> Option<String> {
        activity.doing().noted.map(|it| it.target.to_string())
    }

    #[test]
    fn what_waits_is_named_until_its_response_is_sent() {
        let activity = Activity::default();
        let mark = PoolMark { edge: 1, pool: 2 };
        let mut one = activity.enter(Instant::now());
        assert_eq!((activity.in_flight(), path(&activity)), (1, None));
        one.waits(Stand::Queued, mark, noted("/one"));
        let doing = activity.doing();
        assert_eq!((doing.queued, doing.working, doing.pool), (1, 0, mark));
        one.waits(Stand::Working, mark, noted("/never"));
        let doing = activity.doing();
        assert_eq!((doing.queued, doing.working), (0, 1));
        one.moves();
        assert_eq!(activity.doing().working, 0);
        assert_eq!(path(&activity).as_deref(), Some("/one"));
        drop(one);
        assert_eq!((activity.in_flight(), path(&activity)), (0, None));
        assert_eq!(activity.requests(), 1);
    }

    #[test]
    fn of_several_the_first_is_named_and_none_leaves_a_trace() {
        let activity = Activity::default();
        let (mut one, mut two) = (
            activity.enter(Instant::now()),
            activity.enter(Instant::now()),
        );
        one.waits(Stand::Working, PoolMark::default(), noted("/one"));
        two.waits(Stand::Queued, PoolMark::default(), noted("/two"));
        assert_eq!(path(&activity).as_deref(), Some("/one"));
        // A client that goes away drops its requests wherever they are.
        drop(two);
        assert_eq!(path(&activity).as_deref(), Some("/one"));
        drop(one);
        let doing = activity.doing();
        assert_eq!((doing.in_flight, doing.queued, doing.working), (0, 0, 0));
        assert_eq!(path(&activity), None);
    }
}
