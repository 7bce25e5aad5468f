//! Idle connections to upstreams, kept for the next request. Each data thread has its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use crate::model::PerThread;

/// The idle connections of one proxy.
pub(super) struct IdleLinks {
    /// By upstream, and by data thread: an `Arc` that only one thread clones costs that thread nothing to speak of.
    shelves: Box<[PerThread<Shelf>]>,
}

/// The idle connections of one data thread to one upstream; the one used last is at the end. The lock is never contended.
#[derive(Clone, Default)]
#[expect(
    clippy::vec_box,
    reason = "links come boxed and go boxed: a pointer is what is moved"
)]
pub(super) struct Shelf(Arc<Mutex<Vec<Box<Link>>>>);

impl IdleLinks {
    pub(super) fn new(threads: usize, upstreams: usize) -> Self {
        Self {
            shelves: (0..upstreams)
                .map(|_| PerThread::new(threads, |_| Shelf::default()))
                .collect(),
        }
    }

    /// This thread's connections to one upstream.
    pub(super) fn shelf(&self, upstream: usize) -> &Shelf {
        self.shelves[upstream].mine()
    }
}

impl Shelf {
    /// A connection that stands: the one that was used last, so that those which are not needed grow old.
    ///
    /// Must be asked by the task that is to have it.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Box<Link>> {
        loop {
            let mut link = self.pop()?;
            if link.is_free(cx) {
                return Some(link);
            }
        }
    }

    fn pop(&self) -> Option<Box<Link>> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.pop()?;
        if link.idle_since.elapsed() > IDLE_MAX {
            // Those before it have been idle for longer.
            links.clear();
            return None;
        }
        Some(link)
    }

    /// Keeps a connection for the next request, if it is free for one. Drops those that have been idle for too long, and the
    /// one that has been for longest if there are too many.
    pub(super) fn put(&self, mut link: Box<Link>, cx: &mut Context<'_>) {
        if !link.is_free(cx) {
            return;
        }
        link.idle_since = Instant::now();
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = links.len() >= IDLE_LINKS_MAX;
        let mut old = usize::from(full);
        while links
            .get(old)
            .is_some_and(|first| link.idle_since - first.idle_since > IDLE_MAX)
        {
            old += 1;
        }
        links.drain(..old);
        links.push(link);
    }
}

/// Idle connections to an upstream that a data thread keeps. nginx' `keepalive` is mostly set to 16 or 32 a process.
const IDLE_LINKS_MAX: usize = 64;

/// Shorter than the least that is common among upstreams that close idle connections at a minute (nginx 75 s, gunicorn 2 s and
/// Node 5 s being shorter still: those are noticed when the connection is taken).
const IDLE_MAX: Duration = Duration::from_secs(30);
