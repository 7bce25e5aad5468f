//! One HTTP/3 stream: its request to the seam, and its response back within the client's windows.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::h3::error::{Code, StreamError};
use ::h3::quic::RecvStream as _;
use ::h3::server::RequestStream;
use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use super::content::{Content, Half, Rest};
use super::sending::{Gone, Sending};
use super::wire::{Accepted, Both, Stopped};
use super::{Resolver, Shared, tunnel};
use crate::clock::LazyTimer;
use crate::http::multiplexed;
use crate::http::serve::{Answer, Serving, Work};
use crate::http::stall::SendStall;
use crate::model::{Body, Interim, Protocol, Reason, Refusal};

/// Serves a stream to its end.
///
/// A future is as large as the largest of its parts, and is moved whole into its box: what most requests do without is in a box
/// of its own.
pub(super) async fn run(shared: Arc<Shared>, resolver: Box<Resolver>, accepted: Accepted) {
    let Accepted { stopped, sending } = accepted;
    let mut stream = Stream {
        shared,
        sending,
        stopped,
    };
    let Some((request, both)) = stream.read_head(resolver).await else {
        return;
    };
    // While it is held, h3 knows that the request is not done with, and does not take the connection for finished.
    let (_undone, half) = both.split();
    let half = Box::new(half);
    if let Some(asked) = stream.sending.line().protocol() {
        return Box::pin(tunnel::run(stream, request, half, asked)).await;
    }
    let rest = Arc::<Rest>::default();
    let sent = match stream.begin(request, half, &rest) {
        Some((serving, before)) => stream.answer(serving, before, &rest).await,
        None => false,
    };
    if sent {
        if let Some(unread) = rest.take_unread() {
            Box::pin(finish_reading(unread)).await;
        }
    } else if let Some(mut unread) = rest.take_unread() {
        unread.stop_sending(match rest.is_malformed() {
            true => Code::H3_MESSAGE_ERROR,
            false => Code::H3_REQUEST_CANCELLED,
        });
    }
    if stream.shared.is_ending() {
        Box::pin(stream.finish_sending()).await;
    }
}

