//! Two connections made one.
//!
//! Not tokio's `copy_bidirectional`, for two reasons: that keeps 16 KiB for a tunnel in which nothing moves, as in most
//! WebSockets most of the time; and it waits without end for the second side when the first has closed.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::clock::LazyTimer;

/// Has either side's bytes go to the other until both are at their end, or one breaks. A side that ends is heard of by the
/// other, and nothing more is read from a side than the other takes.
///
/// When one side has ended and nothing moves for `linger`, it is over too; none: however long that is.
pub async fn join<A, B>(a: &mut A, b: &mut B, linger: Option<Duration>) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    let mut timer = LazyTimer::default();
    let mut still_since: Option<(u64, Instant)> = None;
    poll_fn(|cx| {
        let ended = [there.poll(a, b, cx)?, back.poll(b, a, cx)?];
        if ended.iter().all(Poll::is_ready) {
            return Poll::Ready(Ok(()));
        }
        if let Some(linger) = linger
            && ended.iter().any(Poll::is_ready)
        {
            let (moved, now) = (there.moved + back.moved, Instant::now());
            let since = match still_since {
                Some((before, since)) if before == moved => since,
                _ => now,
            };
            still_since = Some((moved, since));
            if timer.poll_until(since + linger, now, cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Poll::Pending
    })
    .await
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read, and not taken yet.
    held: Bytes,
    moved: u64,
    /// Whether anything was written since the last flush.
    unflushed: bool,
    read_to_end: bool,
    ended: bool,
}

impl Way {
    /// Moves what can be moved; ready when the direction is at its end.
    fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..PIECES_AT_ONCE {
            ready!(self.poll_held(to, cx))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.read_to_end {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            if self.poll_piece(from, to, cx)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        // Other connections of this thread want to be served too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_held<W>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
            self.moved += written as u64;
            self.unflushed = true;
        }
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Reads a piece, and writes what is taken of it at once; only the rest is copied and held.
    fn poll_piece<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut room = [MaybeUninit::<u8>::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut room);
        ready!(Pin::new(from).poll_read(cx, &mut piece))?;
        let read = piece.filled();
        if read.is_empty() {
            self.read_to_end = true;
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(to).poll_write(cx, read)? {
            Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        self.moved += written as u64;
        self.unflushed |= written > 0;
        self.held = Bytes::copy_from_slice(&read[written..]);
        Poll::Ready(Ok(()))
    }
}

/// As much as a TLS record holds.
const PIECE_BYTES: usize = 16 * 1024;

/// Pieces that are moved before others have their turn.
const PIECES_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;
