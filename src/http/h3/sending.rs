//! The halves of streams that are sent on.
//!
//! A response goes round the h3 crate, straight to quinn: that takes its connection's lock, and wakes its task, for every write,
//! so that head, content and end of a small response had better be one.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use ::h3::error::Code;
use ::h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use quinn::WriteError;

use super::frames::{DATA, HEADERS};
use super::qpack;
use super::wire::{lost, of_connection, stream_id, var_int};
use crate::http::extended::Asked;

/// What the driver and both halves of a stream tell each other.
#[derive(Default)]
pub(super) struct Line {
    taken: AtomicU64,
    fault: OnceLock<&'static str>,
    protocol: OnceLock<Asked>,
}

impl Line {
    /// Bytes of the response that the client's windows took.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// What is wrong with the fields that came on the stream.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }

    /// What an extended CONNECT asks for; none where the request is none.
    pub(super) fn protocol(&self) -> Option<Asked> {
        self.protocol.get().copied()
    }

    /// The request has a `:protocol`, which h3 did not get to see.
    pub(super) fn set_protocol(&self, is_websocket: bool) {
        let _ = self.protocol.set(match is_websocket {
            true => Asked::WebSocket,
            false => Asked::Other,
        });
    }

    /// Something is wrong with the fields that came on the stream; the first fault is kept.
    pub(super) fn set_fault(&self, fault: &'static str) {
        let _ = self.fault.set(fault);
    }
}

/// What a response is sent on.
pub(super) struct Sending {
    stream: quinn::SendStream,
    /// What is not written yet: frames' heads and what is small, and then a larger piece of content.
    gathered: BytesMut,
    leaving: [Bytes; 2],
    line: Arc<Line>,
}

/// The client wants no more of it, or is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Sending {
    pub(super) fn new(stream: quinn::SendStream, line: Arc<Line>) -> Self {
        Self {
            stream,
            gathered: BytesMut::new(),
            leaving: Default::default(),
            line,
        }
    }

    /// What this half tells the others, and they tell it.
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Puts a head before what is sent next.
    pub(super) fn put_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.put_fields(|to| qpack::write_head(status, headers, to));
    }

    /// Puts trailers behind what was sent.
    pub(super) fn put_trailers(&mut self, trailers: &HeaderMap) {
        self.put_fields(|to| qpack::write_trailers(trailers, to));
    }

    /// The length is known behind the fields; it has the four bytes that suffice for any.
    fn put_fields(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let to = &mut self.gathered;
        to.reserve(FIELDS_BYTES_EXPECTED);
        to.put_u8(HEADERS as u8);
        let length_at = to.len();
        to.put_u32(0);
        let fields_at = to.len();
        write(to);
        let length = 0x8000_0000 | (to.len() - fields_at) as u32;
        to[length_at..fields_at].copy_from_slice(&length.to_be_bytes());
    }

    /// Puts content behind what is to be sent; what is small is copied there, so that all is one write.
    pub(super) fn put_data(&mut self, data: Bytes) {
        self.gathered
            .reserve(FRAME_HEAD_BYTES_MAX + data.len().min(COPIED_BYTES_MAX));
        self.gathered.put_u8(DATA as u8);
        put_number(&mut self.gathered, data.len() as u64);
        if data.len() <= COPIED_BYTES_MAX {
            self.gathered.extend_from_slice(&data);
        } else {
            self.leaving[1] = data;
        }
    }

    /// Writes what was put.
    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.leaving[0].is_empty() {
            self.leaving[0] = self.gathered.split().freeze();
        }
        while self.leaving.iter().any(|piece| !piece.is_empty()) {
            let first = usize::from(self.leaving[0].is_empty());
            // The future holds nothing: dropped while it waits, the stream still wakes this task.
            let written = {
                let writing = pin!(self.stream.write_chunks(&mut self.leaving[first..]));
                ready!(writing.poll(cx)).map_err(|_| Gone)?
            };
            self.line.taken.fetch_add(written.bytes as u64, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    /// Says that there is no more. All must be written.
    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        self.stream.finish().map_err(|_| Gone)
    }

    /// Breaks the response off.
    pub(super) fn reset(&mut self, code: Code) {
        // One that is reset or finished already stays so.
        let _ = self.stream.reset(var_int(code.value()));
    }
}

/// RFC 9000 section 16.
fn put_number(to: &mut BytesMut, number: u64) {
    match number {
        0..=0x3f => to.put_u8(number as u8),
        0x40..=0x3fff => to.put_u16(0x4000 | number as u16),
        0x4000..=0x3fff_ffff => to.put_u32(0x8000_0000 | number as u32),
        _ => to.put_u64(0xc000_0000_0000_0000 | number),
    }
}

/// What the h3 crate sends on a stream of ours: settings, and GOAWAY.
pub(super) struct Control {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
}

impl Control {
    pub(super) fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            writing: None,
        }
    }
}

impl quic::SendStream<Bytes> for Control {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(writing) = &mut self.writing {
            while writing.has_remaining() {
                let stream = std::pin::Pin::new(&mut self.stream);
                let written = ready!(stream.poll_write(cx, writing.chunk())).map_err(unwritten)?;
                writing.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<D: Into<WriteBuf<Bytes>>>(&mut self, data: D) -> Result<(), StreamErrorIncoming> {
        debug_assert!(
            self.writing.is_none(),
            "h3 waits until what it sent is written"
        );
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        // One that is reset or finished already stays so.
        let _ = self.stream.reset(var_int(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// What the h3 crate has of a request's stream to send on: nothing. It would answer and reset by itself now and then, which
/// is the driver's to do.
pub(super) struct Unsent(pub(super) StreamId);

impl quic::SendStream<Bytes> for Unsent {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn send_data<D: Into<WriteBuf<Bytes>>>(&mut self, _: D) -> Result<(), StreamErrorIncoming> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, _: u64) {}

    fn send_id(&self) -> StreamId {
        self.0
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => of_connection(lost(error)),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

/// A small content; what is larger is not worth the copy.
pub(super) const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Most heads are shorter.
const FIELDS_BYTES_EXPECTED: usize = 256;

/// A type and a length.
const FRAME_HEAD_BYTES_MAX: usize = 9;
