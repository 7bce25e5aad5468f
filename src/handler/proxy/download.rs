//! A response's content on its way to a client. It has the link, moves its bytes, and gives it back at the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::idle::IdleLinks;
use super::link::Link;
use crate::model::{BodyError, Reason};

pub(super) struct Download {
    incoming: Incoming,
    /// None once it is given back or of no more use.
    link: Option<Link>,
    home: Home,
    gap: Duration,
    waiting_since: Option<Instant>,
    /// Content was given since the client's side was last told to wait.
    unsent: bool,
    /// Told of once what came before it is on its way.
    failed: Option<BodyError>,
}

/// Where a link goes when its response is read.
#[derive(Clone)]
pub(super) struct Home {
    pub(super) idle: Arc<IdleLinks>,
    pub(super) upstream: usize,
}

impl Home {
    /// Keeps a link whose response is read to its end, if it is free for another request.
    pub(super) fn take_back(&self, mut link: Link, cx: &mut Context<'_>) {
        if link.is_free(cx) {
            self.idle.put(self.upstream, link);
        }
    }
}

impl Download {
    pub(super) fn new(incoming: Incoming, mut link: Link, home: Home, gap: Duration) -> Self {
        link.timer.moved();
        Self {
            incoming,
            link: Some(link),
            home,
            gap,
            waiting_since: None,
            unsent: true,
            failed: None,
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_ready() {
            return polled;
        }
        let Some(link) = &mut self.link else {
            return polled;
        };
        if link.poll(cx).is_ready() {
            // The connection is over: what it had to say is with the content by now.
            self.link = None;
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            self.home.take_back(link, cx);
        }
    }

    /// How long the next piece is waited for.
    fn poll_gap(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let now = Instant::now();
        let until = *self.waiting_since.get_or_insert(now) + self.gap;
        let late = self
            .link
            .as_mut()
            .is_some_and(|link| link.timer.poll_until(until, now, cx));
        if !late {
            return Poll::Pending;
        }
        let error = self.broken(
            Reason::UpstreamTimeout,
            "nothing more of it came within body_timeout",
        );
        Poll::Ready(Some(Err(error)))
    }

    fn broken(
        &mut self,
        reason: Reason,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> BodyError {
        self.link = None;
        BodyError::new(reason, why)
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
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = this.poll_incoming(cx) else {
            this.unsent = false;
            return this.poll_gap(cx);
        };
        this.waiting_since = None;
        match frame {
            None => {
                this.give_back(cx);
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                this.unsent = true;
                if this.incoming.is_end_stream() {
                    this.give_back(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let reason = if error.is_parse() {
                    Reason::UpstreamProtocol
                } else {
                    Reason::UpstreamReset
                };
                let error = this.broken(reason, error);
                if !std::mem::take(&mut this.unsent) {
                    return Poll::Ready(Some(Err(error)));
                }
                // The driver drops what it has not sent yet when content breaks: let it send the head and the pieces first,
                // so that a client sees a response that was cut, and not none.
                this.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
