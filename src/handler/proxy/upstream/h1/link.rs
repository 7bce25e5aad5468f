//! A connection to an upstream, as one request after the other has it.

use std::task::Context;

use bytes::Bytes;
use tokio::time::Instant;

use super::receiving::Receiving;
use super::sending::Sending;
use crate::clock::LazyTimer;
use crate::handler::proxy::upstream::stream::Stream;

/// A connection to an upstream.
///
/// Its bytes are moved by whoever has it: first the request's future, then the response's content. A task of its own for it
/// would cost two hops between tasks for every piece. Only a response that overtakes its request's content gets one (see
/// [`Apart`](super::apart::Apart)).
///
/// It is large, handed from one to the other, and so always boxed. Dropping it closes the connection.
pub(in crate::handler::proxy::upstream) struct Link {
    pub(super) stream: Stream,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) timer: LazyTimer,
    pub(super) born: Instant,
    pub(super) idle_since: Instant,
    /// How many responses it has carried whole.
    pub(super) carried: u64,
}

impl Link {
    /// Speaks HTTP/1.1 on a stream.
    pub(super) fn new(stream: Stream) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            stream,
            sending: Sending::default(),
            receiving: Receiving::new(),
            timer: LazyTimer::default(),
            born: now,
            idle_since: now,
            carried: 0,
        })
    }

    /// Whether both messages are at their end, and nothing was said behind them.
    pub(super) fn is_clean(&self) -> bool {
        self.sending.is_done() && self.receiving.is_clean()
    }

    /// Whether the connection stands and is free for a request: an upstream that says anything now says it of no request.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_clean() && self.stream.origin.stands() && self.stream.is_silent(cx)
    }

    /// The stream, and what was read of it and is of another protocol.
    pub(super) fn into_parts(mut self: Box<Self>) -> (Stream, Bytes) {
        let read = self.receiving.take_held();
        (self.stream, read)
    }
}
