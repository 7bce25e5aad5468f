//! One HTTP/3 stream: its request to the seam, and its response back within the client's windows.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use ::h3::error::{Code, StreamError};
use ::h3::quic::{RecvStream as _, SendStream as _};
use ::h3::server::{RequestResolver, RequestStream};
use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use super::Shared;
use super::content::{Content, Half, Rest};
use super::sending::{Line, Sending};
use super::wire::{Accepted, Both, Stopped, Wire};
use crate::clock::LazyTimer;
use crate::http::multiplexed;
use crate::http::serve::{Answer, Serving, Work, refuse_unread, serve};
use crate::http::stall::SendStall;
use crate::model::{Body, Protocol, Reason, Refusal};

/// The half of a stream that a response goes on.
type Out = RequestStream<Sending, Bytes>;

/// Serves a stream to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    resolver: RequestResolver<Wire, Bytes>,
    accepted: Accepted,
) {
    let Some((request, stream)) = read_head(&shared, resolver, &accepted.line).await else {
        return;
    };
    let (out, half) = stream.split();
    let rest = Arc::<Rest>::default();
    let mut stream = Stream {
        shared,
        out,
        line: Arc::clone(&accepted.line),
        stopped: accepted.stopped,
    };
    if stream.answer(request, half, &rest).await {
        finish_reading(&rest).await;
    } else if let Some(mut unread) = rest.take_unread() {
        unread.stop_sending(match rest.is_malformed() {
            true => Code::H3_MESSAGE_ERROR,
            false => Code::H3_REQUEST_CANCELLED,
        });
    }
    stream.finish_sending().await;
}

/// The request's head, within its time; none where there is none to answer.
async fn read_head(
    shared: &Shared,
    mut resolver: RequestResolver<Wire, Bytes>,
    line: &Line,
) -> Option<(Request<()>, RequestStream<Both, Bytes>)> {
    let began = Instant::now();
    let mut timer = LazyTimer::default();
    let frame = poll_fn(|cx| {
        let polled = resolver.frame_stream.poll_next(cx).map(Some);
        if polled.is_pending() && timer.poll_until(began + shared.header_wait, Instant::now(), cx) {
            return Poll::Ready(None);
        }
        polled
    })
    .await;
    let Some(frame) = frame else {
        let detail = "a request's fields were not complete within limits.header_wait";
        shared.tell(&Refusal::new(Reason::TimerHeaderWait, detail));
        let code = Code::H3_REQUEST_CANCELLED.value();
        resolver.frame_stream.stream.stop_sending(code);
        resolver.frame_stream.reset(code);
        return None;
    };
    if let Some(fault) = line.fault() {
        shared.tell(&Refusal::new(Reason::H3Protocol, fault));
        let code = Code::H3_MESSAGE_ERROR.value();
        resolver.frame_stream.stream.stop_sending(code);
        resolver.frame_stream.reset(code);
        return None;
    }
    let resolved = match resolver.accept_with_frame(frame) {
        Ok(resolved) => resolved.resolve().await,
        Err(error) => Err(error),
    };
    resolved
        .inspect_err(|error| shared.tell_stream_error(error))
        .ok()
}

/// Reads what a client still sends of a request that is answered. To refuse it would be counted as an error by many
/// clients; beyond a bound it is refused with the code that says that there is none.
async fn finish_reading(rest: &Rest) {
    let Some(mut unread) = rest.take_unread() else {
        return;
    };
    let drained = async {
        let mut left = UNREAD_BYTES_MAX;
        while left > 0 {
            match unread.recv_data().await {
                Ok(Some(data)) => left = left.saturating_sub(data.remaining()),
                Ok(None) => return unread.recv_trailers().await.is_ok(),
                Err(_) => return true,
            }
        }
        false
    };
    if !matches!(tokio::time::timeout(LINGER, drained).await, Ok(true)) {
        unread.stop_sending(Code::H3_NO_ERROR);
    }
}

