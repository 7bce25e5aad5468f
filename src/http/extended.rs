//! Extended CONNECT (RFC 8441, RFC 9220): how a stream of HTTP/2 or HTTP/3 becomes a WebSocket.
//!
//! Routes and handlers see what they see of HTTP/1.1: a GET that asks for an upgrade, and its 101. Without an upgrade there is
//! nothing that a 2xx could mean to such a client but a tunnel that is not there, so that none is passed on.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Method, Request, Response, StatusCode};

use crate::handler::upgrade::{ExtendedConnect, Tunnel};
use crate::model::{Body, Reason, Refusal};

/// Among a request's extensions: it is an extended CONNECT for something else than WebSocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown;

/// What a `:protocol` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    WebSocket,
    Other,
}

impl Asked {
    /// The names that IANA keeps are in small letters, and so are those that are sent.
    pub(super) fn named(protocol: &[u8]) -> Self {
        match protocol {
            b"websocket" => Self::WebSocket,
            _ => Self::Other,
        }
    }
}

/// What is wrong with an extended CONNECT, beyond what is with other requests: it has no content that could have a length, and
/// says where it leads (RFC 8441 section 4).
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    if *request.method() != Method::CONNECT {
        return Some("a request other than CONNECT has a :protocol");
    }
    if request.uri().path_and_query().is_none() || request.uri().scheme().is_none() {
        return Some("an extended CONNECT has no :scheme or no :path");
    }
    (request.headers().contains_key(CONTENT_LENGTH))
        .then_some("an extended CONNECT has a Content-Length")
}

/// Makes of an extended CONNECT what handlers know. One for another protocol stays what it is, and is refused.
pub(super) fn translate<B>(request: &mut Request<B>, asked: Asked) {
    if asked == Asked::Other {
        request.extensions_mut().insert(Unknown);
        return;
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    request.extensions_mut().insert(ExtendedConnect);
}

/// Refuses what leads to no protocol that is known here (RFC 9220 section 3: 501).
pub(super) fn is_known<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.extensions().get::<Unknown>().is_some() {
        let detail = "CONNECT asks for another protocol than websocket";
        return Err(Refusal::new(Reason::NotImplemented, detail));
    }
    Ok(())
}

/// Makes the answer to a translated request what its client understands.
pub(super) fn answer(mut response: Response<Body>) -> Result<Response<Body>, Refusal> {
    let leaves = response.extensions().get::<Tunnel>().is_some();
    if leaves && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
            headers.remove(name);
        }
        return Ok(response);
    }
    if response.status().is_success() || response.status().is_informational() {
        let detail = format!(
            "a WebSocket is asked for, and what answers here ({}) opens none",
            response.status()
        );
        return Err(Refusal::new(Reason::NotImplemented, detail));
    }
    Ok(response)
}

/// The end of a stream that has left HTTP.
pub(super) fn take_tunnel(response: &mut Response<Body>) -> Option<Tunnel> {
    response.extensions_mut().remove()
}
