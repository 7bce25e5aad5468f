//! The meter between the socket and the h2 crate: what a client may make us do in a while, and what h2 did without us.
//!
//! h2 bounds memory; work it bounds only in part. Every frame that costs us work and the client nothing has a budget here.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{self, Frame, Frames};
use crate::http::budget::{self, Budget};
use crate::http::counting::one_more;
use crate::http::multiplexed;
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
    readings: Readings,
    gauge: Arc<Gauge>,
}

/// What the meter and the driver tell each other. They run on one thread: a store is seen by the next load, and nothing
/// here is contended.
#[derive(Default)]
pub(super) struct Gauge {
    /// Whether what h2 writes is to be gathered.
    corked: AtomicBool,
    /// HEADERS that the driver asked for and that are not written yet.
    headers_due: AtomicU64,
    /// The same of resets with REFUSED_STREAM.
    refusals_due: AtomicU64,
    /// Whether `news` holds any.
    any_news: AtomicBool,
    news: Mutex<News>,
}

/// What the driver has to act upon; most connections never have any.
#[derive(Default)]
struct News {
    verdict: Option<Verdict>,
    /// What h2 answered by itself.
    by_h2: Vec<Refusal>,
    /// When a header block began whose end has not come.
    block_began: Option<Instant>,
}

#[derive(Debug)]
struct Readings {
    budget: Budget<Spent>,
    /// Whether frames of a header block are still to come.
    block_open: bool,
    /// Whether a header block has begun since the last read.
    block_is_new: bool,
    /// Whether a header block is waited for; since when is told.
    awaits_block: bool,
    /// Whether the client has sent its first frame.
    begun: bool,
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
        Arc::default()
    }

    /// Gathers what h2 writes, or lets the next flush write it.
    pub(super) fn cork(&self, corked: bool) {
        self.corked.store(corked, Relaxed);
    }

    /// The driver has given h2 a header block, which h2 took: one that nobody writes would stand for one of h2's own.
    pub(super) fn headers_due(&self) {
        one_more(&self.headers_due);
    }

    /// The driver has refused a stream, and told why.
    pub(super) fn refusal_due(&self) {
        one_more(&self.refusals_due);
    }

    /// Why the connection must end, if it must.
    pub(super) fn take_verdict(&self) -> Option<Verdict> {
        self.news()?.verdict.take()
    }

    /// What h2 refused by itself since this was last asked.
    pub(super) fn take_refused_by_h2(&self) -> Vec<Refusal> {
        (self.news()).map_or_else(Vec::new, |mut news| std::mem::take(&mut news.by_h2))
    }

    /// When the header block that is being received began.
    pub(super) fn block_began(&self) -> Option<Instant> {
        self.news()?.block_began
    }

    fn has_verdict(&self) -> bool {
        self.news().is_some_and(|news| news.verdict.is_some())
    }

    fn news(&self) -> Option<MutexGuard<'_, News>> {
        self.any_news.load(Relaxed).then(|| self.lock())
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.lock());
        self.any_news.store(true, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection must end.
    fn end(&self, reason: Reason, detail: &'static str, code: h2::Reason) {
        self.tell(|news| {
            news.verdict.get_or_insert_with(|| Verdict {
                refusal: Refusal::new(reason, detail),
                code,
            });
        });
    }

    fn by_h2(&self, refusal: Refusal) {
        self.tell(|news| {
            // h2 ends the connection long before so many go unread.
            if news.by_h2.len() < BY_H2_MAX {
                news.by_h2.push(refusal);
            }
        });
    }

    fn wrote(&self, frame: Frame) {
        match frame.kind {
            frames::HEADERS if was_due(&self.headers_due) => {}
            frames::HEADERS => self.by_h2(multiplexed::too_long()),
            frames::RST_STREAM if frame.code == 7 && !was_due(&self.refusals_due) => {
                self.by_h2(Refusal::new(
                    Reason::H2Protocol,
                    "more streams were opened at once than SETTINGS_MAX_CONCURRENT_STREAMS allows",
                ));
            }
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
}

/// Something is written; whether it is one that the driver asked for.
fn was_due(due: &AtomicU64) -> bool {
    let count = due.load(Relaxed);
    due.store(count.saturating_sub(1), Relaxed);
    count > 0
}

impl Readings {
    fn received(&mut self, frame: Frame, gauge: &Gauge) {
        self.keep_rules(frame, gauge);
        let spent = &mut self.budget.spent;
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
                self.block_is_new |= frame.kind == frames::HEADERS;
                self.block_open = frame.flags & frames::END_HEADERS == 0;
            }
            _ => spent.other += 1,
        }
        if let Some(what) = self.budget.overdrawn() {
            gauge.end(Reason::H2Abuse, what, h2::Reason::ENHANCE_YOUR_CALM);
        }
    }

    /// Tells since when a header block is waited for, if one is; `within` is the frame that has not all come.
    fn await_block(&mut self, within: Option<u8>, gauge: &Gauge) {
        let half = matches!(within, Some(frames::HEADERS | frames::CONTINUATION));
        let waits = self.block_open || half;
        let is_new = std::mem::take(&mut self.block_is_new);
        let waited = std::mem::replace(&mut self.awaits_block, waits);
        if waits != waited || (waits && is_new) {
            gauge.tell(|news| news.block_began = waits.then(Instant::now));
        }
    }

    /// Rules that h2 does not keep, or answers with another code than the RFC's.
    fn keep_rules(&mut self, frame: Frame, gauge: &Gauge) {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && (frame.kind != frames::SETTINGS || frame.flags & frames::ACK != 0) {
            let detail = "the connection does not begin with SETTINGS (RFC 9113 section 3.4)";
            gauge.end(Reason::H2Protocol, detail, h2::Reason::PROTOCOL_ERROR);
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
            gauge.end(Reason::H2Protocol, detail, h2::Reason::FRAME_SIZE_ERROR);
        }
    }
}

impl budget::Spent for Spent {
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
            readings: Readings {
                budget: Budget::new(),
                block_open: false,
                block_is_new: false,
                awaits_block: false,
                begun: false,
            },
            gauge,
        }
    }

    fn wrote(&mut self, slices: &[io::IoSlice<'_>], mut written: usize) {
        self.readings.budget.spent.sent_bytes += written as u64;
        for slice in slices {
            let step = slice.len().min(written);
            self.outgoing
                .follow(&slice[..step], |frame| self.gauge.wrote(frame));
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
                self.gauge
                    .tell(|news| news.verdict = Some(Verdict { refusal, code }));
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
        this.incoming.follow(&buf.filled()[before..], |frame| {
            this.readings.received(frame, &this.gauge);
        });
        let within = this.incoming.within();
        this.readings.await_block(within, &this.gauge);
        if this.gauge.has_verdict() {
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
        if this.gauge.corked.load(Relaxed) {
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

/// `PRI * HTTP/2.0` and what follows it (RFC 9113 section 3.4).
pub(super) const PREFACE_BYTES: usize = 24;

const BY_H2_MAX: usize = 256;

/// The heads and small contents of a read's worth of responses; a TLS record holds 16 KiB.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
