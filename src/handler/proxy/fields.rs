//! What is passed on of a head, and what is not.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, StatusCode};

use crate::model::{Facts, Protocol};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY: HeaderName = HeaderName::from_static("proxy");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields by which proxies tell of clients. What a client says of itself in them is never believed.
static TOLD_BY_PROXIES: [HeaderName; 8] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-real-ip"),
];

/// The protocol that a message asks to change to, if it asks at all (RFC 9110 section 7.8).
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers
        .get_all(CONNECTION)
        .iter()
        .any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("upgrade")));
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value
        .to_str()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Takes out what concerns one connection only (RFC 9110 section 7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            // A client cannot have fields taken out that say whom the request is for or how long it is.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
}

/// Makes a client's head the upstream's.
pub(super) fn to_upstream(headers: &mut HeaderMap, facts: &Facts) {
    // One look at each name; most requests have nothing that must go.
    if headers.keys().any(is_not_passed_on) {
        take_out(headers);
    }
    // Framing is made anew from the content itself.
    headers.remove(CONTENT_LENGTH);
    tell_of_client(headers, facts);
}

fn is_not_passed_on(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TE
        || *name == UPGRADE
        || *name == TRANSFER_ENCODING
        || *name == PROXY
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || is_ambiguous(name)
        || TOLD_BY_PROXIES.contains(name)
}

fn take_out(headers: &mut HeaderMap) {
    let takes_trailers = headers
        .get_all(TE)
        .iter()
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case("trailers"));
    strip_hop_by_hop(headers);
    headers.remove(TE);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // A CGI program would take it for HTTP_PROXY (httpoxy, CVE-2016-5385).
    headers.remove(&PROXY);
    drop_ambiguous_names(headers);
    for name in &TOLD_BY_PROXIES {
        headers.remove(name);
    }
}

/// A CGI program reads `X_User` and `X.User` as `X-User`: a client could forge what a proxy before us set.
fn is_ambiguous(name: &HeaderName) -> bool {
    memchr::memchr2(b'_', b'.', name.as_str().as_bytes()).is_some()
}

fn drop_ambiguous_names(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ambiguous(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn tell_of_client(headers: &mut HeaderMap, facts: &Facts) {
    let client = facts.connection.client.ip();
    let proto = facts.scheme().as_str();
    let mut authority = String::with_capacity(facts.host.as_str().len() + 8);
    // Writing to a String cannot fail.
    let _ = write!(authority, "{}", facts.host.as_uri_host());
    if let Some(port) = facts.host_port {
        let _ = write!(authority, ":{port}");
    }
    let mut forwarded = String::with_capacity(authority.len() + 64);
    let _ = match client {
        IpAddr::V4(ip) => write!(forwarded, "for={ip}"),
        IpAddr::V6(ip) => write!(forwarded, "for=\"[{ip}]\""),
    };
    let _ = match authority.contains([':', '[']) {
        true => write!(forwarded, ";host=\"{authority}\";proto={proto}"),
        false => write!(forwarded, ";host={authority};proto={proto}"),
    };
    // A checked host and an address are field values always.
    if let (Ok(forwarded), Ok(host), Ok(client)) = (
        HeaderValue::try_from(forwarded),
        HeaderValue::try_from(authority),
        HeaderValue::try_from(client.to_string()),
    ) {
        headers.insert(FORWARDED, forwarded);
        headers.insert(&X_FORWARDED_FOR, client);
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(proto));
        headers.insert(&X_FORWARDED_HOST, host.clone());
        headers.insert(HOST, host);
    }
    // RFC 9110 section 7.6.3.
    headers.append(
        VIA,
        match facts.protocol {
            Protocol::Http2 => HeaderValue::from_static("2 portunus"),
            _ => HeaderValue::from_static("1.1 portunus"),
        },
    );
}

/// Makes an upstream's head the client's.
pub(super) fn to_client(headers: &mut HeaderMap, status: StatusCode) {
    strip_hop_by_hop(headers);
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 section 8.6: there is none to be measured.
        headers.remove(CONTENT_LENGTH);
    }
}
