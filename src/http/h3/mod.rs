//! The HTTP/3 driver: the h3 crate on quinn's streams, behind the `meter`.
//!
//! One task a connection: it accepts streams, moves them all, and ends them together. What is known of a response at once
//! leaves in one packet, as nothing here waits between head, content and end.

mod content;
pub mod fields;
pub mod frames;
mod meter;
mod qpack;
mod sending;
mod stream;
mod tunnel;
mod wire;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use ::h3::error::{Code, ConnectionError, LocalError, StreamError};
use ::h3::quic::RecvStream as _;
use ::h3::server::{Connection as H3, RequestResolver};
use bytes::Bytes;
use futures_util::Stream as _;
use futures_util::stream::FuturesUnordered;
use quinn::VarInt;
use tokio::sync::watch;
use tokio::time::Instant;

use self::meter::{Gauge, Verdict};
use self::wire::Wire;
use super::{Thread, multiplexed};
use crate::clock::LazyTimer;
use crate::model::{Activity, Connection, Protocol, Reason, Refusal};
use crate::report::Refused;

/// Serves an HTTP/3 connection to its end. `stop`: its socket is no longer for anybody, and it is to finish.
pub async fn drive(
    quic: quinn::Connection,
    thread: Arc<Thread>,
    connection: Arc<Connection>,
    stop: watch::Receiver<bool>,
) {
    let edge = thread.edge();
    let (limits, websockets) = (edge.limits.clone(), edge.websockets);
    drop(edge);
    // What is a little too long is answered; what is longer by far is not even read.
    let head_bytes_max = limits.max_request_bytes as u64 * HEAD_SLACK;
    let gauge = Gauge::new(head_bytes_max.max(FRAME_BYTES_LEAST));
    let shared = Arc::new(Shared {
        connection,
        min_send_rate: limits.min_send_rate,
        header_wait: limits.header_wait,
        websockets,
        ending: AtomicBool::new(false),
        gauge: Arc::clone(&gauge),
        thread,
    });
    let mut builder = ::h3::server::builder();
    builder
        .max_field_section_size(head_bytes_max)
        .enable_extended_connect(websockets)
        .send_grease(false);
    let building = builder.build(Wire::new(quic.clone(), Arc::clone(&gauge)));
    let h3 = match tokio::time::timeout(limits.header_wait, building).await {
        Ok(Ok(h3)) => h3,
        Ok(Err(error)) => return shared.tell_error(&error),
        Err(_) => {
            let detail = "the client lets us open no stream for settings";
            shared.tell(&Refusal::new(Reason::H3Protocol, detail));
            return end(&quic, Code::H3_STREAM_CREATION_ERROR);
        }
    };
    let driver = Driver {
        h3,
        quic: quic.clone(),
        gauge,
        streams: FuturesUnordered::new(),
        shared,
        ending: Ending::No,
        begun: false,
        rejects: false,
        idle_since: None,
        timer: LazyTimer::default(),
        idle: limits.idle_connection,
    };
    driver.run(stop).await;
    // One that has ended by itself stays as it is.
    end(&quic, Code::H3_NO_ERROR);
    // QUIC's own task has its turn before this connection is counted as gone.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// Tells a client that its connection ends here, whatever is still under way on it.
pub fn cut(quic: &quinn::Connection) {
    end(quic, Code::H3_INTERNAL_ERROR);
}

/// The same for every connection of an endpoint.
pub fn cut_all(endpoint: &quinn::Endpoint) {
    endpoint.close(wire::var_int(Code::H3_INTERNAL_ERROR.value()), b"");
}

fn end(quic: &quinn::Connection, code: Code) {
    quic.close(VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX), b"");
}

/// What the streams of one connection share.
struct Shared {
    thread: Arc<Thread>,
    connection: Arc<Connection>,
    min_send_rate: Option<u64>,
    header_wait: Duration,
    /// Whether the client was told that it may ask for WebSockets.
    websockets: bool,
    /// The connection takes no new request.
    ending: AtomicBool,
    gauge: Arc<Gauge>,
}

impl Shared {
    fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    /// Tells the error log of what concerns the connection, or a stream that no request was made of.
    fn tell(&self, refusal: &Refusal) {
        // Whatever it is, it costs us a line.
        self.gauge.refused();
        self.thread.edge().report.refused(&Refused {
            status: refusal.status().map(|status| status.as_u16()),
            detail: Some(&refusal.detail),
            ..Refused::on(&self.connection, refusal.reason, Protocol::Http3)
        });
    }

