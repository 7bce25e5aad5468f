//! What an upstream is told of a client: where it is, how it spoke, what it asked for, and the names of the request.
//!
//! What trusted hops have said is passed on, with the peer behind it. Of everything else the upstream hears what we have seen
//! ourselves: what a client says of itself has been taken out before.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HOST, HeaderName, HeaderValue};

use crate::config::{ClientFields, ForwardedFields, Telling};
use crate::handler::own_fields::{CLIENT_CERT, CLIENT_CERT_CHAIN};
use crate::model::{ChildSpan, Facts, Hops, write_ip};

/// Writes all of it, as configured.
pub(super) fn tell(headers: &mut HeaderMap, facts: &Facts, telling: &Telling) {
    if !headers.get(HOST).is_some_and(|host| says(host, facts)) {
        headers.insert(HOST, Line::written(|line| write_authority(line, facts)));
    }
    tell_of_client(headers, facts, telling.forwarded);
    tell_beside_client(headers, facts, telling.certificate);
}

/// What does not say where a client is: its certificate, and the names that the request is known by.
pub(in crate::handler) fn tell_beside_client(
    headers: &mut HeaderMap,
    facts: &Facts,
    certificate: ClientFields,
) {
    tell_of_certificate(headers, facts, certificate);
    name_for_upstream(headers, facts);
}

fn tell_of_client(headers: &mut HeaderMap, facts: &Facts, fields: ForwardedFields) {
    let hops = facts.provenance.hops.as_deref();
    let said_host = hops.and_then(|hops| hops.host.as_ref());
    if fields.x_forwarded {
        if let Some(host) = said_host.or_else(|| headers.get(HOST)).cloned() {
            headers.insert(&X_FORWARDED_HOST, host);
        }
        headers.insert(&X_FORWARDED_FOR, addresses(facts, hops));
        let proto = facts.scheme().as_str();
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    if fields.x_forwarded_port {
        let said = hops.and_then(|hops| hops.port).or(facts.host_port);
        let port = said.unwrap_or(facts.scheme().default_port());
        headers.insert(&X_FORWARDED_PORT, HeaderValue::from(port));
    }
    if fields.x_real_ip {
        let client = facts.client().ip();
        headers.insert(&X_REAL_IP, Line::written(|line| line.write_ip(client)));
    }
    if fields.forwarded {
        let forwarded = match hops {
            Some(hops) => elements(facts, hops),
            None => Line::written(|line| write_element(line, facts)),
        };
        headers.insert(FORWARDED, forwarded);
    }
}

/// The client, the hops that were believed, and the peer.
fn addresses(facts: &Facts, hops: Option<&Hops>) -> HeaderValue {
    let peer = facts.connection.client.ip();
    let chain = hops.map_or(&[][..], Hops::chain);
    if chain.is_empty() {
        return Line::written(|line| line.write_ip(peer));
    }
    let mut list = String::new();
    for hop in chain {
        list.push_str(&hop.ip().to_string());
        list.push_str(", ");
    }
    list.push_str(&peer.to_string());
    made(&list)
}

/// An element for the client, with what is believed of its request; one for each hop, and one for the peer, with what it asked
/// us for.
fn elements(facts: &Facts, hops: &Hops) -> HeaderValue {
    let mut list = String::new();
    // A write to a string cannot fail.
    for (at, hop) in hops.chain().iter().enumerate() {
        let _ = match hop.ip() {
            IpAddr::V4(ip) => write!(list, "for={ip}"),
            IpAddr::V6(ip) => write!(list, "for=\"[{ip}]\""),
        };
        if at == 0 {
            if let Some(host) = hops.host.as_ref().and_then(|host| host.to_str().ok()) {
                let _ = write!(list, ";host=\"{host}\"");
            }
            if let Some(scheme) = hops.scheme {
                let _ = write!(list, ";proto={scheme}");
            }
        }
        list.push_str(", ");
    }
    let _ = write_element(&mut list, facts);
    made(&list)
}

fn made(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses and what was a field before are visible ASCII")
}

/// What we have seen ourselves.
fn write_element(line: &mut impl Write, facts: &Facts) -> fmt::Result {
    let peer = facts.connection.client.ip();
    let (before, behind) = match peer {
        IpAddr::V4(_) => ("for=", ";host="),
        IpAddr::V6(_) => ("for=\"[", "]\";host="),
    };
    line.write_str(before)?;
    write_ip(line, peer)?;
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
    line.write_str(facts.connection.scheme().as_str())
}

/// Writes the names that a request is known by, where it has any.
fn name_for_upstream(headers: &mut HeaderMap, facts: &Facts) {
    let Some(ids) = &facts.provenance.ids else {
        return;
    };
    if let Some(id) = &ids.request {
        headers.insert(&X_REQUEST_ID, id.field().clone());
    }
    if let Some(trace) = &ids.trace {
        // The span that the upstream's are below: that of the first attempt, if attempts have any.
        let attempt = (ids.span.as_ref()).filter(|_| facts.journal.is_some());
        let below = attempt.map(|span| span.told(span.child(ChildSpan::Attempt(1))));
        let field = below.as_ref().unwrap_or(trace).field();
        headers.insert(&TRACEPARENT, field.clone());
        if trace.is_new {
            // It belongs to the trace that is none (W3C Trace Context, section 3.3).
            headers.remove(&TRACESTATE);
        }
    }
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

/// By hand, as an address is: formatting takes longer than all the rest.
fn write_authority(line: &mut impl Write, facts: &Facts) -> fmt::Result {
    let host = facts.host.as_str();
    if host.contains(':') {
        line.write_str("[")?;
        line.write_str(host)?;
        line.write_str("]")?;
    } else {
        line.write_str(host)?;
    }
    let Some(port) = facts.host_port else {
        return Ok(());
    };
    let mut text = *b":00000";
    let mut left = port;
    for digit in text[1..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let zeros = text[1..5]
        .iter()
        .take_while(|&&digit| digit == b'0')
        .count();
    text[zeros] = b':';
    line.write_str(std::str::from_utf8(&text[zeros..]).map_err(|_| fmt::Error)?)
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
    fn write_ip(&mut self, ip: IpAddr) -> fmt::Result {
        write_ip(self, ip)
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

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `for="[…]";host="…:65535";proto=https`: an address of 39 bytes, a host of 253, and what stands between.
const LINE_BYTES_MAX: usize = 384;
