//! The meter between the socket and the h2 crate: what a client may make us do in a while, and what h2 did without us.
//!
//! h2 bounds memory; work it bounds only in part. Every frame that costs us work and the client nothing has a budget here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{self, Frame, Frames};
use crate::http::stall::SendStall;
use crate::model::{Reason, Refusal};

/// The socket as h2 sees it.
pub(super) struct Meter<I> {
    io: I,
    /// Read already, before HTTP/2 was known to be spoken.
    first: Bytes,
    incoming: Frames,
    outgoing: Frames,
    /// Written by h2 and not yet to the socket. h2 flushes after every frame; while the driver has more to answer, what it
    /// flushes gathers here, and leaves in one write.
    gathered: BytesMut,
    stall: SendStall,
    gauge: Arc<Gauge>,
}

/// What the meter and the driver tell each other. They run on one thread; nothing here is contended.
pub(super) struct Gauge(Mutex<Readings>);

#[derive(Debug)]
struct Readings {
    window_began: Instant,
    spent: Spent,
    /// HEADERS that h2 took from the driver and has not written yet.
    headers_due: u64,
    /// Whether frames of a header block are still to come.
    block_open: bool,
    /// When a header block began that has not all come.
    block_began: Option<Instant>,
    verdict: Option<Verdict>,
    /// Whether the client has sent its first frame.
    begun: bool,
    /// Whether what h2 writes is to be gathered.
    corked: bool,
    /// What h2 answered by itself.
    by_h2: Vec<Refusal>,
}

/// Why the connection must end, and the code that GOAWAY has for it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) refusal: Refusal,
    pub(super) code: h2::Reason,
}

/// What was spent in the present window.
#[derive(Debug, Default)]
struct Spent {
    resets: u32,
    settings: u32,
    pings: u32,
    empty: u32,
    other: u32,
    window_updates: u64,
    continuations: u32,
    /// Written by us; every so many bytes allow a window update.
    sent_bytes: u64,
}

impl Gauge {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Readings {
            window_began: Instant::now(),
            spent: Spent::default(),
            headers_due: 0,
            block_open: false,
            block_began: None,
            verdict: None,
            begun: false,
            corked: false,
            by_h2: Vec::new(),
        })))
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers what h2 writes, or lets the next flush write it.
    pub(super) fn cork(&self, corked: bool) {
        self.readings().corked = corked;
    }

    /// The driver has given h2 a header block, which h2 took: one that nobody writes would stand for one of h2's own.
    pub(super) fn headers_due(&self) {
        self.readings().headers_due += 1;
    }

    /// Why the connection must end, if it must.
    pub(super) fn take_verdict(&self) -> Option<Verdict> {
        self.readings().verdict.take()
    }

    /// What h2 refused by itself since this was last asked.
    pub(super) fn take_refused_by_h2(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.readings().by_h2)
    }

    /// When the header block that is being received began.
    pub(super) fn block_began(&self) -> Option<Instant> {
        self.readings().block_began
    }
}

impl Readings {
    fn received(&mut self, frame: Frame) {
        self.keep_rules(frame);
        let spent = &mut self.spent;
        match frame.kind {
            frames::RST_STREAM => spent.resets += 1,
            frames::SETTINGS if frame.flags & frames::ACK == 0 => spent.settings += 1,
            frames::PING => spent.pings += 1,
            frames::DATA if frame.length == 0 && frame.flags & frames::END_STREAM == 0 => {
                spent.empty += 1
            }
            frames::DATA | frames::SETTINGS => return,
            frames::WINDOW_UPDATE => spent.window_updates += 1,
            frames::HEADERS | frames::CONTINUATION => {
                if frame.kind == frames::CONTINUATION {
                    spent.continuations += 1;
                }
                if frame.kind == frames::HEADERS {
                    self.block_began = None;
                }
                self.block_open = frame.flags & frames::END_HEADERS == 0;
            }
            _ => spent.other += 1,
        }
        if let Some(what) = self.spent.over() {
            self.next_window_or(what);
        }
    }

    /// Takes note since when a header block is waited for, if one is; `within` is the frame that has not all come.
    fn await_block(&mut self, within: Option<u8>) {
        let half = matches!(within, Some(frames::HEADERS | frames::CONTINUATION));
        let waits = self.block_open || half;
        self.block_began = waits.then(|| self.block_began.unwrap_or_else(Instant::now));
    }

    /// Rules that h2 does not keep, or answers with another code than the RFC's.
    fn keep_rules(&mut self, frame: Frame) {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && (frame.kind != frames::SETTINGS || frame.flags & frames::ACK != 0) {
            let detail = "the connection does not begin with SETTINGS (RFC 9113 section 3.4)";
            self.end(Reason::H2Protocol, detail, h2::Reason::PROTOCOL_ERROR);
        }
        // The length of the padding is a byte of what must be there.
        let padding = u32::from(frame.flags & frames::PADDED != 0);
        let right_size = match frame.kind {
            frames::PRIORITY => frame.length == 5,
            frames::RST_STREAM | frames::WINDOW_UPDATE => frame.length == 4,
            frames::PING => frame.length == 8,
            frames::SETTINGS if frame.flags & frames::ACK != 0 => frame.length == 0,
            frames::SETTINGS => frame.length.is_multiple_of(6),
            frames::GOAWAY => frame.length >= 8,
            frames::DATA => frame.length >= padding,
            frames::HEADERS if frame.flags & frames::PRIORITIZED != 0 => {
                frame.length >= padding + 5
            }
            frames::HEADERS => frame.length >= padding,
            _ => true,
        };
        if !right_size {
            let detail = "a frame has another length than its type has (RFC 9113 section 4.2)";
            self.end(Reason::H2Protocol, detail, h2::Reason::FRAME_SIZE_ERROR);
        }
    }

