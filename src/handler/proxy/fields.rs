//! What is passed on of a head, and what is not.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, Version};

use crate::config::ClientFields;
use crate::handler::own_fields::{CLIENT_CERT, CLIENT_CERT_CHAIN, is_client_certificate};
use crate::model::Facts;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The protocol that a request asks to change to, if it asks at all (RFC 9110 section 7.8).
///
/// Not to another version of HTTP: what follows would reach the upstream behind our back, past bindings, routes and limits.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(UPGRADE)?;
    let asks = listed(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let is_http = listed(headers, &UPGRADE).any(|token| {
        let name = token.split('/').next().unwrap_or_default();
        ["h2c", "h2", "http", "tls"]
            .iter()
            .any(|http| name.eq_ignore_ascii_case(http))
    });
    (asks && !is_http).then(|| asked.clone())
}

/// Whether the protocol that an upstream changes to is one of those that were asked for (RFC 9110 section 7.8).
pub(super) fn is_asked(asked: &HeaderValue, answer: &HeaderMap) -> bool {
    let asked = asked.to_str().unwrap_or_default();
    let mut chosen = listed(answer, &UPGRADE).peekable();
    chosen.peek().is_some()
        && chosen.all(|name| {
            let mut asked = asked.split(',').map(str::trim);
            asked.any(|asked| asked.eq_ignore_ascii_case(name))
        })
}

/// The members of a list field, in all its lines.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
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
fn stays_with_us(name: &str) -> bool {
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
        // A CGI program reads `X_User` and `X.User` as `X-User`: a client could forge what a proxy before us set.
        || memchr::memchr2(b'_', b'.', name.as_bytes()).is_some()
}

/// What is not passed on to a client.
fn stays_with_upstream(name: &str) -> bool {
    is_hop_by_hop(name) || matches!(name, "proxy-authenticate" | "proxy-authentication-info")
}

/// Makes a client's head the upstream's.
pub(super) fn to_upstream(
    headers: &mut HeaderMap,
    version: Version,
    upgrade: Option<&HeaderValue>,
    facts: &Facts,
    told: ClientFields,
) {
    let takes_trailers = listed(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip(headers, stays_with_us);
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
    tell_of_client(headers, facts);
    tell_of_certificate(headers, facts, told);
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
    strip_for_upstream(trailers);
}

/// Takes out what no upstream gets to see, and adds nothing.
pub(in crate::handler) fn strip_for_upstream(headers: &mut HeaderMap) {
    strip(headers, stays_with_us);
}

/// The same of a response's trailers.
pub(super) fn trailers_to_client(trailers: &mut HeaderMap) {
    strip(trailers, stays_with_upstream);
}

fn tell_of_client(headers: &mut HeaderMap, facts: &Facts) {
    let proto = facts.scheme().as_str();
    let client = facts.connection.client.ip();
    if !headers.get(HOST).is_some_and(|host| says(host, facts)) {
        headers.insert(HOST, Line::written(|line| write_authority(line, facts)));
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(&X_FORWARDED_HOST, host);
    }
    headers.insert(
        &X_FORWARDED_FOR,
        Line::written(|line| line.write_ip(client)),
    );
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    let forwarded = Line::written(|line| {
        let (before, behind) = match client {
            IpAddr::V4(_) => ("for=", ";host="),
            IpAddr::V6(_) => ("for=\"[", "]\";host="),
        };
        line.write_str(before)?;
        line.write_ip(client)?;
        line.write_str(behind)?;
        // A port or an address in brackets makes it no token (RFC 7239 section 4).
        if facts.host_port.is_some() || facts.host.as_str().contains(':') {
            line.write_char('"')?;
            write_authority(line, facts)?;
            line.write_char('"')?;
        } else {
            line.write_str(facts.host.as_str())?;
        }
        line.write_str(";proto=")?;
        line.write_str(proto)
    });
    headers.insert(FORWARDED, forwarded);
}

/// RFC 9440. What a client says in these fields itself has been taken out before (section 2.4).
fn tell_of_certificate(headers: &mut HeaderMap, facts: &Facts, told: ClientFields) {
    let Some(certificate) = facts.connection.client_certificate() else {
        return;
    };
    if told == ClientFields::None {
        return;
    }
    headers.insert(&CLIENT_CERT, certificate.field().clone());
    if let (ClientFields::Chain, Some(chain)) = (told, certificate.chain_field()) {
        headers.insert(&CLIENT_CERT_CHAIN, chain.clone());
    }
}

/// Whether a Host field is what was understood of it, to the letter; it mostly is, and need not be written again.
fn says(host: &HeaderValue, facts: &Facts) -> bool {
    let rest = host.as_bytes().strip_prefix(facts.host.as_str().as_bytes());
    match (rest, facts.host_port) {
        (Some(rest), None) => rest.is_empty(),
        (Some([b':', digits @ ..]), Some(port)) => {
            let mut number = 0;
            let plain = digits.len() <= 5
                && digits.first() != Some(&b'0')
                && digits.iter().all(|&digit| {
                    number = number * 10 + u32::from(digit.wrapping_sub(b'0'));
                    digit.is_ascii_digit()
                });
            plain && number == u32::from(port)
        }
        _ => false,
    }
}

fn write_authority(line: &mut Line, facts: &Facts) -> fmt::Result {
    write!(line, "{}", facts.host.as_uri_host())?;
    match facts.host_port {
        Some(port) => write!(line, ":{port}"),
        None => Ok(()),
    }
}

/// A field value on its way, on the stack: it is then copied once, into room of the right size.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl Line {
    fn written(write: impl FnOnce(&mut Self) -> fmt::Result) -> HeaderValue {
        let mut line = Self {
            bytes: [0; LINE_BYTES_MAX],
            length: 0,
        };
        write(&mut line).expect("a line has room for a host, an address and what stands between");
        HeaderValue::from_bytes(&line.bytes[..line.length])
            .expect("hosts and addresses are visible ASCII")
    }
}

