//! Pools: a bounded number of requests runs at once, a bounded number waits its turn, and every other is refused at once.
//!
//! A free slot is taken and given back by one compare-and-swap on a word that holds both counts. Only a request that must
//! wait, and a slot that somebody waits for, take the lock of the queue. The count of those waiting changes under that lock
//! alone, and always together with the queue: a request that is about to wait looks at the word again under the lock, and a
//! slot given back while the word says that somebody waits is given back under the lock. So neither can miss the other.
//!
//! A slot is held by its [`Permit`] until that is dropped: with the response's body, not when the handler returns.

pub mod admission;
mod gate;
mod queue;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gate::{Gate, Slots};
use tokio::sync::Notify;
pub use waiting::{Place, Waiting};

use crate::config::{self, Overflow};
use crate::handler::{self, Handler};
use crate::model::{PerThread, Reason, Refusal};

/// A pool: who does the work, and how much of it at once.
pub struct Pool {
    name: Box<str>,
    handler: Arc<dyn Handler>,
    /// Whether a request that is refused for want of room sees a reset.
    resets: AtomicBool,
    /// Each thread's own pointer to the one gate: a request counts its pointer up and down, and no other thread notices.
    gate: PerThread<Slots>,
}

/// What becomes of a request that comes to a pool.
#[derive(Debug)]
pub enum Entry {
    /// It may run.
    Admitted(Permit),
    /// It must wait its turn.
    Waiting(Waiting),
    /// It is refused: the queue is full, or the pool takes nobody.
    Refused(Refusal),
}

/// How full a pool is, and what would become of a request that came in this moment.
#[derive(Debug)]
pub struct Prospect {
    /// Requests that hold a slot.
    pub running: u32,
    /// Requests in the queue.
    pub waiting: u32,
    /// How many may, by the configuration: in a pool that is starting nobody runs for now.
    pub limits: admission::Limits,
    /// What would become of it.
    pub entry: Foreseen,
}

/// An [`Entry`] that nobody made.
#[derive(Debug)]
pub enum Foreseen {
    /// It might run.
    Admitted,
    /// It would have to wait its turn.
    Waiting {
        /// In which place.
        place: Place,
        /// For how long at most.
        timeout: Duration,
    },
    /// It would be refused.
    Refused(Refusal),
}

/// The right to run. The slot goes to the next request when this is dropped.
#[derive(Debug)]
pub struct Permit {
    /// None once the slot has been given back.
    slots: Option<Slots>,
}

/// Whether a pool takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolState {
    /// It does.
    #[default]
    Started,
    /// Its handler is not ready to work: whoever comes waits in turn, and nobody runs.
    Starting,
    /// It was stopped: refused for `AppShutdown`.
    Stopped,
    /// An administrator switched it off: refused for `Disabled`.
    Disabled,
    /// Its application keeps failing: refused for `AppOffline`.
    Offline,
}

/// What a pool has done, and is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that hold a slot.
    pub running: u32,
    /// Requests in the queue.
    pub waiting: u32,
    /// Requests that ever came.
    pub arrived: u64,
    /// Of those, refused because the queue was full.
    pub rejected: u64,
    /// Of those, refused because the pool took nobody.
    pub turned_away: u64,
    /// Of those, put into the queue.
    pub queued: u64,
    /// Of the queued, those that waited too long.
    pub timed_out: u64,
    /// Of the queued, those whose client went away.
    pub abandoned: u64,
    /// How long the request at the head of the queue has waited.
    pub oldest_wait: Option<Duration>,
}

impl Pool {
    /// A pool that is started, for `threads` data threads.
    pub fn new(config: &config::Pool, handler: Arc<dyn Handler>, threads: usize) -> Self {
        let gate = Arc::new(Gate::new(config, threads));
        handler.attach(Arc::new(HandlersGate(Arc::clone(&gate))));
        Self {
            name: config.name.as_str().into(),
            handler,
            resets: AtomicBool::new(config.on_overflow == Overflow::Reset),
            gate: PerThread::new(threads, |_| Slots::new(Arc::clone(&gate))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who does the work.
    pub fn handler(&self) -> &dyn Handler {
        &*self.handler
    }

    /// A request comes. A refusal takes constant time, however many wait.
    pub fn enter(&self) -> Entry {
        gate::enter(self.gate.mine())
    }

    /// What a request sees that is refused because the queue is full.
    pub fn on_overflow(&self) -> Overflow {
        if self.resets.load(Relaxed) {
            Overflow::Reset
        } else {
            Overflow::Respond503
        }
    }

    /// Starts or stops taking requests. Those that wait in a pool that is stopped are let go with its reason; those that
    /// run are left to end.
    pub fn set_state(&self, state: PoolState) {
        self.gate.mine().set_state(state);
    }

    /// Whether it takes requests.
    pub fn state(&self) -> PoolState {
        self.gate.mine().state()
    }

    /// Takes new limits, and leaves whoever runs or waits in place: more slots wake those that wait at once, fewer slots or a
    /// shorter queue hold for whoever comes from now on, as does another `queue_timeout`. The handler and the name stay.
    pub fn reconfigure(&self, config: &config::Pool) {
        let resets = config.on_overflow == Overflow::Reset;
        self.resets.store(resets, Relaxed);
        self.gate.mine().reconfigure(config);
    }

    /// How many requests may run and wait.
    pub fn limits(&self) -> admission::Limits {
        self.gate.mine().limits()
    }

    /// What [`Pool::enter`] would make of a request that came now.
    pub fn prospect(&self) -> Prospect {
        self.gate.mine().prospect()
    }

    /// What it has done, and is doing.
    pub fn counts(&self) -> Counts {
        self.gate.mine().counts()
    }
}

/// The gate, as a pool's handler moves it.
struct HandlersGate(Arc<Gate>);

impl handler::Gate for HandlersGate {
    fn open(&self) {
        self.0.set_state(PoolState::Started);
    }

    fn hold(&self) {
        self.0.set_state(PoolState::Starting);
    }

    fn stop(&self) {
        self.0.set_state(PoolState::Stopped);
    }

    fn offline(&self, why: String) {
        self.0.set_why(why);
        self.0.set_state(PoolState::Offline);
    }

    fn let_go(&self, why: String) {
        self.0.set_why(why);
        self.0.let_go(Reason::AppOffline);
    }

    fn wanted(&self) -> Arc<Notify> {
        Arc::clone(self.0.wanted())
    }
}

impl PoolState {
    /// Why a request is refused; none where it is not.
    pub fn refuses(self) -> Option<Reason> {
        match self {
            PoolState::Started | PoolState::Starting => None,
            PoolState::Stopped => Some(Reason::AppShutdown),
            PoolState::Disabled => Some(Reason::Disabled),
            PoolState::Offline => Some(Reason::AppOffline),
        }
    }
}

impl Permit {
    fn new(slots: Slots) -> Self {
        Self { slots: Some(slots) }
    }

    /// Gives the slot back to the caller rather than to the pool.
    fn into_slots(mut self) -> Option<Slots> {
        self.slots.take()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.finish();
        }
    }
}

#[cfg(test)]
mod tests;
