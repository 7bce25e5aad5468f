//! hyper's request content, with its errors made ours.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::wire::Wire;
use crate::model::{BodyError, Reason};

pub(super) struct Content {
    incoming: Incoming,
    wire: Arc<Wire>,
}

impl Content {
    pub(super) fn new(incoming: Incoming, wire: Arc<Wire>) -> Self {
        Self { incoming, wire }
    }

    pub(super) fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(&self.incoming)
    }

    fn error(&self, error: hyper::Error) -> BodyError {
        match self.wire.take_broken_body() {
            Some(refusal) => BodyError::new(refusal.reason, refusal),
            None if is_trailers_too_large(&error) => BodyError::new(Reason::FieldLength, error),
            None => BodyError::new(Reason::ClientReset, error),
        }
    }
}

/// hyper reads trailer fields itself; it has no kinder way to say that they are malformed.
fn is_trailers_too_large(error: &hyper::Error) -> bool {
    error.is_parse_too_large()
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(|error| self.error(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
