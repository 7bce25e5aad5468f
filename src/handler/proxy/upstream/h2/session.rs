//! A connection of HTTP/2 to an upstream, and those of a data thread.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::Instant;

use super::watched::{Heard, Watched};
use crate::clock::LazyTimer;
use crate::config::Keeping;
use crate::handler::proxy::upstream::failure::told;
use crate::handler::proxy::upstream::names::Origin;
use crate::handler::proxy::upstream::stream::Stream;

/// The sessions of one data thread with one upstream. No lock is ever contended.
pub(in crate::handler::proxy::upstream) struct Sessions {
    keeping: Keeping,
    open: Mutex<Vec<Arc<Session>>>,
    turn: tokio::sync::Mutex<()>,
}

/// One connection.
struct Session {
    born: Instant,
    /// How many requests it carries, if there is an end to it.
    carries: Option<u64>,
    state: Mutex<State>,
}

struct State {
    /// None when it takes no more requests.
    sender: Option<SendRequest<Bytes>>,
    origin: Origin,
    streams: usize,
    carried: u64,
    idle_since: Instant,
    /// Why it ended, if that is known.
    fate: Option<String>,
    /// The task that moves it along, to be told that it may be over.
    driver: Option<Waker>,
}

/// A stream's place on a session.
pub(super) struct Place {
    session: Arc<Session>,
    /// Whether the session carried requests before.
    pub(super) used: bool,
}

impl Sessions {
    pub(in crate::handler::proxy::upstream) fn new(keeping: &Keeping) -> Self {
        Self {
            keeping: keeping.clone(),
            open: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The right to make a session: one at a time.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// A place on a session that has room: the oldest, so that those which are not needed grow idle.
    pub(super) fn place(&self) -> Option<Place> {
        let mut open = self.open();
        open.retain(|session| session.serves(&self.keeping));
        open.iter().find_map(Session::enter)
    }

    /// Speaks HTTP/2 on a stream, and has a task move it along. The first place on it.
    pub(super) async fn add(&self, stream: Stream) -> Result<Place, h2::Error> {
        let origin = stream.origin.clone();
        let (watched, heard) = Watched::new(stream);
        let (sender, mut conn) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * STREAMS_MAX as u32)
            .initial_max_send_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(RESET_STREAMS_KEPT)
            .handshake(watched)
            .await?;
        let now = Instant::now();
        let session = Arc::new(Session {
            born: now,
            carries: self.keeping.max_requests,
            state: Mutex::new(State {
                sender: Some(sender),
                origin,
                streams: 0,
                carried: 0,
                idle_since: now,
                fate: None,
                driver: None,
            }),
        });
        let place = session.place();
        let driver = Driver {
            probe: Probe {
                pings: conn.ping_pong(),
                asked: None,
                heard,
                next: now + PING_AFTER,
            },
            conn,
            session: Arc::downgrade(&session),
            idle_timeout: self.keeping.idle_timeout,
            timer: LazyTimer::default(),
        };
        tokio::spawn(driver.run());
        self.open().push(session);
        Ok(place)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes requests still. One that is worn is let go: it ends with the last of its streams.
    fn serves(&self, keeping: &Keeping) -> bool {
        let mut state = self.state();
        let worn = (keeping.max_age).is_some_and(|max| self.born.elapsed() >= max)
            || (keeping.max_requests).is_some_and(|max| state.carried >= max);
        if worn || !state.origin.stands() {
            state.retire();
        }
        state.sender.is_some()
    }

    /// A place, if there is room.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let has_room = {
            let state = self.state();
            let most = state.sender.as_ref()?.current_max_send_streams();
            state.streams < most.min(STREAMS_MAX)
        };
        has_room.then(|| self.place())
    }

    fn place(self: &Arc<Self>) -> Place {
        let mut state = self.state();
        state.streams += 1;
        state.carried += 1;
        Place {
            used: state.carried > 1,
            session: Arc::clone(self),
        }
    }
}

