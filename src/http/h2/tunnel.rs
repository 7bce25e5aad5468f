//! A stream that leaves HTTP by extended CONNECT (RFC 8441).
//!
//! The ends of its two directions are END_STREAM; what breaks is RST_STREAM with CANCEL (section 5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Before, send_head, send_rest, wait};
use super::{Shared, Streaming};
use crate::http::extended::{self, Asked};
use crate::http::serve::{Answer, Serving};
use crate::http::{ThreadEdge, multiplexed};
use crate::model::{Body, Protocol};

/// Begins to serve an extended CONNECT; what is left to do.
pub(super) fn begin(
    shared: &Arc<Shared>,
    edge: &ThreadEdge,
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    came: Instant,
) -> Option<Streaming> {
    let protocol = request.extensions_mut().remove::<h2::ext::Protocol>()?;
    if extended::fault(&request).is_some() {
        respond.send_reset(Code::PROTOCOL_ERROR);
        return None;
    }
    let in_flight = shared.connection.activity.enter(came);
    multiplexed::join_cookies(request.headers_mut(), edge.limits.max_header_fields);
    extended::translate(&mut request, Asked::named(protocol.as_ref()));
    let (parts, receiving) = request.into_parts();
    let request = Request::from_parts(parts, Body::empty());
    let connection = &shared.connection;
    let serving = multiplexed::serve(edge, connection, Protocol::Http2, request, in_flight);
    Some(Box::pin(run(
        Arc::clone(shared),
        serving,
        respond,
        receiving,
    )))
}

/// Waits for the answer, and sends it or leaves HTTP.
async fn run(
    shared: Arc<Shared>,
    serving: Serving,
    mut respond: SendResponse<Bytes>,
    mut receiving: RecvStream,
) {
    let answer = match serving {
        Serving::Now(answer) => Some(answer),
        Serving::Later(mut work) => {
            wait(&shared, &mut work, &mut respond, &Before::default()).await
        }
    };
    let Some(mut answer) = answer else {
        return;
    };
    let tunnel = match &mut answer {
        Answer::Response { response, .. } => extended::take_tunnel(response),
        Answer::Reset => None,
    };
    let Some(tunnel) = tunnel else {
        let unread = Some(receiving.flow_control().clone());
        if let Some((stream, body)) = send_head(&shared, respond, answer, unread) {
            send_rest(shared, stream, body).await;
        }
        return;
    };
    let Answer::Response { response, .. } = answer else {
        return;
    };
    let (mut head, _) = response.into_parts();
    multiplexed::complete(&mut head.headers, &Body::empty());
    let head = http::Response::from_parts(head, ());
    // An error is a stream that the client has reset.
    let Ok(sending) = respond.send_response(head, false) else {
        return;
    };
    shared.gauge.headers_due();
    let both = Both {
        receiving,
        held: Bytes::new(),
        sending,
        ended: false,
    };
    tunnel.run(Box::new(both)).await;
}

/// Both directions of a stream. Dropped before its end is sent, it is reset.
struct Both {
    receiving: RecvStream,
    /// Come, and not read yet: the client's window stays as much smaller.
    held: Bytes,
    sending: SendStream<Bytes>,
    ended: bool,
}

impl Drop for Both {
    fn drop(&mut self) {
        if !self.ended {
            self.sending.send_reset(Code::CANCEL);
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
        while this.held.is_empty() {
            match ready!(this.receiving.poll_data(cx)) {
                Some(data) => this.held = data.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let step = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..step]);
        this.held.advance(step);
        // An error would be a stream that is gone, which the next read tells.
        let _ = this.receiving.flow_control().release_capacity(step);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Both {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.sending.reserve_capacity(bytes.len());
        let mut room = this.sending.capacity();
        while room == 0 {
            room = match ready!(this.sending.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let step = room.min(bytes.len());
        let piece = Bytes::copy_from_slice(&bytes[..step]);
        this.sending.send_data(piece, false).map_err(broken)?;
        Poll::Ready(Ok(step))
    }

    /// h2 writes by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.sending.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
