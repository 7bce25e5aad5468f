//! The HTTP/2 driver: the h2 crate, directly, behind the `meter`.
//!
//! Directly rather than through hyper, for three reasons: budgets and stalls need h2's own handles; a response that is known
//! at once is sent from the connection's own task, with no task for the stream; and all responses to what one read brought
//! leave in one write.

mod content;
mod frames;
mod meter;
mod stream;
mod tunnel;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection as H2, SendResponse};
use h2::{FlowControl, RecvStream};
use http::Request;
use tokio::time::Instant;

use self::meter::{Gauge, Meter};
use super::drain::DrainWatch;
use super::multiplexed::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS_MAX};
use super::transport::Counted;
use super::{Thread, ThreadEdge, Transport};
use crate::clock::LazyTimer;
use crate::config::Limits;
use crate::model::{Connection, Protocol, Reason, Refusal};
use crate::report::Refused;

/// Serves an HTTP/2 connection to its end. `first` are bytes that were read from it already.
pub async fn drive<I: Transport>(
    io: I,
    first: BytesMut,
    thread: Arc<Thread>,
    connection: Arc<Connection>,
) {
    let (edge, gauge) = (thread.edge(), Gauge::new());
    let limits = edge.limits.clone();
    let shared = Arc::new(Shared {
        connection,
        gauge: Arc::clone(&gauge),
        min_send_rate: limits.min_send_rate,
        answered: Mutex::default(),
        thread,
    });
    let io = Counted::new(io, &shared.connection);
    let meter = Meter::new(io, first.freeze(), limits.min_send_rate, gauge);
    let handshake = builder(&limits, edge.websockets).handshake::<_, Bytes>(meter);
    let conn = match tokio::time::timeout(limits.header_wait, handshake).await {
        Ok(Ok(conn)) => conn,
        Ok(Err(error)) => return shared.tell_error(&error),
        Err(_) => {
            let detail = "the HTTP/2 preface did not arrive within limits.header_wait";
            return shared.tell(&Refusal::new(Reason::TimerHeaderWait, detail));
        }
    };
    let driver = Driver {
        conn,
        streams: FuturesUnordered::new(),
        drain: shared.thread.drain.watch(),
        shared,
        ending: Ending::No,
        idle_since: None,
        timer: LazyTimer::default(),
        header_wait: limits.header_wait,
        idle: limits.idle_connection,
    };
    driver.await;
}

fn builder(limits: &Limits, websockets: bool) -> h2::server::Builder {
    let head_bytes_max = limits.max_request_bytes * HEAD_SLACK;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESET_STREAMS_KEPT)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(LOCAL_ERRORS_MAX));
    if websockets {
        builder.enable_connect_protocol();
    }
    builder
}

/// What the streams of one connection share.
struct Shared {
    thread: Arc<Thread>,
    connection: Arc<Connection>,
    gauge: Arc<Gauge>,
    min_send_rate: Option<u64>,
    /// Streams that are reset once what answers them is written.
    answered: Mutex<Vec<FlowControl>>,
}

impl Shared {
    /// Keeps h2 from resetting a stream whose content nobody reads before its response is written. With both in one TLS
    /// record, clients lose the response (curl 7.88).
    fn reset_later(&self, stream: FlowControl) {
        let mut answered = self.answered();
        if answered.len() < STREAMS_MAX as usize {
            answered.push(stream);
        }
    }

    fn answered(&self) -> MutexGuard<'_, Vec<FlowControl>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the error log of what concerns the connection, or a stream that no request was made of.
    fn tell(&self, refusal: &Refusal) {
        self.thread.edge().report.refused(&Refused {
            status: refusal.status().map(|status| status.as_u16()),
            detail: Some(&refusal.detail),
            ..Refused::on(&self.connection, refusal.reason, Protocol::Http2)
        });
    }

