//! What an application is told of a request: CGI's meta-variables (RFC 3875 section 4.1), and those that PHP and others have
//! come to expect.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, Request, Version};

use super::record::write_pair;
use super::script::{Script, Scripts};
use crate::model::{Facts, Scheme};

/// What is told of every request alike, coded.
pub(super) fn fixed(params: &[(String, String)], scripts: Option<&Scripts>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut say = |name: &str, value: &[u8]| write_pair(&mut out, name.as_bytes(), value);
    say("GATEWAY_INTERFACE", b"CGI/1.1");
    say("SERVER_SOFTWARE", b"portunus");
    // PHP refuses to run where it may have been called by anybody (cgi.force_redirect), and this says that it was not.
    say("REDIRECT_STATUS", b"200");
    if let Some(scripts) = scripts {
        say("DOCUMENT_ROOT", scripts.root().as_os_str().as_bytes());
    }
    for (name, value) in params {
        say(name, value.as_bytes());
    }
    out
}

/// What is told of one request, coded. Its head is what would be passed on to an upstream; `length` is that of its content, if
/// it has any.
pub(super) fn write<B>(
    out: &mut Vec<u8>,
    request: &Request<B>,
    facts: &Facts,
    script: Option<(&Scripts, &Script)>,
    length: Option<u64>,
) {
    let mut text = String::new();
    let mut say = |name: &str, value: &[u8]| write_pair(out, name.as_bytes(), value);
    say("REQUEST_METHOD", request.method().as_str().as_bytes());
    let target = request.uri().path_and_query();
    say(
        "REQUEST_URI",
        target.map_or("/", |target| target.as_str()).as_bytes(),
    );
    say(
        "QUERY_STRING",
        request.uri().query().unwrap_or_default().as_bytes(),
    );
    say("SERVER_PROTOCOL", protocol(request.version()).as_bytes());
    say("REQUEST_SCHEME", facts.scheme().as_str().as_bytes());
    if facts.scheme() == Scheme::Https {
        say("HTTPS", b"on");
    }
    let (client, local) = (facts.client(), facts.connection.local);
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", client.ip());
    say("REMOTE_ADDR", text.as_bytes());
    write_over(&mut text, client.port());
    say("REMOTE_PORT", text.as_bytes());
    write_over(&mut text, local.ip());
    say("SERVER_ADDR", text.as_bytes());
    write_over(&mut text, local.port());
    say("SERVER_PORT", text.as_bytes());
    write_over(&mut text, facts.host.as_uri_host());
    say("SERVER_NAME", text.as_bytes());
    if let Some(port) = facts.host_port {
        let _ = write!(text, ":{port}");
    }
    say("HTTP_HOST", text.as_bytes());
    write_over(&mut text, length.unwrap_or_default());
    // PHP takes what is there for content, an empty text too.
    say(
        "CONTENT_LENGTH",
        if length.is_some() {
            text.as_bytes()
        } else {
            b""
        },
    );
    let content_type = request.headers().get(CONTENT_TYPE);
    say(
        "CONTENT_TYPE",
        content_type.map_or(b"", |value| value.as_bytes()),
    );
    write_script(&mut say, facts, script);
    write_fields(out, request.headers());
}

fn write_over(text: &mut String, value: impl std::fmt::Display) {
    text.clear();
    let _ = write!(text, "{value}");
}

fn write_script(
    say: &mut impl FnMut(&str, &[u8]),
    facts: &Facts,
    script: Option<(&Scripts, &Script)>,
) {
    let Some((scripts, script)) = script else {
        // An application that is no folder of scripts has all paths.
        say("SCRIPT_NAME", b"");
        say("PATH_INFO", facts.path.as_str().as_bytes());
        return;
    };
    let root = scripts.root().as_os_str().as_bytes();
    say("SCRIPT_NAME", script.name.as_bytes());
    say("SCRIPT_FILENAME", &[root, script.name.as_bytes()].concat());
    say("PATH_INFO", script.path_info.as_bytes());
    if !script.path_info.is_empty() {
        say(
            "PATH_TRANSLATED",
            &[root, script.path_info.as_bytes()].concat(),
        );
    }
}

/// The request's fields as `HTTP_…`: those that would be passed on to an upstream, see [`strip_for_upstream`]. So no two names
/// become one here (`_` and `.` stand for `-`), and `Proxy` is not taken for the address of a proxy (httpoxy).
///
/// [`strip_for_upstream`]: crate::handler::proxy::strip_for_upstream
fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    let mut name = Vec::new();
    let mut joined = Vec::new();
    for field in fields.keys() {
        if *field == HOST || *field == CONTENT_TYPE || *field == CONTENT_LENGTH {
            continue;
        }
        name.clear();
        name.extend_from_slice(b"HTTP_");
        name.extend(field.as_str().bytes().map(|byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        }));
        // RFC 9110 section 5.3; of Cookie RFC 9113 section 8.2.3 and RFC 9114 section 4.2.1.
        let between: &[u8] = if *field == COOKIE { b"; " } else { b", " };
        let mut values = fields.get_all(field).iter();
        let first = values.next().map_or(&b""[..], |value| value.as_bytes());
        joined.clear();
        joined.extend_from_slice(first);
        for value in values {
            joined.extend_from_slice(between);
            joined.extend_from_slice(value.as_bytes());
        }
        write_pair(out, &name, &joined);
    }
}

/// As clients and logs write it; those of CGI programs that look want to know whether they may answer in chunks.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests;
