//! The bytes to an upstream and from it, over whatever carries them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::names::Origin;

/// A connection to an upstream.
pub(in crate::handler) struct Stream {
    carrier: Carrier,
    /// Where it leads to.
    pub(in crate::handler) origin: Origin,
}

/// What carries the bytes.
pub(super) enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn new(carrier: Carrier, origin: Origin) -> Self {
        Self { carrier, origin }
    }

    /// Whether ALPN settled on HTTP/2.
    pub(super) fn settled_on_http2(&self) -> bool {
        match &self.carrier {
            Carrier::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Carrier::Tcp(_) | Carrier::Unix(_) => false,
        }
    }

    /// Whether the other end has nothing to say, its end included. Where there is nothing to hear, this costs no system call.
    pub(super) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let mut room = [0];
        let heard = match &mut self.carrier {
            Carrier::Tcp(stream) => stream.try_read(&mut room),
            Carrier::Unix(stream) => stream.try_read(&mut room),
            Carrier::Tls(stream) => {
                // What is of TLS alone is read on the way: tickets come behind the handshake.
                let read = Pin::new(&mut **stream).poll_read(cx, &mut ReadBuf::new(&mut room));
                return read.is_pending();
            }
        };
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Has the system ask from time to time whether the other end is still there. A connection that has left HTTP has no other
    /// timer.
    pub(super) fn keep_alive(&self) {
        let Some(tcp) = self.tcp() else {
            return;
        };
        let keepalive = TcpKeepalive::new().with_time(TUNNEL_PROBE_AFTER);
        // Without it a dead upstream is noticed late, which is no reason to have none.
        let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
    }

    /// Makes the coming close a reset (RST): what was said is not at its end.
    pub(super) fn reset_on_close(&self) {
        if let Some(tcp) = self.tcp() {
            // A socket that refuses this is closed in the ordinary way.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(stream) => Some(stream),
            Carrier::Tls(stream) => Some(stream.get_ref().0),
            Carrier::Unix(_) => None,
        }
    }
}

/// Asks the stream that is there.
macro_rules! ask {
    ($this:expr, $stream:ident => $ask:expr) => {
        match &mut $this.get_mut().carrier {
            Carrier::Tcp($stream) => $ask,
            Carrier::Tls($stream) => {
                let $stream = &mut **$stream;
                $ask
            }
            Carrier::Unix($stream) => $ask,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ask!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ask!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Sending one piece costs the kernel less than gathering it.
        if let [piece] = slices {
            return self.poll_write(cx, piece);
        }
        ask!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ask!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ask!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// How long a connection that has left HTTP is silent before the system asks whether the other end is still there. Shorter than
/// the 350 s after which the balancers of large clouds forget a silent connection.
const TUNNEL_PROBE_AFTER: Duration = Duration::from_secs(60);
