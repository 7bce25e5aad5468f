//! What the drivers need of a connection's byte stream, whatever lies under it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::model::Connection;

/// A byte stream to a client.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the coming close a reset (RST), which tells the client, and frees what is still unsent, at once.
    fn reset_on_close(&self);
}

impl Transport for TcpStream {
    fn reset_on_close(&self) {
        // A socket that refuses this is closed in the ordinary way.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

/// In-memory pipes, for tests and benches.
impl Transport for tokio::io::DuplexStream {
    fn reset_on_close(&self) {}
}

/// A byte stream whose bytes are counted for whoever asks what a connection does.
pub(super) struct Counted<I> {
    io: I,
    connection: Arc<Connection>,
}

impl<I> Counted<I> {
    pub(super) fn new(io: I, connection: &Arc<Connection>) -> Self {
        Self {
            io,
            connection: Arc::clone(connection),
        }
    }

    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.connection.activity.send(*bytes);
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            (self.connection.activity).receive(buf.filled().len() - before);
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.sent(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: Transport> Transport for Counted<I> {
    fn reset_on_close(&self) {
        self.io.reset_on_close();
    }
}

/// Reads what a client still sends for a while: closing with unread bytes makes the system send a reset, which can destroy
/// the response before the client has read it (RFC 9112 section 9.6).
pub async fn linger<I: Transport>(io: &mut I) {
    let drained = async {
        io.shutdown().await?;
        // On the heap: every connection's task would have room for it, and few come here.
        let mut room = vec![0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match io.read(&mut room).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // However it ends, the connection is over.
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// Tells a client that there is no place for it, in HTTP/1.1 and without reading its request, and closes.
pub async fn turn_away<I: Transport>(mut io: I) {
    let content = "503 Service Unavailable\n";
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Retry-After: 1\r\nConnection: close\r\nDate: {}\r\n\r\n{content}",
        content.len(),
        httpdate::fmt_http_date(std::time::SystemTime::now()),
    );
    // So little fits the buffer of a fresh socket; where it does not, the client goes without.
    let written = tokio::time::timeout(LINGER, io.write_all(response.as_bytes())).await;
    if matches!(written, Ok(Ok(()))) {
        linger(&mut io).await;
    }
}

/// How long, and for how many bytes, a client is listened to after its last response.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 256 * 1024;
