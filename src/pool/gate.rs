//! The gate of a pool: admission's decisions made on shared memory.

use std::ops::Deref;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::admission::{Arrival, Finish, Limits, State};
use super::queue::{Queue, Waiter};
use super::{Counts, Entry, Foreseen, Permit, Place, PoolState, Prospect, Waiting};
use crate::config;
use crate::model::{PerThread, Reason, Refusal};

/// What all threads share of a pool.
#[derive(Debug)]
pub(super) struct Gate {
    /// [`State`], packed: written by every request, so it has a cache line of its own.
    word: OwnLine<AtomicU64>,
    /// [`Limits`], packed: read by every request and hardly ever written.
    limits: AtomicU64,
    /// [`PoolState`], for the requests that do not take the lock.
    state: AtomicU8,
    /// On lines of its own as well: waiting must cost nothing to those that need not.
    queue: OwnLine<Mutex<Queue>>,
    /// Told when somebody comes to a pool that is starting.
    wanted: Arc<Notify>,
    /// Why the pool takes nobody, where there is more to say than its state.
    why: ArcSwapOption<String>,
    tallies: PerThread<Tally>,
}

/// A thread's own pointer to a [`Gate`].
#[derive(Clone, Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is the thread's own; the inner one is shared, and never touched by a request"
)]
pub(super) struct Slots(Arc<Arc<Gate>>);

/// What one thread has counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    arrived: AtomicU64,
    rejected: AtomicU64,
    turned_away: AtomicU64,
    queued: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) abandoned: AtomicU64,
}

#[derive(Debug)]
#[repr(align(128))]
struct OwnLine<T>(T);

/// A request comes through the gate that `slots` points at.
pub(super) fn enter(slots: &Slots) -> Entry {
    let tally = slots.tally();
    tally.arrived.fetch_add(1, Relaxed);
    if let Some(reason) = state_of(slots.state.load(Acquire)).refuses() {
        return turn_away(slots, reason);
    }
    let limits = || Limits::unpack(slots.limits.load(Acquire));
    let mut word = slots.word.0.load(Acquire);
    loop {
        let (next, arrival) = State::unpack(word).arrive(limits());
        match arrival {
            Arrival::Refused => return refuse(slots),
            Arrival::Queued => return enqueue(slots),
            Arrival::Admitted => {}
        }
        match (slots.word.0).compare_exchange_weak(word, next.pack(), AcqRel, Acquire) {
            Ok(_) => return Entry::Admitted(Permit::new(slots.clone())),
            Err(now) => word = now,
        }
    }
}

/// Decides once more, under the lock, and puts the request into the queue where it still must wait.
fn enqueue(slots: &Slots) -> Entry {
    let tally = slots.tally();
    let mut queue = slots.lock();
    if let Some(reason) = queue.state.refuses() {
        return turn_away(slots, reason);
    }
    let limits = slots.limits();
    let (state, arrival) = slots.change(|state| {
        let (next, arrival) = state.arrive(limits);
        (next, (next, arrival))
    });
    match arrival {
        Arrival::Admitted => Entry::Admitted(Permit::new(slots.clone())),
        Arrival::Refused => refuse(slots),
        Arrival::Queued => {
            tally.queued.fetch_add(1, Relaxed);
            let (since, timeout) = (Instant::now(), queue.timeout);
            let ticket = queue.push(slots.clone(), since);
            slots.check(&queue);
            drop(queue);
            slots.want();
            let place = Place {
                position: state.waiting,
                length: limits.queue_length,
                running: state.running,
            };
            Entry::Waiting(Waiting::new(slots.clone(), ticket, place, timeout))
        }
    }
}

fn refuse(slots: &Slots) -> Entry {
    slots.tally().rejected.fetch_add(1, Relaxed);
    slots.want();
    Entry::Refused(full())
}

fn full() -> Refusal {
    let detail = "the pool's queue is full: as many requests wait as its queue_length allows";
    Refusal::new(Reason::QueueFull, detail)
}

fn turn_away(slots: &Slots, reason: Reason) -> Entry {
    slots.tally().turned_away.fetch_add(1, Relaxed);
    Entry::Refused(slots.closed(reason))
}

