//! What an upstream says: a response's head, and the content behind it, piece by piece as it comes.
//!
//! Nothing is kept for a connection that is silent: a head is read into room that the thread has once, and what is left of it
//! is copied to where it is as large as it has to be. Large content is read straight into the pieces that are passed on.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::head::{self, Framing, Head};
use crate::chunked::{Chunked, Part};
use crate::handler::proxy::fields;

/// What was read of a connection and not passed on, and what is to come.
pub(super) struct Receiving {
    held: Bytes,
    /// So much of it is known to be no whole head.
    looked_at: usize,
    left: Left,
    /// Whether the last read brought all that there was room for.
    filled: bool,
    /// Whether anything was read since the request was begun.
    pub(super) heard: bool,
    /// How many interim heads there were since then.
    interim: u8,
}

/// What is to come of a response's content.
enum Left {
    Nothing,
    Length(u64),
    Chunked(Box<(Chunked, Vec<u8>)>),
    UntilClose,
}

/// Why there is no more of a response.
#[derive(Debug)]
pub(super) enum Broken {
    /// It breaks the protocol, in this way.
    Malformed(String),
    /// The connection ended, or broke.
    Cut(Option<io::Error>),
}

impl Receiving {
    pub(super) fn new() -> Self {
        Self {
            held: Bytes::new(),
            looked_at: 0,
            left: Left::Nothing,
            filled: false,
            heard: false,
            interim: 0,
        }
    }

    /// A request is begun: what is read from now on belongs to it.
    pub(super) fn begin(&mut self) {
        (self.heard, self.interim) = (false, 0);
    }

