//! What the drivers need of a connection's byte stream, whatever lies under it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream to a client.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the coming close a reset (RST), which tells the client, and frees what is still unsent, at once.
    fn reset_on_close(&self);
}

impl Transport for TcpStream {
    fn reset_on_close(&self) {
        // A socket that refuses this is closed in the ordinary way.
        let _ = socket2::SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Transport for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

/// In-memory pipes, for tests and benches.
impl Transport for tokio::io::DuplexStream {
    fn reset_on_close(&self) {}
}
