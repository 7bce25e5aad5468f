//! quinn's streams as the h3 crate wants them, with what passes through them followed.
//!
//! Not h3-quinn's own, for four reasons: a client that no longer wants a response must be noticed while a handler works, what a
//! slow client takes must be counted, h3's own gathering of frames must be bounded, and a read costs no future in a box.

use std::future::Future;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::h3::error::Code;
use ::h3::quic::{
    self, BidiStream, ConnectionErrorIncoming, OpenStreams, StreamErrorIncoming, StreamId, WriteBuf,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt};

use super::fields::{self, Section};
use super::frames::{Frames, Seen};
use super::meter::Gauge;
use super::sending::{Control, Line, Sending, Unsent};

/// A connection.
pub(super) struct Wire {
    quic: quinn::Connection,
    both_ways: Incoming<(quinn::SendStream, quinn::RecvStream)>,
    one_way: Incoming<quinn::RecvStream>,
    opener: Opener,
    gauge: Arc<Gauge>,
}

/// Streams that the client opens.
type Incoming<T> = Pin<Box<dyn Stream<Item = Result<T, ConnectionError>> + Send + Sync>>;

/// A stream that we open.
type Opening =
    Pin<Box<dyn Future<Output = Result<quinn::SendStream, ConnectionError>> + Send + Sync>>;

/// What the driver knows of a stream that was accepted, beside what h3 does.
pub(super) struct Accepted {
    /// What the response goes on.
    pub(super) sending: Sending,
    /// Ends when the client wants no more of the response, or has all of it.
    pub(super) stopped: Stopped,
}

impl Accepted {
    /// Tells the client that its request was not looked at. To let go of the stream would be to finish it: an empty response.
    pub(super) fn reject(mut self) {
        self.sending.reset(Code::H3_REQUEST_REJECTED);
    }
}

/// See [`Accepted::stopped`].
pub(super) type Stopped =
    Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").finish_non_exhaustive()
    }
}

/// Opens streams of ours.
pub(super) struct Opener {
    quic: quinn::Connection,
    opening: Option<Opening>,
}

/// Both directions of a request's stream.
pub(super) struct Both {
    unsent: Unsent,
    receiving: Receiving,
}

/// What is received.
pub(super) struct Receiving {
    stream: quinn::RecvStream,
    frames: Frames,
    /// A block of fields of which some has come.
    block: Vec<u8>,
    section: Section,
    /// Of a head that has not all come: what h3 has not got yet.
    held: BytesMut,
    /// Where the block of the head begins in the bytes that are handed on next, how long it is, and what of it h3 is not to see.
    cut: Option<Cut>,
    line: Arc<Line>,
    gauge: Arc<Gauge>,
}

/// See [`Receiving::cut`].
struct Cut {
    block: Range<usize>,
    field: Range<usize>,
}

impl Cut {
    /// The bytes without the field, in a frame that is so much shorter.
    fn apply(self, bytes: &[u8]) -> Bytes {
        let Self { block, field } = self;
        let (before, behind) = bytes.split_at(block.start);
        let mut to = BytesMut::with_capacity(bytes.len());
        to.extend_from_slice(before);
        set_length(&mut to, block.len(), block.len() - field.len());
        to.extend_from_slice(&behind[..field.start]);
        to.extend_from_slice(&behind[field.end..]);
        to.freeze()
    }
}

/// Makes the number that `head` ends in, which is `was`, another that is smaller. It keeps its size, as numbers may (RFC 9000
/// section 16). Where its last bytes are that number by themselves, those before them are zero, and stay so.
fn set_length(head: &mut [u8], was: usize, is: usize) {
    for (prefix, size) in [1, 2, 4, 8].into_iter().enumerate() {
        let prefix = (prefix as u8) << 6;
        let written = |number: usize| {
            let mut bytes = (number as u64).to_be_bytes();
            bytes[8 - size] |= prefix;
            bytes
        };
        let Some(at) = head.len().checked_sub(size) else {
            return;
        };
        if head[at..] == written(was)[8 - size..] {
            head[at..].copy_from_slice(&written(is)[8 - size..]);
            return;
        }
    }
}

