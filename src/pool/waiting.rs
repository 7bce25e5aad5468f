//! The wait for a slot.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::queue::{Granted, Ticket};
use super::{Permit, Slots};
use crate::model::{Reason, Refusal};

/// A place in a pool's queue: the future of a [`Permit`].
///
/// Ends with `Timer_ReqQueue` once the pool's `queue_timeout` has gone by, and with the pool's own reason when that is
/// stopped meanwhile. Dropping it leaves the queue at once, so that a later arrival can have the place.
pub struct Waiting {
    /// In a box, as waiting is rare and what can wait is part of every request's future.
    inner: Box<Inner>,
}

/// Where in its queue a request began to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place, counted from 1.
    pub position: u32,
    /// How many may wait.
    pub length: u32,
    /// How many held a slot.
    pub running: u32,
}

struct Inner {
    slots: Slots,
    ticket: Ticket,
    place: Place,
    timeout: Duration,
    /// None: later than any clock can tell.
    deadline: Option<Instant>,
    /// Made at the first poll, which is sure to be inside a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the wait is over and the place in the queue gone.
    over: bool,
}

impl Waiting {
    pub(super) fn new(slots: Slots, ticket: Ticket, place: Place, timeout: Duration) -> Self {
        let inner = Inner {
            slots,
            ticket,
            place,
            timeout,
            deadline: Instant::now().checked_add(timeout),
            timer: None,
            over: false,
        };
        Self {
            inner: Box::new(inner),
        }
    }

    /// Where in the queue it began to wait.
    pub fn place(&self) -> Place {
        self.inner.place
    }
}

impl Future for Waiting {
    type Output = Result<Permit, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &mut *self.inner;
        // The slot first: it may have come in the same moment as the end of the wait.
        if let Poll::Ready(granted) = Pin::new(&mut inner.ticket.receiver).poll(cx) {
            inner.over = true;
            // The sender is dropped unsent only with the whole queue.
            let granted: Granted = granted.unwrap_or(Err(Reason::AppShutdown));
            return Poll::Ready(granted.map_err(|reason| inner.slots.closed(reason)));
        }
        let Some(deadline) = inner.deadline else {
            return Poll::Pending;
        };
        let timer = inner
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        if !inner.slots.leave(inner.ticket.number) {
            // What this request waited for is on its way, and will wake it.
            inner.deadline = None;
            return Poll::Pending;
        }
        inner.over = true;
        inner.slots.tally().timed_out.fetch_add(1, Relaxed);
        let detail = format!(
            "the request waited longer than the {:?} that its pool's queue_timeout allows",
            inner.timeout
        );
        Poll::Ready(Err(Refusal::new(Reason::TimerReqQueue, detail)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A permit that is on its way, or lies here unread, finds the receiver gone and goes to the next.
        if !self.inner.over {
            self.inner.slots.leave(self.inner.ticket.number);
            self.inner.slots.tally().abandoned.fetch_add(1, Relaxed);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("ticket", &self.inner.ticket.number)
            .finish_non_exhaustive()
    }
}