impl State {
    fn retire(&mut self) {
        self.sender = None;
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

impl Place {
    /// What sends this one request; none if the session ended meanwhile.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.session.state().sender.clone()
    }

    /// The session is to be given no more requests.
    pub(super) fn retire(&self) {
        self.session.state().retire();
    }

    /// Why the session ended, if that is known.
    pub(super) fn fate(&self) -> Option<String> {
        self.session.state().fate.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.streams -= 1;
        if state.streams == 0 {
            state.idle_since = Instant::now();
            // Nobody waits for the next request to find that it is worn.
            if (self.session.carries).is_some_and(|most| state.carried >= most) {
                state.retire();
            }
        }
    }
}

/// The task that moves a session's bytes.
struct Driver {
    conn: Connection<Watched<Stream>, Bytes>,
    /// Who asks for a session holds it; the session ends with the proxy.
    session: Weak<Session>,
    idle_timeout: Duration,
    probe: Probe,
    timer: LazyTimer,
}

impl Driver {
    async fn run(mut self) {
        let fate = poll_fn(|cx| self.poll(cx)).await;
        if let Some(session) = self.session.upgrade() {
            let mut state = session.state();
            state.fate = fate;
            state.driver = None;
            state.retire();
        }
    }

    /// Ready when the connection is over, with why if that is worth telling.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        if let Poll::Ready(ended) = Pin::new(&mut self.conn).poll(cx) {
            return Poll::Ready(ended.err().map(|error| told(&error)));
        }
        let Some(session) = self.session.upgrade() else {
            return Poll::Pending;
        };
        loop {
            let now = Instant::now();
            let mut state = session.state();
            state.driver = Some(cx.waker().clone());
            let idle_until = state.idle_since + self.idle_timeout;
            let busy = state.streams > 0;
            if !busy && now >= idle_until {
                state.sender = None;
            }
            if state.sender.is_none() && !busy {
                drop(state);
                // The last handle is gone: h2 says goodbye when it is polled next, and is over when that is sent.
                return match Pin::new(&mut self.conn).poll(cx) {
                    Poll::Ready(ended) => Poll::Ready(ended.err().map(|error| told(&error))),
                    Poll::Pending => Poll::Pending,
                };
            }
            drop(state);
            if now >= self.probe.next && self.probe.is_dead(busy, now) {
                return Poll::Ready(Some(format!(
                    "it did not answer a PING within {PING_AFTER:?}"
                )));
            }
            self.probe.take_answer(cx);
            let wake = match busy {
                true => self.probe.next,
                false => self.probe.next.min(idle_until.max(now)),
            };
            if !self.timer.poll_until(wake, now, cx) {
                return Poll::Pending;
            }
        }
    }
}

/// Whether the other end is there still, asked by PING when it has been silent while streams are open.
///
/// Not again within [`PING_GAP`] if it goes on being silent: servers of gRPC take pings at a higher rate for an attack, and the
/// first answer has shown what there is to show.
struct Probe {
    pings: Option<PingPong>,
    /// When the last PING was sent, and whether its answer is due.
    asked: Option<(Instant, bool)>,
    heard: Heard,
    next: Instant,
}

impl Probe {
    /// Looked at each [`PING_AFTER`].
    fn is_dead(&mut self, busy: bool, now: Instant) -> bool {
        self.next = now + PING_AFTER;
        if self.heard.take() {
            if let Some((_, due)) = &mut self.asked {
                *due = false;
            }
            return false;
        }
        match self.asked {
            Some((_, true)) => return true,
            Some((when, false)) if now - when < PING_GAP => return false,
            _ => {}
        }
        if busy
            && let Some(pings) = &mut self.pings
            && pings.send_ping(Ping::opaque()).is_ok()
        {
            self.asked = Some((now, true));
        }
        false
    }

    /// h2 sends a PING when it is polled, and takes another when the answer to this one was taken.
    fn take_answer(&mut self, cx: &mut Context<'_>) {
        if let (Some((_, true)), Some(pings)) = (self.asked, &mut self.pings) {
            let _ = pings.poll_pong(cx);
        }
    }
}

/// Streams at once on a session; more than these open another. The least that RFC 9113 (section 6.5.2) advises servers to take.
const STREAMS_MAX: usize = 100;

/// What an upstream may send on a stream before the client has taken it. The connection's window is that of all its streams: a
/// client that takes nothing holds its own stream up, and none of the others.
const STREAM_WINDOW: u32 = 256 * 1024;

/// As for HTTP/1.1 (`h1/link.rs`).
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What h2 holds of content that the upstream does not take.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Streams that are remembered for a second after a reset, so that late frames of theirs are no error: clients that go away
/// leave one each.
const RESET_STREAMS_KEPT: usize = 1024;

/// How long an upstream may be silent with streams open, and then, how long its answer to a PING may take.
const PING_AFTER: Duration = Duration::from_secs(10);

/// gRPC's own servers take a ping each five minutes from a connection without data, and two more before they close it.
const PING_GAP: Duration = Duration::from_secs(300);
