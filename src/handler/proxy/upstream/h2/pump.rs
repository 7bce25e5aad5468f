//! A request's content on its way into a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;
use tokio::task::JoinHandle;

use crate::model::Body;

/// Moves content into a stream, as fast as the upstream takes it.
///
/// Dropping it before the content is at its end resets the stream: an upstream must not take what was cut for what is whole.
pub(super) struct Pump {
    /// None when there is nothing more to send, or nobody who takes it.
    stream: Option<SendStream<Bytes>>,
    body: Body,
    /// What was taken from the content, and has no room on the way yet.
    piece: Bytes,
    /// Whether anything was taken from the content.
    began: bool,
}

/// A pump that runs in a task of its own: a client may take a response only once it has sent all of its request.
///
/// Dropping it ends the stream.
pub(super) struct Apart(JoinHandle<()>);

impl Pump {
    /// `stream` is the sending half of a stream whose head is sent; none where that head was the end.
    pub(super) fn new(stream: Option<SendStream<Bytes>>, body: Body) -> Self {
        Self {
            stream,
            body,
            piece: Bytes::new(),
            began: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stream.is_none()
    }

    /// The content, if nothing was taken from it.
    pub(super) fn into_untouched(self) -> Option<Body> {
        (!self.began).then_some(self.body)
    }

    /// Ready when there is nothing more to send, or nobody who takes it: what became of the stream is told by its response.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        loop {
            if stream.poll_reset(cx).is_ready() {
                break;
            }
            if !self.piece.is_empty() {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(capacity)) => {
                        let piece = self.piece.split_to(capacity.min(self.piece.len()));
                        if stream.send_data(piece, false).is_err() {
                            break;
                        }
                    }
                    Some(Err(_)) | None => break,
                }
                continue;
            }
            if stream.capacity() == 0 {
                // Nothing is taken from the client that there is no room for.
                stream.reserve_capacity(1);
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.began = true;
            match frame {
                None => {
                    let _ = stream.send_data(Bytes::new(), true);
                    break;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) if self.body.is_end_stream() && data.len() <= stream.capacity() => {
                        let _ = stream.send_data(data, true);
                        break;
                    }
                    Ok(data) => {
                        stream.reserve_capacity(data.len());
                        self.piece = data;
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            let _ = stream.send_trailers(trailers);
                            break;
                        }
                    }
                },
                Some(Err(_)) => {
                    stream.send_reset(h2::Reason::CANCEL);
                    break;
                }
            }
        }
        self.stream = None;
        self.body = Body::empty();
        Poll::Ready(())
    }

    /// Goes on in a task.
    pub(super) fn part(mut self) -> Apart {
        Apart(tokio::spawn(async move {
            poll_fn(|cx| self.poll(cx)).await;
        }))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.abort();
    }
}
