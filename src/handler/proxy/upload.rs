//! A request's content on its way to an upstream, watched.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::model::{Body, BodyError, Refusal};

/// What has become of a request's content.
#[derive(Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last piece was handed on.
    last: Option<Instant>,
    touched: bool,
    /// Why it broke: that is the client's doing, not the upstream's.
    broke: Option<Refusal>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last piece was handed on.
    pub(super) fn last(&self) -> Option<Instant> {
        self.state().last
    }

    /// Whether any of it was read: what was cannot be sent again.
    pub(super) fn is_touched(&self) -> bool {
        self.state().touched
    }

    /// Why the content broke, if it did.
    pub(super) fn take_broke(&self) -> Option<Refusal> {
        self.state().broke.take()
    }
}

/// The content, telling of its progress.
pub(super) struct Upload {
    content: Body,
    progress: Arc<Progress>,
}

impl Upload {
    pub(super) fn new(content: Body, progress: Arc<Progress>) -> Self {
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
        self.progress.state().touched = true;
        let frame = std::task::ready!(Pin::new(&mut self.content).poll_frame(cx));
        let mut state = self.progress.state();
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