    /// Tells why h2 ended the connection. A client that is gone, or says itself that it ends, is no refusal.
    fn tell_error(&self, error: &h2::Error) {
        if error.is_io() || error.is_remote() {
            tracing::debug!(%error, "HTTP/2 connection ended early");
            return;
        }
        let reason = match error.reason() {
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Reason::H2Abuse,
            _ => Reason::H2Protocol,
        };
        self.tell(&Refusal::new(
            reason,
            format!("the connection was closed: {error}"),
        ));
    }
}

/// A stream that did not end at once.
type Streaming = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The connection's own task: h2, and the streams that did not end at once.
struct Driver<I: Transport> {
    conn: H2<Meter<I>, Bytes>,
    streams: FuturesUnordered<Streaming>,
    shared: Arc<Shared>,
    drain: DrainWatch,
    ending: Ending,
    idle_since: Option<Instant>,
    timer: LazyTimer,
    header_wait: Duration,
    idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// GOAWAY is sent; streams finish.
    Graceful,
    /// GOAWAY is sent; nothing is waited for but its way out, until then.
    Abrupt(Instant),
}

impl<I: Transport> Future for Driver<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.ending == Ending::No && this.drain.has_begun(cx) {
            this.end_gracefully();
        }
        // All that is answered in this turn leaves together.
        this.shared.gauge.cork(true);
        let turn = this.poll_turn(cx);
        this.shared.gauge.cork(false);
        match turn {
            Turn::Over => return Poll::Ready(()),
            Turn::Quiet => {}
            // Other connections of this thread want to be served too.
            Turn::Enough => cx.waker().wake_by_ref(),
        }
        match this.conn.poll_accept(cx) {
            // What answers them is written; h2 wakes this task for the resets.
            Poll::Pending => this.shared.answered().clear(),
            Poll::Ready(Some(Ok(accepted))) => {
                let edge = this.shared.thread.edge();
                this.begin(&edge, accepted, std::time::Instant::now(), cx);
                cx.waker().wake_by_ref();
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(Some(&error));
                return Poll::Ready(());
            }
            Poll::Ready(None) => {
                this.end(None);
                return Poll::Ready(());
            }
        }
        this.tell_refusals();
        this.poll_timers(cx)
    }
}

/// A request that has arrived, and where its response goes.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// How a turn of the connection's task went.
enum Turn {
    /// Nothing more is to be done until something happens.
    Quiet,
    /// There may be more to do.
    Enough,
    /// The connection is at its end.
    Over,
}

