//! A connection with TLS on it, and the socket under that.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::Transport;
use crate::report::Report;

/// A connection with TLS on it. It is large, and moves with its connection from driver to driver: hence the box.
///
/// Dropped, it tells whether its client said that it ends (close_notify): without that, whoever reads to the end of a connection
/// cannot tell it from one that was cut (RFC 8446 section 6.1).
#[derive(Debug)]
pub struct TlsStream(Box<tokio_rustls::server::TlsStream<Records>>);

/// The socket under TLS.
///
/// rustls hands records on as slices, of which there is nearly always one: sending that costs the kernel less than
/// gathering it.
pub(super) struct Records {
    socket: TcpStream,
    /// Whether the client sends nothing more: it has closed, or has reset the connection.
    ended: bool,
    /// Where the end is counted; none where it is not.
    report: Option<Arc<Report>>,
}

impl Records {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            ended: false,
            report: None,
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Records").field(&self.socket).finish()
    }
}

impl TlsStream {
    pub(super) fn new(stream: tokio_rustls::server::TlsStream<Records>) -> Self {
        Self(Box::new(stream))
    }

    pub(super) fn session(&self) -> &ServerConnection {
        self.0.get_ref().1
    }

    /// Has its end counted there.
    pub fn count_end(&mut self, report: &Arc<Report>) {
        self.0.get_mut().0.report = Some(Arc::clone(report));
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        let (records, session) = self.0.get_mut();
        let Some(report) = &records.report else {
            return;
        };
        // There is nothing new; but only so does rustls say what it has heard.
        let said = session.process_new_packets();
        let said = said.is_ok_and(|state| state.peer_has_closed());
        if said || records.ended {
            report.metrics().closed(said);
        }
    }
}

impl AsyncRead for Records {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.socket).poll_read(cx, buf));
        this.ended |= read.is_err() || buf.filled().len() == before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.get_mut().socket);
        match slices {
            [record] => socket.poll_write(cx, record),
            _ => socket.poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_shutdown(cx)
    }
}

impl Transport for TlsStream {
    fn reset_on_close(&self) {
        self.0.get_ref().0.socket.reset_on_close();
    }
}
