//! Leaving HTTP: what a handler does with a connection after 101 (Switching Protocols).
//!
//! Of HTTP/2 and HTTP/3 it is one stream that leaves, by extended CONNECT. Handlers see the same of all three: a GET with an
//! Upgrade field, answered with 101 and a [`Tunnel`].

mod counted;
mod joined;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::counted::Counted;
use crate::model::BodyWatch;

pub use self::joined::join;

/// Among the extensions of a request that came as an extended CONNECT (RFC 8441 section 4, RFC 9220 section 3). It has no
/// Sec-WebSocket-Key, and its client is answered with 200 in place of 101.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedConnect;

/// A connection that has left HTTP.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Run = Box<dyn FnOnce(Box<dyn Io>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What is to become of a connection behind its 101 response; a handler puts it among that response's extensions.
///
/// It can be cloned, as extensions must; whoever runs it first has it.
#[derive(Clone)]
pub struct Tunnel(Arc<Mutex<Inner>>);

struct Inner {
    run: Option<Run>,
    kept: Vec<Box<dyn BodyWatch>>,
}

impl Tunnel {
    /// Hands the client's connection to `run`, once it has left HTTP.
    pub fn new<F>(run: impl FnOnce(Box<dyn Io>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run: Run = Box::new(move |io| Box::pin(run(io)));
        Self(Arc::new(Mutex::new(Inner {
            run: Some(run),
            kept: Vec::new(),
        })))
    }

    /// Has `watch` told when the tunnel ends: the request's work is not over before.
    pub fn keep(&self, watch: Box<dyn BodyWatch>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept
            .push(watch);
    }

    /// Runs to the end of the connection, and tells who looks on what passed.
    pub async fn run(self, io: Box<dyn Io>) {
        let (run, kept) = {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (inner.run.take(), std::mem::take(&mut inner.kept))
        };
        let io = Counted::new(io, kept);
        if let Some(run) = run {
            run(Box::new(io)).await;
        }
    }
}

/// A connection of which some bytes were read already.
pub struct Rewound<I> {
    first: Bytes,
    io: I,
}

impl<I> Rewound<I> {
    /// Gives `first` before what the connection gives.
    pub fn new(first: Bytes, io: I) -> Self {
        Self { first, io }
    }

    /// The connection itself.
    pub fn get_ref(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let step = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..step]);
        self.first.advance(step);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
