//! The gate between the socket and hyper: an HTTP/1 connection's bytes pass it head by head.
//!
//! A head is passed on only when it is whole and breaks no rule ([`super::head`]); bodies are followed to their end. For a
//! head that is refused, a stand-in request is passed on in its place, so that the refusal is answered in its turn behind
//! pipelined requests, by the same path as every response. The gate also keeps the timers that only it can keep: a head
//! that does not come, an idle connection, a client that does not take its response.

mod waiting;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use self::waiting::Wait;
use super::head::{self, Framing, HeadLimits, Reading};
use super::wire::{Upgrade, Wire};
use crate::chunked::Chunked;
use crate::clock::LazyTimer;
use crate::http::stall::SendStall;
use crate::model::Refusal;

/// What a connection's bytes are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateLimits {
    pub(super) head: HeadLimits,
    pub(super) header_wait: Duration,
    pub(super) idle: Duration,
    pub(super) min_send_rate: Option<u64>,
}

/// The socket as hyper sees it.
pub(super) struct Gate<I> {
    io: I,
    wire: Arc<Wire>,
    limits: GateLimits,
    stage: Stage,
    /// Bytes that have arrived and are not passed on yet.
    held: BytesMut,
    /// So many bytes at the front of `held` may be passed on.
    passable: usize,
    /// Whether `held` may amount to more than it did when it was last looked at. A head that dribbles in is looked at once a
    /// line, not once a byte.
    worth_following: bool,
    timer: LazyTimer,
    /// When the connection opened, a head began, or the connection fell idle.
    waiting_since: Option<Instant>,
    /// Whether the connection is without hyper, for as long as its client is silent.
    resting: bool,
    stall: SendStall,
}

/// Where in the stream of requests the bytes have come.
#[derive(Debug)]
enum Stage {
    /// Before or in a head.
    Head,
    Length(u64),
    Chunked(Chunked),
    /// Behind a head that asks to leave HTTP: what follows is HTTP or not as the response says.
    AwaitUpgrade,
    /// A refused head was replaced; nothing behind it is read.
    Refused,
    /// A body broke its framing.
    Broken,
}

/// How far bytes were followed.
enum Followed {
    /// This many may be passed on; what is behind them must wait.
    To(usize),
    /// This many may be passed on, and then the refusal is to be answered.
    Refused(usize, Refusal),
}

impl<I> Gate<I> {
    pub(super) fn new(io: I, wire: Arc<Wire>, limits: GateLimits, first: BytesMut) -> Self {
        wire.reads_head(!first.is_empty());
        Self {
            io,
            wire,
            limits,
            stage: Stage::Head,
            held: first,
            passable: 0,
            worth_following: true,
            timer: LazyTimer::default(),
            waiting_since: Some(Instant::now()),
            resting: false,
            stall: SendStall::new(limits.min_send_rate),
        }
    }

    /// The socket, and what has arrived on it and was not passed on.
    pub(super) fn into_parts(self) -> (I, BytesMut) {
        (self.io, self.held)
    }

    /// Whether the client may still be sending what nobody will read.
    pub(super) fn is_unread(&self) -> bool {
        !matches!(self.stage, Stage::Head) || !self.held.is_empty()
    }

    fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.stage {
                Stage::Head => match head::read(&bytes[at..], &self.limits.head) {
                    Reading::Partial => break,
                    Reading::Refused(refusal) => {
                        self.stage = Stage::Refused;
                        return Followed::Refused(at, refusal);
                    }
                    Reading::Whole(head) => {
                        at += head.length;
                        self.wire.head_passed();
                        self.stage = match head.framing {
                            Framing::Chunked => Stage::Chunked(Chunked::new()),
                            Framing::Length(0) if head.upgrade => Stage::AwaitUpgrade,
                            Framing::Length(0) => Stage::Head,
                            Framing::Length(length) => Stage::Length(length),
                        };
                    }
                },
                Stage::Length(left) => {
                    let step = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len() - at);
                    at += step;
                    *left -= step as u64;
                    if *left == 0 {
                        self.stage = Stage::Head;
                    }
                }
                Stage::Chunked(chunked) => {
                    match chunked.follow(&bytes[at..], self.limits.head.fields) {
                        Ok(step) => {
                            at += step;
                            if chunked.is_done() {
                                self.stage = Stage::Head;
                            }
                        }
                        Err(refusal) => {
                            self.stage = Stage::Broken;
                            self.wire.body_broke(refusal);
                            break;
                        }
                    }
                }
                Stage::AwaitUpgrade | Stage::Refused | Stage::Broken => break,
            }
        }
        Followed::To(at)
    }

    /// Puts the stand-in behind the first `keep` held bytes.
    fn stand_in(&mut self, keep: usize, refusal: Refusal) {
        self.wire.refuse_next_head(refusal);
        self.stage = Stage::Refused;
        self.held.truncate(keep);
        self.held.extend_from_slice(STAND_IN);
        self.passable = self.held.len();
    }

    /// Passes held bytes on, if any may be.
    fn pass_held(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.passable == 0 && !self.held.is_empty() && self.is_worth_following() {
            self.worth_following = false;
            let held = std::mem::take(&mut self.held);
            let followed = self.follow(&held);
            self.held = held;
            match followed {
                Followed::To(at) => self.passable = at,
                Followed::Refused(at, refusal) => self.stand_in(at, refusal),
            }
        }
        let step = self.passable.min(buf.remaining());
        if step == 0 {
            return false;
        }
        buf.put_slice(&self.held[..step]);
        self.held.advance(step);
        self.passable -= step;
        self.wire
            .reads_head(!self.held.is_empty() && self.passable == 0);
        self.worth_following |= self.passable == 0;
        self.waiting_since = (!self.held.is_empty() && self.passable == 0).then(Instant::now);
        true
    }

    fn is_worth_following(&self) -> bool {
        self.worth_following
            || self.held.len() > self.limits.head.target.min(self.limits.head.bytes)
    }

    /// Takes bytes that were read straight into hyper's buffer: those that must wait are moved out of it.
    fn take_fresh(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buf.filled()[before..];
        let (passed, refusal) = match self.follow(fresh) {
            Followed::To(at) => (at, None),
            Followed::Refused(at, refusal) => (at, Some(refusal)),
        };
        self.waiting_since = None;
        if passed < fresh.len() && refusal.is_none() {
            self.held.extend_from_slice(&fresh[passed..]);
            self.waiting_since = Some(Instant::now());
            self.wire.reads_head(true);
        }
        buf.set_filled(before + passed);
        if let Some(refusal) = refusal {
            self.stand_in(0, refusal);
        }
    }

    /// Goes on with HTTP behind an upgrade that was declined; the connection may fall idle then, too.
    fn settle_upgrade(&mut self) {
        if matches!(self.stage, Stage::AwaitUpgrade) && self.wire.upgrade() == Upgrade::Declined {
            self.stage = Stage::Head;
            self.worth_following = true;
        }
    }
}