    /// Tells why h3 ended the connection. A client that is gone, or says itself that it ends, is no refusal.
    fn tell_error(&self, error: &ConnectionError) {
        match error {
            ConnectionError::Local {
                error: LocalError::Application { code, reason, .. },
                ..
            } if *code != Code::H3_NO_ERROR => self.tell(&Refusal::new(
                Reason::H3Protocol,
                format!("the connection was closed: {reason} ({code})"),
            )),
            _ => tracing::debug!(%error, "HTTP/3 connection ended early"),
        }
    }

    /// Tells why no request could be made of a stream.
    fn tell_stream_error(&self, error: &StreamError) {
        let refusal = match error {
            StreamError::HeaderTooBig { .. } => multiplexed::too_long(),
            StreamError::StreamError { code, reason, .. } => Refusal::new(
                Reason::H3Protocol,
                format!("a stream was reset: {reason} ({code})"),
            ),
            // The connection tells of its own end, and a client may leave.
            _ => return,
        };
        self.tell(&refusal);
    }
}

/// A stream that was accepted, as h3 has it: large, and moved from hand to hand.
type Resolver = RequestResolver<Wire, Bytes>;

/// A stream that is served.
type Streaming = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The connection's own task: h3, and the streams.
struct Driver {
    h3: H3<Wire, Bytes>,
    quic: quinn::Connection,
    gauge: Arc<Gauge>,
    streams: FuturesUnordered<Streaming>,
    shared: Arc<Shared>,
    ending: Ending,
    /// Whether any request has come.
    begun: bool,
    /// Whether the client has been told that a request which comes now is not looked at. It may have sent it elsewhere since.
    rejects: bool,
    idle_since: Option<Instant>,
    timer: LazyTimer,
    idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// A first GOAWAY is sent; what is on its way meanwhile is served, until then.
    Announced(Instant),
    /// The last GOAWAY is sent; streams finish.
    Graceful,
}

/// What there is to be done next.
enum Event {
    Accepted(Box<Resolver>),
    /// The connection is at its end.
    Over(Option<ConnectionError>),
    /// It breaks a rule, or costs too much.
    Judged(Verdict),
    /// No new requests from now on.
    Stop,
    /// The first GOAWAY has had its time.
    Announced,
    /// Nothing was asked for too long.
    Idle,
    /// The last stream has finished, and there will be no other.
    Finished,
}

