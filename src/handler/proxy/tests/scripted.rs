//! Upstreams that do as they are told.

use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config;

/// An upstream.
pub(super) struct Upstream(TcpListener);

/// An upstream on a unix socket.
pub(super) struct UnixUpstream(UnixListener);

/// The upstream's end of one connection.
pub(super) struct Peer<S = TcpStream> {
    pub(super) stream: S,
    read: Vec<u8>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    pub(super) fn config(&self) -> config::Upstream {
        super::local(config::UpstreamScheme::Http, self.port())
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    pub(super) async fn accept(&self) -> Peer {
        Peer::new(self.0.accept().await.expect("a connection").0)
    }

    /// One request, answered with `response`: its head.
    pub(super) async fn answer(&self, response: &str) -> (Peer, String) {
        let mut peer = self.accept().await;
        let head = peer.head().await;
        peer.say(response).await;
        (peer, head)
    }

    /// Whether somebody has connected beside those that were accepted.
    pub(super) async fn is_called(&self) -> bool {
        // The runtime looks at its sockets before it goes on.
        tokio::task::yield_now().await;
        tokio::time::timeout(std::time::Duration::ZERO, self.0.accept())
            .await
            .is_ok()
    }
}

/// Where nobody listens.
pub(super) async fn nobody() -> config::Upstream {
    Upstream::start().await.config()
}

impl UnixUpstream {
    pub(super) fn start(path: &Path) -> Self {
        Self(UnixListener::bind(path).expect("a socket"))
    }

    pub(super) async fn accept(&self) -> Peer<UnixStream> {
        Peer::new(self.0.accept().await.expect("a connection").0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Reads to the end of a head.
    pub(super) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).expect("a head in ASCII");
            }
            let read = self.stream.read_buf(&mut self.read).await.expect("a read");
            assert_ne!(read, 0, "no whole head: {:?}", self.read);
        }
    }

    /// Reads so much.
    pub(super) async fn content(&mut self, length: usize) -> String {
        while self.read.len() < length {
            let read = self.stream.read_buf(&mut self.read).await.expect("a read");
            assert_ne!(read, 0, "the content is cut short");
        }
        String::from_utf8(self.read.drain(..length).collect()).expect("text")
    }

    /// What was read beyond what was asked for.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.stream
            .write_all(text.as_bytes())
            .await
            .expect("somebody who reads");
    }

    /// Waits until the other end has closed, and gives what came before.
    pub(super) async fn closed(&mut self) -> Vec<u8> {
        while let Ok(1..) = self.stream.read_buf(&mut self.read).await {}
        std::mem::take(&mut self.read)
    }
}