impl<I: AsyncRead + Unpin> Gate<I> {
    /// Reads what the socket has.
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<More>> {
        if self.held.is_empty() {
            let before = buf.filled().len();
            std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(More::End));
            }
            self.take_fresh(buf, before);
            return Poll::Ready(Ok(if buf.filled().len() > before {
                More::Passed
            } else {
                More::Held
            }));
        }
        if self.held.len() >= HELD_BYTES_MAX.max(self.limits.head.bytes + READ_BYTES) {
            // Only bytes behind an upgrade that is not decided can pile up; they wait in the socket.
            return Poll::Pending;
        }
        let mut room = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut room);
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(More::End));
        }
        self.worth_following |=
            memchr::memchr(b'\n', read.filled()).is_some() || !matches!(self.stage, Stage::Head);
        self.held.extend_from_slice(read.filled());
        Poll::Ready(Ok(More::Held))
    }
}

enum More {
    Passed,
    Held,
    End,
}

impl<I: AsyncRead + Unpin> AsyncRead for Gate<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.settle_upgrade();
        loop {
            if this.pass_held(buf) {
                return Poll::Ready(Ok(()));
            }
            match this.stage {
                Stage::Refused => return Poll::Pending,
                Stage::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                _ => {}
            }
            match this.poll_more(cx, buf) {
                Poll::Ready(Ok(More::Passed | More::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(More::Held)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if matches!(this.stage, Stage::AwaitUpgrade) {
                        this.wire.wake_when_declined(cx.waker());
                    }
                    let Some(wait) = this.expired(cx) else {
                        return Poll::Pending;
                    };
                    this.time_is_up(wait);
                    if wait != Wait::Head {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gate<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.sent(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = write_joined(Pin::new(&mut this.io), cx, slices);
        this.sent(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        match polled {
            Poll::Ready(Ok(())) => {
                this.stall.taken_all();
                polled
            }
            _ => this.sent(cx, polled.map_ok(|()| 0)).map_ok(|_| ()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        this.sent(cx, polled.map_ok(|()| 0)).map_ok(|_| ())
    }
}

/// Writes a small response in one piece: gathering is dearer for the kernel than copying some hundred bytes is for us.
fn write_joined<I: AsyncWrite>(
    io: Pin<&mut I>,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if slices.iter().map(|slice| slice.len()).sum::<usize>() > JOINED_BYTES_MAX {
        return io.poll_write_vectored(cx, slices);
    }
    JOINED.with_borrow_mut(|joined| {
        joined.clear();
        for slice in slices {
            joined.extend_from_slice(slice);
        }
        io.poll_write(cx, joined)
    })
}

thread_local! {
    /// Where slices are joined: of a thread and not on the stack, where it would have to be cleared each time.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<I> Gate<I> {
    /// Watches how fast the client takes what is sent.
    fn sent(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match self.stall.sent(cx, polled) {
            Ok(polled) => polled,
            Err(refusal) => {
                self.wire.end(refusal);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

/// Passed on in the place of a head that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// A head and the content of a small response.
const JOINED_BYTES_MAX: usize = 1024;

/// Read at once while a head is incomplete.
const READ_BYTES: usize = 4096;

/// Bytes that may wait behind an upgrade that is not decided yet.
const HELD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
