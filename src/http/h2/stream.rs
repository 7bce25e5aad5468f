//! One HTTP/2 stream: its request to the seam, and its response back within the client's windows.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{FlowControl, Reason as Code, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, EXPECT, Entry, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Body as _;

use super::content::Content;
use super::{Shared, Streaming};
use crate::http::ThreadEdge;
use crate::http::date::date;
use crate::http::serve::{Answer, Serving, Work, serve};
use crate::http::stall::SendStall;
use crate::model::{Body, Protocol, Refusal};

/// Begins to serve a stream. What is left to do is given back; for a request whose response is known at once, and fits the
/// client's windows, that is nothing.
pub(super) fn begin(
    shared: &Arc<Shared>,
    edge: &ThreadEdge,
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<Streaming> {
    if is_malformed(&request) {
        respond.send_reset(Code::PROTOCOL_ERROR);
        return None;
    }
    let in_flight = shared.in_flight.enter();
    // Crumbs count as what they are: a hundred thousand of them are no one field.
    if request.headers().len() <= edge.limits.max_header_fields {
        join_cookies(request.headers_mut());
    }
    let has_content = !request.body().is_end_stream();
    let wanted = (has_content && expects_continue(&request)).then(Arc::<AtomicBool>::default);
    let length = has_content.then(|| content_length(&request)).flatten();
    let unread = has_content.then(|| request.body_mut().flow_control().clone());
    let fields_max = edge.limits.max_header_fields;
    let request = request.map(|stream| {
        let stream = has_content.then_some(stream);
        Content::new(stream, length, wanted.clone(), fields_max)
    });
    match serve(
        edge,
        &shared.connection,
        Protocol::Http2,
        request,
        in_flight,
    ) {
        Serving::Now(answer) => {
            let (stream, body) = send_head(shared, respond, answer, unread)?;
            Some(Box::pin(send_rest(Arc::clone(shared), stream, body)))
        }
        Serving::Later(work) => {
            let run = run(Arc::clone(shared), work, respond, wanted, unread);
            Some(Box::pin(run))
        }
    }
}

fn expects_continue<B>(request: &Request<B>) -> bool {
    (request.headers().get(EXPECT))
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn content_length<B>(request: &Request<B>) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// What h2 lets pass, and an HTTP/1.1 reader behind us might read otherwise: whitespace around a value (RFC 9113 section
/// 8.2.1), a Content-Length of no digits (RFC 9110 section 8.6), a target without a path (RFC 9113 section 8.3.1).
fn is_malformed<B>(request: &Request<B>) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    request.headers().iter().any(|(name, value)| {
        let value = value.as_bytes();
        is_blank(value.first())
            || is_blank(value.last())
            || (value.is_empty() && *name == CONTENT_LENGTH)
    }) || (request.uri().path_and_query()).is_some_and(|target| target.as_str().starts_with('?'))
}

/// Waits for the answer, and sends it.
async fn run(
    shared: Arc<Shared>,
    mut work: Work,
    mut respond: SendResponse<Bytes>,
    wanted: Option<Arc<AtomicBool>>,
    unread: Option<FlowControl>,
) {
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if wanted
            .as_ref()
            .is_some_and(|wanted| wanted.swap(false, Relaxed))
        {
            send_continue(&shared, &mut respond);
        }
        // The client's reset ends the work, wherever it stands.
        respond.poll_reset(cx).map(|_| None)
    })
    .await;
    if let Some(answer) = answer
        && let Some((stream, body)) = send_head(&shared, respond, answer, unread)
    {
        send_rest(shared, stream, body).await;
    }
}

fn send_continue(shared: &Shared, respond: &mut SendResponse<Bytes>) {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    // A client that is gone by now is told nothing.
    if respond.send_informational(head).is_ok() {
        shared.gauge.headers_due();
    }
}

