//! The client's side of a tunnel, and who is told at its end what passed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;
use crate::model::BodyWatch;

/// A connection whose bytes are counted. What watches it is told when it is dropped: however a tunnel ends, this is its end.
pub(super) struct Counted {
    io: Box<dyn Io>,
    kept: Vec<Box<dyn BodyWatch>>,
    sent: usize,
    received: u64,
    /// The client has ended its direction.
    read_to_end: bool,
    /// We have ended ours.
    shut: bool,
}

impl Counted {
    pub(super) fn new(io: Box<dyn Io>, kept: Vec<Box<dyn BodyWatch>>) -> Self {
        Self {
            io,
            kept,
            sent: 0,
            received: 0,
            read_to_end: false,
            shut: false,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for watch in &mut self.kept {
            watch.data(self.sent);
            watch.received(self.received);
            watch.end(self.read_to_end && self.shut);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.received += read as u64;
        self.read_to_end |= read == 0 && matches!(polled, Poll::Ready(Ok(())));
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.sent += written;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.shut |= matches!(polled, Poll::Ready(Ok(())));
        polled
    }
}