impl Gate {
    pub(super) fn new(config: &config::Pool, threads: usize) -> Self {
        let limits = Limits::new(config.concurrency, config.queue_length);
        Self {
            word: OwnLine(AtomicU64::new(State::default().pack())),
            limits: AtomicU64::new(limits.pack()),
            state: AtomicU8::new(PoolState::Started as u8),
            queue: OwnLine(Mutex::new(Queue::new(limits, config.queue_timeout))),
            wanted: Arc::default(),
            why: ArcSwapOption::empty(),
            tallies: PerThread::new(threads, |_| Tally::default()),
        }
    }

    /// This thread's counts.
    pub(super) fn tally(&self) -> &Tally {
        self.tallies.mine()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::unpack(self.limits.load(Acquire))
    }

    pub(super) fn state(&self) -> PoolState {
        state_of(self.state.load(Acquire))
    }

    /// A panic while the lock was held would have left the counts as they were before or after a step, never between.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a step that cannot fail.
    fn change<T>(&self, step: impl Fn(State) -> (State, T)) -> T {
        let mut word = self.word.0.load(Acquire);
        loop {
            let (next, outcome) = step(State::unpack(word));
            match (self.word.0).compare_exchange_weak(word, next.pack(), AcqRel, Acquire) {
                Ok(_) => return outcome,
                Err(now) => word = now,
            }
        }
    }

    /// The count of those waiting and the queue tell the same whenever the lock is held.
    fn check(&self, queue: &Queue) {
        let state = State::unpack(self.word.0.load(Acquire));
        debug_assert_eq!(state.waiting as usize, queue.len());
    }

    /// Gives a slot back. A slot handed to a request that has gone away meanwhile comes back here and goes to the next: by
    /// turns of a loop, for there may be as many as the queue is long.
    pub(super) fn finish(&self) {
        while let Some(next) = self.free_or_next() {
            match next.grant() {
                Ok(()) => return,
                Err(permit) => drop(permit.into_slots()),
            }
        }
    }

    /// Frees a slot, unless it is somebody's turn.
    fn free_or_next(&self) -> Option<Waiter> {
        let mut word = self.word.0.load(Acquire);
        while State::unpack(word).waiting == 0 {
            let (next, _) = State::unpack(word).finish(self.limits());
            match (self.word.0).compare_exchange_weak(word, next.pack(), AcqRel, Acquire) {
                Ok(_) => return None,
                Err(now) => word = now,
            }
        }
        let mut queue = self.lock();
        let limits = self.limits();
        let next = match self.change(|state| state.finish(limits)) {
            Finish::Freed => None,
            Finish::HandedOn => queue.pop(),
        };
        self.check(&queue);
        next
    }

    /// A request leaves the queue. False: it is no longer in it, and what it waited for is on its way.
    pub(super) fn leave(&self, number: u64) -> bool {
        let mut queue = self.lock();
        let left = queue.remove(number);
        if left.is_some() {
            self.change(|state| (state.leave(), ()));
        }
        self.check(&queue);
        // Dropping the sender wakes its request, too.
        drop(queue);
        left.is_some()
    }

    /// Has somebody notice that a pool which is starting has something to start for.
    fn want(&self) {
        if self.state() == PoolState::Starting {
            self.wanted.notify_one();
        }
    }

    /// Told when somebody comes to a pool that is starting.
    pub(super) fn wanted(&self) -> &Arc<Notify> {
        &self.wanted
    }

    /// The refusal of a pool that takes nobody.
    pub(super) fn closed(&self, reason: Reason) -> Refusal {
        let detail = match reason {
            Reason::Disabled => "an administrator has switched the pool off",
            Reason::AppOffline => "the pool's application keeps failing",
            _ => "the pool is stopped",
        };
        match (reason, &*self.why.load()) {
            (Reason::AppOffline, Some(why)) => Refusal::new(reason, format!("{detail}: {why}")),
            _ => Refusal::new(reason, detail),
        }
    }

    /// Says why the application fails, to whoever is refused for it.
    pub(super) fn set_why(&self, why: String) {
        self.why.store(Some(Arc::new(why)));
    }

