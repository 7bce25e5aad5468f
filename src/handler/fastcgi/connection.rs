//! A connection to an application, as one request after the other has it, and the way out to it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Context;

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::record;
use crate::handler::proxy::{Origin, Stream};
use crate::model::{Body, BodyError};

/// A connection that no request has. Dropping it closes it.
pub(super) struct Connection {
    pub(super) read: ReadHalf<Stream>,
    pub(super) write: WriteHalf<Stream>,
    pub(super) origin: Origin,
    pub(super) idle_since: Instant,
}

/// A request that was sent, or as much of it as could be.
pub(super) struct Sent {
    pub(super) write: WriteHalf<Stream>,
    pub(super) outcome: Result<(), NotSent>,
}

/// Why not all of a request was sent.
#[derive(Debug)]
pub(super) enum NotSent {
    /// Its content broke.
    Content(BodyError),
    /// The application takes no more; it may well answer all the same, and if not, reading tells why.
    Refused,
}

/// A request that is sent by a task of its own. Dropping it ends that, and closes the connection for writing.
pub(super) struct Apart(pub(super) JoinHandle<Sent>);

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let origin = stream.origin.clone();
        let (read, write) = tokio::io::split(stream);
        Self {
            read,
            write,
            origin,
            idle_since: Instant::now(),
        }
    }

    /// Whether the connection stands, and nothing comes that nobody asked for.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let is_silent = Pin::new(&mut self.read)
            .poll_read(cx, &mut read)
            .is_pending();
        is_silent && self.origin.stands()
    }
}

/// Sends a request. Content is taken from its client no faster than the application takes it.
pub(super) async fn send(mut write: WriteHalf<Stream>, head: Bytes, content: Option<Body>) -> Sent {
    let outcome = write_all(&mut write, head, content).await;
    Sent { write, outcome }
}

async fn write_all(
    write: &mut WriteHalf<Stream>,
    head: Bytes,
    content: Option<Body>,
) -> Result<(), NotSent> {
    write.write_all(&head).await?;
    let Some(mut content) = content else {
        return Ok(());
    };
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await {
        // Trailers are nothing that a CGI program could be told.
        let Ok(mut data) = frame.map_err(NotSent::Content)?.into_data() else {
            continue;
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(record::CONTENT_BYTES_MAX));
            let header = record::stdin(piece.len());
            write.write_all_buf(&mut header.chain(piece)).await?;
        }
    }
    Ok(write.write_all(&record::stdin(0)).await?)
}

impl From<io::Error> for NotSent {
    fn from(_: io::Error) -> Self {
        Self::Refused
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.abort();
    }
}