impl<I: Transport> Driver<I> {
    /// Takes requests and moves streams until there is nothing more to do, or enough was done.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let mut budget = ACCEPTED_AT_ONCE;
        loop {
            let (accepted, end) = self.poll_accepted(cx);
            let any = !accepted.is_empty();
            budget = budget.saturating_sub(accepted.len());
            if any {
                let edge = self.shared.thread.edge();
                // They came together; the last of them has waited for the others.
                let came = std::time::Instant::now();
                for accepted in accepted {
                    self.begin(&edge, accepted, came, cx);
                }
            }
            if let Some(end) = end {
                self.end(end.err().as_ref());
                return Turn::Over;
            }
            self.tell_refusals();
            if any || self.judge() {
                if budget == 0 {
                    return Turn::Enough;
                }
                continue;
            }
            match Pin::new(&mut self.streams).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return Turn::Quiet,
            }
        }
    }

    /// The requests that have arrived, and the connection's end if it has come to that.
    ///
    /// They are read before the first of them is answered: each call into h2 also writes what was answered before it, and
    /// writing thirty responses together costs less than writing them one by one.
    fn poll_accepted(
        &mut self,
        cx: &mut Context<'_>,
    ) -> (Vec<Accepted>, Option<Result<(), h2::Error>>) {
        let mut accepted = Vec::new();
        while accepted.len() < BATCH {
            match self.conn.poll_accept(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    if accepted.is_empty() {
                        accepted.reserve_exact(BATCH);
                    }
                    accepted.push(request);
                }
                Poll::Ready(Some(Err(error))) => return (accepted, Some(Err(error))),
                Poll::Ready(None) => return (accepted, Some(Ok(()))),
                Poll::Pending => break,
            }
        }
        (accepted, None)
    }

    /// The connection is at its end; tells why, if there is anything to tell.
    fn end(&mut self, error: Option<&h2::Error>) {
        self.tell_refusals();
        if let Some(verdict) = self.shared.gauge.take_verdict() {
            self.shared.tell(&verdict.refusal);
        } else if let Some(error) = error {
            self.shared.tell_error(error);
        }
    }

    /// Begins a stream; most end here.
    fn begin(
        &mut self,
        edge: &ThreadEdge,
        (request, respond): Accepted,
        came: std::time::Instant,
        cx: &mut Context<'_>,
    ) {
        self.idle_since = None;
        let begun = stream::begin(&self.shared, edge, request, respond, came);
        let Some(mut streaming) = begun else {
            return;
        };
        if streaming.as_mut().poll(cx).is_pending() {
            self.streams.push(streaming);
        }
    }

    fn tell_refusals(&self) {
        for refusal in self.shared.gauge.take_refused_by_h2() {
            self.shared.tell(&refusal);
        }
    }

    /// Ends the connection if the meter says so; whether it does.
    fn judge(&mut self) -> bool {
        if matches!(self.ending, Ending::Abrupt(_)) {
            return false;
        }
        let Some(verdict) = self.shared.gauge.take_verdict() else {
            return false;
        };
        self.shared.tell(&verdict.refusal);
        self.end_abruptly(verdict.code);
        true
    }

    fn end_gracefully(&mut self) {
        self.ending = Ending::Graceful;
        self.idle_since = None;
        self.conn.graceful_shutdown();
    }

    fn end_abruptly(&mut self, code: h2::Reason) {
        self.conn.abrupt_shutdown(code);
        self.ending = Ending::Abrupt(Instant::now() + LAST_WORDS);
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if let Ending::Abrupt(until) = self.ending {
            return if self.timer.poll_until(until, now, cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        }
        if let Some(began) = self.shared.gauge.block_began()
            && self.timer.poll_until(began + self.header_wait, now, cx)
        {
            let detail = "a request's fields were not complete within limits.header_wait";
            self.shared
                .tell(&Refusal::new(Reason::TimerHeaderWait, detail));
            self.end_abruptly(h2::Reason::ENHANCE_YOUR_CALM);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.shared.connection.activity.in_flight() > 0 {
            return Poll::Pending;
        }
        let since = *self.idle_since.get_or_insert(now);
        // A client that was told to go, and has nothing under way, has only to answer that it heard.
        let span = if self.ending == Ending::Graceful {
            LAST_WORDS
        } else {
            self.idle
        };
        if self.timer.poll_until(since + span, now, cx) {
            if self.ending == Ending::Graceful {
                return Poll::Ready(());
            }
            let detail = "no further request arrived within limits.idle_connection";
            self.shared
                .tell(&Refusal::new(Reason::TimerConnectionIdle, detail));
            self.idle_since = None;
            self.end_gracefully();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A head so many times over its limit is answered by us; one that is longer, by h2.
const HEAD_SLACK: usize = 2;

/// What h2 holds of a response that the client does not take.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Streams that are remembered for a second after a reset, so that late frames of theirs are no error. Uploads that a busy
/// pool or a limit answers early are reset, with frames of theirs still on the way; h2 counts the frames of a forgotten
/// stream as the client's fault, up to [`LOCAL_ERRORS_MAX`]. A stream remembered is half a KiB.
const RESET_STREAMS_KEPT: usize = 1024;

/// Streams that a client may make us reset (MadeYouReset, CVE-2025-8671); h2's own default is 1024.
const LOCAL_ERRORS_MAX: usize = 64;

/// Requests that are read before the first of them is answered.
const BATCH: usize = 32;

/// Requests that are begun before other connections have their turn.
const ACCEPTED_AT_ONCE: usize = 256;

/// How long a GOAWAY may take on its way out.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