struct Stream {
    shared: Arc<Shared>,
    out: Out,
    line: Arc<Line>,
    stopped: Stopped,
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

impl Stream {
    /// Answers a request; whether a whole response was sent.
    async fn answer(&mut self, mut request: Request<()>, half: Half, rest: &Arc<Rest>) -> bool {
        let edge = self.shared.thread.edge();
        if let Some(fault) = multiplexed::fault(&request) {
            drop(Content::new(
                half,
                None,
                0,
                Arc::clone(&self.line),
                Arc::clone(rest),
            ));
            self.shared.tell(&Refusal::new(Reason::H3Protocol, fault));
            self.out.stop_stream(Code::H3_MESSAGE_ERROR);
            return false;
        }
        let fields_max = edge.limits.max_header_fields;
        multiplexed::join_cookies(request.headers_mut(), fields_max);
        let length = multiplexed::content_length(&request);
        let line = Arc::clone(&self.line);
        let mut content = Content::new(half, length, fields_max, line, Arc::clone(rest));
        poll_fn(|cx| {
            content.peek(cx);
            Poll::Ready(())
        })
        .await;
        if rest.is_malformed() {
            return self.refuse_malformed();
        }
        let expects = multiplexed::expects_continue(&request);
        let in_flight = self.shared.in_flight.enter();
        let connection = &self.shared.connection;
        let serving = if head_bytes(&request) > edge.limits.max_request_bytes {
            let refusal = Refusal::new(
                Reason::RequestLength,
                "the request's fields are longer than limits.max_request_bytes",
            );
            Serving::Now(refuse_unread(
                &edge,
                connection,
                Protocol::Http3,
                &refusal,
                in_flight,
            ))
        } else {
            let request = request.map(|()| content);
            serve(&edge, connection, Protocol::Http3, request, in_flight)
        };
        let answer = match serving {
            Serving::Now(answer) => answer,
            Serving::Later(work) => match self.wait(work, expects.then_some(rest)).await {
                Some(answer) => answer,
                None => return false,
            },
        };
        if rest.is_malformed() {
            return self.refuse_malformed();
        }
        self.send(answer).await
    }

    fn refuse_malformed(&mut self) -> bool {
        self.shared.tell(&Refusal::new(
            Reason::H3Protocol,
            "a request's content is not as long as its Content-Length says, or its trailers are none",
        ));
        self.out.stop_stream(Code::H3_MESSAGE_ERROR);
        false
    }

    /// Waits for the answer; none where the client wants it no more.
    async fn wait(&mut self, mut work: Work, expecting: Option<&Arc<Rest>>) -> Option<Answer> {
        loop {
            let answer = poll_fn(|cx| {
                if let Poll::Ready(answer) = work.as_mut().poll(cx) {
                    return Poll::Ready(Some(Some(answer)));
                }
                if expecting.is_some_and(|rest| rest.take_wanted()) {
                    return Poll::Ready(None);
                }
                // The client's reset ends the work, wherever it stands.
                self.stopped.as_mut().poll(cx).map(|_| Some(None))
            })
            .await;
            if let Some(answer) = answer {
                return answer;
            }
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            // A client that is gone by now is told nothing.
            let _ = self.out.send_response(head).await;
        }
    }

    /// Sends an answer; whether it was sent whole.
    async fn send(&mut self, answer: Answer) -> bool {
        let Answer::Response { response, .. } = answer else {
            self.out.stop_stream(Code::H3_REQUEST_REJECTED);
            return false;
        };
        let (mut head, mut body) = response.into_parts();
        multiplexed::complete(&mut head.headers, &body);
        let mut stall = SendStall::new(self.shared.min_send_rate);
        let sent = self
            .send_all(Response::from_parts(head, ()), &mut body, &mut stall)
            .await;
        match sent {
            Ok(()) => return true,
            Err(Ended::Gone) => {}
            Err(Ended::Slow(refusal)) => {
                self.shared.tell(&refusal);
                self.out.stop_stream(Code::H3_REQUEST_CANCELLED);
            }
            Err(Ended::Broken) => self.out.stop_stream(Code::H3_INTERNAL_ERROR),
        }
        false
    }

