//! The queue around the decisions: slots, waiters, and their hand-over.
//!
//! Fast path: a free slot is taken by one compare-and-swap. Everything that touches waiters happens under one lock, and the
//! word is looked at again there, so that an arrival that is about to wait and an ending that looks for waiters always see
//! each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::admission::{Arrival, Limits, Slot, State};

/// A bounded number of slots, and a bounded queue for them.
#[derive(Debug)]
pub(super) struct Queue {
    word: AtomicU64,
    concurrency: AtomicU32,
    queue_length: AtomicU32,
    waiters: Mutex<Waiters>,
}

/// In the order of their arrival. A sender whose receiver is gone belongs to a request that is leaving.
#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    by_arrival: BTreeMap<u64, oneshot::Sender<Held>>,
}

/// A slot. Dropping it ends the request's work: the slot is free, or the next request's.
#[derive(Debug)]
pub(super) struct Held {
    queue: Option<Arc<Queue>>,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
    pub(super) turn: oneshot::Receiver<Held>,
}

pub(super) enum Entered {
    Runs(Held),
    Waits(Ticket),
    Refused,
}

impl Queue {
    pub(super) fn new(concurrency: usize, queue_length: usize) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(0),
            concurrency: AtomicU32::new(clamp(concurrency)),
            queue_length: AtomicU32::new(clamp(queue_length)),
            waiters: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> State {
        State::unpack(self.word.load(Ordering::Acquire))
    }

    fn limits(&self) -> Limits {
        Limits {
            concurrency: self.concurrency.load(Ordering::Relaxed),
            queue_length: self.queue_length.load(Ordering::Relaxed),
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the word on by a decision; none where the decision is not to be made so.
    fn update<T>(&self, mut decide: impl FnMut(State) -> Option<(State, T)>) -> Option<T> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (state, decision) = decide(State::unpack(word))?;
            match self.word.compare_exchange_weak(
                word,
                state.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(decision),
                Err(seen) => word = seen,
            }
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        let limits = self.limits();
        let at_once = self.update(|state| match state.arrive(limits) {
            (_, Arrival::Wait) => None,
            (state, arrival) => Some((state, arrival)),
        });
        match at_once {
            Some(Arrival::Run) => {
                return Entered::Runs(Held {
                    queue: Some(Arc::clone(self)),
                });
            }
            Some(_) => return Entered::Refused,
            None => {}
        }
        let mut waiters = self.waiters();
        match self.update(|state| Some(state.arrive(limits))) {
            Some(Arrival::Run) => Entered::Runs(Held {
                queue: Some(Arc::clone(self)),
            }),
            Some(Arrival::Wait) => {
                let (sender, turn) = oneshot::channel();
                let number = waiters.next;
                waiters.next += 1;
                waiters.by_arrival.insert(number, sender);
                Entered::Waits(Ticket {
                    queue: Arc::clone(self),
                    number,
                    turn,
                })
            }
            Some(Arrival::Refuse) | None => Entered::Refused,
        }
    }

    /// A slot is given back.
    fn finish(self: &Arc<Self>) {
        let limits = self.limits();
        let freed = self.update(|state| match state.finish(limits) {
            (state, Slot::Freed) => Some((state, ())),
            (_, Slot::HandedOver) => None,
        });
        if freed.is_none() {
            self.finish_with_waiters(limits);
        }
    }

    fn finish_with_waiters(self: &Arc<Self>, limits: Limits) {
        let mut waiters = self.waiters();
        let Some(Slot::HandedOver) = self.update(|state| Some(state.finish(limits))) else {
            return;
        };
        Self::hand_over(self, &mut waiters);
    }

    /// Gives a slot, which the word counts already, to the request that has waited longest.
    ///
    /// The word counts exactly those that are in the map, and both change under the lock, so there is one to give it to.
    fn hand_over(queue: &Arc<Self>, waiters: &mut Waiters) {
        let Some((_, sender)) = waiters.by_arrival.pop_first() else {
            debug_assert!(false, "the word counts a waiter that is not in the queue");
            return;
        };
        if let Err(mut held) = sender.send(Held {
            queue: Some(Arc::clone(queue)),
        }) {
            // Its request is leaving, and will find itself gone from the queue. The lock is held here, so the slot must not
            // give itself back.
            held.queue = None;
            let limits = queue.limits();
            if let Some(Slot::HandedOver) = queue.update(|state| Some(state.finish(limits))) {
                Self::hand_over(queue, waiters);
            }
        }
    }

    /// Other limits. Raised ones let waiting requests run.
    pub(super) fn set_limits(self: &Arc<Self>, concurrency: usize, queue_length: usize) {
        self.concurrency
            .store(clamp(concurrency), Ordering::Relaxed);
        self.queue_length
            .store(clamp(queue_length), Ordering::Relaxed);
        let mut waiters = self.waiters();
        let limits = self.limits();
        while self
            .update(|state| Some((state.promote(limits)?, ())))
            .is_some()
        {
            Self::hand_over(self, &mut waiters);
        }
    }

    /// Lets every waiting request go, without a slot.
    pub(super) fn dismiss(&self) {
        let mut waiters = self.waiters();
        while let Some((_, sender)) = waiters.by_arrival.pop_first() {
            self.update(|state| Some((state.leave(), ())));
            drop(sender);
        }
    }

    fn leave(&self, number: u64) {
        let mut waiters = self.waiters();
        if waiters.by_arrival.remove(&number).is_some() {
            self.update(|state| Some((state.leave(), ())));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.finish();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.leave(self.number);
    }
}

fn clamp(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
