//! Idle connections to upstreams, kept for the next request. Each data thread has its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use crate::model::PerThread;

/// The idle connections of one proxy.
pub(super) struct IdleLinks {
    /// By data thread, and by upstream; the one used last is at the end. The lock is never contended.
    links: PerThread<Mutex<Vec<Vec<Link>>>>,
}

impl IdleLinks {
    pub(super) fn new(threads: usize, upstreams: usize) -> Self {
        Self {
            links: PerThread::new(threads, |_| {
                Mutex::new((0..upstreams).map(|_| Vec::new()).collect())
            }),
        }
    }

    /// The connection to an upstream that was used last, if one has not been idle for too long.
    pub(super) fn take(&self, upstream: usize) -> Option<Link> {
        let mut links = self
            .links
            .mine()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let links = &mut links[upstream];
        let link = links.pop()?;
        if link.idle_since.elapsed() > IDLE_MAX {
            // Those before it have been idle for longer.
            links.clear();
            return None;
        }
        Some(link)
    }

    /// Keeps a connection for the next request; drops the one that has been idle for longest if there are too many.
    pub(super) fn put(&self, upstream: usize, mut link: Link) {
        link.reused = true;
        link.idle_since = Instant::now();
        let mut links = self
            .links
            .mine()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let links = &mut links[upstream];
        if links.len() >= IDLE_LINKS_MAX {
            links.remove(0);
        }
        links.push(link);
    }
}

/// Idle connections to an upstream that a data thread keeps. nginx' `keepalive` is mostly set to 16 or 32 a process.
const IDLE_LINKS_MAX: usize = 64;

/// Shorter than the least that is common among upstreams that close idle connections at a minute (nginx 75 s, gunicorn 2 s and
/// Node 5 s being shorter still: those are noticed when the connection is taken).
const IDLE_MAX: Duration = Duration::from_secs(30);
