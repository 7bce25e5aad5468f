//! Pools: a capacity, a bounded queue for it, and the handler that does the work.
//!
//! A request takes a slot at once if one is free, waits in its turn if the queue has room, and is refused at once if not, in
//! constant time and before its content is read. The slot is held until the work ends: the response sent or dropped.

mod admission;
mod queue;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::config::{self, Overflow};
use crate::handler::Handler;
use crate::model::{Reason, Refusal};
use queue::{Entered, Held, Queue, Ticket};

/// A pool.
pub struct Pool {
    name: Box<str>,
    handler: Arc<dyn Handler>,
    queue: Arc<Queue>,
    state: AtomicU8,
    settings: Mutex<Settings>,
    waited: AtomicU64,
    refused: AtomicU64,
}

#[derive(Clone, Copy)]
struct Settings {
    queue_timeout: Duration,
    on_overflow: Overflow,
}

/// Whether a pool takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolState {
    /// It does.
    Started,
    /// It was stopped; requests are refused as `AppShutdown`.
    Stopped,
    /// An administrator switched it off; requests are refused as `Disabled`.
    Disabled,
}

/// What a request meets at a pool's door.
pub enum Entry {
    /// A slot.
    Admitted(Permit),
    /// A place in the queue.
    Waiting(Waiting),
    /// Neither.
    Refused(Refusal),
}

/// A slot. Dropping it ends the work.
#[derive(Debug)]
pub struct Permit {
    _held: Held,
}

/// A place in the queue; the slot comes in its turn. Dropping it leaves the queue at once.
pub struct Waiting {
    pool: Arc<Pool>,
    ticket: Ticket,
    timeout: Pin<Box<Sleep>>,
}

/// How a pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests that hold a slot.
    pub running: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// Requests that have waited in the queue, ever.
    pub waited: u64,
    /// Requests that were refused, ever.
    pub refused: u64,
}

impl Pool {
    /// A pool as configured, with the handler that does its work.
    pub fn new(config: &config::Pool, handler: Arc<dyn Handler>) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.as_str().into(),
            handler,
            queue: Queue::new(config.concurrency, config.queue_length),
            state: AtomicU8::new(PoolState::Started as u8),
            settings: Mutex::new(Settings::of(config)),
            waited: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who does its work.
    pub fn handler(&self) -> &dyn Handler {
        &*self.handler
    }

    /// How it stands.
    pub fn counts(&self) -> Counts {
        let state = self.queue.state();
        Counts {
            running: state.running as usize,
            waiting: state.waiting as usize,
            waited: self.waited.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// What a request sees that finds the queue full.
    pub fn on_overflow(&self) -> Overflow {
        self.settings().on_overflow
    }

    /// Takes other limits, of the same pool and handler. Requests under way keep what they have.
    pub fn reconfigure(&self, config: &config::Pool) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Settings::of(config);
        self.queue
            .set_limits(config.concurrency, config.queue_length);
    }

    /// Starts or stops it. Requests that wait are let go when it stops.
    pub fn set_state(&self, state: PoolState) {
        self.state.store(state as u8, Relaxed);
        if state != PoolState::Started {
            self.queue.dismiss();
        }
    }

    /// A request arrives.
    pub fn enter(self: &Arc<Self>) -> Entry {
        if let Some(refusal) = self.closed() {
            return Entry::Refused(refusal);
        }
        match self.queue.enter() {
            Entered::Runs(held) => Entry::Admitted(Permit { _held: held }),
            Entered::Waits(ticket) => {
                self.waited.fetch_add(1, Relaxed);
                let timeout = Box::pin(tokio::time::sleep(self.settings().queue_timeout));
                Entry::Waiting(Waiting {
                    pool: Arc::clone(self),
                    ticket,
                    timeout,
                })
            }
            Entered::Refused => {
                self.refused.fetch_add(1, Relaxed);
                Entry::Refused(Refusal::new(
                    Reason::QueueFull,
                    "all slots of the pool are taken and its queue is full (concurrency, queue_length)",
                ))
            }
        }
    }

    fn closed(&self) -> Option<Refusal> {
        match self.state.load(Relaxed) {
            STOPPED => Some(Refusal::new(Reason::AppShutdown, "the pool is stopped")),
            DISABLED => Some(Refusal::new(Reason::Disabled, "the pool was switched off")),
            _ => None,
        }
    }

    fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn of(config: &config::Pool) -> Self {
        Self {
            queue_timeout: config.queue_timeout,
            on_overflow: config.on_overflow,
        }
    }
}

impl Future for Waiting {
    type Output = Result<Permit, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(turn) = Pin::new(&mut this.ticket.turn).poll(cx) {
            return Poll::Ready(match turn {
                Ok(held) => Ok(Permit { _held: held }),
                Err(_) => Err(this
                    .pool
                    .closed()
                    .unwrap_or_else(|| Refusal::new(Reason::AppShutdown, "the pool was stopped"))),
            });
        }
        this.timeout.as_mut().poll(cx).map(|()| {
            Err(Refusal::new(
                Reason::TimerReqQueue,
                "the request waited in the pool's queue for longer than queue_timeout",
            ))
        })
    }
}

const STOPPED: u8 = PoolState::Stopped as u8;
const DISABLED: u8 = PoolState::Disabled as u8;

#[cfg(test)]
mod tests;
