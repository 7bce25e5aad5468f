//! Whom a request is for: Host, `:authority`, and the absolute form, made into one checked host.

use http::header::HOST;
use http::{HeaderMap, Request, Version};

use crate::model::{HostName, LocalAddr, Reason, Refusal, split_authority};

/// The host that a request names, and the port beside it.
///
/// RFC 9112 section 3.2: an HTTP/1.1 request without Host, with several, or with a malformed one is answered 400. Where
/// the target carries an authority too (absolute form, HTTP/2), both must name the same: a request that two readers could
/// take for different hosts is served by neither.
pub(super) fn host<B>(
    request: &Request<B>,
    local: LocalAddr,
) -> Result<(HostName, Option<u16>), Refusal> {
    let version = request.version();
    let field = host_field(request.headers())?;
    match (request.uri().authority(), field) {
        (Some(authority), None) if version >= Version::HTTP_2 => split(authority.as_str()),
        (Some(authority), field) => {
            let asked = split(authority.as_str())?;
            match field {
                Some(field) if split(field)? != asked => {
                    refuse("the request's target and its Host field name different hosts")
                }
                None if version == Version::HTTP_11 => refuse("the request has no Host field"),
                _ => Ok(asked),
            }
        }
        (None, Some(field)) => split(field),
        (None, None) if version < Version::HTTP_11 => {
            // HTTP/1.0 has no Host: such a request is for the address that it arrived at.
            let ip = local.ip().to_string();
            HostName::parse(&ip)
                .map(|host| (host, None))
                .or_else(|_| refuse("the request names no host"))
        }
        (None, None) => refuse("the request has no Host field"),
    }
}

fn host_field(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut fields = headers.get_all(HOST).iter();
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return refuse("the request has more than one Host field");
    }
    match first.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => refuse("the Host field contains a byte that no host may contain"),
    }
}

fn split(authority: &str) -> Result<(HostName, Option<u16>), Refusal> {
    split_authority(authority).map_err(|error| Refusal::new(Reason::Hostname, error.to_string()))
}

fn refuse<T>(detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(Reason::Hostname, detail))
}