    fn end(&mut self, reason: Reason, detail: &'static str, code: h2::Reason) {
        self.verdict.get_or_insert_with(|| Verdict {
            refusal: Refusal::new(reason, detail),
            code,
        });
    }

    /// The budgets are for [`WINDOW`]; only when one is overdrawn is the clock looked at.
    fn next_window_or(&mut self, what: &'static str) {
        let now = Instant::now();
        if now - self.window_began >= WINDOW {
            self.window_began = now;
            self.spent = Spent::default();
        } else {
            self.end(Reason::H2Abuse, what, h2::Reason::ENHANCE_YOUR_CALM);
        }
    }

    fn wrote(&mut self, frame: Frame) {
        match frame.kind {
            frames::HEADERS if self.headers_due > 0 => self.headers_due -= 1,
            frames::HEADERS => self.by_h2(Refusal::new(
                Reason::RequestLength,
                "the request's fields are longer than limits.max_request_bytes",
            )),
            // PROTOCOL_ERROR, STREAM_CLOSED, FLOW_CONTROL_ERROR: the driver sends none but for what it finds malformed itself.
            frames::RST_STREAM if matches!(frame.code, 1 | 3 | 5) => self.by_h2(Refusal::new(
                Reason::H2Protocol,
                format!(
                    "stream {} was reset: its request or its frames break RFC 9113 (error code {})",
                    frame.stream, frame.code
                ),
            )),
            _ => {}
        }
    }

    fn by_h2(&mut self, refusal: Refusal) {
        // h2 ends the connection long before so many go unread.
        if self.by_h2.len() < BY_H2_MAX {
            self.by_h2.push(refusal);
        }
    }
}

impl Spent {
    /// Which budget is overdrawn. docs/limits.md has the reason of each.
    fn over(&self) -> Option<&'static str> {
        [
            (
                self.resets > 200,
                "more than 200 streams were reset within 10 s (rapid reset)",
            ),
            (
                self.settings > 20,
                "more than 20 SETTINGS frames came within 10 s",
            ),
            (
                // gRPC clients measure the line with a PING for what they get of a response.
                u64::from(self.pings) > 50 + self.sent_bytes / 256,
                "more PING frames came within 10 s than what was sent explains",
            ),
            (
                self.empty > 100,
                "more than 100 empty DATA frames came within 10 s",
            ),
            (
                self.continuations > 100,
                "more than 100 CONTINUATION frames came within 10 s",
            ),
            (
                self.other > 500,
                "more than 500 PRIORITY or unknown frames came within 10 s",
            ),
            (
                self.window_updates > 2000 + self.sent_bytes / 256,
                "more WINDOW_UPDATE frames came within 10 s than what was sent explains",
            ),
        ]
        .into_iter()
        .find_map(|(over, what)| over.then_some(what))
    }
}

impl<I> Meter<I> {
    pub(super) fn new(io: I, first: Bytes, min_send_rate: Option<u64>, gauge: Arc<Gauge>) -> Self {
        Self {
            io,
            first,
            incoming: Frames::new(PREFACE_BYTES),
            outgoing: Frames::new(0),
            gathered: BytesMut::new(),
            stall: SendStall::new(min_send_rate),
            gauge,
        }
    }

    fn wrote(&mut self, slices: &[io::IoSlice<'_>], mut written: usize) {
        let mut readings = self.gauge.readings();
        readings.spent.sent_bytes += written as u64;
        for slice in slices {
            let step = slice.len().min(written);
            self.outgoing
                .follow(&slice[..step], |frame| readings.wrote(frame));
            written -= step;
        }
    }

    fn sent(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match self.stall.sent(cx, polled) {
            Ok(polled) => polled,
            Err(refusal) => {
                let code = h2::Reason::ENHANCE_YOUR_CALM;
                self.gauge.readings().verdict = Some(Verdict { refusal, code });
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Meter<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let step = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..step]);
            this.first.advance(step);
        }
        let mut readings = this.gauge.readings();
        this.incoming
            .follow(&buf.filled()[before..], |frame| readings.received(frame));
        readings.await_block(this.incoming.within());
        if readings.verdict.is_some() {
            // h2 gets to see nothing of this; the driver, which runs next, ends the connection.
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Meter<I> {
    /// Writes what was gathered.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.gathered);
            match ready!(self.sent(cx, polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.gathered.advance(written),
            }
        }
        // An idle connection keeps no buffer.
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Meter<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if this.gathered.len() + length <= GATHERED_BYTES_MAX {
            for slice in slices {
                this.gathered.extend_from_slice(slice);
            }
            this.wrote(slices, length);
            return Poll::Ready(Ok(length));
        }
        // What would not fit is not worth a copy either.
        ready!(this.poll_gathered(cx))?;
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(written)) = polled {
            this.wrote(slices, written);
        }
        this.sent(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gauge.readings().corked {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_gathered(cx))?;
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
        ready!(this.poll_gathered(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// What every budget is for.
const WINDOW: Duration = Duration::from_secs(10);

/// `PRI * HTTP/2.0` and what follows it (RFC 9113 section 3.4).
pub(super) const PREFACE_BYTES: usize = 24;

const BY_H2_MAX: usize = 256;

/// The heads and small contents of a read's worth of responses; a TLS record holds 16 KiB.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
