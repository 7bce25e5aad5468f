//! Idle connections to an application, where it is one that serves others meanwhile. Each data thread has its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// The idle connections of one data thread. The lock is never contended.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Inner>);

struct Inner {
    most: usize,
    timeout: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last is at the end.
    connections: Vec<Connection>,
    /// Whether somebody looks after those that nobody takes any more.
    swept: bool,
}

impl Shelf {
    pub(super) fn new(most: usize, timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            most,
            timeout,
            idle: Mutex::default(),
        }))
    }

    /// Whether any connection is ever kept.
    pub(super) fn keeps(&self) -> bool {
        self.0.most > 0
    }

    /// A connection that stands: the one that was used last, so that those which are not needed grow old.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let mut connection = self.0.idle().connections.pop()?;
            let is_young = connection.idle_since.elapsed() <= self.0.timeout;
            if is_young && connection.is_free(cx) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request; the one that has been idle for longest goes if there are too many.
    pub(super) fn put(&self, mut connection: Connection) {
        if !self.keeps() {
            return;
        }
        let now = Instant::now();
        connection.idle_since = now;
        let mut idle = self.0.idle();
        if idle.connections.len() >= self.0.most {
            idle.connections.remove(0);
        }
        idle.connections.push(connection);
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.0), now + self.0.timeout));
        }
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has been idle for too long. When to look again, unless there is nothing left to look after.
    fn close_old(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut idle = self.idle();
        idle.connections
            .retain(|connection| now - connection.idle_since < self.timeout);
        let next = idle.connections.first();
        let next = next.map(|connection| connection.idle_since + self.timeout);
        idle.swept = next.is_some();
        next
    }
}

/// Closes connections in time where no request comes that would.
async fn sweep(shelf: Weak<Inner>, mut next: Instant) {
    loop {
        tokio::time::sleep_until(next).await;
        match shelf.upgrade().and_then(|shelf| shelf.close_old()) {
            Some(then) => next = then,
            None => return,
        }
    }
}
