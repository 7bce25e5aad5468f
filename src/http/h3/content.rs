//! The h3 crate's request content, with its errors made ours.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::h3::error::StreamError;
use ::h3::server::RequestStream;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::sending::Line;
use super::wire::Receiving;
use crate::http::multiplexed;
use crate::model::{BodyError, Reason};

/// The half of a stream that a request comes on. It is large, and moves from hand to hand: hence the box.
pub(super) type Half = Box<RequestStream<Receiving, Bytes>>;

/// A request's content.
pub(super) struct Content {
    /// None once it is read to its end.
    half: Option<Half>,
    state: State,
    /// Pieces that came with the head.
    held: VecDeque<Bytes>,
    /// From Content-Length.
    length: Option<u64>,
    /// Bytes of it that have come.
    come: u64,
    /// Whether a handler has asked for it.
    asked: bool,
    trailers_max: usize,
    line: Arc<Line>,
    rest: Arc<Rest>,
}

enum State {
    Data,
    Trailers,
    /// Trailers that came with the head.
    Last(HeaderMap),
    Ended,
}

/// What the stream's own future sees of the content, which is the handler's.
#[derive(Default)]
pub(super) struct Rest {
    /// What the handler left unread. Dropping it would tell the client that its request failed (STOP_SENDING).
    unread: Mutex<Option<Half>>,
    /// The content has been asked for: the client may be waiting for 100 (Continue).
    wanted: AtomicBool,
    /// The content is not as long as its head says, or has trailers that are none.
    malformed: AtomicBool,
}

impl Rest {
    /// Leaves what was not read to the stream's own future.
    pub(super) fn leave(&self, half: Half) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        *unread = Some(half);
    }

    pub(super) fn take_unread(&self) -> Option<Half> {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.take()
    }

    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.load(Relaxed) && self.wanted.swap(false, Relaxed)
    }

    pub(super) fn is_malformed(&self) -> bool {
        self.malformed.load(Relaxed)
    }
}

impl Content {
    pub(super) fn new(
        half: Half,
        length: Option<u64>,
        trailers_max: usize,
        line: Arc<Line>,
        rest: Arc<Rest>,
    ) -> Self {
        Self {
            half: Some(half),
            state: State::Data,
            held: VecDeque::new(),
            length,
            come: 0,
            asked: false,
            trailers_max,
            line,
            rest,
        }
    }

    /// Looks at what came with the head. Most requests have no content, and theirs should not look as if they had; and little
    /// content that is not as long as it says is found out before anybody sees it.
    pub(super) fn peek(&mut self, cx: &mut Context<'_>) {
        while self.held.len() < HELD_PIECES_MAX {
            match self.poll_piece(cx) {
                Poll::Ready(Ok(Some(bytes))) => self.held.push_back(bytes),
                Poll::Ready(Ok(None)) => break,
                // An error is told again to whoever reads.
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
        if matches!(self.state, State::Trailers)
            && let Poll::Ready(Ok(Some(trailers))) = self.poll_trailers(cx)
        {
            self.state = State::Last(trailers);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let Some(half) = &mut self.half else {
            return Poll::Ready(Ok(None));
        };
        match ready!(half.poll_recv_data(cx)) {
            Ok(Some(mut data)) => {
                let data = data.copy_to_bytes(data.remaining());
                self.come += data.len() as u64;
                if self.length.is_some_and(|length| self.come > length) {
                    return Poll::Ready(Err(
                        self.malformed("it is longer than Content-Length says")
                    ));
                }
                Poll::Ready(Ok(Some(data)))
            }
            Ok(None) => {
                if self.length.is_some_and(|length| self.come < length) {
                    return Poll::Ready(Err(
                        self.malformed("it is shorter than Content-Length says")
                    ));
                }
                self.state = State::Trailers;
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(broken(error))),
        }
    }

    fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, BodyError>> {
        let Some(half) = &mut self.half else {
            return Poll::Ready(Ok(None));
        };
        let trailers = ready!(half.poll_recv_trailers(cx)).map_err(broken);
        if let Some(fault) = self.line.fault() {
            return Poll::Ready(Err(self.malformed(fault)));
        }
        self.state = State::Ended;
        if trailers.is_ok() {
            self.half = None;
        }
        Poll::Ready(match trailers {
            Ok(Some(trailers)) => {
                multiplexed::bounded_trailers(trailers, self.trailers_max).map(Some)
            }
            other => other,
        })
    }

    /// RFC 9114 section 4.1.2
    fn malformed(&mut self, how: &'static str) -> BodyError {
        self.rest.malformed.store(true, Relaxed);
        self.state = State::Ended;
        BodyError::new(Reason::H3Protocol, how)
    }
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        // A client that has sent some already waits for nothing.
        if !std::mem::replace(&mut this.asked, true) && this.come == 0 {
            this.rest.wanted.store(true, Relaxed);
        }
        if let Some(bytes) = this.held.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let State::Last(trailers) = &mut this.state {
            let trailers = std::mem::take(trailers);
            this.state = State::Ended;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if matches!(this.state, State::Data)
            && let Some(data) = ready!(this.poll_piece(cx)).transpose()
        {
            return Poll::Ready(Some(data.map(Frame::data)));
        }
        if matches!(this.state, State::Trailers) {
            let trailers = ready!(this.poll_trailers(cx)).transpose();
            return Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match (self.length, &self.state) {
            (Some(length), _) => SizeHint::with_exact(length),
            // Not where trailers follow: an upstream is told of a length only at the cost of them (RFC 9112 section 7.1.2).
            (None, State::Ended) => {
                SizeHint::with_exact(self.held.iter().map(|piece| piece.len() as u64).sum())
            }
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            self.rest.leave(half);
        }
    }
}

fn broken(error: StreamError) -> BodyError {
    let reason = match &error {
        StreamError::RemoteTerminate { .. } | StreamError::ConnectionError { .. } => {
            Reason::ClientReset
        }
        _ => Reason::H3Protocol,
    };
    BodyError::new(reason, error)
}

/// The content of a small form comes with its head, in one piece or two.
const HELD_PIECES_MAX: usize = 4;
