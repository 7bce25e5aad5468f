//! A response's content on its way to a client. It has the link, moves its bytes, and gives it back at the end.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::idle::Shelf;
use super::link::{Apart, Link};
use crate::clock::LazyTimer;
use crate::handler::proxy::fields;
use crate::handler::proxy::upload::Progress;
use crate::model::{Body, BodyError, Reason};

/// Content, and the connection that it comes by.
pub(super) struct Download {
    /// What came so soon that it was read before the head was passed on.
    early: Early,
    incoming: Incoming,
    source: Source,
    /// The longest gap between two pieces.
    gap: Duration,
    waiting_since: Option<Instant>,
}

#[derive(Default)]
struct Early {
    data: Option<Bytes>,
    then: Option<Result<Frame<Bytes>, BodyError>>,
}

enum Source {
    /// We move the bytes.
    Here(Box<Link>, Keep),
    /// A task moves them, since the request's content is still under way.
    Apart {
        task: Apart,
        timer: LazyTimer,
        upload: Arc<Progress>,
    },
    /// The link is given back or of no more use.
    Gone,
}

/// Where a link goes when its response is read.
pub(super) enum Keep {
    OnShelf(Shelf),
    /// The upstream closes it, or we had better.
    Not,
}

impl Download {
    pub(super) fn new(
        incoming: Incoming,
        mut link: Box<Link>,
        keep: Keep,
        upload: Option<Arc<Progress>>,
        gap: Duration,
    ) -> Self {
        link.timer.moved();
        let source = match upload.filter(|upload| !upload.is_done()) {
            None => Source::Here(link, keep),
            Some(upload) => {
                let (task, timer) = link.part();
                Source::Apart {
                    task,
                    timer,
                    upload,
                }
            }
        };
        Self {
            early: Early::default(),
            incoming,
            source,
            gap,
            waiting_since: None,
        }
    }

    /// The content as a body. Most responses are small and arrive whole with their head: those are read at once, which gives
    /// the connection back at once and saves the driver a stream.
    pub(super) fn into_body(mut self, cx: &mut Context<'_>) -> Body {
        loop {
            let Poll::Ready(piece) = self.poll_incoming(cx) else {
                break;
            };
            let ended = self.settle(&piece, cx);
            match piece {
                Some(Ok(frame)) if self.early.data.is_none() => match frame.into_data() {
                    Ok(data) => self.early.data = Some(data),
                    Err(other) => self.early.then = Some(Ok(other)),
                },
                Some(Ok(frame)) => self.early.then = Some(Ok(frame)),
                Some(Err(error)) => self.early.then = Some(Err(error)),
                None => {}
            }
            if self.early.then.is_some() {
                break;
            }
            if ended {
                return Body::full(self.early.data.unwrap_or_default());
            }
        }
        // Whoever takes the content may be another task.
        match &mut self.source {
            Source::Here(link, _) => link.timer.moved(),
            Source::Apart { timer, .. } => timer.moved(),
            Source::Gone => {}
        }
        Body::stream(self)
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Source::Here(link, _) = &mut self.source
        {
            // What the connection has to say of its end is with the content by then.
            let _ = link.poll(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            fields::trailers_to_client(trailers);
        }
        polled.map(|piece| piece.map(|piece| piece.map_err(|error| self.broken(error))))
    }

    /// Gives the link back if the content is at its end; whether it is.
    fn settle(
        &mut self,
        piece: &Option<Result<Frame<Bytes>, BodyError>>,
        cx: &mut Context<'_>,
    ) -> bool {
        let ended = match piece {
            None => true,
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if ended
            && let Source::Here(link, Keep::OnShelf(shelf)) =
                std::mem::replace(&mut self.source, Source::Gone)
        {
            shelf.put(link, cx);
        }
        ended
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let until = *self.waiting_since.get_or_insert(now) + self.gap;
        match &mut self.source {
            Source::Here(link, _) => link.timer.poll_until(until, now, cx),
            Source::Apart { timer, .. } => timer.poll_until(until, now, cx),
            Source::Gone => false,
        }
    }

    fn broken(&mut self, error: hyper::Error) -> BodyError {
        let refusal = match std::mem::replace(&mut self.source, Source::Gone) {
            Source::Apart { upload, task, .. } => {
                drop(task);
                upload.take_broke()
            }
            _ => None,
        };
        match refusal {
            // Both are broken off, and the client began it.
            Some(refusal) => BodyError::new(refusal.reason, refusal),
            None if is_malformed(&error) => BodyError::new(Reason::UpstreamProtocol, error),
            None => BodyError::new(Reason::UpstreamReset, error),
        }
    }
}

/// Whether content broke because its chunks make no sense; hyper says so by the kind of the error underneath.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            );
        }
        source = error.source();
    }
    false
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(data) = this.early.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(piece) = this.early.then.take() {
            return Poll::Ready(Some(piece));
        }
        let Poll::Ready(piece) = this.poll_incoming(cx) else {
            if this.is_late(cx) {
                this.source = Source::Gone;
                let why = "nothing more of it came within body_timeout";
                return Poll::Ready(Some(Err(BodyError::new(Reason::UpstreamTimeout, why))));
            }
            return Poll::Pending;
        };
        this.waiting_since = None;
        this.settle(&piece, cx);
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.early.data.is_none() && self.early.then.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let early = match (&self.early.data, &self.early.then) {
            (data, Some(Ok(frame))) => {
                data.as_ref().map_or(0, Bytes::len) + frame.data_ref().map_or(0, Bytes::len)
            }
            (data, _) => data.as_ref().map_or(0, Bytes::len),
        } as u64;
        let rest = self.incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + early);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + early);
        }
        hint
    }
}
