//! A worker as those see it who send it requests: where it is, and what it is working on.
//!
//! Whoever sends a request enters first, and cannot once the worker is closed; so a worker that is closed and empty gets no
//! request ever, however late somebody was who still had its address.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use slab::Slab;
use tokio::sync::{Notify, watch};

use super::launch::WorkerAddress;
use super::machine::WorkerId;
use crate::model::thread_index;

/// A worker that was launched.
#[derive(Debug)]
pub struct Member {
    id: WorkerId,
    pid: u32,
    address: WorkerAddress,
    born: Instant,
    /// How many requests it has, and [`CLOSED`].
    work: AtomicU64,
    /// Told when it has no more, and is closed.
    empty: Notify,
    /// How many requests it ever had.
    entered: AtomicU64,
    /// What it has: a part for each data thread, so that none waits for another.
    requests: Box<[Mutex<Slab<Request>>]>,
    /// How it ended, once it has.
    death: watch::Sender<Option<Arc<str>>>,
}

#[derive(Debug)]
struct Request {
    method: Method,
    path: Box<str>,
    since: Instant,
}

/// A request that a worker has. Dropped when its work is done.
#[derive(Debug)]
pub struct Work {
    member: Arc<Member>,
    part: usize,
    key: usize,
}

/// What a worker is working on, as a sentence's end.
#[derive(Debug, Default)]
pub struct Serving {
    count: usize,
    /// The oldest, and for how long it has had them.
    oldest: Vec<(String, Duration)>,
}

/// In [`Member::work`]: nobody may enter.
const CLOSED: u64 = 1 << 63;

/// How much of a path is kept, and how many requests are named.
const PATH_KEPT_MAX: usize = 128;
const NAMED_MAX: usize = 3;

impl Member {
    /// A worker that nobody has sent anything, for `threads` data threads.
    pub fn new(id: WorkerId, pid: u32, address: WorkerAddress, threads: usize) -> Self {
        Self {
            id,
            pid,
            address,
            born: Instant::now(),
            work: AtomicU64::new(0),
            empty: Notify::new(),
            entered: AtomicU64::new(0),
            requests: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
            death: watch::Sender::new(None),
        }
    }

    /// Its number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    pub fn address(&self) -> &WorkerAddress {
        &self.address
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// A request is to be sent to it. None: it takes no more.
    pub fn enter(self: &Arc<Self>, method: &Method, path: &str) -> Option<Work> {
        if self.work.fetch_add(1, AcqRel) & CLOSED != 0 {
            self.leave();
            return None;
        }
        self.entered.fetch_add(1, Relaxed);
        let part = thread_index() % self.requests.len();
        let key = self.part(part).insert(Request {
            method: method.clone(),
            path: path[..path.floor_char_boundary(PATH_KEPT_MAX)].into(),
            since: Instant::now(),
        });
        Some(Work {
            member: Arc::clone(self),
            part,
            key,
        })
    }

    fn leave(&self) {
        if self.work.fetch_sub(1, AcqRel) == CLOSED + 1 {
            self.empty.notify_waiters();
        }
    }

    /// Nobody enters from now on.
    pub fn close(&self) {
        self.work.fetch_or(CLOSED, AcqRel);
    }

    /// Whoever comes may enter again.
    pub fn open(&self) {
        self.work.fetch_and(!CLOSED, AcqRel);
    }

    /// Whether nobody may enter.
    pub fn is_closed(&self) -> bool {
        self.work.load(Acquire) & CLOSED != 0
    }

    /// How many requests it has.
    pub fn in_flight(&self) -> u64 {
        self.work.load(Acquire) & !CLOSED
    }

    /// How many requests it ever had.
    pub fn entered(&self) -> u64 {
        self.entered.load(Relaxed)
    }

    /// Waits until it is closed and has no request.
    pub async fn drained(&self) {
        loop {
            let empty = self.empty.notified();
            let mut empty = std::pin::pin!(empty);
            empty.as_mut().enable();
            if self.work.load(Acquire) == CLOSED {
                return;
            }
            empty.await;
        }
    }

    /// It has ended, and how.
    pub fn died(&self, how: &str) {
        self.close();
        self.death.send_replace(Some(how.into()));
    }

    /// How it ended; waits for that.
    pub async fn death(&self) -> Arc<str> {
        let mut death = self.death.subscribe();
        match death.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(how)) => Arc::clone(how),
            // The sender is its own, and outlives this.
            _ => "it ended".into(),
        }
    }

    /// What it is working on.
    pub fn serving(&self) -> Serving {
        let mut all: Vec<(Instant, String)> = Vec::new();
        for part in 0..self.requests.len() {
            let requests = self.part(part);
            let named = requests
                .iter()
                .map(|(_, it)| (it.since, format!("{} {}", it.method, it.path)));
            all.extend(named);
        }
        all.sort();
        let count = all.len();
        let oldest = all.into_iter().take(NAMED_MAX);
        Serving {
            count,
            oldest: oldest
                .map(|(since, what)| (what, since.elapsed()))
                .collect(),
        }
    }

    fn part(&self, part: usize) -> MutexGuard<'_, Slab<Request>> {
        let part = &self.requests[part];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Who has the request.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.member.part(self.part).try_remove(self.key);
        self.member.leave();
    }
}

impl Serving {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("it was serving nothing");
        }
        f.write_str("it was serving ")?;
        for (index, (what, since)) in self.oldest.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{what} for {:.1}s", since.as_secs_f64())?;
        }
        match self.count - self.oldest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn member() -> Arc<Member> {
        let id = WorkerId {
            generation: 1,
            number: 1,
        };
        let address = WorkerAddress::Unix(PathBuf::from("/tmp/worker.sock"));
        Arc::new(Member::new(id, 4711, address, 2))
    }

    #[tokio::test]
    async fn a_worker_that_is_closed_and_empty_gets_no_request_ever() {
        let member = member();
        let work = member.enter(&Method::GET, "/").expect("it is open");
        member.close();
        assert!(member.enter(&Method::GET, "/").is_none());
        assert_eq!((member.in_flight(), member.entered()), (1, 1));
        let waits = tokio::spawn({
            let member = Arc::clone(&member);
            async move { member.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(work);
        waits.await.expect("it is drained");
        member.open();
        assert!(member.enter(&Method::GET, "/").is_some());
    }

    #[test]
    fn what_a_worker_was_serving_is_told_with_its_age_and_bounded() {
        let member = member();
        assert_eq!(member.serving().to_string(), "it was serving nothing");
        let long = "/é".repeat(200);
        let _work: Vec<_> = ["/first", &long, "/third", "/fourth", "/fifth"]
            .iter()
            .map(|path| member.enter(&Method::POST, path).expect("it is open"))
            .collect();
        let told = member.serving().to_string();
        assert!(
            told.starts_with("it was serving POST /first for 0.0s, POST /é"),
            "{told}"
        );
        assert!(told.ends_with(" and 2 more"), "{told}");
        assert!(told.len() < 300);
    }

    #[test]
    fn entering_and_closing_on_many_threads_never_meet() {
        let member = member();
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Some(work) = member.enter(&Method::GET, "/") {
                            inside.fetch_add(1, AcqRel);
                            inside.fetch_sub(1, AcqRel);
                            drop(work);
                        }
                    }
                });
            }
            for _ in 0..2_000 {
                member.close();
                while member.in_flight() > 0 {
                    std::hint::spin_loop();
                }
                assert_eq!(inside.load(Acquire), 0, "inside though it is drained");
                member.open();
            }
        });
    }
}