impl Wire {
    pub(super) fn new(quic: quinn::Connection, gauge: Arc<Gauge>) -> Self {
        Self {
            both_ways: Box::pin(stream::unfold(quic.clone(), |quic| async {
                Some((quic.accept_bi().await, quic))
            })),
            one_way: Box::pin(stream::unfold(quic.clone(), |quic| async {
                Some((quic.accept_uni().await, quic))
            })),
            opener: Opener {
                quic: quic.clone(),
                opening: None,
            },
            quic,
            gauge,
        }
    }
}

impl quic::Connection<Bytes> for Wire {
    type RecvStream = Receiving;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        let stream = ready!(next(&mut self.one_way, cx))?;
        let line = Arc::default();
        let gauge = Arc::clone(&self.gauge);
        let frames = Frames::of_one_way();
        Poll::Ready(Ok(Receiving::new(stream, frames, line, gauge)))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        let (send, receive) = ready!(next(&mut self.both_ways, cx))?;
        let line = Arc::<Line>::default();
        let unsent = Unsent(stream_id(send.id()));
        self.gauge.accepted(Accepted {
            stopped: Box::pin(send.stopped()),
            sending: Sending::new(send, Arc::clone(&line)),
        });
        let gauge = Arc::clone(&self.gauge);
        let frames = Frames::of_request();
        Poll::Ready(Ok(Both {
            unsent,
            receiving: Receiving::new(receive, frames, line, gauge),
        }))
    }

    fn opener(&self) -> Opener {
        Opener {
            quic: self.quic.clone(),
            opening: None,
        }
    }
}

