//! The stream to an upstream. It remembers the request's head that it was given last, so that a request which a kept
//! connection swallowed can be sent once more without every request's head being copied beforehand.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use crate::config::Upstream;
use crate::model::Body;

/// A stream to an upstream.
pub(super) struct Socket {
    stream: Stream,
    /// The head of the request that was written last. It lies here as written, which costs a copy of some hundred bytes.
    asked: Vec<u8>,
    /// Whether anything was read since that head was written.
    heard: bool,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to an upstream; to the first of its addresses that takes the connection.
    pub(super) async fn connect(upstream: &Upstream) -> io::Result<Self> {
        Ok(Self {
            stream: Stream::connect(upstream).await?,
            asked: Vec::new(),
            heard: true,
        })
    }

    /// The request without content that was written last, if the upstream has said nothing since.
    pub(super) fn unanswered(&self) -> Option<Request<Body>> {
        if self.heard {
            return None;
        }
        parse(&self.asked)
    }

    /// Has the system ask from time to time whether the other end is still there. A connection that has left HTTP has no other
    /// timer.
    pub(super) fn keep_alive(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            let keepalive = TcpKeepalive::new().with_time(TUNNEL_PROBE_AFTER);
            // Without it a dead upstream is noticed late, which is no reason to have none.
            let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
        }
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

impl Stream {
    async fn connect(upstream: &Upstream) -> io::Result<Self> {
        let (host, port) = match upstream {
            Upstream::Unix(path) => return UnixStream::connect(path).await.map(Self::Unix),
            Upstream::Http { host, port } => (host.as_str(), *port),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Heads and pieces are written whole; waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Ok(Self::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
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
        let polled = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
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
        match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
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
        // Sending one piece costs the kernel less than gathering it.
        match (&mut this.stream, slices) {
            (Stream::Tcp(stream), [piece]) => Pin::new(stream).poll_write(cx, piece),
            (Stream::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, slices),
            (Stream::Unix(stream), _) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A head that is longer is not sent once more. It is kept for as long as the connection is, so it had better be short.
const REMEMBERED_BYTES_MAX: usize = 8 * 1024;

/// How long a connection that has left HTTP is silent before the system asks whether the other end is still there. Shorter than
/// the 350 s after which the balancers of large clouds forget a silent connection.
const TUNNEL_PROBE_AFTER: std::time::Duration = std::time::Duration::from_secs(60);