    /// Whether all was read that was said, as far as is known without asking the socket.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self.left, Left::Nothing) && self.held.is_empty()
    }

    /// What was read and belongs to no response.
    pub(super) fn take_held(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    /// The next head, an interim one perhaps. `spare`: see [`head::read`].
    pub(super) fn poll_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        asked: &Method,
        spare: &mut HeaderMap,
    ) -> Poll<Result<Head, Broken>> {
        loop {
            if self.is_worth_reading()
                && let Some(head) = self.read_head(asked, spare)?
            {
                return Poll::Ready(Ok(head));
            }
            let read = ready!(self.poll_append(stream, cx));
            if read.map_err(|error| Broken::Cut(Some(error)))? == 0 {
                return Poll::Ready(Err(Broken::Cut(None)));
            }
        }
    }

    /// Whether what is held may amount to more than when it was looked at last. A head that dribbles in is looked at once a line,
    /// not once a byte; its first bytes at once, as what is no HTTP may have no lines.
    fn is_worth_reading(&self) -> bool {
        let fresh = &self.held[self.looked_at..];
        let line = || memchr::memchr(b'\n', fresh).is_some();
        !fresh.is_empty() && (self.looked_at == 0 || self.held.len() > ROOM_BYTES || line())
    }

    fn read_head(&mut self, asked: &Method, spare: &mut HeaderMap) -> Result<Option<Head>, Broken> {
        let read = head::read(&self.held, asked, spare).map_err(Broken::Malformed)?;
        let Some(mut head) = read else {
            self.looked_at = self.held.len();
            return Ok(None);
        };
        if head::is_interim(head.status) {
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                let fault = format!("it sends more than {INTERIM_MAX} interim responses");
                return Err(Broken::Malformed(fault));
            }
        }
        self.looked_at = 0;
        self.held = std::mem::take(&mut head.rest);
        self.left = match head.framing {
            Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Box::new((Chunked::new(), Vec::new()))),
            Framing::UntilClose => Left::UntilClose,
        };
        Ok(Some(head))
    }

    /// The next piece of content; none at its end.
    pub(super) fn poll_content<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.next_held() {
                Ok(None) if matches!(self.left, Left::Nothing) => return Poll::Ready(None),
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
            match ready!(self.poll_piece(stream, cx)) {
                Ok(1..) => {}
                Ok(0) if matches!(self.left, Left::UntilClose) => self.left = Left::Nothing,
                Ok(_) => return Poll::Ready(Some(Err(Broken::Cut(None)))),
                Err(error) => return Poll::Ready(Some(Err(Broken::Cut(Some(error))))),
            }
        }
    }

    /// What was read already of the content: the next piece, if there is one.
    pub(super) fn next_held(&mut self) -> Result<Option<Frame<Bytes>>, Broken> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let data = match &mut self.left {
            Left::Nothing => return Ok(None),
            Left::UntilClose => self.take_held(),
            Left::Length(left) => {
                let step = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(self.held.len());
                *left -= step as u64;
                if *left == 0 {
                    self.left = Left::Nothing;
                }
                match step == self.held.len() {
                    true => self.take_held(),
                    false => self.held.split_to(step),
                }
            }
            Left::Chunked(_) => return self.next_of_chunks(),
        };
        Ok(Some(Frame::data(data)))
    }

    fn next_of_chunks(&mut self) -> Result<Option<Frame<Bytes>>, Broken> {
        while let Left::Chunked(chunks) = &mut self.left
            && !self.held.is_empty()
        {
            let (chunked, trailers) = &mut **chunks;
            let in_trailers = chunked.is_in_trailers();
            let part = chunked.part(&self.held, head::FIELDS_MAX);
            let part = part.map_err(|refusal| {
                Broken::Malformed(format!("its response breaks off: {}", refusal.detail))
            })?;
            match part {
                Part::Data(length) => return Ok(Some(Frame::data(self.held.split_to(length)))),
                Part::Framing(length) => {
                    let framing = self.held.split_to(length);
                    if in_trailers {
                        trailers.extend_from_slice(&framing);
                    }
                }
            }
            if chunked.is_done() {
                let read = head::trailers(trailers);
                self.left = Left::Nothing;
                let malformed = || Broken::Malformed("its trailers are malformed".to_owned());
                let mut trailers = read.ok_or_else(malformed)?;
                if trailers.is_empty() {
                    return Ok(None);
                }
                fields::trailers_to_client(&mut trailers);
                return Ok(Some(Frame::trailers(trailers)));
            }
        }
        Ok(None)
    }

    /// Whether the content is at its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// How much is to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.left {
            Left::Nothing => Some(0),
            Left::Length(left) => Some(left),
            Left::Chunked(_) | Left::UntilClose => None,
        }
    }

    /// Reads more of a head.
    fn poll_append<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        ROOM.with_borrow_mut(|room| {
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(stream).poll_read(cx, &mut read))?;
            let read = read.filled();
            self.heard |= !read.is_empty();
            self.filled = read.len() == ROOM_BYTES;
            if self.held.is_empty() {
                self.held = Bytes::copy_from_slice(read);
            } else {
                let mut held = BytesMut::from(self.take_held());
                held.extend_from_slice(read);
                self.held = held.freeze();
            }
            Poll::Ready(Ok(read.len()))
        })
    }

    /// Reads a piece of content; nothing is held.
    fn poll_piece<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let wanted = match self.left {
            // With room for one byte more, the end of the content is seen to be the end of what has come.
            Left::Length(left) => usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX),
            _ if self.filled => PIECE_BYTES_MAX,
            _ => 0,
        };
        if wanted <= ROOM_BYTES {
            return self.poll_append(stream, cx);
        }
        let room = wanted.min(PIECE_BYTES_MAX);
        let mut piece = BytesMut::with_capacity(room);
        // What is waited for costs no room meanwhile.
        let read = ready!(pin!(stream.read_buf(&mut piece)).poll(cx))?;
        self.filled = read == room;
        self.held = piece.freeze();
        Poll::Ready(Ok(read))
    }
}

thread_local! {
    /// Where heads and small pieces are read.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM_BYTES].into());
}

/// Interim heads before one response: an upstream that sends nothing else would keep a thread busy until `response_timeout`. Of
/// 100 and 103 there are a few; 102 may come every some seconds for as long as the work lasts.
const INTERIM_MAX: u8 = 100;

const ROOM_BYTES: usize = 16 * 1024;

/// The most that is held of content on its way.
const PIECE_BYTES_MAX: usize = 64 * 1024;