impl Line {
    /// An IPv4 address is written by hand: the standard library takes longer over it than over all the rest.
    fn write_ip(&mut self, ip: IpAddr) -> fmt::Result {
        let IpAddr::V4(ip) = ip else {
            return write!(self, "{ip}");
        };
        for (at, octet) in ip.octets().into_iter().enumerate() {
            if at > 0 {
                self.write_byte(b'.')?;
            }
            if octet >= 100 {
                self.write_byte(b'0' + octet / 100)?;
            }
            if octet >= 10 {
                self.write_byte(b'0' + octet / 10 % 10)?;
            }
            self.write_byte(b'0' + octet % 10)?;
        }
        Ok(())
    }

    fn write_byte(&mut self, byte: u8) -> fmt::Result {
        *self.bytes.get_mut(self.length).ok_or(fmt::Error)? = byte;
        self.length += 1;
        Ok(())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// What is wrong with the framing of a response, which hyper reads more leniently than a gateway may: whoever stands behind us
/// might read it otherwise (RFC 9112 section 6.3).
pub(super) fn framing_fault(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    // hyper takes lengths that agree for one.
    let is_one = lengths.next().is_none();
    if !is_one || length.is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Some("its response says how long it is in more than one way");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if length.is_some() {
        return Some("its response has both Content-Length and Transfer-Encoding");
    }
    // To the letter: hyper reads what ends in another coding, an empty one among them, until the connection closes.
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Some("its response has a transfer coding other than chunked");
    }
    None
}

/// Makes an upstream's head the client's. `has_length`: the content's length is not made anew, since there is none to be
/// measured: the response is to HEAD, or says 304.
pub(in crate::handler) fn to_client(headers: &mut HeaderMap, has_length: bool) {
    let keeps_length = has_length && one_length(headers).is_some();
    strip(headers, |name| {
        stays_with_upstream(name) || (name == "content-length" && !keeps_length)
    });
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

/// `for="[…]";host="…:65535";proto=https`: an address of 39 bytes, a host of 253, and what stands between.
const LINE_BYTES_MAX: usize = 384;
