//! The one body type of requests and responses.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Reason, Refusal};

/// A request's or response's content.
///
/// Dropping a body ends the work that it belongs to: whatever watches it (the pool's slot, the access log) is told how far
/// it came.
pub struct Body {
    content: Content,
    /// Whether the driver may hold something that it has not sent: the head, or a piece since it was last told to wait.
    held_back: bool,
    watch: Option<Box<dyn BodyWatch>>,
}

enum Content {
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
    /// Broken, which is told when what came before it is on its way.
    Breaking(BodyError),
    /// Ended by its own end.
    Finished,
    /// Ended by an error.
    Failed,
}

/// Told what becomes of a body. Dropped with it.
pub trait BodyWatch: Send {
    /// A piece of content was taken by whoever reads the body.
    fn data(&mut self, bytes: usize);

    /// So much came from the client in the same exchange; said once, and only of what has left HTTP.
    fn received(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The content broke, and why.
    fn broke(&mut self, error: &BodyError);

    /// The body is at an end: `complete` when it was read to its end, else it was dropped or broke before.
    fn end(&mut self, complete: bool);
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub struct BodyError {
    /// What the failure counts as.
    pub reason: Reason,
    source: Box<dyn StdError + Send + Sync>,
}

impl Body {
    /// No content at all.
    pub fn empty() -> Self {
        Self::from_content(Content::Empty)
    }

    /// Content that is in memory as a whole.
    pub fn full(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self::from_content(if content.is_empty() {
            Content::Empty
        } else {
            Content::Full(content)
        })
    }

    /// Content that arrives in pieces.
    pub fn stream(
        stream: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Self {
        Self::from_content(Content::Stream(Box::pin(stream)))
    }

    fn from_content(content: Content) -> Self {
        Self {
            content,
            held_back: true,
            watch: None,
        }
    }

    /// From here on `watch` is told how far the body is read. A body that is watched already keeps the first watch inside
    /// the second.
    pub fn watch(&mut self, watch: Box<dyn BodyWatch>) {
        self.watch = Some(match self.watch.take() {
            None => watch,
            Some(inner) => Box::new(Both(inner, watch)),
        });
    }

    /// The content when it is in memory as a whole and nobody has read of it yet; hands it out once.
    ///
    /// This is the drivers' fast path: a body taken so is counted as read to its end.
    pub fn take_full(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.content, Content::Finished) {
            Content::Full(bytes) => {
                if let Some(watch) = &mut self.watch {
                    watch.data(bytes.len());
                }
                Some(bytes)
            }
            Content::Empty => Some(Bytes::new()),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// The length, where the content is in memory as a whole.
    pub fn full_len(&self) -> Option<usize> {
        match &self.content {
            Content::Empty => Some(0),
            Content::Full(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    fn take_broken(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        match std::mem::replace(&mut self.content, Content::Failed) {
            Content::Breaking(error) => Some(Err(error)),
            _ => None,
        }
    }

    /// Lets go of the content, as a response to HEAD does, and keeps the watch.
    pub fn drop_content(&mut self) {
        self.content = Content::Empty;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.content {
            Content::Stream(stream) => match stream.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    this.held_back = false;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(error))) if this.held_back => {
                    // A driver drops what it has not sent yet when content breaks. It sends it when it is told to wait, so that
                    // a client sees a message that was cut, and not none.
                    this.held_back = false;
                    this.content = Content::Breaking(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(polled) => polled,
            },
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Finished;
                Some(Ok(Frame::data(bytes)))
            }
            Content::Empty => None,
            Content::Breaking(_) => this.take_broken(),
            Content::Finished | Content::Failed => return Poll::Ready(None),
        };
        match &polled {
            Some(Ok(frame)) => {
                this.held_back = true;
                if let (Some(data), Some(watch)) = (frame.data_ref(), &mut this.watch) {
                    watch.data(data.len());
                }
            }
            Some(Err(error)) => {
                this.content = Content::Failed;
                if let Some(watch) = &mut this.watch {
                    watch.broke(error);
                }
            }
            None => this.content = Content::Finished,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty | Content::Finished | Content::Failed => true,
            Content::Full(_) | Content::Breaking(_) => false,
            Content::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty | Content::Finished | Content::Failed => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Breaking(_) => SizeHint::default(),
            Content::Stream(stream) => stream.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            watch.end(match &self.content {
                Content::Empty | Content::Finished => true,
                Content::Full(_) | Content::Breaking(_) | Content::Failed => false,
                Content::Stream(stream) => stream.is_end_stream(),
            });
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("size", &http_body::Body::size_hint(self))
            .finish_non_exhaustive()
    }
}

struct Both(Box<dyn BodyWatch>, Box<dyn BodyWatch>);

impl BodyWatch for Both {
    fn data(&mut self, bytes: usize) {
        self.0.data(bytes);
        self.1.data(bytes);
    }

    fn received(&mut self, bytes: u64) {
        self.0.received(bytes);
        self.1.received(bytes);
    }

    fn broke(&mut self, error: &BodyError) {
        self.0.broke(error);
        self.1.broke(error);
    }

    fn end(&mut self, complete: bool) {
        self.0.end(complete);
        self.1.end(complete);
    }
}

impl BodyError {
    /// A failure that counts as `reason`, with what lies under it.
    pub fn new(reason: Reason, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            reason,
            source: source.into(),
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body could not be read to its end ({})", self.reason)
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Refusal::new(error.reason, format!("{error}: {}", error.source))
    }
}
