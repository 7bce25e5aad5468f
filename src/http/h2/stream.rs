//! One HTTP/2 stream: its request to the seam, and its response back within the client's windows.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{FlowControl, Reason as Code, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;

use super::content::Content;
use super::{Shared, Streaming, tunnel};
use crate::http::serve::{Answer, Serving, Work};
use crate::http::stall::SendStall;
use crate::http::{ThreadEdge, multiplexed};
use crate::model::{Body, Interim, Protocol, Refusal};

/// Begins to serve a stream. What is left to do is given back; for a request whose response is known at once, and fits the
/// client's windows, that is nothing.
pub(super) fn begin(
    shared: &Arc<Shared>,
    edge: &ThreadEdge,
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    came: Instant,
) -> Option<Streaming> {
    if multiplexed::fault(&request).is_some() {
        respond.send_reset(Code::PROTOCOL_ERROR);
        return None;
    }
    if request.extensions().get::<h2::ext::Protocol>().is_some() {
        return tunnel::begin(shared, edge, request, respond, came);
    }
    let in_flight = shared.connection.activity.enter(came);
    let fields_max = edge.limits.max_header_fields;
    multiplexed::join_cookies(request.headers_mut(), fields_max);
    let has_content = !request.body().is_end_stream();
    let wanted =
        (has_content && multiplexed::expects_continue(&request)).then(Arc::<AtomicBool>::default);
    let length = has_content
        .then(|| multiplexed::content_length(&request))
        .flatten();
    let unread = has_content.then(|| request.body_mut().flow_control().clone());
    let interim = multiplexed::interim(&mut request);
    let request = request.map(|stream| {
        let stream = has_content.then_some(stream);
        Content::new(stream, length, wanted.clone(), fields_max)
    });
    let connection = &shared.connection;
    match multiplexed::serve(edge, connection, Protocol::Http2, request, in_flight) {
        Serving::Now(answer) => {
            let (stream, body) = send_head(shared, respond, answer, unread)?;
            Some(Box::pin(send_rest(Arc::clone(shared), stream, body)))
        }
        Serving::Later(work) => {
            let before = Before { wanted, interim };
            let run = run(Arc::clone(shared), work, respond, before, unread);
            Some(Box::pin(run))
        }
    }
}

/// What may go before the answer.
#[derive(Default)]
pub(super) struct Before {
    /// Set when the handler asks for content that the client sends when it is told to.
    wanted: Option<Arc<AtomicBool>>,
    interim: Option<Interim>,
}

impl Before {
    fn send(&self, shared: &Shared, respond: &mut SendResponse<Bytes>) {
        if self
            .wanted
            .as_ref()
            .is_some_and(|wanted| wanted.swap(false, Relaxed))
        {
            send_interim(shared, respond, StatusCode::CONTINUE, HeaderMap::new());
        }
        self.hint(shared, respond);
    }

    fn hint(&self, shared: &Shared, respond: &mut SendResponse<Bytes>) {
        for head in self.interim.iter().flat_map(Interim::take) {
            send_interim(shared, respond, StatusCode::EARLY_HINTS, head);
        }
    }
}

/// Waits for the answer, and sends it.
async fn run(
    shared: Arc<Shared>,
    mut work: Work,
    mut respond: SendResponse<Bytes>,
    before: Before,
    unread: Option<FlowControl>,
) {
    if let Some(answer) = wait(&shared, &mut work, &mut respond, &before).await
        && let Some((stream, body)) = send_head(&shared, respond, answer, unread)
    {
        send_rest(shared, stream, body).await;
    }
}

/// Waits for the answer; none where the client wants it no more.
pub(super) async fn wait(
    shared: &Shared,
    work: &mut Work,
    respond: &mut SendResponse<Bytes>,
    before: &Before,
) -> Option<Answer> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = work.as_mut().poll(cx) {
            before.hint(shared, respond);
            return Poll::Ready(Some(answer));
        }
        before.send(shared, respond);
        // The client's reset ends the work, wherever it stands.
        respond.poll_reset(cx).map(|_| None)
    })
    .await
}

fn send_interim(
    shared: &Shared,
    respond: &mut SendResponse<Bytes>,
    status: StatusCode,
    fields: HeaderMap,
) {
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    // A client that is gone by now is told nothing.
    if respond.send_informational(head).is_ok() {
        shared.gauge.headers_due();
    }
}

/// Sends an answer's head, and its content too if that is known and fits the client's windows. What is left to be sent.
pub(super) fn send_head(
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
    multiplexed::complete(&mut head.headers, &body);
    if let Some(unread) = unread
        && (head.status.is_client_error() || head.status.is_server_error())
    {
        shared.reset_later(unread);
    }
    let empty = body.is_end_stream();
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
pub(super) async fn send_rest(shared: Arc<Shared>, mut stream: SendStream<Bytes>, mut body: Body) {
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
        Poll::Pending => match stall.blocked(cx, shared.connection.activity.in_flight()) {
            Ok(()) => stream.poll_reset(cx).map(|_| Err(Ended::Gone)),
            Err(refusal) => Poll::Ready(Err(Ended::Slow(refusal))),
        },
    }
}
