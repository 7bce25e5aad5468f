//! What requests and responses of HTTP/2 and HTTP/3 have alike, once their frames are read.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, EXPECT, Entry, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body::Body as _;

use super::ThreadEdge;
use super::date::date;
use super::serve::{self, Serving, refuse_unread};
use crate::model::{Body, BodyError, Connection, InFlight, Interim, Protocol, Reason, Refusal};

/// What their crates let pass, and an HTTP/1.1 reader behind us might read otherwise: fields that speak of an HTTP/1.1
/// connection (RFC 9113 section 8.2.2, RFC 9114 section 4.2), whitespace around a value (RFC 9113 section 8.2.1), a
/// Content-Length that is no length (RFC 9110 section 8.6), a target without a path (RFC 9113 section 8.3.1).
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut length = None;
    for (name, value) in request.headers() {
        let bytes = value.as_bytes();
        if is_blank(bytes.first()) || is_blank(bytes.last()) {
            return Some("a request has whitespace around a field's value");
        }
        if speaks_of_connection(name) || (*name == TE && bytes != b"trailers") {
            return Some("a request has a field that speaks of an HTTP/1.1 connection");
        }
        if *name == CONTENT_LENGTH {
            let is_length = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
            if !is_length || length.is_some_and(|other| other != value) {
                return Some("a request's Content-Length is no length");
            }
            length = Some(value);
        }
    }
    has_no_path(request.uri()).then_some("a request's target has no path")
}

fn has_no_path(uri: &Uri) -> bool {
    (uri.path_and_query()).is_some_and(|target| target.as_str().starts_with('?'))
}

/// What may be sent before a request's response, where its client makes something of it: a browser that asks for a page (RFC
/// 8297 section 3 warns of the others).
pub(super) fn interim<B>(request: &mut Request<B>) -> Option<Interim> {
    if request.headers().get("sec-fetch-mode")? != "navigate" {
        return None;
    }
    let interim = Interim::default();
    request.extensions_mut().insert(interim.clone());
    Some(interim)
}

/// Serves a request, if its head is no longer than it may be. Their crates let a somewhat longer one through, so that the
/// answer is ours: h2 resets the stream behind its own, which loses it.
pub(super) fn serve<B>(
    edge: &ThreadEdge,
    connection: &Arc<Connection>,
    protocol: Protocol,
    request: Request<B>,
    in_flight: InFlight,
) -> Serving
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    if head_bytes(&request) > edge.limits.max_request_bytes {
        let refusal = too_long();
        let answer = refuse_unread(edge, connection, protocol, &refusal, in_flight);
        return Serving::Now(answer);
    }
    serve::serve(edge, connection, protocol, request, in_flight)
}

/// The size of a head, as SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2) and SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114
/// section 4.2.2) count it.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = (uri.authority()).map_or(0, |authority| authority.as_str().len());
    let method = request.method().as_str().len();
    let fields = (request.headers().iter()).map(|(name, value)| name.as_str().len() + value.len());
    fields.map(|bytes| bytes + FIELD_OVERHEAD).sum::<usize>()
        + path
        + authority
        + method
        + PSEUDO_OVERHEAD
}

/// What a longer head is refused with.
pub(super) fn too_long() -> Refusal {
    Refusal::new(
        Reason::RequestLength,
        "the request's fields are longer than limits.max_request_bytes",
    )
}

/// RFC 9113 section 8.2.3, RFC 9114 section 4.2.1: a client may send cookies in several fields, for compression; everything
/// behind knows one. Crumbs beyond `max` fields count as what they are: a hundred thousand of them are no one field.
pub(super) fn join_cookies(headers: &mut HeaderMap, max: usize) {
    if headers.len() > max {
        return;
    }
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let joined = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether the client waits for 100 (Continue).
pub(super) fn expects_continue<B>(request: &Request<B>) -> bool {
    (request.headers().get(EXPECT))
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The Content-Length of a request without a [`fault`].
pub(super) fn content_length<B>(request: &Request<B>) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Makes a response's head fit to be sent: with Date and Content-Length, and without what speaks of an HTTP/1.1 connection.
pub(super) fn complete(headers: &mut HeaderMap, body: &Body) {
    while let Some(name) = headers.keys().find(|name| speaks_of_connection(name)) {
        let name = name.clone();
        headers.remove(name);
    }
    if let Entry::Vacant(place) = headers.entry(DATE) {
        place.insert(date());
    }
    if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
        && let Entry::Vacant(place) = headers.entry(CONTENT_LENGTH)
    {
        place.insert(HeaderValue::from(length));
    }
}

/// Told by their lengths first: nearly no message has any of them.
fn speaks_of_connection(name: &HeaderName) -> bool {
    match name.as_str().len() {
        7 => *name == UPGRADE,
        10 => *name == CONNECTION || *name == "keep-alive",
        16 => *name == "proxy-connection",
        17 => *name == TRANSFER_ENCODING,
        _ => false,
    }
}

/// Holds a request's trailers to the bounds that HTTP/1.1 has for them; `max` fields.
pub(super) fn bounded_trailers(trailers: HeaderMap, max: usize) -> Result<HeaderMap, BodyError> {
    let refuse = |why: &'static str| Err(BodyError::new(Reason::FieldLength, why));
    if trailers.len() > max {
        return refuse("it has more trailer fields than limits.max_header_fields");
    }
    let bytes = (trailers.iter()).map(|(name, value)| name.as_str().len() + value.len());
    if bytes.sum::<usize>() > TRAILER_BYTES_MAX {
        return refuse("its trailer fields are longer than 8 KiB");
    }
    Ok(trailers)
}

const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// What a field counts beside its name and value.
const FIELD_OVERHEAD: usize = 32;

/// `:method`, `:scheme`, `:authority` and `:path`, with `https`.
const PSEUDO_OVERHEAD: usize = 4 * FIELD_OVERHEAD + 7 + 7 + 5 + 10 + 5;

/// Streams at once. As nginx allows; the RFC advises no less than 100.
pub const STREAMS_MAX: u32 = 128;

/// What a client may send on a stream before a handler has read it: enough for an upload over a long line, and a bound on
/// memory.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// The same of all streams of a connection.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
