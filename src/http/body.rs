//! A request's content as handlers read it: counted, limited, and waited for no longer than allowed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::clock::LazyTimer;
use crate::model::{Body, BodyError, Reason};

/// What a request's content is held to.
pub(super) struct ContentLimits {
    /// In bytes.
    pub(super) max: Option<u64>,
    /// The longest gap between two pieces.
    pub(super) gap: Duration,
    /// Where its bytes are counted, if anybody wants to know.
    pub(super) count: Option<Arc<AtomicU64>>,
}

/// The content as handlers read it.
pub(super) fn limited<B>(inner: B, limits: ContentLimits) -> Body
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    if inner.is_end_stream() {
        return Body::empty();
    }
    Body::stream(Limited {
        inner,
        taken: 0,
        limits,
        waiting_since: None,
        timer: LazyTimer::default(),
    })
}

struct Limited<B> {
    inner: B,
    taken: u64,
    limits: ContentLimits,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
}

impl<B> http_body::Body for Limited<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending() {
            let now = Instant::now();
            let since = *this.waiting_since.get_or_insert(now);
            if this.timer.poll_until(since + this.limits.gap, now, cx) {
                return Poll::Ready(Some(Err(BodyError::new(
                    Reason::TimerEntityBody,
                    "nothing more of it arrived within entity_body",
                ))));
            }
            return Poll::Pending;
        }
        this.waiting_since = None;
        let frame = ready!(polled);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.taken += data.len() as u64;
            if let Some(count) = &this.limits.count {
                count.store(this.taken, Relaxed);
            }
            if this.limits.max.is_some_and(|max| this.taken > max) {
                return Poll::Ready(Some(Err(BodyError::new(
                    Reason::EntityTooLarge,
                    "it is larger than max_body_bytes",
                ))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