    pub(super) fn set_state(&self, state: PoolState) {
        let mut queue = self.lock();
        queue.state = state;
        self.state.store(state as u8, Release);
        match state.refuses() {
            Some(reason) => self.let_all_go(queue, reason),
            None => self.limit(queue),
        }
    }

    /// Lets go whoever waits, and leaves the pool as it is.
    pub(super) fn let_go(&self, reason: Reason) {
        self.let_all_go(self.lock(), reason);
    }

    fn let_all_go(&self, mut queue: MutexGuard<'_, Queue>, reason: Reason) {
        let let_go = queue.take_all();
        self.change(|state| {
            (
                State {
                    waiting: 0,
                    ..state
                },
                (),
            )
        });
        // Waking a request runs its runtime's code, which must not find the queue locked.
        drop(queue);
        let_go.for_each(|waiter| waiter.let_go(reason));
    }

    pub(super) fn reconfigure(&self, config: &config::Pool) {
        let mut queue = self.lock();
        queue.timeout = config.queue_timeout;
        queue.limits = Limits::new(config.concurrency, config.queue_length);
        self.limit(queue);
    }

    /// Has the limits hold that the state asks for, and gives slots to those who wait, if there are more of them now.
    fn limit(&self, mut queue: MutexGuard<'_, Queue>) {
        let limits = match queue.state {
            PoolState::Starting => queue.limits.held(),
            _ => queue.limits,
        };
        self.limits.store(limits.pack(), Release);
        let mut granted = Vec::new();
        let grant = |state: State| match state.grant(limits) {
            Some(next) => (next, true),
            None => (state, false),
        };
        while self.change(grant) {
            granted.extend(queue.pop());
        }
        self.check(&queue);
        drop(queue);
        for waiter in granted {
            // A permit that comes back is dropped here, which gives its slot to the next.
            let _ = waiter.grant();
        }
    }

    /// What [`enter`] would make of a request that came now; none comes, and nothing is counted.
    pub(super) fn prospect(&self) -> Prospect {
        let queue = self.lock();
        let now = State::unpack(self.word.0.load(Acquire));
        let limits = self.limits();
        let entry = match (queue.state.refuses(), now.arrive(limits)) {
            (Some(reason), _) => Foreseen::Refused(self.closed(reason)),
            (None, (_, Arrival::Refused)) => Foreseen::Refused(full()),
            (None, (_, Arrival::Admitted)) => Foreseen::Admitted,
            (None, (then, Arrival::Queued)) => Foreseen::Waiting {
                place: Place {
                    position: then.waiting,
                    length: limits.queue_length,
                    running: then.running,
                },
                timeout: queue.timeout,
            },
        };
        Prospect {
            running: now.running,
            waiting: now.waiting,
            limits: queue.limits,
            entry,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let queue = self.lock();
        let State { running, waiting } = State::unpack(self.word.0.load(Acquire));
        let oldest = queue.oldest();
        drop(queue);
        let sum = |of: fn(&Tally) -> &AtomicU64| {
            let counted = self.tallies.iter().map(|tally| of(tally).load(Relaxed));
            counted.sum()
        };
        Counts {
            running,
            waiting,
            arrived: sum(|tally| &tally.arrived),
            rejected: sum(|tally| &tally.rejected),
            turned_away: sum(|tally| &tally.turned_away),
            queued: sum(|tally| &tally.queued),
            timed_out: sum(|tally| &tally.timed_out),
            abandoned: sum(|tally| &tally.abandoned),
            oldest_wait: oldest.map(|since| since.elapsed()),
        }
    }
}

fn state_of(byte: u8) -> PoolState {
    const STOPPED: u8 = PoolState::Stopped as u8;
    const DISABLED: u8 = PoolState::Disabled as u8;
    const STARTING: u8 = PoolState::Starting as u8;
    const OFFLINE: u8 = PoolState::Offline as u8;
    match byte {
        STARTING => PoolState::Starting,
        OFFLINE => PoolState::Offline,
        STOPPED => PoolState::Stopped,
        DISABLED => PoolState::Disabled,
        _ => PoolState::Started,
    }
}

impl Slots {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self(Arc::new(gate))
    }
}

impl Deref for Slots {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}
