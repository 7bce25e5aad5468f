//! Those who wait, in the order in which they came.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::Limits;
use super::{Permit, PoolState, Slots};
use crate::model::Reason;

/// What a wait ends with when somebody else ends it.
pub(super) type Granted = Result<Permit, Reason>;

/// Everything that only changes while the queue is locked.
#[derive(Debug)]
pub(super) struct Queue {
    /// By ticket: the lowest has waited longest, and any can leave without a search.
    waiters: BTreeMap<u64, Waiter>,
    next_ticket: u64,
    /// How long a request may wait.
    pub(super) timeout: Duration,
    /// The limits as configured, whatever holds just now.
    pub(super) limits: Limits,
    /// Whether anybody may come at all.
    pub(super) state: PoolState,
}

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Where its permit, or why there is none, is sent.
    sender: oneshot::Sender<Granted>,
    /// What its permit will hold. Taken by its own thread, so that nobody else counts on that thread's pointer.
    slots: Slots,
    since: Instant,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) receiver: oneshot::Receiver<Granted>,
}

impl Queue {
    pub(super) fn new(limits: Limits, timeout: Duration) -> Self {
        Self {
            waiters: BTreeMap::new(),
            next_ticket: 0,
            timeout,
            limits,
            state: PoolState::Started,
        }
    }

    /// Puts a request at the end.
    pub(super) fn push(&mut self, slots: Slots, since: Instant) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let number = self.next_ticket;
        self.next_ticket += 1;
        let waiter = Waiter {
            sender,
            slots,
            since,
        };
        self.waiters.insert(number, waiter);
        Ticket { number, receiver }
    }

    /// Takes out the request that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        self.waiters.pop_first().map(|(_, waiter)| waiter)
    }

    /// Takes out the request with this ticket, if it still waits.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waiter> {
        self.waiters.remove(&number)
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        std::mem::take(&mut self.waiters).into_values()
    }

    /// When the request that has waited longest came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiters.first_key_value().map(|(_, first)| first.since)
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}

impl Waiter {
    /// Hands a slot over. Gives it back when the request has gone away meanwhile.
    pub(super) fn grant(self) -> Result<(), Permit> {
        match self.sender.send(Ok(Permit::new(self.slots))) {
            Err(Ok(permit)) => Err(permit),
            Ok(()) | Err(Err(_)) => Ok(()),
        }
    }

    /// Ends the wait without a slot.
    pub(super) fn let_go(self, reason: Reason) {
        // Nobody is there to be told when the request has gone away meanwhile.
        let _ = self.sender.send(Err(reason));
    }
}
