//! Idle connections to an upstream, kept for the next request. Each data thread has its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;

use tokio::time::Instant;

use super::link::Link;
use crate::config::Keeping;

/// The idle connections of one data thread to one upstream. The lock is never contended, and an `Arc` that only one thread
/// clones costs that thread nothing to speak of.
#[derive(Clone)]
pub(in crate::handler::proxy::upstream) struct Shelf(Arc<Inner>);

struct Inner {
    keeping: Keeping,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    /// The one used last is at the end.
    #[expect(
        clippy::vec_box,
        reason = "links come boxed and go boxed: a pointer is what is moved"
    )]
    idle: Vec<Box<Link>>,
    /// Whether somebody looks after those that nobody takes any more.
    swept: bool,
}

impl Shelf {
    pub(in crate::handler::proxy::upstream) fn new(keeping: &Keeping) -> Self {
        Self(Arc::new(Inner {
            keeping: keeping.clone(),
            links: Mutex::default(),
        }))
    }

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

    #[cfg(test)]
    pub(in crate::handler::proxy::upstream) fn len(&self) -> usize {
        self.0.links().idle.len()
    }

    fn pop(&self) -> Option<Box<Link>> {
        let mut links = self.0.links();
        let link = links.idle.pop()?;
        if link.idle_since.elapsed() > self.0.keeping.idle_timeout {
            // Those before it have been idle for longer.
            links.idle.clear();
            return None;
        }
        Some(link)
    }

    /// Keeps a connection for the next request, which looks whether it is free. Drops those that have been idle for too long, and the
    /// one that has been for longest if there are too many.
    pub(super) fn put(&self, mut link: Box<Link>) {
        let keeping = &self.0.keeping;
        let now = Instant::now();
        link.carried += 1;
        let worn = keeping.max_requests.is_some_and(|max| link.carried >= max)
            || keeping.max_age.is_some_and(|max| now - link.born >= max);
        if worn || keeping.idle_connections == 0 {
            return;
        }
        link.idle_since = now;
        let mut links = self.0.links();
        let full = links.idle.len() >= keeping.idle_connections;
        let mut old = usize::from(full);
        while links
            .idle
            .get(old)
            .is_some_and(|first| now - first.idle_since > keeping.idle_timeout)
        {
            old += 1;
        }
        links.idle.drain(..old);
        links.idle.push(link);
        if !links.swept {
            links.swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.0), now + keeping.idle_timeout));
        }
    }
}

impl Inner {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has been idle for too long. When to look again, unless there is nothing left to look after.
    fn close_old(&self) -> Option<Instant> {
        let timeout = self.keeping.idle_timeout;
        let mut links = self.links();
        let now = Instant::now();
        let young = |link: &Link| now - link.idle_since < timeout;
        let old = links.idle.iter().take_while(|link| !young(link)).count();
        links.idle.drain(..old);
        let next = links.idle.first().map(|link| link.idle_since + timeout);
        links.swept = next.is_some();
        next
    }
}

/// Closes connections in time where no request comes that would. It wakes once in an `idle_timeout`, not once a request.
async fn sweep(shelf: Weak<Inner>, mut next: Instant) {
    loop {
        tokio::time::sleep_until(next).await;
        match shelf.upgrade().and_then(|shelf| shelf.close_old()) {
            Some(then) => next = then,
            None => return,
        }
    }
}
