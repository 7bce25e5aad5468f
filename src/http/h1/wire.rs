//! What the gate, the requests and the driver of one HTTP/1 connection tell each other. They run on one thread; nothing
//! here is contended.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::handler::upgrade::Tunnel;
use crate::http::counting::one_more;
use crate::model::{Connection, InFlight, Refusal};

pub(super) struct Wire {
    connection: Arc<Connection>,
    /// Heads that the gate passed on, a stand-in included.
    heads: AtomicU64,
    /// Requests that hyper made of them.
    requests: AtomicU64,
    /// Which head the refusal in `rare` stands in for; 0: none.
    stand_in: AtomicU64,
    upgrade: AtomicU8,
    reset: AtomicBool,
    rest: AtomicBool,
    rare: Mutex<Rare>,
}

/// What happens once in a connection's life, if at all.
#[derive(Default)]
struct Rare {
    /// The refusal that a head stands in for.
    stand_in: Option<Refusal>,
    body_broke: Option<Refusal>,
    ended: Option<Refusal>,
    tunnel: Option<Tunnel>,
    /// The connection, while bytes wait for an upgrade to be declined.
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    Undecided,
    Declined,
    Accepted,
}

/// Not decided, and the connection is to be woken when it is declined.
const AWAITED: u8 = 3;

impl Wire {
    pub(super) fn new(connection: Arc<Connection>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            heads: AtomicU64::default(),
            requests: AtomicU64::default(),
            stand_in: AtomicU64::default(),
            upgrade: AtomicU8::default(),
            reset: AtomicBool::default(),
            rest: AtomicBool::default(),
            rare: Mutex::default(),
        })
    }

    /// Tells whoever asks whether a part of a head waits for its rest.
    pub(super) fn reads_head(&self, reads: bool) {
        self.connection.activity.reads_head(reads);
    }

    pub(super) fn head_passed(&self) {
        one_more(&self.heads);
        self.upgrade.store(0, Relaxed);
    }

    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Relaxed)
    }

    /// Whether every head that was passed on became a request, and every request is answered.
    pub(super) fn is_done(&self) -> bool {
        self.in_flight() == 0 && self.heads() == self.requests.load(Relaxed)
    }

    /// The connection has been idle for a while, and needs hyper no longer.
    pub(super) fn rest(&self) {
        self.rest.store(true, Relaxed);
    }

    pub(super) fn take_rest(&self) -> bool {
        let rest = self.rest.load(Relaxed);
        self.rest.store(false, Relaxed);
        rest
    }

    /// Requests whose response is not sent.
    pub(super) fn in_flight(&self) -> usize {
        self.connection.activity.in_flight()
    }

    pub(super) fn refuse_next_head(&self, refusal: Refusal) {
        self.stand_in.store(one_more(&self.heads), Relaxed);
        self.rare().stand_in = Some(refusal);
    }

    /// A request has come out of hyper: in flight until the token is dropped, and the refusal that it stands in for.
    pub(super) fn request(&self) -> (InFlight, Option<Refusal>) {
        let refused = one_more(&self.requests) == self.stand_in.load(Relaxed);
        let refusal = refused.then(|| self.rare().stand_in.take()).flatten();
        (self.connection.activity.enter(Instant::now()), refusal)
    }

    /// The body that is being read breaks its framing.
    pub(super) fn body_broke(&self, refusal: Refusal) {
        self.rare().body_broke = Some(refusal);
    }

    pub(super) fn take_broken_body(&self) -> Option<Refusal> {
        self.rare().body_broke.take()
    }

    /// The connection is at its end, and this is why.
    pub(super) fn end(&self, refusal: Refusal) {
        self.rare().ended.get_or_insert(refusal);
    }

    pub(super) fn take_end(&self) -> Option<Refusal> {
        let mut rare = self.rare();
        rare.ended
            .take()
            .or_else(|| rare.body_broke.take())
            .or_else(|| rare.stand_in.take())
    }

    pub(super) fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Relaxed) {
            0 | AWAITED => Upgrade::Undecided,
            1 => Upgrade::Declined,
            _ => Upgrade::Accepted,
        }
    }

    pub(super) fn decline_upgrade(&self) {
        if self.requests.load(Relaxed) < self.heads.load(Relaxed) {
            // The response is to a request before the one that asks.
            return;
        }
        let before = self.upgrade.load(Relaxed);
        self.upgrade.store(1, Relaxed);
        if before == AWAITED
            && let Some(waker) = self.rare().waiting.take()
        {
            waker.wake();
        }
    }

    /// Has the connection polled when the upgrade is declined: hyper takes it that a socket which had nothing to read wakes
    /// it itself.
    pub(super) fn wake_when_declined(&self, waker: &Waker) {
        self.upgrade.store(AWAITED, Relaxed);
        self.rare().waiting = Some(waker.clone());
    }

    pub(super) fn accept_upgrade(&self, tunnel: Tunnel) {
        self.upgrade.store(2, Relaxed);
        self.rare().tunnel = Some(tunnel);
    }

    /// The connection is to be reset.
    pub(super) fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.rare().tunnel.take()
    }

    fn rare(&self) -> std::sync::MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
