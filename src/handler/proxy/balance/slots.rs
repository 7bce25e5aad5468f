//! What upstreams work on, how much they may, and who waits until they may more.
//!
//! A slot is taken by one compare-and-swap while nobody waits. Who must wait does so under a lock, and looks again there; a
//! slot that is given back while somebody waits is handed on under the same lock. So neither can miss the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::board::Board;
use crate::config;
use crate::model::{Reason, Refusal};

/// The slots of all upstreams of a proxy.
pub(super) struct Slots {
    board: Arc<Board>,
    upstreams: Box<[Slot]>,
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Waiter>>,
    bounds: config::Queue,
}

#[repr(align(128))]
struct Slot {
    running: AtomicU32,
    /// None may take more.
    max: u32,
}

/// A slot of an upstream, given back when dropped.
pub(super) struct Held {
    slots: Arc<Slots>,
    pub(super) upstream: usize,
}

struct Waiter {
    /// The one upstream that will do, if there is only one.
    only: Option<usize>,
    granted: oneshot::Sender<Held>,
}

impl Slots {
    pub(super) fn new(board: Arc<Board>, config: &config::Balance) -> Arc<Self> {
        let slot = |member: &config::Member| Slot {
            running: AtomicU32::new(0),
            max: member.max_connections.unwrap_or(u32::MAX),
        };
        Arc::new(Self {
            board,
            upstreams: config.members.iter().map(slot).collect(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
            bounds: config.queue,
        })
    }

    pub(super) fn running(&self, upstream: usize) -> u32 {
        self.upstreams[upstream].running.load(SeqCst)
    }

    /// Whether it may work on more, and nobody waits for that.
    pub(super) fn has_room(&self, upstream: usize) -> bool {
        let slot = &self.upstreams[upstream];
        slot.max == u32::MAX
            || (self.waiting.load(SeqCst) == 0 && slot.running.load(SeqCst) < slot.max)
    }

    /// Takes a slot, if there is one.
    pub(super) fn take(self: &Arc<Self>, upstream: usize) -> Option<Held> {
        self.count_up(upstream).then(|| Held {
            slots: Arc::clone(self),
            upstream,
        })
    }

    fn count_up(&self, upstream: usize) -> bool {
        let slot = &self.upstreams[upstream];
        let more = |running| (running < slot.max).then_some(running + 1);
        slot.running.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Hands free slots to those who wait.
    pub(super) fn hand_on(self: &Arc<Self>) {
        if self.waiting.load(SeqCst) > 0 {
            self.hand_out(&mut self.lock());
        }
    }

    fn hand_out(self: &Arc<Self>, queue: &mut VecDeque<Waiter>) {
        let mut at = 0;
        while let Some(waiter) = queue.get(at) {
            if waiter.granted.is_closed() {
                queue.remove(at);
                continue;
            }
            let Some(held) = self.free_for(waiter.only) else {
                at += 1;
                continue;
            };
            if let Some(waiter) = queue.remove(at)
                && let Err(held) = waiter.granted.send(held)
            {
                // It went away in this moment, and the slot is for the next; the lock is ours already.
                held.give_back();
            }
        }
        self.waiting.store(queue.len(), SeqCst);
    }

    /// A slot of the one upstream, or of that which works on the least.
    fn free_for(self: &Arc<Self>, only: Option<usize>) -> Option<Held> {
        let least = || {
            (0..self.upstreams.len())
                .filter(|it| self.board.is_usable(*it))
                .filter(|it| self.running(*it) < self.upstreams[*it].max)
                .min_by_key(|it| self.running(*it))
        };
        self.take(only.or_else(least)?)
    }

    /// Waits for a slot; of `only` this upstream, if no other will do. `name`: the upstream that would have been chosen.
    pub(super) async fn wait(
        self: &Arc<Self>,
        only: Option<usize>,
        name: &str,
    ) -> Result<Held, Refusal> {
        let receiver = self.queue_up(only, name)?;
        let timeout = self.bounds.timeout;
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(held)) => Ok(held),
            // The queue is never dropped before those who wait in it.
            Ok(Err(_)) | Err(_) => {
                let detail = format!(
                    "{name} worked on as many requests as its max_connections allows for longer than the {timeout:?} of \
                     queue.timeout"
                );
                Err(Refusal::new(Reason::TimerReqQueue, detail))
            }
        }
    }

    fn queue_up(
        self: &Arc<Self>,
        only: Option<usize>,
        name: &str,
    ) -> Result<oneshot::Receiver<Held>, Refusal> {
        let mut queue = self.lock();
        // Those who went away have left their places behind.
        queue.retain(|waiter| !waiter.granted.is_closed());
        self.has_place(&queue, name)?;
        let (granted, receiver) = oneshot::channel();
        queue.push_back(Waiter { only, granted });
        self.waiting.store(queue.len(), SeqCst);
        self.hand_out(&mut queue);
        Ok(receiver)
    }

    /// Whether a request that came now would have a place to wait in.
    pub(super) fn may_wait(&self, name: &str) -> Result<(), Refusal> {
        let mut queue = self.lock();
        queue.retain(|waiter| !waiter.granted.is_closed());
        self.has_place(&queue, name)
    }

    fn has_place(&self, queue: &VecDeque<Waiter>, name: &str) -> Result<(), Refusal> {
        let length = self.bounds.length;
        if queue.len() < length {
            return Ok(());
        }
        let detail = format!(
            "{name} works on as many requests as its max_connections allows, and {length} wait, as many as queue.length allows"
        );
        Err(Refusal::new(Reason::QueueFull, detail))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Gives the slot back and wakes nobody.
    fn give_back(mut self) {
        self.slots.upstreams[self.upstream]
            .running
            .fetch_sub(1, SeqCst);
        self.upstream = GIVEN_BACK;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.upstream != GIVEN_BACK {
            self.slots.upstreams[self.upstream]
                .running
                .fetch_sub(1, SeqCst);
            self.slots.hand_on();
        }
    }
}

const GIVEN_BACK: usize = usize::MAX;

#[cfg(test)]
mod tests;
