//! A connection to an upstream, and the upstreams' addresses.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::Instant;

use crate::clock::LazyTimer;
use crate::config::Upstream;
use crate::model::{Body, Reason, Refusal};

/// A connection to an upstream.
///
/// hyper's half that moves bytes is polled by whoever has the link: first the request's future, then the response's content.
/// A task of its own for it would cost two hops between tasks for every piece.
pub(super) struct Link {
    pub(super) sender: SendRequest<Body>,
    pub(super) conn: Box<Connection<TokioIo<Socket>, Body>>,
    /// Whether hyper's half has come to its end. It must not be asked again then: it would close the socket, which an upgrade
    /// still needs.
    pub(super) over: bool,
    /// Whether a request was answered on it before.
    pub(super) reused: bool,
    pub(super) idle_since: Instant,
    pub(super) timer: LazyTimer,
}

/// A stream to an upstream.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Link {
    /// Connects to an upstream.
    pub(super) async fn connect(upstream: &Upstream, timeout: Duration) -> Result<Self, Refusal> {
        let connected = tokio::time::timeout(timeout, Socket::connect(upstream)).await;
        let socket = match connected {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                let detail = format!("{upstream} cannot be connected to: {error}");
                return Err(Refusal::new(Reason::UpstreamConnect, detail));
            }
            Err(_) => {
                let detail = format!("{upstream} could not be connected to within connect_timeout");
                return Err(Refusal::new(Reason::UpstreamTimeout, detail));
            }
        };
        let (sender, conn) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| {
                Refusal::new(Reason::UpstreamConnect, format!("{upstream}: {error}"))
            })?;
        Ok(Self {
            sender,
            conn: Box::new(conn),
            over: false,
            reused: false,
            idle_since: Instant::now(),
            timer: LazyTimer::default(),
        })
    }

    /// Moves bytes; ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut *self.conn).poll(cx);
        self.over = polled.is_ready();
        polled
    }

    /// Whether the connection stands and is free for a request.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx).is_pending() && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}

impl Socket {
    async fn connect(upstream: &Upstream) -> io::Result<Self> {
        match upstream {
            Upstream::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            Upstream::Http { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in lookup_host((host.as_str(), *port)).await? {
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
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// What is read of an upstream before it must make sense: a response's head, above all. nginx takes 4 to 8 KiB, HAProxy 16.
const HEAD_BYTES_MAX: usize = 64 * 1024;
