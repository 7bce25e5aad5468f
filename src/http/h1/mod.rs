//! The HTTP/1 driver: hyper behind the `gate`.
//!
//! ```text
//! socket ─► gate (strictness, timers) ─► hyper (messages) ─► content ─► serve ─► hyper ─► gate ─► socket
//! ```

mod content;
mod gate;
pub mod head;
mod wire;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use self::content::Content;
use self::gate::{Gate, GateLimits};
use self::head::HeadLimits;
use self::wire::Wire;
use super::drain::DrainWatch;
use super::serve::{Answer, Serving, Work, refuse_unread, serve};
use super::transport::Counted;
use super::{Thread, Transport, linger};
use crate::config::Limits;
use crate::handler::upgrade::{Rewound, Tunnel};
use crate::model::{Body, Connection, Protocol, Reason, Refusal};
use crate::report::Refused;

/// Serves an HTTP/1 connection to its end. `first` are bytes that were read from it already.
pub async fn drive<I: Transport>(
    io: I,
    first: BytesMut,
    thread: Arc<Thread>,
    connection: Arc<Connection>,
) {
    let io = Counted::new(io, &connection);
    let wire = Wire::new(Arc::clone(&connection));
    let limits = gate_limits(&thread.edge().limits);
    let gate = Gate::new(io, Arc::clone(&wire), limits, first);
    let shared = Arc::new(Shared {
        thread: Arc::clone(&thread),
        connection,
        wire,
    });
    let mut drain = thread.drain.watch();
    let mut gate = gate;
    let read = loop {
        let (left, read) = serve_awhile(gate, &shared, &limits, &mut drain).await;
        gate = left;
        if let Some(read) = read {
            break read;
        }
        if !gate.rest(&mut drain).await {
            break Bytes::new();
        }
    };
    match shared.wire.take_tunnel() {
        Some(tunnel) => {
            shared.connection.activity.leave_http();
            run_tunnel(tunnel, gate, read).await;
        }
        None => close(gate, &shared).await,
    }
}

/// Has hyper serve the connection until it ends or comes to rest. The gate, and, if it ended, what hyper has read and not
/// understood as HTTP.
///
/// An idle connection is the commonest thing that an edge holds. hyper keeps 16 KiB for each; one that rests is taken from
/// it, and given to another when the client has something to say.
async fn serve_awhile<I: Transport>(
    gate: Gate<I>,
    shared: &Arc<Shared>,
    limits: &GateLimits,
    drain: &mut DrainWatch,
) -> (Gate<I>, Option<Bytes>) {
    let served = Arc::clone(shared);
    let service = hyper::service::service_fn(move |request| answer(&served, request));
    let mut conn = builder(limits).serve_connection(TokioIo::new(gate), service);
    let mut draining = false;
    let outcome = poll_fn(|cx| {
        let mut conn = Pin::new(&mut conn);
        // What has arrived is read first: hyper closes a connection that is told to finish before it has read anything.
        if let Poll::Ready(ended) = conn.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if !draining && drain.has_begun(cx) {
            draining = true;
            conn.as_mut().graceful_shutdown();
            return conn.poll(cx).map(Some);
        }
        if shared.wire.take_rest() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    if let Some(Err(error)) = &outcome {
        tracing::debug!(%error, "HTTP/1 connection ended early");
        if error.is_parse() {
            // The gate is to refuse whatever hyper would. Should it ever not, hyper's refusal is told all the same.
            let detail = format!("the request could not be read: {error}");
            let refusal = Refusal::new(Reason::BadRequest, detail);
            shared.wire.end(refusal);
        }
    }
    let parts = conn.into_parts();
    (parts.io.into_inner(), outcome.map(|_| parts.read_buf))
}

fn builder(limits: &GateLimits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The gate keeps the timers: hyper would set one for each head.
    builder.header_read_timeout(None);
    // The gate has counted the fields; hyper's own count must only not be less. Its default of 100 needs no allocation.
    if limits.head.fields > 100 {
        builder.max_headers(limits.head.fields);
    }
    // A head is handed on whole, and may be followed by a body's first bytes.
    builder.max_buf_size(limits.head.bytes.max(BUFFER_BYTES_MIN) + 4096);
    builder
}

fn gate_limits(limits: &Limits) -> GateLimits {
    GateLimits {
        head: HeadLimits {
            bytes: limits.max_request_bytes,
            fields: limits.max_header_fields,
            target: limits.max_uri_bytes.min(TARGET_BYTES_MAX),
        },
        header_wait: limits.header_wait,
        idle: limits.idle_connection,
        min_send_rate: limits.min_send_rate,
    }
}

/// What the requests of one connection share.
struct Shared {
    thread: Arc<Thread>,
    connection: Arc<Connection>,
    wire: Arc<Wire>,
}

/// Told to hyper when a request is to be answered by a reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be reset")]
struct Aborted;

/// hyper's future of a response. Most responses are there at once: hyper keeps room for one of these in each connection, and
/// moves every one into it, so that it had better be small.
enum Answering {
    Now(Option<Result<Response<Body>, Aborted>>),
    Later { work: Work, shared: Arc<Shared> },
}

impl Future for Answering {
    type Output = Result<Response<Body>, Aborted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later { work, shared } => {
                work.as_mut().poll(cx).map(|answer| shared.settle(answer))
            }
        }
    }
}

fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answering {
    let edge = shared.thread.edge();
    let (in_flight, refusal) = shared.wire.request();
    if let Some(refusal) = refusal {
        let answer = refuse_unread(
            &edge,
            &shared.connection,
            Protocol::Http1,
            &refusal,
            in_flight,
        );
        return Answering::Now(Some(shared.settle(answer)));
    }
    let mut request = request.map(|incoming| Content::new(incoming, Arc::clone(&shared.wire)));
    if !request.body().is_empty() {
        // The gate takes what follows for the body, so the connection cannot leave HTTP behind it.
        request.headers_mut().remove(UPGRADE);
    }
    match serve(
        &edge,
        &shared.connection,
        Protocol::Http1,
        request,
        in_flight,
    ) {
        Serving::Now(answer) => Answering::Now(Some(shared.settle(answer))),
        Serving::Later(work) => Answering::Later {
            work,
            shared: Arc::clone(shared),
        },
    }
}

impl Shared {
    fn settle(&self, answer: Answer) -> Result<Response<Body>, Aborted> {
        match answer {
            Answer::Reset => {
                self.wire.reset();
                Err(Aborted)
            }
            Answer::Response {
                mut response,
                close,
            } => {
                if close {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                settle_upgrade(&self.wire, &mut response);
                Ok(response)
            }
        }
    }
}

fn settle_upgrade(wire: &Wire, response: &mut Response<Body>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(tunnel) = response.extensions_mut().remove::<Tunnel>()
    {
        wire.accept_upgrade(tunnel);
    } else {
        wire.decline_upgrade();
    }
}

/// Hands a connection that has left HTTP to whoever asked for it.
async fn run_tunnel<I: Transport>(tunnel: Tunnel, gate: Gate<I>, read: Bytes) {
    let (io, held) = gate.into_parts();
    let mut first = BytesMut::from(read);
    first.unsplit(held);
    tunnel.run(Box::new(Rewound::new(first.freeze(), io))).await;
}

/// Closes a connection so that what was sent last arrives.
async fn close<I: Transport>(gate: Gate<I>, shared: &Shared) {
    let ended = shared.wire.take_end();
    if let Some(refusal) = &ended {
        tell(shared, refusal);
    }
    let slow = ended.is_some_and(|refusal| refusal.reason == Reason::TimerMinBytesPerSecond);
    let unread = gate.is_unread();
    let (mut io, _) = gate.into_parts();
    if slow || shared.wire.is_reset() {
        io.reset_on_close();
    } else if unread {
        linger(&mut io).await;
    }
}

/// Tells the error log why a connection ended between requests.
fn tell(shared: &Shared, refusal: &Refusal) {
    shared.thread.edge().report.refused(&Refused {
        detail: Some(&refusal.detail),
        ..Refused::on(&shared.connection, refusal.reason, Protocol::Http1)
    });
}

#[cfg(test)]
fn nobody() -> Arc<Connection> {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    Arc::new(Connection {
        client: crate::model::ClientAddr::new(nowhere),
        local: crate::model::LocalAddr::new(nowhere),
        tls: None,
        activity: crate::model::Activity::default(),
    })
}

/// hyper reads no longer target, whatever the limit.
const TARGET_BYTES_MAX: usize = u16::MAX as usize - 1;

/// hyper refuses a smaller one.
const BUFFER_BYTES_MIN: usize = 8192;
