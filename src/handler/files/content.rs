//! The content of an answer: pieces of a file, with the text around them where there are several.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::ranges::ByteRange;
use crate::model::{Body, BodyError, Reason};

/// What is sent, in order.
#[derive(Debug)]
pub(super) enum Part {
    /// Out of memory.
    Text(Bytes),
    /// Out of the file.
    File(ByteRange),
}

/// The content that these parts make. Content of up to [`PIECE`] bytes is read here and now.
pub(super) fn body(file: File, parts: Vec<Part>) -> io::Result<Body> {
    let length = parts.iter().map(Part::len).fold(0, u64::saturating_add);
    if length <= PIECE {
        return read_now(&file, &parts).map(Body::full);
    }
    Ok(Body::stream(Streamed {
        file: Arc::new(file),
        parts: parts.into(),
        unsent: length,
        ahead: None,
    }))
}

/// The content that one range of the file makes: most answers, without a list of parts where they are small.
pub(super) fn body_of_range(file: File, range: ByteRange) -> io::Result<Body> {
    if range.len() <= PIECE {
        return read_piece(&file, range).map(Body::full);
    }
    body(file, vec![Part::File(range)])
}

fn read_now(file: &File, parts: &[Part]) -> io::Result<Bytes> {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => content.extend_from_slice(text),
            Part::File(range) => content.extend_from_slice(&read_piece(file, *range)?),
        }
    }
    Ok(content.into())
}

/// Reads all of a range of at most [`PIECE`] bytes; fails if the file ends before.
///
/// One read where the system gives what was asked for, as it does for regular files.
fn read_piece(file: &File, range: ByteRange) -> io::Result<Bytes> {
    debug_assert!(range.len() <= PIECE);
    let mut buffer = vec![0; range.len() as usize];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Part::Text(text) => text.len() as u64,
            Part::File(range) => range.len(),
        }
    }
}

/// Content that is read while it is sent: one piece is with the reader of the body, one more is read ahead.
struct Streamed {
    file: Arc<File>,
    /// Neither sent nor being read.
    parts: VecDeque<Part>,
    /// Announced and not handed out yet.
    unsent: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Streamed {
    /// Starts to read the next piece, if the file's turn is next.
    fn read_ahead(&mut self) {
        let Some(Part::File(range)) = self.parts.front_mut() else {
            return;
        };
        let piece = ByteRange {
            start: range.start,
            end: range.end.min(range.start.saturating_add(PIECE)),
        };
        range.start = piece.end;
        if range.start == range.end {
            self.parts.pop_front();
        }
        let file = Arc::clone(&self.file);
        self.ahead = Some(spawn_blocking(move || read_piece(&file, piece)));
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ahead.is_none() {
            this.read_ahead();
        }
        let piece = match &mut this.ahead {
            Some(reading) => {
                let outcome = ready!(Pin::new(reading).poll(cx));
                this.ahead = None;
                match outcome.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok(piece) => piece,
                    Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
                }
            }
            None => match this.parts.pop_front() {
                Some(Part::Text(text)) => text,
                // A part of the file would be read ahead by now, so this is the end.
                Some(Part::File(_)) | None => return Poll::Ready(None),
            },
        };
        this.unsent -= piece.len() as u64;
        this.read_ahead();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.unsent == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.unsent)
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // A read that waits for a thread of the pool is of no use any more; one that runs ends by itself.
        if let Some(reading) = &self.ahead {
            reading.abort();
        }
    }
}

/// The length is announced already, so nothing is left but to break the body off: padding would pass for content.
fn broken(error: &io::Error) -> BodyError {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file became shorter while it was sent".to_owned(),
        _ => format!("the file could not be read further: {error}"),
    };
    BodyError::new(Reason::Internal, what)
}

/// The most that is read at once, and the largest content that is read on the data thread. A download that its client takes
/// slowly holds two pieces, so a thousand of them hold 128 MiB.
pub(super) const PIECE: u64 = 64 * 1024;
