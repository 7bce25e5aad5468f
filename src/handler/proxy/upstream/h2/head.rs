//! A request's head, made that of HTTP/2 (RFC 9113 section 8.3).

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version, request};
use http_body::Body as _;

use crate::model::{Body, Reason, Refusal};

/// Makes the head of a request of HTTP/1.1 that of HTTP/2. What speaks of a connection is left out: there is none of its own.
pub(super) fn made(
    mut parts: request::Parts,
    body: &Body,
    secure: bool,
) -> Result<Request<()>, Refusal> {
    let authority = parts
        .headers
        .remove(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
        .ok_or_else(|| Refusal::new(Reason::Hostname, "the host is none that :authority can be"))?;
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        parts.headers.remove(name);
    }
    if !parts.headers.contains_key(CONTENT_LENGTH)
        && !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority);
    let path = parts.uri.into_parts().path_and_query;
    uri.path_and_query = Some(match path {
        // The target of OPTIONS for the server itself is `*`, which is a path for HTTP/2 (section 8.3.1).
        Some(path) => path,
        None if parts.method == Method::OPTIONS => PathAndQuery::from_static("*"),
        None => PathAndQuery::from_static("/"),
    });
    parts.uri = Uri::from_parts(uri)
        .map_err(|error| Refusal::new(Reason::Internal, format!("the target: {error}")))?;
    parts.version = Version::HTTP_2;
    Ok(Request::from_parts(parts, ()))
}