impl Driver {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut drain = self.shared.thread.drain.watch();
        // An error would mean that nobody is left who could say so; the drain still can.
        let mut stopped = pin!(async move {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let gauge = Arc::clone(&self.gauge);
        let mut verdict = pin!(gauge.verdict());
        let mut accepted = 0;
        loop {
            let event = {
                let mut accepting = pin!(self.h3.accept());
                let rejects = self.rejects;
                let rest = &mut Waiting {
                    streams: &mut self.streams,
                    activity: &self.shared.connection.activity,
                    ending: self.ending,
                    idle_since: &mut self.idle_since,
                    timer: &mut self.timer,
                    idle: self.idle,
                };
                poll_fn(|cx| {
                    if rest.ending == Ending::No
                        && (drain.has_begun(cx) || stopped.as_mut().poll(cx).is_ready())
                    {
                        return Poll::Ready(Event::Stop);
                    }
                    if let Poll::Ready(verdict) = verdict.as_mut().poll(cx) {
                        return Poll::Ready(Event::Judged(verdict));
                    }
                    if let Poll::Ready(next) = accepting.as_mut().poll(cx) {
                        return Poll::Ready(match next {
                            Ok(Some(resolver)) => Event::Accepted(Box::new(resolver)),
                            Ok(None) => Event::Over(None),
                            Err(error) => Event::Over(Some(error)),
                        });
                    }
                    if rejects {
                        gauge.reject_accepted();
                    }
                    rest.poll(cx)
                })
                .await
            };
            if let Event::Accepted(resolver) = event {
                self.begin(resolver);
                accepted += 1;
                if accepted == ACCEPTED_AT_ONCE {
                    // Other connections of this thread want to be served too.
                    accepted = 0;
                    tokio::task::yield_now().await;
                }
            } else if !self.turn(event).await {
                return;
            }
        }
    }

    fn begin(&mut self, mut resolver: Box<Resolver>) {
        self.idle_since = None;
        let accepted = self.gauge.take_accepted();
        debug_assert!(accepted.is_some(), "h3 hands on what it was handed");
        let Some(accepted) = accepted else {
            return;
        };
        if self.rejects {
            // h3 itself takes the very stream that its GOAWAY names as the first that it does not take.
            let code = Code::H3_REQUEST_REJECTED;
            resolver.frame_stream.stream.stop_sending(code.value());
            return accepted.reject();
        }
        self.begun = true;
        let shared = Arc::clone(&self.shared);
        self.streams
            .push(Box::pin(stream::run(shared, resolver, accepted)));
    }

    /// Does what an event asks for; whether the connection goes on.
    async fn turn(&mut self, event: Event) -> bool {
        match event {
            Event::Accepted(_) => {}
            Event::Over(error) => {
                // Both may come at once, and the verdict is the cause.
                if let Some(error) = error {
                    self.shared.tell_error(&error);
                }
                return false;
            }
            Event::Judged(verdict) => {
                self.shared.tell(&verdict.refusal);
                end(&self.quic, verdict.code);
                return false;
            }
            Event::Idle => {
                let detail = "no further request arrived within limits.idle_connection";
                self.shared
                    .tell(&Refusal::new(Reason::TimerConnectionIdle, detail));
                return self.announce().await;
            }
            Event::Stop => return self.announce().await,
            Event::Announced => {
                self.ending = Ending::Graceful;
                self.rejects = true;
                return self.go_away(LAST_REQUESTS).await;
            }
            Event::Finished => return false,
        }
        true
    }

    /// A client learns that it is to go while requests of its are on the way: the first GOAWAY takes none of them back
    /// (RFC 9114 section 5.2).
    async fn announce(&mut self) -> bool {
        self.shared.ending.store(true, Relaxed);
        self.idle_since = None;
        // Before the first request, h3's GOAWAY is for all of them.
        self.rejects = !self.begun;
        let wait = (self.quic.rtt() * 2).clamp(ANNOUNCED_LEAST, ANNOUNCED_MOST);
        self.ending = Ending::Announced(Instant::now() + wait);
        self.go_away(REQUESTS_ON_THE_WAY).await
    }

    async fn go_away(&mut self, requests: usize) -> bool {
        // A client that does not let a dozen bytes pass does not want to know.
        let said = tokio::time::timeout(ANNOUNCED_MOST, self.h3.shutdown(requests)).await;
        matches!(said, Ok(Ok(())))
    }
}

/// What the connection's task waits for beside h3.
struct Waiting<'a> {
    streams: &'a mut FuturesUnordered<Streaming>,
    activity: &'a Activity,
    ending: Ending,
    idle_since: &'a mut Option<Instant>,
    timer: &'a mut LazyTimer,
    idle: Duration,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while let Poll::Ready(Some(())) = Pin::new(&mut *self.streams).poll_next(cx) {}
        let now = Instant::now();
        let quiet = self.streams.is_empty() && self.activity.in_flight() == 0;
        match self.ending {
            Ending::Announced(until) => self
                .timer
                .poll_until(until, now, cx)
                .then_some(Event::Announced)
                .map_or(Poll::Pending, Poll::Ready),
            Ending::Graceful if quiet => Poll::Ready(Event::Finished),
            Ending::No if quiet => {
                let since = *self.idle_since.get_or_insert(now);
                if self.timer.poll_until(since + self.idle, now, cx) {
                    return Poll::Ready(Event::Idle);
                }
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }
}

/// A head so many times over its limit is answered with 431; one that is longer ends the connection.
const HEAD_SLACK: u64 = 4;

/// Settings and their like are far shorter.
const FRAME_BYTES_LEAST: u64 = 16 * 1024;

/// Requests that are begun before other connections have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// The first GOAWAY names a stream that no client comes to meanwhile, the last one the next that would come.
const REQUESTS_ON_THE_WAY: usize = 1 << 20;
const LAST_REQUESTS: usize = 1;

/// How long requests on their way are waited for: two round trips, but not for a client that claims to be on the moon.
const ANNOUNCED_LEAST: Duration = Duration::from_millis(50);
const ANNOUNCED_MOST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