/// Reads what a client still sends of a request that is answered. To refuse it would be counted as an error by many
/// clients; beyond a bound it is refused with the code that says that there is none.
async fn finish_reading(mut unread: Half) {
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

/// What may go before an answer.
#[derive(Default)]
pub(super) struct Before {
    /// The client waits for 100 (Continue).
    expects: Option<Arc<Rest>>,
    interim: Option<Interim>,
}

impl Before {
    /// Puts what there is to be sent; whether there was any.
    fn put(&self, sending: &mut Sending) -> bool {
        let mut any = self.hint(sending);
        if self.expects.as_ref().is_some_and(|rest| rest.take_wanted()) {
            sending.put_head(StatusCode::CONTINUE, &http::HeaderMap::new());
            any = true;
        }
        any
    }

    fn hint(&self, sending: &mut Sending) -> bool {
        let mut any = false;
        for head in self.interim.iter().flat_map(Interim::take) {
            sending.put_head(StatusCode::EARLY_HINTS, &head);
            any = true;
        }
        any
    }
}

pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) sending: Sending,
    pub(super) stopped: Stopped,
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
    /// The request's head, within its time; none where there is none to answer.
    async fn read_head(
        &mut self,
        mut resolver: Box<Resolver>,
    ) -> Option<(Request<()>, RequestStream<Both, Bytes>)> {
        let began = Instant::now();
        let mut timer = LazyTimer::default();
        let until = began + self.shared.header_wait;
        let frame = poll_fn(|cx| {
            let polled = resolver.frame_stream.poll_next(cx).map(Some);
            if polled.is_pending() && timer.poll_until(until, Instant::now(), cx) {
                return Poll::Ready(None);
            }
            polled
        })
        .await;
        let refused = match (&frame, self.sending.line().fault()) {
            (None, _) => {
                let detail = "a request's fields were not complete within limits.header_wait";
                let refusal = Refusal::new(Reason::TimerHeaderWait, detail);
                Some((refusal, Code::H3_REQUEST_CANCELLED))
            }
            (Some(_), fault) => fault.map(|fault| {
                let refusal = Refusal::new(Reason::H3Protocol, fault);
                (refusal, Code::H3_MESSAGE_ERROR)
            }),
        };
        if let Some((refusal, code)) = refused {
            self.shared.tell(&refusal);
            resolver.frame_stream.stream.stop_sending(code.value());
            self.sending.reset(code);
            return None;
        }
        let frame = frame?;
        // It would wait only to send something, and it has nothing to send on.
        let resolved = (resolver.accept_with_frame(frame))
            .and_then(|resolved| resolved.resolve().now_or_never().transpose());
        match resolved {
            Ok(resolved) => resolved,
            Err(error) => {
                self.shared.tell_stream_error(&error);
                Box::pin(self.end_unread(&error)).await;
                None
            }
        }
    }

    /// Answers or resets a stream that no request could be made of.
    async fn end_unread(&mut self, error: &StreamError) {
        match error {
            StreamError::HeaderTooBig { .. } => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let mut headers = http::HeaderMap::new();
                multiplexed::complete(&mut headers, &Body::empty());
                self.sending.put_head(status, &headers);
                let written = poll_fn(|cx| self.sending.poll_written(cx));
                // A client that does not take it goes without.
                if matches!(tokio::time::timeout(LINGER, written).await, Ok(Ok(()))) {
                    let _ = self.sending.finish();
                }
            }
            StreamError::StreamError { code, .. } => self.sending.reset(*code),
            _ => self.sending.reset(Code::H3_REQUEST_CANCELLED),
        }
    }

    /// Has a request answered, as far as that needs no waiting; and what may go before the answer. None where it
    /// is refused as malformed.
    fn begin(
        &mut self,
        mut request: Request<()>,
        half: Half,
        rest: &Arc<Rest>,
    ) -> Option<(Serving, Before)> {
        let edge = self.shared.thread.edge();
        if let Some(fault) = multiplexed::fault(&request) {
            rest.leave(half);
            self.shared.tell(&Refusal::new(Reason::H3Protocol, fault));
            self.sending.reset(Code::H3_MESSAGE_ERROR);
            return None;
        }
        let fields_max = edge.limits.max_header_fields;
        multiplexed::join_cookies(request.headers_mut(), fields_max);
        let length = multiplexed::content_length(&request);
        let line = Arc::clone(self.sending.line());
        let mut content = Content::new(half, length, fields_max, line, Arc::clone(rest));
        // Nobody is to be woken: whoever wants more of it will ask again.
        content.peek(&mut Context::from_waker(Waker::noop()));
        if rest.is_malformed() {
            self.refuse_malformed();
            return None;
        }
        let before = Before {
            expects: multiplexed::expects_continue(&request).then(|| Arc::clone(rest)),
            interim: multiplexed::interim(&mut request),
        };
        let in_flight = self
            .shared
            .connection
            .activity
            .enter(std::time::Instant::now());
        let connection = &self.shared.connection;
        let request = request.map(|()| content);
        let serving = multiplexed::serve(&edge, connection, Protocol::Http3, request, in_flight);
        Some((serving, before))
    }

    /// Sends what a request is answered with; whether a whole response was sent.
    async fn answer(&mut self, serving: Serving, before: Before, rest: &Arc<Rest>) -> bool {
        let answer = match serving {
            Serving::Now(answer) => answer,
            Serving::Later(work) => match self.wait(work, before).await {
                Some(answer) => answer,
                None => {
                    self.shared.gauge.reset();
                    return false;
                }
            },
        };
        if rest.is_malformed() {
            self.refuse_malformed();
            return false;
        }
        self.send(answer).await
    }

    fn refuse_malformed(&mut self) {
        self.shared.tell(&Refusal::new(
            Reason::H3Protocol,
            "a request's content is not as long as its Content-Length says, or its trailers are none",
        ));
        self.sending.reset(Code::H3_MESSAGE_ERROR);
    }

    /// Waits for the answer; none where the client wants it no more.
    pub(super) async fn wait(&mut self, mut work: Work, before: Before) -> Option<Answer> {
        loop {
            let answer = poll_fn(|cx| {
                if let Poll::Ready(answer) = work.as_mut().poll(cx) {
                    before.hint(&mut self.sending);
                    return Poll::Ready(Some(Some(answer)));
                }
                if before.put(&mut self.sending) {
                    return Poll::Ready(None);
                }
                // The client's reset ends the work, wherever it stands.
                self.stopped.as_mut().poll(cx).map(|_| Some(None))
            })
            .await;
            if let Some(answer) = answer {
                return answer;
            }
            // A client that is gone by now is told nothing.
            let _ = poll_fn(|cx| self.sending.poll_written(cx)).await;
        }
    }

    /// Sends an answer; whether it was sent whole.
    pub(super) async fn send(&mut self, answer: Answer) -> bool {
        let Answer::Response { response, .. } = answer else {
            self.sending.reset(Code::H3_REQUEST_REJECTED);
            return false;
        };
        let (mut head, mut body) = response.into_parts();
        multiplexed::complete(&mut head.headers, &body);
        self.sending.put_head(head.status, &head.headers);
        drop(head);
        match self.send_content(&mut body).await {
            Ok(()) => return true,
            Err(Ended::Gone) => {
                self.shared.gauge.reset();
            }
            Err(Ended::Slow(refusal)) => {
                self.shared.tell(&refusal);
                self.sending.reset(Code::H3_REQUEST_CANCELLED);
            }
            Err(Ended::Broken) => self.sending.reset(Code::H3_INTERNAL_ERROR),
        }
        false
    }

    /// Sends content, behind the head.
    async fn send_content(&mut self, body: &mut Body) -> Result<(), Ended> {
        let mut stall = SendStall::new(self.shared.min_send_rate);
        if let Some(content) = body.take_full() {
            if !content.is_empty() {
                self.sending.put_data(content);
            }
            self.written(&mut stall).await?;
        } else {
            self.written(&mut stall).await?;
            Box::pin(self.send_pieces(body, &mut stall)).await?;
        }
        self.sending.finish().map_err(|Gone| Ended::Gone)
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
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.sending.put_data(data);
                    self.written(stall).await?;
                    stall.taken_all();
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.sending.put_trailers(&trailers);
                        return self.written(stall).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until the client's windows have taken what was put, and no longer than the client's least rate allows.
    async fn written(&mut self, stall: &mut SendStall) -> Result<(), Ended> {
        let mut before = self.sending.line().taken();
        poll_fn(|cx| match self.sending.poll_written(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(Gone)) => Poll::Ready(Err(Ended::Gone)),
            Poll::Pending => {
                let now = self.sending.line().taken();
                stall.taken(usize::try_from(now - before).unwrap_or(usize::MAX));
                before = now;
                // A slow line is shared by the streams on it: each owes its part of the least rate.
                match stall.blocked(cx, self.shared.connection.activity.in_flight()) {
                    Ok(()) => Poll::Pending,
                    Err(refusal) => Poll::Ready(Err(Ended::Slow(refusal))),
                }
            }
        })
        .await
    }

    /// On a connection that is about to end, a response is at its end only when the client has it.
    async fn finish_sending(self) {
        // However it ends, the connection does not wait longer.
        let _ = tokio::time::timeout(LINGER, self.stopped).await;
    }
}

/// How much, and for how long, is still read of a request that is answered.
const UNREAD_BYTES_MAX: usize = 256 * 1024;
pub(super) const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
