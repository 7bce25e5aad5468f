//! The fields that a site itself sends.

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::Hsts;
use crate::model::{HostName, Scheme};

/// Strict-Transport-Security (RFC 6797, section 6.1; `preload` is the browsers' own addition).
pub(super) fn hsts(hsts: &Hsts) -> HeaderValue {
    let mut text = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    HeaderValue::try_from(text).expect("the text is visible ASCII and spaces")
}

/// Where a request that came over http finds the same on https: the Location of a 308.
///
/// The path and query stay as the client wrote them, except for bytes that could end the field or the URI, which are
/// encoded. The host is a checked one, and the path always begins with `/`, so that it cannot lengthen the host.
pub fn https_redirect_target(host: &HostName, uri: &Uri, https_port: u16) -> HeaderValue {
    let host = host.as_uri_host();
    let mut location = if https_port == Scheme::Https.default_port() {
        format!("https://{host}")
    } else {
        format!("https://{host}:{https_port}")
    };
    let target = match uri.path_and_query().map(PathAndQuery::as_str) {
        // `*` and an authority name no path.
        None | Some("*") => "/",
        Some(target) => target,
    };
    if !target.starts_with('/') {
        location.push('/');
    }
    location.extend(utf8_percent_encode(target, NOT_IN_A_LOCATION));
    HeaderValue::try_from(location).expect("what is not visible ASCII was encoded")
}

/// Beside what is not ASCII: what ends a URI where people and programs quote one, and the backslash, which browsers take
/// for a slash. All else that a client's target can hold, brackets say, stays as it came: signatures are made over it.
const NOT_IN_A_LOCATION: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\');
