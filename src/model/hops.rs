//! What the hops in front of us say of a client, and how much of it is believed.
//!
//! ```text
//! X-Forwarded-For: 10.9.9.9,  203.0.113.7,  10.0.0.2      peer 10.0.0.1      trusted 10.0.0.0/8
//!                  anybody's  the client ◄─ trusted ◄──── trusted
//!                  word       (rightmost untrusted)
//! ```
//!
//! Each hop writes, at the right end, whom it was connected to by. Beginning with the peer, the word of a trusted hop is taken,
//! and the first address that is not trusted is the client. What stands left of it is the client's own word; what stands left of
//! an element that cannot be read is nobody's. Neither is believed or passed on.
//!
//! Fields are read from their right end: what a client has put at the left cannot change how the rest is understood.

mod forwarded;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use self::forwarded::Element;
use super::{ClientAddr, Scheme, split_authority};

/// Hops that are believed, and the field that they speak by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub from: Vec<IpNet>,
    /// The one field that is read; the other is taken for a client's.
    pub field: HopField,
}

/// The field by which hops say whom they were connected to by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopField {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What trusted hops say of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// The client, and the hops between it and the peer, which is not among them. Empty: nobody is known but the peer.
    chain: Vec<ClientAddr>,
    /// How the client spoke to the first of them.
    pub scheme: Option<Scheme>,
    /// The host that the client asked the first of them for, with its port.
    pub host: Option<HeaderValue>,
    /// The port that the client connected to.
    pub port: Option<u16>,
}

impl Hops {
    /// The client, as far as it is known.
    pub fn client(&self) -> Option<ClientAddr> {
        self.chain.first().copied()
    }

    /// The client and the hops behind it, up to the one that the peer names.
    pub fn chain(&self) -> &[ClientAddr] {
        &self.chain
    }
}

impl TrustedProxies {
    /// Whether a hop is believed.
    pub fn trusts(&self, hop: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(&hop))
    }

    /// What is believed of a request's fields. None if `peer` is not trusted, or says nothing.
    pub fn hear(&self, peer: ClientAddr, headers: &HeaderMap) -> Option<Hops> {
        if !self.trusts(peer.ip()) {
            return None;
        }
        let hops = match self.field {
            HopField::XForwardedFor => self.by_x_forwarded(headers),
            HopField::Forwarded => self.by_forwarded(headers),
        };
        (hops != Hops::default()).then_some(hops)
    }

    fn by_x_forwarded(&self, headers: &HeaderMap) -> Hops {
        let mut chain = Vec::new();
        for element in from_the_right(headers, &X_FORWARDED_FOR, before_comma) {
            let Some(client) = address(element) else {
                break;
            };
            chain.push(client);
            if !self.trusts(client.ip()) {
                break;
            }
        }
        // Hops append to these fields as to the first, or write them anew: then there are fewer, and all are good.
        let depth = chain.len().max(1);
        chain.reverse();
        let said = |name| {
            from_the_right(headers, name, before_comma)
                .take(depth)
                .last()
        };
        Hops {
            chain,
            scheme: said(&X_FORWARDED_PROTO).and_then(scheme),
            host: said(&X_FORWARDED_HOST).and_then(host),
            port: said(&X_FORWARDED_PORT)
                .and_then(port)
                .filter(|port| *port != 0),
        }
    }

    fn by_forwarded(&self, headers: &HeaderMap) -> Hops {
        let mut hops = Hops::default();
        let elements = from_the_right(headers, &FORWARDED, forwarded::before_comma);
        for element in elements.map_while(Element::parse) {
            hops.scheme = element.scheme;
            hops.host = element.host;
            // A hop may hide who it was connected to by: then nobody knows whose word the next one is.
            let Some(client) = element.client else {
                break;
            };
            hops.chain.push(client);
            if !self.trusts(client.ip()) {
                break;
            }
        }
        hops.chain.reverse();
        hops
    }
}

/// Splits the last element off: what is before its comma, if there is one, and the element.
type Split = for<'a> fn(&'a [u8]) -> (Option<&'a [u8]>, &'a [u8]);

/// The elements of a list in all its lines, the last one first. Empty ones are none (RFC 9110 section 5.6.1.2).
fn from_the_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    split: Split,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(move |line| {
        let mut rest = Some(line.as_bytes());
        std::iter::from_fn(move || {
            loop {
                let (before, element) = split(rest?);
                rest = before;
                let element = element.trim_ascii();
                if !element.is_empty() {
                    return Some(element);
                }
            }
        })
    })
}

fn before_comma(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match memchr::memrchr(b',', line) {
        Some(comma) => (Some(&line[..comma]), &line[comma + 1..]),
        None => (None, line),
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`: all of them are seen. A port that is not
/// said is 0.
fn address(element: &[u8]) -> Option<ClientAddr> {
    let text = std::str::from_utf8(element).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ClientAddr::new(SocketAddr::new(ip, 0)));
    }
    let (ip, rest): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(text) => {
            let (ip, rest) = text.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.into(), rest)
        }
        None => {
            let end = text.find(':')?;
            (text[..end].parse::<Ipv4Addr>().ok()?.into(), &text[end..])
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) => port(digits.as_bytes())?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(ClientAddr::new(SocketAddr::new(ip, port)))
}

fn port(digits: &[u8]) -> Option<u16> {
    let plain = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

fn scheme(word: &[u8]) -> Option<Scheme> {
    // A WebSocket is asked for by HTTP; some balancers name its own scheme.
    let is = |words: [&str; 2]| {
        let mut words = words.iter();
        words.any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    };
    match word {
        _ if is(["https", "wss"]) => Some(Scheme::Https),
        _ if is(["http", "ws"]) => Some(Scheme::Http),
        _ => None,
    }
}

fn host(text: &[u8]) -> Option<HeaderValue> {
    split_authority(std::str::from_utf8(text).ok()?).ok()?;
    HeaderValue::from_bytes(text).ok()
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests;
