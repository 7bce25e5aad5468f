//! The one function that makes a response of a refusal.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::Edge;
use crate::config::Verbosity;
use crate::model::{Body, Refusal};

/// The response that tells a client of a refusal: one short line.
pub(super) fn response(edge: &Edge, refusal: &Refusal) -> Response<Body> {
    let status = refusal.status().unwrap_or(StatusCode::BAD_REQUEST);
    let name = status.canonical_reason().unwrap_or("Refused");
    let text = match edge.verbosity {
        Verbosity::Limited => format!("{} {name}\n", status.as_u16()),
        Verbosity::Full => format!(
            "{} {name}: {}: {}\n",
            status.as_u16(),
            refusal.reason,
            refusal.detail
        ),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if let Some(allow) = &refusal.allow
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        headers.insert(ALLOW, allow);
    }
    response
}

/// Whether an HTTP/1.1 connection closes behind a response of our own with this status: what follows on it can no longer
/// be trusted, or has not been read.
pub(super) fn closes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 408 | 413 | 414 | 431 | 501 | 505)
}

/// Short: a queue that is full now may have room in a second.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