fn next<T>(
    incoming: &mut Incoming<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ConnectionErrorIncoming>> {
    incoming.as_mut().poll_next(cx).map(|next| match next {
        Some(next) => next.map_err(lost),
        // The streams above have no end of their own.
        None => Err(ConnectionErrorIncoming::InternalError("no more".into())),
    })
}

impl OpenStreams<Bytes> for Wire {
    type BidiStream = Both;
    type SendStream = Control;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Control, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

impl OpenStreams<Bytes> for Opener {
    type BidiStream = Both;
    type SendStream = Control;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        // RFC 9114 section 6.1: a server opens none.
        let error = ConnectionErrorIncoming::InternalError("a server opens no request".into());
        Poll::Ready(Err(of_connection(error)))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Control, StreamErrorIncoming>> {
        let quic = &self.quic;
        let opening = self.opening.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        Poll::Ready(match opened {
            Ok(stream) => Ok(Control::new(stream)),
            Err(error) => Err(of_connection(lost(error))),
        })
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(var_int(code.value()), reason);
    }
}

impl Receiving {
    fn new(stream: quinn::RecvStream, frames: Frames, line: Arc<Line>, gauge: Arc<Gauge>) -> Self {
        Self {
            stream,
            frames,
            block: Vec::new(),
            section: Section::Head,
            held: BytesMut::new(),
            cut: None,
            line,
            gauge,
        }
    }

    /// Follows what has come; whether the connection goes on.
    fn follow(&mut self, bytes: &[u8]) -> bool {
        let mut goes_on = true;
        let (block, section) = (&mut self.block, &mut self.section);
        let (cut, held) = (&mut self.cut, self.held.len());
        let (gauge, line) = (&self.gauge, &self.line);
        self.frames.follow(bytes, |seen| match seen {
            Seen::OneWay(kind) => goes_on &= gauge.opened(kind),
            Seen::Frame(frame) => goes_on &= gauge.received(frame),
            // What is longer than a block may be has ended the connection.
            Seen::Fields { .. } if !goes_on => {}
            Seen::Fields {
                part, whole: false, ..
            } => block.extend_from_slice(part),
            Seen::Fields { at, part, .. } => {
                let before = std::mem::take(block);
                let joined;
                let whole = if before.is_empty() {
                    part
                } else {
                    joined = [&before, part].concat();
                    &joined
                };
                if let Some(fault) = fields::fault(whole, *section) {
                    line.set_fault(fault);
                } else if *section == Section::Head
                    && let Some(protocol) = fields::protocol(whole)
                {
                    line.set_protocol(protocol.is_websocket);
                    let end = held + at + part.len();
                    *cut = Some(Cut {
                        block: end - whole.len()..end,
                        field: protocol.at,
                    });
                }
                *section = Section::Trailers;
            }
        });
        goes_on
    }

    /// What h3 gets of the bytes that have come, once they are followed; `head`: no head was whole before them. A head is held
    /// until all of it is there: of an extended CONNECT h3 does not get to see everything.
    fn hand_on(&mut self, bytes: Bytes, head: bool) -> Option<Bytes> {
        if !head {
            return Some(bytes);
        }
        if self.section == Section::Head && self.frames.is_within_fields() {
            self.held.extend_from_slice(&bytes);
            return None;
        }
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(&bytes);
            std::mem::take(&mut self.held).freeze()
        };
        Some(match self.cut.take() {
            Some(cut) => cut.apply(&bytes),
            None => bytes,
        })
    }
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let read = loop {
            // The future holds nothing: dropped while it waits, the stream still wakes this task.
            let read = {
                let reading = pin!(self.stream.read_chunk(usize::MAX, true));
                ready!(reading.poll(cx))
            };
            let Ok(Some(chunk)) = read else {
                break read;
            };
            let head = self.section == Section::Head;
            if !self.follow(&chunk.bytes) {
                break Ok(Some(chunk));
            }
            if let Some(bytes) = self.hand_on(chunk.bytes, head) {
                return Poll::Ready(Ok(Some(bytes)));
            }
        };
        let goes_on = match read {
            Ok(Some(_)) => false,
            Ok(None) if self.frames.may_end() => return Poll::Ready(Ok(None)),
            Ok(None) => {
                self.gauge.cut_short();
                false
            }
            Err(ReadError::Reset(code)) => {
                if self.gauge.reset() {
                    let error_code = code.into_inner();
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
                }
                false
            }
            Err(error) => return Poll::Ready(Err(unread(error))),
        };
        debug_assert!(!goes_on, "what goes on was handed on");
        // h3 gets to see nothing of this; the driver ends the connection.
        Poll::Pending
    }

    fn stop_sending(&mut self, code: u64) {
        // One that is at its end already stays so.
        let _ = self.stream.stop(var_int(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl BidiStream<Bytes> for Both {
    type SendStream = Unsent;
    type RecvStream = Receiving;

    fn split(self) -> (Unsent, Receiving) {
        (self.unsent, self.receiving)
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.unsent.poll_ready(cx)
    }

    fn send_data<D: Into<WriteBuf<Bytes>>>(&mut self, data: D) -> Result<(), StreamErrorIncoming> {
        self.unsent.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.unsent.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.unsent.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.unsent.send_id()
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receiving.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

pub(super) fn var_int(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

pub(super) fn stream_id(id: quinn::StreamId) -> StreamId {
    let number = VarInt::from(id).into_inner();
    StreamId::try_from(number).unwrap_or_else(|_| unreachable!("both count to 2^62"))
}

pub(super) fn of_connection(connection_error: ConnectionErrorIncoming) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error }
}

pub(super) fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into_inner(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn unread(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::ConnectionLost(error) => of_connection(lost(error)),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_cut_out_of_its_frame_however_the_frame_says_its_length() {
        for length in [
            &[8][..],
            &[0x40, 8],
            &[0x80, 0, 0, 8],
            &[0xc0, 0, 0, 0, 0, 0, 0, 8],
        ] {
            let before = [&[0x21, 1, 7, 1][..], length].concat();
            let bytes = [&before[..], b"abcdefgh", b"behind"].concat();
            let cut = Cut {
                block: before.len()..before.len() + 8,
                field: 2..5,
            };
            let mut frame = before.clone();
            *frame.last_mut().unwrap() = 5;
            let expected = [&frame[..], b"abfgh", b"behind"].concat();
            assert_eq!(cut.apply(&bytes), expected);
        }
    }
}
