//! What comes from an application, as events.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, ReadHalf};

use super::record::{Event, RecordFault, Records};
use crate::config::Upstream;
use crate::handler::proxy::Stream;
use crate::model::{Reason, Refusal};

/// The way in from an application, for the time of one request.
pub(super) struct Inbound {
    read: ReadHalf<Stream>,
    buffer: BytesMut,
    records: Records,
    complaints: Complaints,
    heard: bool,
}

/// Why no more events come.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("it closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("what it says is not FastCGI: {0}")]
    Record(#[from] RecordFault),
}

impl Inbound {
    pub(super) fn new(read: ReadHalf<Stream>, application: Upstream) -> Self {
        Self {
            read,
            buffer: BytesMut::new(),
            records: Records::default(),
            complaints: Complaints::new(application),
            heard: false,
        }
    }

    /// The next event; complaints are logged, and none of them comes out here.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Broken>> {
        loop {
            match self.records.next(&mut self.buffer)? {
                Some(Event::Stderr(said)) => self.complaints.hear(&said),
                Some(event) => return Poll::Ready(Ok(event)),
                None => {
                    self.buffer.reserve(READ_BYTES);
                    // A future of this holds nothing between two polls.
                    let read = pin!(self.read.read_buf(&mut self.buffer)).poll(cx);
                    if ready!(read)? == 0 {
                        return Poll::Ready(Err(Broken::Closed));
                    }
                    self.heard = true;
                }
            }
        }
    }

    /// Whether anything has come at all.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// The way in for the next request, if nothing is left of this one.
    pub(super) fn into_read(self) -> Option<ReadHalf<Stream>> {
        (self.buffer.is_empty() && self.records.is_between()).then_some(self.read)
    }
}

impl Broken {
    /// What it counts as.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Closed | Self::Io(_) => Reason::UpstreamReset,
            Self::Record(_) => Reason::UpstreamProtocol,
        }
    }

    /// That there is no response.
    pub(super) fn refusal(&self, application: &Upstream) -> Refusal {
        let detail = match self {
            Self::Closed => {
                format!("{application} closed the connection before its response's head was whole")
            }
            other => format!("{application}: {other}"),
        };
        Refusal::new(self.reason(), detail)
    }
}

/// What an application complains of, to the server's log a line at a time.
struct Complaints {
    application: Upstream,
    line: Vec<u8>,
    /// How much of this request's complaints may still be logged.
    left: usize,
}

impl Complaints {
    fn new(application: Upstream) -> Self {
        Self {
            application,
            line: Vec::new(),
            left: COMPLAINTS_BYTES_MAX,
        }
    }

    fn hear(&mut self, said: &[u8]) {
        for piece in said.split_inclusive(|&byte| byte == b'\n') {
            if self.left == 0 {
                return;
            }
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let taken = text.len().min(self.left);
            self.line.extend_from_slice(&text[..taken]);
            self.left -= taken.max(1);
            if text.len() != piece.len() || self.left == 0 || self.line.len() >= LINE_BYTES_MAX {
                self.say();
            }
        }
        if self.left == 0 {
            tracing::warn!(application = %self.application, "what else it says to this request is not logged");
        }
    }

    fn say(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii();
        if !line.is_empty() {
            // Quoted, so that nothing an application repeats of a request can look like a line of ours.
            let said = String::from_utf8_lossy(line);
            tracing::warn!(application = %self.application, ?said, "an application complains");
        }
    }
}

/// A last line that did not end.
impl Drop for Complaints {
    fn drop(&mut self) {
        self.say();
    }
}

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// What is logged of one request's complaints. nginx logs 2 KiB of them.
const COMPLAINTS_BYTES_MAX: usize = 8 * 1024;

const LINE_BYTES_MAX: usize = 2 * 1024;