    async fn send_all(
        &mut self,
        head: Response<()>,
        body: &mut Body,
        stall: &mut SendStall,
    ) -> Result<(), Ended> {
        let (shared, line) = (&*self.shared, &*self.line);
        if body.full_len().is_some() {
            line.gather();
        }
        watched(shared, line, stall, self.out.send_response(head)).await?;
        if let Some(content) = body.take_full() {
            if !content.is_empty() {
                watched(shared, line, stall, self.out.send_data(content)).await?;
            }
        } else {
            self.send_pieces(body, stall).await?;
        }
        let (shared, line) = (&*self.shared, &*self.line);
        watched(shared, line, stall, self.out.finish()).await
    }

    /// Sends content as it comes and as the client's windows take it.
    async fn send_pieces(&mut self, body: &mut Body, stall: &mut SendStall) -> Result<(), Ended> {
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                    return Poll::Ready(Ok(frame));
                }
                self.stopped.as_mut().poll(cx).map(|_| Err(Ended::Gone))
            })
            .await?;
            let frame = match frame {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    tracing::debug!(%error, "response content broke");
                    return Err(Ended::Broken);
                }
            };
            let (shared, line) = (&*self.shared, &*self.line);
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    watched(shared, line, stall, self.out.send_data(data)).await?;
                    stall.taken_all();
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        watched(shared, line, stall, self.out.send_trailers(trailers)).await?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// On a connection that is about to end, a response is at its end only when the client has it.
    async fn finish_sending(self) {
        if self.shared.is_ending() {
            // However it ends, the connection does not wait longer.
            let _ = tokio::time::timeout(LINGER, self.stopped).await;
        }
    }
}

/// Waits until the client's windows have taken something, and no longer than the client's least rate allows.
async fn watched(
    shared: &Shared,
    line: &Line,
    stall: &mut SendStall,
    sending: impl Future<Output = Result<(), StreamError>>,
) -> Result<(), Ended> {
    let mut sending = pin!(sending);
    let mut before = line.taken();
    poll_fn(|cx: &mut Context<'_>| match sending.as_mut().poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Ended::Gone)),
        Poll::Pending => {
            let now = line.taken();
            stall.taken(usize::try_from(now - before).unwrap_or(usize::MAX));
            before = now;
            // A slow line is shared by the streams on it: each owes its part of the least rate.
            match stall.blocked(cx, shared.in_flight.count()) {
                Ok(()) => Poll::Pending,
                Err(refusal) => Poll::Ready(Err(Ended::Slow(refusal))),
            }
        }
    })
    .await
}

/// The size of a head, as SETTINGS_MAX_FIELD_SECTION_SIZE counts it (RFC 9114 section 4.2.2).
fn head_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = (uri.authority()).map_or(0, |authority| authority.as_str().len());
    let target = path + authority;
    let fields = (request.headers().iter()).map(|(name, value)| name.as_str().len() + value.len());
    let method = request.method().as_str().len();
    fields.map(|bytes| bytes + FIELD_OVERHEAD).sum::<usize>() + target + method + PSEUDO_OVERHEAD
}

/// What a field counts beside its name and value.
const FIELD_OVERHEAD: usize = 32;

/// `:method`, `:scheme`, `:authority` and `:path`, with `https`.
const PSEUDO_OVERHEAD: usize = 4 * FIELD_OVERHEAD + 7 + 7 + 5 + 10 + 5;

/// How much, and for how long, is still read of a request that is answered.
const UNREAD_BYTES_MAX: usize = 256 * 1024;
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
