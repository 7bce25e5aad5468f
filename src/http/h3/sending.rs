//! The half of a stream that is sent on.
//!
//! quinn takes its connection's lock, and wakes its task, for every write. A response that is known as a whole is gathered here,
//! so that head, content and end are one write.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use ::h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::WriteError;

use super::wire::{lost, of_connection, stream_id, var_int};

/// What the driver and both halves of a stream tell each other.
#[derive(Default)]
pub(super) struct Line {
    taken: AtomicU64,
    gathers: AtomicBool,
    fault: OnceLock<&'static str>,
}

impl Line {
    /// Bytes of the response that the client's windows took.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Has what is sent from now gather until the stream's end.
    pub(super) fn gather(&self) {
        self.gathers.store(true, Relaxed);
    }

    /// What is wrong with the fields that came on the stream.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }

    /// Something is wrong with the fields that came on the stream; the first fault is kept.
    pub(super) fn set_fault(&self, fault: &'static str) {
        let _ = self.fault.set(fault);
    }
}

/// What is sent.
pub(super) struct Sending {
    stream: quinn::SendStream,
    /// What h3 has handed over, and waits for.
    writing: Option<WriteBuf<Bytes>>,
    /// What h3 holds for written, and the stream's end sends.
    gathered: BytesMut,
    /// Of it, what is being sent.
    leaving: Bytes,
    line: Arc<Line>,
}

impl Sending {
    pub(super) fn new(stream: quinn::SendStream, line: Arc<Line>) -> Self {
        Self {
            stream,
            writing: None,
            gathered: BytesMut::new(),
            leaving: Bytes::new(),
            line,
        }
    }

    /// Writes what was gathered.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if self.leaving.is_empty() {
            self.leaving = std::mem::take(&mut self.gathered).freeze();
        }
        while !self.leaving.is_empty() {
            let leaving = std::slice::from_mut(&mut self.leaving);
            // The future holds nothing: dropped while it waits, the stream still wakes this task.
            let written = {
                let writing = pin!(self.stream.write_chunks(leaving));
                ready!(writing.poll(cx)).map_err(unwritten)?
            };
            self.line.taken.fetch_add(written.bytes as u64, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        if self.line.gathers.load(Relaxed)
            && self.gathered.len() + writing.remaining() <= GATHERED_BYTES_MAX
        {
            self.gathered.put(writing);
            self.writing = None;
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_gathered(cx))?;
        if let Some(writing) = &mut self.writing {
            while writing.has_remaining() {
                let stream = std::pin::Pin::new(&mut self.stream);
                let written = ready!(stream.poll_write(cx, writing.chunk())).map_err(unwritten)?;
                writing.advance(written);
                self.line.taken.fetch_add(written as u64, Relaxed);
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

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_gathered(cx))?;
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

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => of_connection(lost(error)),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

/// The head and a small content; what is larger is not worth the copy.
pub(super) const GATHERED_BYTES_MAX: usize = 16 * 1024;
