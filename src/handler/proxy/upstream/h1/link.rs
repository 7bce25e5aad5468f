//! A connection to an upstream, as one request after the other has it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::socket::Socket;
use crate::clock::LazyTimer;
use crate::handler::proxy::upstream::names::Origin;
use crate::handler::proxy::upstream::stream::Stream;
use crate::model::Body;

/// A connection to an upstream.
///
/// hyper's half that moves bytes is polled by whoever has the link: first the request's future, then the response's content.
/// A task of its own for it would cost two hops between tasks for every piece. Only a response that overtakes its request's
/// content gets one (see [`Apart`]).
///
/// It is large, handed from one to the other, and so always boxed. Dropping it closes the connection.
pub(in crate::handler::proxy::upstream) struct Link {
    pub(super) sender: SendRequest<Body>,
    pub(super) conn: Connection<TokioIo<Socket>, Body>,
    /// Whether hyper's half has said that the connection is over; it must not be asked again.
    pub(super) over: bool,
    pub(super) origin: Origin,
    pub(super) born: Instant,
    pub(super) idle_since: Instant,
    /// How many responses it has carried whole.
    pub(super) carried: u64,
    pub(super) timer: LazyTimer,
}

/// A connection that moves its bytes in a task of its own.
///
/// A client may take a response only once it has sent all of its request. Were the request's content moved along by whoever
/// takes the response, the two would wait for each other.
///
/// Dropping it closes the connection.
pub(super) struct Apart(JoinHandle<()>);

impl Link {
    /// Speaks HTTP/1.1 on a stream.
    pub(super) async fn new(stream: Stream) -> hyper::Result<Box<Self>> {
        let origin = stream.origin.clone();
        let (sender, conn) = Builder::new()
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(Socket::new(stream)))
            .await?;
        let now = Instant::now();
        Ok(Box::new(Self {
            sender,
            conn,
            over: false,
            origin,
            born: now,
            idle_since: now,
            carried: 0,
            timer: LazyTimer::default(),
        }))
    }

    /// Moves bytes; ready when the connection is over. hyper does not shut the socket down then: dropping it does, and one
    /// that leaves HTTP lives on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let polled = self.conn.poll_without_shutdown(cx);
        self.over = polled.is_ready();
        polled
    }

    /// Whether the connection stands and is free for a request.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx).is_pending() && self.sender.is_ready() && self.origin.stands()
    }

    /// The socket, and what hyper has read of it and not understood as HTTP.
    pub(super) fn into_socket(self: Box<Self>) -> (Socket, Bytes) {
        let parts = self.conn.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    /// Has the connection move its bytes by itself from now on.
    pub(super) fn part(self: Box<Self>) -> (Apart, LazyTimer) {
        let Self {
            mut conn, timer, ..
        } = *self;
        let task = tokio::spawn(async move {
            // The content is told how it ended.
            let _ = std::future::poll_fn(|cx| Pin::new(&mut conn).poll_without_shutdown(cx)).await;
        });
        (Apart(task), timer)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A response's head or trailers, and about what is held of content on its way. nginx takes 4 to 8 KiB of a head, HAProxy 16.
const HEAD_BYTES_MAX: usize = 64 * 1024;
