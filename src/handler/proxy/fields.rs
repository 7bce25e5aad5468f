//! What is passed on of a head, and what is not.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use http::{HeaderMap, Method, StatusCode, Version};

use super::telling;
use crate::config::Telling;
use crate::handler::own_fields::is_client_certificate;
use crate::model::Facts;

/// The members of a list field, in all its lines.
pub(super) fn listed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Takes out the fields that Connection names, and those that `or` says.
fn strip(headers: &mut HeaderMap, or: impl Fn(&str) -> bool) {
    let mut names: Vec<HeaderName> = Vec::new();
    if headers.contains_key(CONNECTION) {
        let named = listed(headers, &CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            // Nobody has fields taken out that say whom a request is for or how long a message is.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH);
        names.extend(named);
    }
    names.extend(headers.keys().filter(|name| or(name.as_str())).cloned());
    for name in names {
        headers.remove(name);
    }
}

/// What concerns one connection only (RFC 9110 section 7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// What is not passed on to an upstream.
///
/// A CGI program reads `X_User` and `X.User` as `X-User`: a client could forge what a proxy before us set.
fn stays_with_us(name: &str) -> bool {
    is_odd(name) || is_ours(name)
}

/// Whether a CGI program reads a field's name as another one's.
fn is_odd(name: &str) -> bool {
    memchr::memchr2(b'_', b'.', name.as_bytes()).is_some()
}

/// What is not passed on even where odd names are: neither by its own name nor by the one that it is read as.
fn is_ours_however_read(name: &str) -> bool {
    is_ours(name) || (is_odd(name) && is_ours(&name.replace(['_', '.'], "-")))
}

fn is_ours(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // Framing is made anew from the content itself, and it was us who were asked to expect something.
            "content-length" | "expect"
            // Part of an upgrade to HTTP/2, which is not passed on either.
            | "http2-settings"
            // For proxies that a client chose (RFC 9110 section 11.7), not for what stands behind a gateway.
            | "proxy-authorization"
            // A CGI program would take it for HTTP_PROXY (httpoxy, CVE-2016-5385).
            | "proxy"
            // What proxies tell of clients. What a client says of itself in them is never believed.
            | "forwarded" | "x-real-ip"
        )
        || is_client_certificate(name)
        || name.starts_with("x-forwarded-")
}

/// What is not passed on to a client.
pub(super) fn stays_with_upstream(name: &str) -> bool {
    is_hop_by_hop(name) || matches!(name, "proxy-authenticate" | "proxy-authentication-info")
}

/// Makes a client's head the upstream's.
pub(super) fn to_upstream(
    headers: &mut HeaderMap,
    version: Version,
    upgrade: Option<&HeaderValue>,
    facts: &Facts,
    telling: &Telling,
) {
    let takes_trailers = listed(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    match telling.odd_names {
        false => strip(headers, stays_with_us),
        true => strip(headers, is_ours_however_read),
    }
    let connection = match (takes_trailers, upgrade) {
        (false, None) => None,
        (true, None) => Some("te"),
        (false, Some(_)) => Some("upgrade"),
        (true, Some(_)) => Some("te, upgrade"),
    };
    if let Some(connection) = connection {
        headers.insert(CONNECTION, HeaderValue::from_static(connection));
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol.clone());
    }
    telling::tell(headers, facts, telling);
    // RFC 9110 section 7.6.3.
    let via = match version {
        Version::HTTP_2 => "2 portunus",
        Version::HTTP_10 => "1.0 portunus",
        _ => "1.1 portunus",
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Takes out of a request's trailers what would be taken out of its head. Some upstreams merge the two (RFC 9110 section
/// 6.5.1), and would believe a client there.
pub(super) fn trailers_to_upstream(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        stays_with_us(name) || belongs_in_a_head(name)
    });
}

/// Takes out what no upstream gets to see, and adds nothing.
pub(in crate::handler) fn strip_for_upstream(headers: &mut HeaderMap) {
    strip(headers, stays_with_us);
}

/// The same of a response's trailers.
pub(super) fn trailers_to_client(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        stays_with_upstream(name) || belongs_in_a_head(name)
    });
}

/// What has no place behind content: it says where a message goes, how it is framed and read, who asks, or by which name it is
/// known (RFC 9110 section 6.5.1).
fn belongs_in_a_head(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "host"
            | "max-forwards"
            | "set-cookie"
            | "traceparent"
            | "tracestate"
            | "trailer"
            | "x-request-id"
    )
}

/// Makes an upstream's head the client's. `has_length`: the content's length is not made anew, since there is none to be
/// measured (see [`tells_length`]).
pub(in crate::handler) fn to_client(headers: &mut HeaderMap, has_length: bool) {
    let keeps_length = has_length && one_length(headers).is_some();
    strip(headers, |name| {
        stays_with_upstream(name) || (name == "content-length" && !keeps_length)
    });
}

/// Whether a response's length is among its fields with no content to be measured: that of what GET would get, or of what has not
/// changed. Never with 204, which must not have one (RFC 9110 section 8.6): over HTTP/2 clients take it for a broken response.
pub(in crate::handler) fn tells_length(asked: &Method, status: StatusCode) -> bool {
    status == StatusCode::NOT_MODIFIED || *asked == Method::HEAD && status != StatusCode::NO_CONTENT
}

/// The length that a head says its content has, if it says one alone.
pub(in crate::handler) fn one_length(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next()?.to_str().ok()?;
    let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    (plain && lengths.next().is_none())
        .then(|| length.parse().ok())
        .flatten()
}
