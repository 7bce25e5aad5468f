//! The h2 crate's request content, with its errors made ours.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use crate::http::multiplexed;
use crate::model::{BodyError, Reason};

pub(super) struct Content {
    /// None where the request's head was its end.
    stream: Option<RecvStream>,
    /// From Content-Length; h2 itself sees to it that it is kept.
    length: Option<u64>,
    data_ended: bool,
    /// Set when the content is first asked for: the client may be waiting for 100 (Continue).
    wanted: Option<Arc<AtomicBool>>,
    trailers_max: usize,
}

impl Content {
    pub(super) fn new(
        stream: Option<RecvStream>,
        length: Option<u64>,
        wanted: Option<Arc<AtomicBool>>,
        trailers_max: usize,
    ) -> Self {
        Self {
            stream,
            length,
            data_ended: false,
            wanted,
            trailers_max,
        }
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
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(None);
        };
        if let Some(wanted) = this.wanted.take() {
            wanted.store(true, Relaxed);
        }
        if !this.data_ended {
            match std::task::ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The window is given back when the handler has the bytes: it asks for more only when it has room.
                    let _ = stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                None => this.data_ended = true,
            }
        }
        match std::task::ready!(stream.poll_trailers(cx)) {
            // Of more than `limits.max_request_bytes` h2 drops the rest without a word, and what it dropped would be missing in a
            // request that looks whole.
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| {
                multiplexed::bounded_trailers(trailers, this.trailers_max).map(Frame::trailers)
            })),
            Err(error) => Poll::Ready(Some(Err(broken(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        (self.stream.as_ref()).is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

fn broken(error: h2::Error) -> BodyError {
    let reason = if error.is_reset() && error.is_remote() || error.is_io() {
        Reason::ClientReset
    } else {
        Reason::H2Protocol
    };
    BodyError::new(reason, error)
}
