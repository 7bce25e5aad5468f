//! The fields that tell of a client's certificate (RFC 9440): they are ours alone, and none that a client sends gets through.
//!
//! The proxy takes them out as it makes a request of its own; for handlers that a program brings, [`Unforged`] does.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use http_body::{Body as _, Frame, SizeHint};

use super::{Gate, Handler, Outcome, Reply};
use crate::model::template::Said;
use crate::model::{Body, BodyError, Facts};

/// The certificate (RFC 9440 section 2.2).
pub(super) static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// Those that came with it (RFC 9440 section 2.3).
pub(super) static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Whether a field is one of the two, or is taken for it by a program that reads `_` and `.` as `-`.
pub(super) fn is_client_certificate(name: &str) -> bool {
    let is = |own: &str| {
        name.len() == own.len()
            && name
                .bytes()
                .zip(own.bytes())
                .all(|(byte, own)| byte == own || (own == b'-' && matches!(byte, b'_' | b'.')))
    };
    is(CLIENT_CERT.as_str()) || is(CLIENT_CERT_CHAIN.as_str())
}

fn strip(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = (fields.keys())
        .filter(|name| is_client_certificate(name.as_str()))
        .cloned()
        .collect();
    for name in named {
        fields.remove(name);
    }
}

/// A handler that sees no field, in a head or in trailers, by which a client says what certificate it has. What it has indeed,
/// its facts say: [`client_certificate`](crate::model::Connection::client_certificate).
pub struct Unforged {
    handler: Arc<dyn Handler>,
}

impl Unforged {
    /// Keeps what a client claims from `handler`.
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self { handler }
    }
}

impl Handler for Unforged {
    fn handle<'a>(&'a self, mut request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        strip(request.headers_mut());
        if let Some(rules) = &facts.rules {
            let method = request.method().clone();
            let said = Said::by(facts, &method);
            rules.request_fields.apply(request.headers_mut(), &said);
        }
        if !request.body().is_end_stream() {
            let content = std::mem::take(request.body_mut());
            *request.body_mut() = Body::stream(Trailing { content });
        }
        self.handler.handle(request, facts)
    }

    fn handle_now(&self, request: &Request<Body>, facts: &Facts) -> Option<Outcome> {
        let mut names = request.headers().keys();
        if facts.rules.is_some() || names.any(|name| is_client_certificate(name.as_str())) {
            return None;
        }
        self.handler.handle_now(request, facts)
    }

    fn is_outdated(&self) -> bool {
        self.handler.is_outdated()
    }

    fn attach(&self, gate: Arc<dyn Gate>) {
        self.handler.attach(gate);
    }
}

/// Content whose trailers are looked through.
struct Trailing {
    content: Body,
}

impl http_body::Body for Trailing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            strip(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests;
