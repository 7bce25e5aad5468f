//! A stream that leaves HTTP by extended CONNECT (RFC 9220).
//!
//! The ends of its two directions are those of the stream; what breaks is a reset with H3_REQUEST_CANCELLED (section 3).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::h3::error::Code;
use bytes::{Buf, Bytes};
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::content::Half;
use super::sending::{Gone, Sending};
use super::stream::{Before, LINGER, Stream};
use crate::handler::upgrade::Tunnel;
use crate::http::extended::{self, Asked};
use crate::http::multiplexed;
use crate::http::serve::{Answer, Serving};
use crate::model::{Body, Protocol, Reason, Refusal};

/// Serves an extended CONNECT to its end.
pub(super) async fn run(
    mut stream: Stream,
    mut request: Request<()>,
    mut half: Half,
    asked: Asked,
) {
    let fault = match stream.shared.websockets {
        true => multiplexed::fault(&request).or_else(|| extended::fault(&request)),
        false => Some("a request has a :protocol, which SETTINGS do not allow here"),
    };
    if let Some(fault) = fault {
        (stream.shared).tell(&Refusal::new(Reason::H3Protocol, fault));
        half.stop_sending(Code::H3_MESSAGE_ERROR);
        return stream.sending.reset(Code::H3_MESSAGE_ERROR);
    }
    let edge = stream.shared.thread.edge();
    multiplexed::join_cookies(request.headers_mut(), edge.limits.max_header_fields);
    extended::translate(&mut request, asked);
    let in_flight = stream.shared.connection.activity.enter(Instant::now());
    let connection = &stream.shared.connection;
    let request = request.map(|()| Body::empty());
    let serving = multiplexed::serve(&edge, connection, Protocol::Http3, request, in_flight);
    drop(edge);
    let answer = match serving {
        Serving::Now(answer) => Some(answer),
        Serving::Later(work) => stream.wait(work, Before::default()).await,
    };
    let Some(mut answer) = answer else {
        stream.shared.gauge.reset();
        return half.stop_sending(Code::H3_REQUEST_CANCELLED);
    };
    let tunnel = match &mut answer {
        Answer::Response { response, .. } => extended::take_tunnel(response),
        Answer::Reset => None,
    };
    match (tunnel, answer) {
        (Some(tunnel), Answer::Response { mut response, .. }) => {
            multiplexed::complete(response.headers_mut(), &Body::empty());
            (stream.sending).put_head(StatusCode::OK, response.headers());
            drop(response);
            leave(stream, half, tunnel).await;
        }
        (_, answer) => {
            let sent = stream.send(answer).await;
            half.stop_sending(match sent {
                true => Code::H3_NO_ERROR,
                false => Code::H3_REQUEST_CANCELLED,
            });
        }
    }
}

async fn leave(stream: Stream, half: Half, tunnel: Tunnel) {
    let Stream {
        shared,
        mut sending,
        stopped,
    } = stream;
    // An upstream may have nothing to say for long, and the client is to know that it is there.
    if poll_fn(|cx| sending.poll_written(cx)).await.is_err() {
        return sending.reset(Code::H3_REQUEST_CANCELLED);
    }
    let both = Both {
        half,
        held: Bytes::new(),
        read_to_end: false,
        sending,
        ended: false,
    };
    tunnel.run(Box::new(both)).await;
    if shared.is_ending() {
        // What was said last is at its end only when the client has it. However that ends, the connection does not wait longer.
        let _ = tokio::time::timeout(LINGER, stopped).await;
    }
}

/// Both directions of a stream. Dropped before their ends, they are broken off.
struct Both {
    half: Half,
    /// Come, and not read yet.
    held: Bytes,
    read_to_end: bool,
    sending: Sending,
    ended: bool,
}

impl Drop for Both {
    fn drop(&mut self) {
        if !self.read_to_end {
            self.half.stop_sending(Code::H3_REQUEST_CANCELLED);
        }
        if !self.ended {
            self.sending.reset(Code::H3_REQUEST_CANCELLED);
        }
    }
}

impl AsyncRead for Both {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.held.is_empty() && !this.read_to_end {
            match ready!(this.half.poll_recv_data(cx)).map_err(broken)? {
                Some(mut data) => this.held = data.copy_to_bytes(data.remaining()),
                None => this.read_to_end = true,
            }
        }
        let step = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..step]);
        this.held.advance(step);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Both {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.sending.poll_written(cx)).map_err(gone)?;
        let step = bytes.len().min(PIECE_BYTES_MAX);
        self.sending
            .put_data(Bytes::copy_from_slice(&bytes[..step]));
        // What the client's windows do not take is taken from here before there is more.
        if let Poll::Ready(written) = self.sending.poll_written(cx) {
            written.map_err(gone)?;
        }
        Poll::Ready(Ok(step))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sending.poll_written(cx).map_err(gone)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.sending.poll_written(cx)).map_err(gone)?;
        if !std::mem::replace(&mut self.ended, true) {
            self.sending.finish().map_err(gone)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: ::h3::error::StreamError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

fn gone(Gone: Gone) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// What is held of what the client does not take.
const PIECE_BYTES_MAX: usize = 16 * 1024;
