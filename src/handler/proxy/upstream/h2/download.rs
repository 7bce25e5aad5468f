//! A response's content on its way to a client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::exchange::reason;
use super::pump::Apart;
use super::session::Place;
use crate::clock::LazyTimer;
use crate::handler::proxy::fields;
use crate::handler::proxy::upload::Progress;
use crate::model::{Body, BodyError, Reason};

/// Content, and the stream that it comes by.
pub(super) struct Download {
    stream: RecvStream,
    /// From Content-Length; h2 itself sees to it that it is kept.
    length: Option<u64>,
    data_ended: bool,
    /// The request's content, where it is under way still.
    upload: Option<(Apart, Option<Arc<Progress>>)>,
    /// None when the stream is at its end.
    place: Option<Place>,
    /// The longest gap between two pieces.
    gap: Duration,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
}

impl Download {
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        place: Place,
        gap: Duration,
    ) -> Self {
        Self {
            stream,
            length,
            data_ended: false,
            upload: None,
            place: Some(place),
            gap,
            waiting_since: None,
            timer: LazyTimer::default(),
        }
    }

    /// The request's content is under way still.
    pub(super) fn uploading(
        mut self,
        apart: Option<Apart>,
        progress: Option<Arc<Progress>>,
    ) -> Self {
        self.upload = apart.map(|apart| (apart, progress));
        self
    }

    pub(super) fn into_body(self) -> Body {
        if self.stream.is_end_stream() {
            return Body::empty();
        }
        Body::stream(self)
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The window is given back when the client's driver has the bytes: it asks for more only when it has room.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if let Some(left) = &mut self.length {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.broken(error)))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(None) => Poll::Ready(None),
            Ok(Some(mut trailers)) => {
                if bytes(&trailers) > TRAILER_BYTES_MAX {
                    let why = "its trailer fields are longer than 32 KiB";
                    let error = BodyError::new(Reason::UpstreamProtocol, why);
                    return Poll::Ready(Some(Err(error)));
                }
                fields::trailers_to_client(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Err(error) => Poll::Ready(Some(Err(self.broken(error)))),
        }
    }

    fn broken(&mut self, error: h2::Error) -> BodyError {
        let broke = self
            .upload
            .take()
            .and_then(|(_, progress)| progress?.take_broke());
        // Both are broken off, and the client began it.
        if let Some(refusal) = broke {
            return BodyError::new(refusal.reason, refusal);
        }
        match self.place.as_ref().and_then(Place::fate) {
            Some(fate) => BodyError::new(Reason::UpstreamReset, fate),
            None => BodyError::new(reason(&error), error),
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let until = *self.waiting_since.get_or_insert(now) + self.gap;
        self.timer.poll_until(until, now, cx)
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(piece) = this.poll_stream(cx) else {
            if this.is_late(cx) {
                this.upload = None;
                let why = "nothing more of it came within body_timeout";
                return Poll::Ready(Some(Err(BodyError::new(Reason::UpstreamTimeout, why))));
            }
            return Poll::Pending;
        };
        this.waiting_since = None;
        if piece.is_none() || this.stream.is_end_stream() {
            // A response that is whole ends the exchange, whatever of the request is still to come (RFC 9113 section 8.1).
            this.upload = None;
            this.place = None;
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(left) => SizeHint::with_exact(left),
            None if self.stream.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

fn bytes(trailers: &HeaderMap) -> usize {
    let lengths = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    lengths.sum()
}

/// Trailers that are longer may be cut: of more than a session's `max_header_list_size` h2 drops the rest without a word.
const TRAILER_BYTES_MAX: usize = 32 * 1024;
