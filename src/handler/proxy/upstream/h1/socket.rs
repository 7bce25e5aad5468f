//! The stream of HTTP/1.1 to an upstream. It remembers the request's head that it was given last, so that a request which a kept
//! connection swallowed can be sent once more without every request's head being copied beforehand.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handler::proxy::upstream::stream::Stream;
use crate::model::Body;

/// A stream to an upstream.
pub(super) struct Socket {
    stream: Stream,
    /// The head of the request that was written last. It lies here as written, which costs a copy of some hundred bytes.
    asked: Vec<u8>,
    /// Whether anything was read since that head was written.
    heard: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            asked: Vec::new(),
            heard: true,
        }
    }

    /// See [`Stream::keep_alive`].
    pub(super) fn keep_alive(&self) {
        self.stream.keep_alive();
    }

    /// See [`Stream::reset_on_close`].
    pub(super) fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    /// The request without content that was written last, if the upstream has said nothing since.
    pub(super) fn unanswered(&self) -> Option<Request<Body>> {
        if self.heard {
            return None;
        }
        parse(&self.asked)
    }

    /// hyper gives a head whole, and first, so that the first write after a response begins with it.
    fn note(&mut self, first: &[u8]) {
        if self.heard {
            self.heard = false;
            self.asked.clear();
            if first.len() <= REMEMBERED_BYTES_MAX {
                self.asked.extend_from_slice(first);
            }
        }
    }
}

/// Reads a request's head as hyper writes it; anything else is none.
fn parse(head: &[u8]) -> Option<Request<Body>> {
    let head = head.strip_suffix(b"\r\n\r\n")?;
    let mut request = Request::new(Body::empty());
    let mut lines = head.split(|&byte| byte == b'\r');
    let mut first = lines.next()?.splitn(3, |&byte| byte == b' ');
    *request.method_mut() = Method::from_bytes(first.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(first.next()?).ok()?;
    if first.next()? != b"HTTP/1.1" {
        return None;
    }
    for line in lines {
        let line = line.strip_prefix(b"\n")?;
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].strip_prefix(b" ")?).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.heard |= buf.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note(bytes);
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(first) = slices.first() {
            this.note(first);
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A head that is longer is not sent once more. It is kept for as long as the connection is, so it had better be short.
const REMEMBERED_BYTES_MAX: usize = 8 * 1024;
