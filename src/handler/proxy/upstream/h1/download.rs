//! A response's content on its way to a client. It has the link, moves its bytes, and gives it back at the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::apart::{Apart, Piece};
use super::idle::Shelf;
use super::link::Link;
use super::receiving::Broken;
use crate::clock::LazyTimer;
use crate::handler::proxy::upload::Progress;
use crate::model::{Body, BodyError, Reason};

/// Content, and the connection that it comes by.
pub(super) struct Download {
    /// What came so soon that it was read before the head was passed on.
    early: Bytes,
    then: Option<Result<Frame<Bytes>, BodyError>>,
    source: Source,
    /// How much more the source gives, where that is known.
    left: Option<u64>,
    /// The longest gap between two pieces.
    gap: Duration,
    waiting_since: Option<Instant>,
}

enum Source {
    /// We move the bytes. Where the link goes when they are read, if it is kept.
    Here(Box<Link>, Option<Shelf>),
    /// A task moves them, since the request's content is still under way.
    Apart {
        task: Apart,
        timer: LazyTimer,
        upload: Option<Arc<Progress>>,
    },
    /// The link is given back or of no more use.
    Gone,
}

/// A response's content. Most of it is small and has come with its head: that is given whole, and the connection given back at
/// once.
pub(super) fn content(
    mut link: Box<Link>,
    shelf: Option<Shelf>,
    upload: Option<Arc<Progress>>,
    gap: Duration,
) -> Body {
    let mut early = Bytes::new();
    let mut then = None;
    loop {
        match link.receiving.next_held() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => early = joined(early, data),
                Err(trailers) => then = Some(Ok(trailers)),
            },
            Ok(None) => break,
            Err(broken) => {
                then = Some(Err(error(broken)));
                break;
            }
        }
    }
    // With trailers to come its length is not said: nothing could follow it then.
    let left = match then {
        Some(_) => None,
        None => link.receiving.left(),
    };
    if link.receiving.is_over() && then.is_none() {
        give_back(link, shelf);
        return Body::full(early);
    }
    // Whoever takes the content may be another task.
    link.timer.moved();
    let source = if then.as_ref().is_some_and(Result::is_err) {
        Source::Gone
    } else if link.sending.is_under_way() {
        let timer = std::mem::take(&mut link.timer);
        Source::Apart {
            task: Apart::new(*link),
            timer,
            upload,
        }
    } else if link.receiving.is_over() {
        give_back(link, shelf);
        Source::Gone
    } else {
        Source::Here(link, shelf)
    };
    Body::stream(Download {
        early,
        then,
        source,
        left,
        gap,
        waiting_since: None,
    })
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut joined = BytesMut::from(first);
    joined.extend_from_slice(&second);
    joined.freeze()
}

/// Gives a link back whose response is read, unless it is not kept, something is left to be sent, or something was said behind
/// the response: then it is closed.
fn give_back(link: Box<Link>, shelf: Option<Shelf>) {
    if let Some(shelf) = shelf
        && link.is_clean()
    {
        shelf.put(link);
    }
}

fn error(broken: Broken) -> BodyError {
    match broken {
        Broken::Malformed(fault) => BodyError::new(Reason::UpstreamProtocol, fault),
        Broken::Cut(Some(error)) => BodyError::new(Reason::UpstreamReset, error),
        Broken::Cut(None) => {
            let why = "the upstream closed the connection before its end";
            BodyError::new(Reason::UpstreamReset, why)
        }
    }
}

impl Download {
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match &mut self.source {
            Source::Gone => None,
            Source::Here(link, _) => {
                let piece = ready!(link.receiving.poll_content(&mut link.stream, cx));
                self.left = link.receiving.left();
                piece.map(|piece| piece.map_err(error))
            }
            Source::Apart { task, upload, .. } => match ready!(task.pieces.poll_recv(cx)) {
                Some(Piece::Frame(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    self.left = self.left.map(|left| left.saturating_sub(length));
                    Some(Ok(frame))
                }
                Some(Piece::End) => None,
                Some(Piece::Broken(broken)) => Some(Err(error(broken))),
                Some(Piece::UploadBroke) | None => Some(Err(upload_broke(upload.as_deref()))),
            },
        };
        self.settle(&piece);
        Poll::Ready(piece)
    }

    /// Gives the link back if the content is at its end.
    fn settle(&mut self, piece: &Option<Result<Frame<Bytes>, BodyError>>) {
        let over = match piece {
            Some(Ok(_)) => self.left == Some(0),
            Some(Err(_)) => {
                self.source = Source::Gone;
                return;
            }
            None => true,
        };
        if over {
            self.left = Some(0);
            if let Source::Here(link, shelf) = std::mem::replace(&mut self.source, Source::Gone) {
                give_back(link, shelf);
            }
        }
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
}

/// Both are broken off, and the client began it.
fn upload_broke(upload: Option<&Progress>) -> BodyError {
    match upload.and_then(Progress::take_broke) {
        Some(refusal) => BodyError::new(refusal.reason, refusal),
        None => BodyError::new(
            Reason::Internal,
            "the request's content is not as long as its head says",
        ),
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
        if !this.early.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.early)))));
        }
        if let Some(piece) = this.then.take() {
            return Poll::Ready(Some(piece));
        }
        let Poll::Ready(piece) = this.poll_source(cx) else {
            if this.is_late(cx) {
                this.source = Source::Gone;
                let why = "nothing more of it came within body_timeout";
                return Poll::Ready(Some(Err(BodyError::new(Reason::UpstreamTimeout, why))));
            }
            return Poll::Pending;
        };
        this.waiting_since = None;
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_empty() && self.then.is_none() && self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let early = self.early.len() as u64;
        match self.left {
            Some(left) => SizeHint::with_exact(early + left),
            None => {
                let mut hint = SizeHint::new();
                hint.set_lower(early);
                hint
            }
        }
    }
}