/// RFC 9113 section 8.2.3: a client may send cookies in several fields, for compression; everything behind HTTP/2 knows
/// one.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let joined = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Fields that speak of an HTTP/1.1 connection have no place in HTTP/2 (RFC 9113 section 8.2.2).
fn strip_connection_fields(headers: &mut HeaderMap) {
    // Told by their lengths first: nearly no response has any of them.
    let speaks_of_connection = |name: &HeaderName| match name.as_str().len() {
        7 => *name == UPGRADE,
        10 => *name == CONNECTION || *name == "keep-alive",
        16 => *name == "proxy-connection",
        17 => *name == TRANSFER_ENCODING,
        _ => false,
    };
    while let Some(name) = headers.keys().find(|name| speaks_of_connection(name)) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Sends an answer's head, and its content too if that is known and fits the client's windows. What is left to be sent.
fn send_head(
    shared: &Shared,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
    unread: Option<FlowControl>,
) -> Option<(SendStream<Bytes>, Body)> {
    let Answer::Response { response, .. } = answer else {
        shared.gauge.refusal_due();
        respond.send_reset(Code::REFUSED_STREAM);
        return None;
    };
    let (mut head, mut body) = response.into_parts();
    strip_connection_fields(&mut head.headers);
    if let Some(unread) = unread
        && (head.status.is_client_error() || head.status.is_server_error())
    {
        shared.reset_later(unread);
    }
    if let Entry::Vacant(place) = head.headers.entry(DATE) {
        place.insert(date());
    }
    let empty = body.is_end_stream();
    if !empty
        && let Some(length) = body.size_hint().exact()
        && let Entry::Vacant(place) = head.headers.entry(CONTENT_LENGTH)
    {
        place.insert(HeaderValue::from(length));
    }
    // An error is a stream that the client has reset.
    let mut stream = respond
        .send_response(Response::from_parts(head, ()), empty)
        .ok()?;
    shared.gauge.headers_due();
    if empty {
        return None;
    }
    if let Some(length) = body.full_len() {
        stream.reserve_capacity(length);
        if stream.capacity() >= length {
            let _ = stream.send_data(body.take_full().unwrap_or_default(), true);
            return None;
        }
    }
    Some((stream, body))
}

/// Sends content as the client's windows take it.
async fn send_rest(shared: Arc<Shared>, mut stream: SendStream<Bytes>, mut body: Body) {
    match send_content(&shared, &mut stream, &mut body).await {
        Ok(()) | Err(Ended::Gone) => {}
        Err(Ended::Slow(refusal)) => {
            shared.tell(&refusal);
            stream.send_reset(Code::CANCEL);
        }
        Err(Ended::Broken) => stream.send_reset(Code::INTERNAL_ERROR),
    }
}

/// Why a response was not sent to its end.
enum Ended {
    /// The client reset the stream, or is gone.
    Gone,
    /// The client does not take what it asked for.
    Slow(Refusal),
    /// The content itself broke.
    Broken,
}

async fn send_content(
    shared: &Shared,
    stream: &mut SendStream<Bytes>,
    body: &mut Body,
) -> Result<(), Ended> {
    let mut stall = SendStall::new(shared.min_send_rate);
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = std::pin::Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            stream.poll_reset(cx).map(|_| Err(Ended::Gone))
        })
        .await?;
        match frame {
            None => {
                return stream
                    .send_data(Bytes::new(), true)
                    .map_err(|_| Ended::Gone);
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "response content broke");
                return Err(Ended::Broken);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    send_piece(shared, stream, data, last, &mut stall).await?;
                    if last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        stream.send_trailers(trailers).map_err(|_| Ended::Gone)?;
                        shared.gauge.headers_due();
                        return Ok(());
                    }
                }
            },
        }
    }
}

/// Sends a piece of content as the client's windows take it.
async fn send_piece(
    shared: &Shared,
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
    stall: &mut SendStall,
) -> Result<(), Ended> {
    if data.is_empty() && last {
        return stream.send_data(data, true).map_err(|_| Ended::Gone);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| poll_room(shared, stream, stall, cx)).await?;
        let piece = data.split_to(room.min(data.len()));
        stall.taken(piece.len());
        stream
            .send_data(piece, last && data.is_empty())
            .map_err(|_| Ended::Gone)?;
    }
    stall.taken_all();
    Ok(())
}

fn poll_room(
    shared: &Shared,
    stream: &mut SendStream<Bytes>,
    stall: &mut SendStall,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Ended>> {
    match stream.poll_capacity(cx) {
        Poll::Ready(Some(Ok(0))) => Poll::Pending,
        Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
        Poll::Ready(None | Some(Err(_))) => Poll::Ready(Err(Ended::Gone)),
        // A slow line is shared by the streams on it: each owes its part of the least rate.
        Poll::Pending => match stall.blocked(cx, shared.in_flight.count()) {
            Ok(()) => stream.poll_reset(cx).map(|_| Err(Ended::Gone)),
            Err(refusal) => Poll::Ready(Err(Ended::Slow(refusal))),
        },
    }
}
