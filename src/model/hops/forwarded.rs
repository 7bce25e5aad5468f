//! One element of `Forwarded` (RFC 7239 section 4).

use http::HeaderValue;

use super::{address, host, scheme};
use crate::model::{ClientAddr, Scheme};

/// What one hop says of the request that it got.
pub(super) struct Element {
    /// Whom it came from; none if that is not told, or is hidden behind `unknown` or `_name`.
    pub(super) client: Option<ClientAddr>,
    /// How it came.
    pub(super) scheme: Option<Scheme>,
    /// The Host that it had.
    pub(super) host: Option<HeaderValue>,
}

impl Element {
    /// Reads an element; none if it breaks the grammar. Of what it may say twice nobody could tell which is meant.
    pub(super) fn parse(element: &[u8]) -> Option<Self> {
        let (mut said_for, mut said_proto, mut said_host) = (None, None, None);
        let mut rest = Some(element);
        while let Some(text) = rest {
            let (before, pair) = split_last(text, b';');
            rest = before;
            let pair = pair.trim_ascii();
            if pair.is_empty() {
                continue;
            }
            let equals = memchr::memchr(b'=', pair)?;
            let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
            if name.is_empty() || !name.iter().all(is_token) {
                return None;
            }
            let said = match name {
                _ if name.eq_ignore_ascii_case(b"for") => &mut said_for,
                _ if name.eq_ignore_ascii_case(b"proto") => &mut said_proto,
                _ if name.eq_ignore_ascii_case(b"host") => &mut said_host,
                _ => continue,
            };
            if said.replace(value).is_some() {
                return None;
            }
        }
        let client = match said_for {
            Some(node) => node_address(&node)?,
            None => None,
        };
        Some(Self {
            client,
            scheme: said_proto.and_then(|word| scheme(&word)),
            host: said_host.and_then(|text| host(&text)),
        })
    }
}

/// Section 6: an address, or a name that hides one (`Some(None)`). An address of IPv6 has brackets always.
fn node_address(node: &[u8]) -> Option<Option<ClientAddr>> {
    let (name, port) = match memchr::memrchr(b':', node) {
        // The last colon of an address of IPv6 is within its brackets.
        Some(colon) if !node.ends_with(b"]") => (&node[..colon], Some(&node[colon + 1..])),
        _ => (node, None),
    };
    // Section 6.3: a port may be hidden too.
    let hidden_port = port.is_some_and(is_hidden);
    if name.eq_ignore_ascii_case(b"unknown") || is_hidden(name) {
        let good = port.is_none_or(|port| hidden_port || super::port(port).is_some());
        return good.then_some(None);
    }
    let bare = name.contains(&b':') && !name.starts_with(b"[");
    let client = address(if hidden_port { name } else { node });
    client.filter(|_| !bare).map(Some)
}

/// `_hidden` (section 6.3).
fn is_hidden(name: &[u8]) -> bool {
    name.len() > 1
        && name[0] == b'_'
        && (name.iter()).all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// What an element's comma parts from it; one in quotes parts nothing.
pub(super) fn before_comma(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    split_last(line, b',')
}

/// Splits at the last `mark` that is not in quotes, looking from the right: a quote that somebody has left open at the left
/// swallows nothing of what others wrote behind it.
fn split_last(text: &[u8], mark: u8) -> (Option<&[u8]>, &[u8]) {
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        if text[at] == mark {
            return (Some(&text[..at]), &text[at + 1..]);
        }
        if text[at] == b'"' {
            // Within quotes, a quote has an odd number of backslashes before it (RFC 9110 section 5.6.4).
            while let Some(quote) = memchr::memrchr(b'"', &text[..at]) {
                at = quote;
                let slashes = text[..quote].iter().rev().take_while(|b| **b == b'\\');
                if slashes.count() % 2 == 0 {
                    break;
                }
            }
        }
    }
    (None, text)
}

/// A token, or what is in a quoted string.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        let token = !value.is_empty() && value.iter().all(is_token);
        return token.then(|| value.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(byte),
        }
    }
    Some(text)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
