//! What an upstream is told: a request's head, and its content as it comes, in as few writes as it takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Request;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::head;
use crate::model::Body;

/// What is not sent yet of a request.
#[derive(Default)]
pub(super) struct Sending {
    /// The head, framing, and content that is small.
    buffer: Vec<u8>,
    /// So much of `buffer` was sent.
    sent: usize,
    /// Content that stands for itself, behind `buffer`.
    piece: Bytes,
    /// The end of the chunk that `piece` is, behind it.
    line_end: &'static [u8],
    content: Option<Body>,
    /// None: it is chunked.
    length: Option<u64>,
    /// Whether something was written since the stream was flushed.
    unflushed: bool,
    /// Whether any byte of this request was sent.
    any: bool,
    /// Whether the content was asked for a piece.
    touched: bool,
    /// Whether the rest is never sent, since nobody takes it or it is not there.
    stopped: bool,
}

/// Why a request is not sent to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its content broke, or is not as long as it said.
    Content,
    /// The connection did.
    Wire(io::Error),
}

impl Sending {
    /// Begins a request, whose head says how long it is unless its content knows; its body is taken.
    pub(super) fn begin(&mut self, request: &mut Request<Body>) {
        debug_assert!(self.is_done(), "one request at a time");
        let body = std::mem::take(request.body_mut());
        self.buffer.clear();
        head::write(request, &mut self.buffer);
        (self.length, self.any, self.touched) = (None, false, false);
        if !body.is_end_stream() {
            self.length = body.size_hint().exact();
            if let Some(length) = self.length {
                head::write_field(
                    &CONTENT_LENGTH,
                    &HeaderValue::from(length),
                    &mut self.buffer,
                );
            }
            self.content = Some(body);
        }
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// Whether all was sent.
    pub(super) fn is_done(&self) -> bool {
        !self.stopped && self.content.is_none() && self.is_written() && !self.unflushed
    }

    /// Whether there is more to be sent.
    pub(super) fn is_under_way(&self) -> bool {
        !self.stopped && !self.is_done()
    }

    /// Whether any byte was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.any
    }

    /// Gives the content back if nothing was sent and nothing asked of it.
    pub(super) fn take_untouched(&mut self) -> Option<Body> {
        if self.any || self.touched {
            return None;
        }
        self.buffer.clear();
        Some(self.content.take().unwrap_or_default())
    }

    /// Sends what there is to send; ready when that is all.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            self.gather(cx)?;
            if self.is_written() {
                break;
            }
            while !self.is_written() {
                let written = ready!(self.poll_write(stream, cx)).map_err(Stopped::Wire)?;
                self.wrote(written);
            }
        }
        if self.unflushed {
            let flushed = ready!(Pin::new(stream).poll_flush(cx));
            flushed.map_err(Stopped::Wire)?;
            self.unflushed = false;
        }
        match self.content {
            None => Poll::Ready(Ok(())),
            // It was asked, and has nothing yet.
            Some(_) => Poll::Pending,
        }
    }

    /// Takes what the content has ready, up to about what one write takes.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), Stopped> {
        while self.piece.is_empty()
            && self.line_end.is_empty()
            && self.buffer.len() - self.sent < GATHERED_BYTES_MAX
            && let Some(content) = &mut self.content
        {
            self.touched = true;
            let Poll::Ready(frame) = Pin::new(&mut *content).poll_frame(cx) else {
                break;
            };
            let over = frame.is_none() || content.is_end_stream();
            if let Some(frame) = frame {
                let taken = frame.map_err(|_| Stopped::Content);
                taken
                    .and_then(|frame| self.take(frame))
                    .inspect_err(|_| self.stop())?;
            }
            if over || self.length == Some(0) {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Stopped> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => {
                if let (None, Ok(trailers)) = (self.length, frame.into_trailers()) {
                    self.buffer.extend_from_slice(b"0\r\n");
                    for (name, value) in &trailers {
                        head::write_field(name, value, &mut self.buffer);
                    }
                    self.buffer.extend_from_slice(b"\r\n");
                    self.content = None;
                }
                return Ok(());
            }
        };
        if let Some(length) = &mut self.length {
            let left = length.checked_sub(data.len() as u64);
            *length = left.ok_or(Stopped::Content)?;
        } else {
            write_size(data.len(), &mut self.buffer);
            self.line_end = b"\r\n";
        }
        if data.len() <= COPIED_BYTES_MAX {
            self.buffer.extend_from_slice(&data);
            self.buffer
                .extend_from_slice(std::mem::take(&mut self.line_end));
        } else {
            self.piece = data;
        }
        Ok(())
    }

    /// The content is at its end.
    fn finish(&mut self) -> Result<(), Stopped> {
        if self.content.take().is_none() {
            // Trailers were the end.
            return Ok(());
        }
        match self.length {
            None if self.piece.is_empty() => self.buffer.extend_from_slice(b"0\r\n\r\n"),
            None => self.line_end = b"\r\n0\r\n\r\n",
            Some(0) => {}
            Some(_) => return Err(Stopped::Content),
        }
        Ok(())
    }

    /// Sends no more: nobody takes it.
    pub(super) fn stop(&mut self) {
        self.content = None;
        self.stopped = true;
    }

    fn is_written(&self) -> bool {
        self.buffer.len() == self.sent && self.piece.is_empty() && self.line_end.is_empty()
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let buffer = &self.buffer[self.sent..];
        let written = if self.piece.is_empty() && self.line_end.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, buffer))
        } else {
            let slices = [buffer, &self.piece, self.line_end].map(io::IoSlice::new);
            let first = slices.iter().take_while(|slice| slice.is_empty()).count();
            ready!(Pin::new(stream).poll_write_vectored(cx, &slices[first..]))
        };
        Poll::Ready(match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        })
    }

    fn wrote(&mut self, mut written: usize) {
        (self.any, self.unflushed) = (true, true);
        let step = written.min(self.buffer.len() - self.sent);
        self.sent += step;
        written -= step;
        if self.sent == self.buffer.len() {
            self.sent = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEPT_BYTES_MAX {
                self.buffer = Vec::new();
            }
        }
        let step = written.min(self.piece.len());
        self.piece.advance(step);
        self.line_end = &self.line_end[written - step..];
        if self.piece.is_empty() {
            // It may be a part of something large.
            self.piece = Bytes::new();
        }
    }
}

/// Writes the line before a chunk.
fn write_size(size: usize, target: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = io::Write::write_fmt(target, format_args!("{size:x}\r\n"));
}

/// Content that is copied behind what goes before it: gathering is dearer for the kernel than copying is for us.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// About what is gathered for one write.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// Room that a connection keeps for its next request's head.
const KEPT_BYTES_MAX: usize = 4 * 1024;
