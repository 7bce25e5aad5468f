//! A request's content on its way to an upstream, watched.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::fields;
use crate::model::{Body, BodyError, Refusal};

/// What has become of a request's content.
#[derive(Default)]
pub(in crate::handler) struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last piece was handed on.
    last: Option<Instant>,
    /// The next piece is waited for: the client is slow, not the upstream.
    starved: bool,
    /// There is no more to hand on, or nobody to take it.
    done: bool,
    /// Why it broke: that is the client's doing, not the upstream's.
    broke: Option<Refusal>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when the upstream keeps us waiting, which it cannot while the client does: then none.
    pub(in crate::handler) fn upstream_waited_for(&self, sent: Instant) -> Option<Instant> {
        let state = self.state();
        if state.starved && !state.done {
            return None;
        }
        Some(state.last.map_or(sent, |last| last.max(sent)))
    }

    /// Why the content broke, if it did.
    pub(in crate::handler) fn take_broke(&self) -> Option<Refusal> {
        self.state().broke.take()
    }
}

/// The content, telling of its progress.
pub(in crate::handler) struct Upload {
    content: Body,
    progress: Arc<Progress>,
}

impl Upload {
    pub(in crate::handler) fn new(content: Body, progress: Arc<Progress>) -> Self {
        Self { content, progress }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        let mut state = self.progress.state();
        state.starved = polled.is_pending();
        let mut frame = std::task::ready!(polled);
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            fields::trailers_to_upstream(trailers);
        }
        state.last = Some(Instant::now());
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let reason = error.reason;
                state.broke = Some(error.into());
                BodyError::new(reason, "the request's content broke")
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// hyper drops content as soon as it has all that it wants of it.
impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.state().done = true;
    }
}

/// Content of which some was read beforehand.
pub(super) struct Resumed {
    read: Option<Bytes>,
    next: Option<Result<Frame<Bytes>, BodyError>>,
    rest: Body,
}

impl Resumed {
    /// Gives `read`, then `next`, and then what `rest` gives.
    pub(super) fn new(read: Bytes, next: Result<Frame<Bytes>, BodyError>, rest: Body) -> Self {
        Self {
            read: Some(read).filter(|read| !read.is_empty()),
            next: Some(next),
            rest,
        }
    }
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.next.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let next = self.next.as_ref().and_then(|next| next.as_ref().ok());
        let next = next.and_then(Frame::data_ref).map_or(0, Bytes::len);
        let before = (self.read.as_ref().map_or(0, Bytes::len) + next) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + before);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + before);
        }
        hint
    }
}
