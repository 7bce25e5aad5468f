//! What a client asks to leave HTTP for, and whether an upstream's answer is one to that.
//!
//! A WebSocket that a client of HTTP/2 or HTTP/3 opens by extended CONNECT is opened to the upstream as one over HTTP/1.1, and
//! the part of its handshake that those versions do not have is ours (RFC 8441 section 5).

use std::time::Duration;

use aws_lc_rs::{digest, rand};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Request, Version};
use http_body::Body as _;

use super::fields::listed;
use crate::config::{self, Upgrades};
use crate::handler::upgrade::ExtendedConnect;
use crate::model::{Body, Facts, Protocol, Reason, Refusal, base64};

/// What a client asks to leave HTTP for.
pub(super) struct Asked {
    protocol: HeaderValue,
    /// What Sec-WebSocket-Accept must say, where the key was ours.
    accept: Option<String>,
}

impl Asked {
    /// What a request asks for, if it may. What it may not is passed over, as RFC 9110 section 7.8 has it; only extended
    /// CONNECT, which makes no sense otherwise, is refused.
    pub(super) fn of(
        request: &mut Request<Body>,
        facts: &Facts,
        allowed: &Upgrades,
    ) -> Result<Option<Self>, Refusal> {
        if facts.protocol == Protocol::Http1 {
            let may = request.version() == Version::HTTP_11 && request.body().is_end_stream();
            return Ok(may
                .then(|| by_upgrade(request.headers(), allowed))
                .flatten());
        }
        if request.extensions().get::<ExtendedConnect>().is_none() {
            return Ok(None);
        }
        if !allowed.allow(WEBSOCKET) {
            let detail = "WebSocket is not among what `upgrade` of this pool's handler allows";
            return Err(Refusal::new(Reason::NotImplemented, detail));
        }
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| {
            Refusal::new(
                Reason::Internal,
                "the system gives no random bytes for a WebSocket key",
            )
        })?;
        let key = HeaderValue::from_str(&text(&nonce)).expect("base64 is visible ASCII");
        let accept = Some(accept(&key));
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        let protocol = HeaderValue::from_static(WEBSOCKET);
        Ok(Some(Self { protocol, accept }))
    }

    /// What goes into Upgrade.
    pub(super) fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether it was asked for by extended CONNECT.
    pub(super) fn is_by_connect(&self) -> bool {
        self.accept.is_some()
    }

    /// How long one side of the tunnel is waited for in silence when the other has closed; none where that may be its way to
    /// say that it listens on.
    pub(super) fn linger(&self) -> Option<Duration> {
        (self.protocol.as_bytes())
            .eq_ignore_ascii_case(WEBSOCKET.as_bytes())
            .then_some(HALF_CLOSED)
    }

    /// Whether the protocols that an upstream changes to are among those asked for.
    fn is_met(&self, answer: &HeaderMap) -> bool {
        let asked = self.protocol.to_str().unwrap_or_default();
        let mut chosen = listed(answer, &UPGRADE).peekable();
        chosen.peek().is_some()
            && chosen.all(|name| {
                let mut asked = asked.split(',').map(str::trim);
                asked.any(|asked| asked.eq_ignore_ascii_case(name))
            })
    }
}

/// The protocols that a request over HTTP/1.1 asks to change to, if it asks at all, and each of them may be.
///
/// Never another version of HTTP, which no configuration allows: what follows would reach the upstream behind our back, past
/// bindings, routes and limits.
fn by_upgrade(headers: &HeaderMap, allowed: &Upgrades) -> Option<Asked> {
    let protocol = headers.get(UPGRADE)?;
    let asks = listed(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let may = listed(headers, &UPGRADE).all(|protocol| allowed.allow(protocol));
    (asks && may).then(|| Asked {
        protocol: protocol.clone(),
        accept: None,
    })
}

/// What is wrong with an upstream's 101 (RFC 9110 section 7.8, RFC 6455 section 4.1).
pub(super) fn fault(asked: Option<&Asked>, answer: &HeaderMap) -> Option<&'static str> {
    let Some(asked) = asked.filter(|asked| asked.is_met(answer)) else {
        return Some("it switches to a protocol that nobody asked for");
    };
    let expected = asked.accept.as_ref()?;
    let mut said = answer.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    let is_right = said.next().is_some_and(|said| said == expected) && said.next().is_none();
    (!is_right).then_some("its Sec-WebSocket-Accept does not belong to the key that it was sent")
}

/// Why an upstream of HTTP/2 alone has no WebSocket.
pub(super) fn no_http1(upstream: &config::Upstream) -> Refusal {
    let detail = format!(
        "a WebSocket goes over HTTP/1.1, which {upstream} does not speak; name it as http:// or https:// if it does"
    );
    Refusal::new(Reason::NotImplemented, detail)
}

/// RFC 6455 section 4.2.2.
fn accept(key: &HeaderValue) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    text(hash.finish().as_ref())
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    base64::encode(bytes, &mut text);
    text
}

const WEBSOCKET: &str = "websocket";

/// A WebSocket is over for both when it is for one; what is still on its way may arrive.
const HALF_CLOSED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_rfc_has_it() {
        // RFC 6455 section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
