//! A response's content on its way to a client. It has the connection, and gives it back at the end.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::WriteHalf;
use tokio::time::Instant;

use super::application::Application;
use super::connection::{Apart, Connection, NotSent, Sent};
use super::inbound::{Broken, Inbound};
use super::record::Event;
use super::shelf::Shelf;
use crate::clock::LazyTimer;
use crate::handler::proxy::{Origin, Stream};
use crate::model::{Body, BodyError, Reason};

/// Content, and the connection that it comes by.
pub(super) struct Content {
    /// What came before the head was passed on.
    early: VecDeque<Result<Bytes, BodyError>>,
    /// None once the content is at its end.
    inbound: Option<Inbound>,
    sending: Sending,
    origin: Origin,
    shelf: Shelf,
    /// What is to come, where that was said.
    left: Option<u64>,
    /// The application has said that there is no more.
    ended: bool,
    /// The longest gap between two pieces.
    gap: Duration,
    waiting_since: Option<Instant>,
    timer: LazyTimer,
}

/// How it stands with the request's own content.
pub(super) enum Sending {
    /// As much as could be is sent.
    Done(Sent),
    /// A task sends it: a client may take a response only once it has sent all of its request. Were that moved along by whoever
    /// takes the response, the two would wait for each other.
    Apart(Apart),
    /// The connection is of no more use.
    Gone,
}

impl Content {
    pub(super) fn new(
        application: &Application,
        inbound: Inbound,
        sending: Sending,
        origin: Origin,
        length: Option<u64>,
    ) -> Self {
        Self {
            early: VecDeque::new(),
            inbound: Some(inbound),
            sending,
            origin,
            shelf: application.shelf().clone(),
            left: length,
            ended: false,
            gap: application.body_timeout,
            waiting_since: None,
            timer: LazyTimer::default(),
        }
    }

    /// The content as a body. Most responses are small and arrive whole with their head: those are read at once, which gives the
    /// connection back at once. Where there is to be `nothing`, whatever comes is left.
    pub(super) fn into_body(mut self, rest: Bytes, nothing: bool, cx: &mut Context<'_>) -> Body {
        if nothing {
            self.left = Some(0);
        }
        let rest = self.measured(rest);
        self.early.extend((!rest.is_empty()).then_some(Ok(rest)));
        while self.early.len() < EARLY_PIECES_MAX
            && let Poll::Ready(Some(piece)) = self.poll_piece(cx)
        {
            self.early.push_back(piece);
        }
        match (self.inbound.is_some(), self.early.len()) {
            _ if nothing => Body::empty(),
            (false, 0) => Body::empty(),
            (false, 1) if let Some(Ok(only)) = self.early.front() => Body::full(only.clone()),
            _ => {
                // Whoever takes the content may be another task.
                self.timer.moved();
                Body::stream(self)
            }
        }
    }

    /// The next piece that is not empty; none at the end, and behind an error.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Some(inbound) = &mut self.inbound else {
                return Poll::Ready(None);
            };
            if let Some(error) = self.sending.poll(cx) {
                self.inbound = None;
                return Poll::Ready(Some(Err(error)));
            }
            let piece = match ready!(inbound.poll_event(cx)) {
                Ok(Event::Stdout(_)) if self.ended => self.broken(
                    Reason::UpstreamProtocol,
                    "there is more of it behind its end",
                ),
                Ok(Event::Stdout(piece)) => match self.measured(piece) {
                    piece if piece.is_empty() => continue,
                    piece => Some(Ok(piece)),
                },
                Ok(Event::StdoutEnd) => {
                    self.ended = true;
                    continue;
                }
                Ok(Event::Stderr(_)) => continue,
                Ok(Event::End { .. }) => self.whole_or_short(true),
                Err(Broken::Closed) if self.ended => self.whole_or_short(false),
                Err(broken) => self.broken(broken.reason(), broken),
            };
            return Poll::Ready(piece);
        }
    }

    /// A piece, without what is beyond the length that was said: nothing may follow that then.
    fn measured(&mut self, mut piece: Bytes) -> Bytes {
        let Some(left) = self.left else {
            return piece;
        };
        if piece.len() as u64 > left {
            tracing::debug!(
                "an application sends more than its Content-Length says, which is cut off"
            );
            // Smaller than a length in memory.
            piece.truncate(left as usize);
            self.inbound = None;
        }
        self.left = Some(left - piece.len() as u64);
        piece
    }

    /// The end, unless more was announced. `keep`: the application may be asked again.
    fn whole_or_short(&mut self, keep: bool) -> Option<Result<Bytes, BodyError>> {
        if self.left.is_some_and(|left| left > 0) {
            return self.broken(
                Reason::UpstreamReset,
                "it is shorter than its Content-Length says",
            );
        }
        let inbound = self.inbound.take();
        if keep
            && self.shelf.keeps()
            && let Some(read) = inbound.and_then(Inbound::into_read)
            && let Some(write) = self.sending.take_write()
        {
            self.shelf.put(Connection {
                read,
                write,
                origin: self.origin.clone(),
                idle_since: Instant::now(),
            });
        }
        None
    }

    fn broken(
        &mut self,
        reason: Reason,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Option<Result<Bytes, BodyError>> {
        self.inbound = None;
        Some(Err(BodyError::new(reason, why)))
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let until = *self.waiting_since.get_or_insert(now) + self.gap;
        self.timer.poll_until(until, now, cx)
    }
}

impl Sending {
    /// Why the request's content broke, if it did: there will be no whole response to it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let Self::Apart(Apart(task)) = self else {
            return None;
        };
        let Poll::Ready(sent) = Pin::new(task).poll(cx) else {
            return None;
        };
        *self = Self::Gone;
        match sent {
            Ok(Sent {
                outcome: Err(NotSent::Content(error)),
                ..
            }) => Some(error),
            Ok(sent) => {
                *self = Self::Done(sent);
                None
            }
            Err(_) => None,
        }
    }

    /// The way out for the next request, if all of this one was sent.
    fn take_write(&mut self) -> Option<WriteHalf<Stream>> {
        match std::mem::replace(self, Self::Gone) {
            Self::Done(Sent {
                write,
                outcome: Ok(()),
            }) => Some(write),
            _ => None,
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
        let piece = match this.early.pop_front() {
            Some(early) => Poll::Ready(Some(early)),
            None => this.poll_piece(cx),
        };
        let Poll::Ready(piece) = piece else {
            if this.is_late(cx) {
                this.sending = Sending::Gone;
                let why = "nothing more of it came within body_timeout";
                let late = this.broken(Reason::UpstreamTimeout, why);
                return Poll::Ready(late.map(|late| late.map(Frame::data)));
            }
            return Poll::Pending;
        };
        this.waiting_since = None;
        // Some drivers ask no further when all that was announced is there, and the connection would be lost.
        if this.left == Some(0)
            && this.early.is_empty()
            && let Poll::Ready(Some(more)) = this.poll_piece(cx)
        {
            this.early.push_back(more);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_empty() && self.inbound.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let early: u64 = (self.early.iter().flatten())
            .map(|piece| piece.len() as u64)
            .sum();
        match (&self.inbound, self.left) {
            (None, _) if self.early.iter().all(Result::is_ok) => SizeHint::with_exact(early),
            (_, Some(left)) => SizeHint::with_exact(early + left),
            _ => SizeHint::default(),
        }
    }
}

/// What is read of a response before its head is passed on: about what one read brings.
const EARLY_PIECES_MAX: usize = 8;
