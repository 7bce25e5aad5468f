//! Host names: what a client asks for, and the patterns that bindings are written with.
//!
//! Reading is strict, because what is read here picks the binding: a text that two programs could read differently is
//! refused. Names are taken as DNS has them (letters, digits, `-`, `_`, `.`; international names as punycode), which is
//! less than RFC 3986 allows in a reg-name.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A host as a request or a certificate names it: lower-case, without port, trailing dot or brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// The hosts that a binding takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `+`: any host, before all other bindings.
    Strong,
    /// One host.
    Exact(HostName),
    /// `*.parent`: exactly one label before the parent, which is kept here without its leading dot.
    Wildcard(HostName),
    /// `*`: any host, after all other bindings.
    Any,
}

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing before the port.
    #[error("the host is empty")]
    Empty,
    /// A byte that no host may contain.
    #[error("the host contains {0:?}, which no host may contain")]
    Byte(char),
    /// A label that is empty or longer than 63 bytes.
    #[error("a label of the host is empty or longer than 63 bytes")]
    Label,
    /// Longer than 253 bytes.
    #[error("the host is longer than 253 bytes")]
    Length,
    /// Brackets around something that is no IPv6 address.
    #[error("what stands in brackets is no IPv6 address")]
    Address,
    /// A port that is no number from 0 to 65535.
    #[error("the port is no number from 0 to 65535")]
    Port,
    /// `user@` before the host.
    #[error("there is user information before the host")]
    UserInfo,
    /// A `*` that is not the whole first label.
    #[error("a wildcard may only be the whole first label, as in *.example.com")]
    Wildcard,
    /// A wildcard before an IP address.
    #[error("a wildcard may only stand before a name, not before an IP address")]
    WildcardAddress,
}

/// Reads `host` or `host:port` as Host and `:authority` carry it (RFC 3986, section 3.2; an IPv6 address in brackets).
///
/// An empty port is no port (RFC 3986, section 3.2.3). User information is refused (RFC 9110, section 4.2.4).
pub fn split_authority(text: &str) -> Result<(HostName, Option<u16>), HostError> {
    read_authority(text).map_err(|error| {
        // `@` is refused wherever it stands; that it is user information says more than the byte or the port would.
        if text.contains('@') {
            HostError::UserInfo
        } else {
            error
        }
    })
}

/// Whether a certificate's name, exact or `*.parent`, covers the host (RFC 6125, section 6.4: a wildcard is exactly one
/// label, and an IP address is covered only by itself).
pub fn certificate_name_covers(pattern: &str, host: &HostName) -> bool {
    match pattern.strip_prefix("*.") {
        Some(covered) => host
            .parent()
            .is_some_and(|parent| parent.eq_ignore_ascii_case(covered)),
        None => match (pattern.parse::<IpAddr>(), host.ip()) {
            (Ok(named), Some(asked)) => named == asked,
            _ => host.as_str().eq_ignore_ascii_case(pattern),
        },
    }
}

impl HostName {
    /// Reads a host without port: a DNS name, an IPv4 address, or an IPv6 address with or without brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.strip_suffix(']').ok_or(HostError::Address)?;
            return Self::parse_ipv6(address);
        }
        if text.contains(':') {
            return Self::parse_ipv6(text).map_err(|_| HostError::Byte(':'));
        }
        Self::parse_name(text)
    }

    /// A zone (`%eth0`) is refused with all else that is no address: it means something only to the client's machine.
    fn parse_ipv6(text: &str) -> Result<Self, HostError> {
        let address: Ipv6Addr = text.parse().map_err(|_| HostError::Address)?;
        // On the stack, so that one allocation of the right size is all.
        let mut buffer = [0; IPV6_TEXT_MAX];
        let mut rest = &mut buffer[..];
        write!(rest, "{address}").expect("the buffer holds the longest IPv6 address");
        let unused = rest.len();
        let text = str::from_utf8(&buffer[..IPV6_TEXT_MAX - unused])
            .expect("an IPv6 address is written in ASCII");
        Ok(Self(text.into()))
    }

    fn parse_name(text: &str) -> Result<Self, HostError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(HostError::Length);
        }
        let mut label = 0;
        for (at, byte) in name.bytes().enumerate() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
                b'.' if (1..=LABEL_MAX).contains(&label) => label = 0,
                b'.' => return Err(HostError::Label),
                _ => return Err(HostError::Byte(char_at(name, at))),
            }
        }
        if !(1..=LABEL_MAX).contains(&label) {
            return Err(HostError::Label);
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The host, an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host as it stands in a URI: an IPv6 address in brackets.
    pub fn as_uri_host(&self) -> impl fmt::Display + '_ {
        UriHost(self)
    }

    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        if self.0.contains(':') {
            return self.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        }
        // No top-level domain ends in a digit, so a name is nearly never read as an address in vain.
        if !self.0.ends_with(|last: char| last.is_ascii_digit()) {
            return None;
        }
        self.0.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }

    /// Everything behind the first label; none for one label and for an address.
    pub fn parent(&self) -> Option<&str> {
        let (_, parent) = self.0.split_once('.')?;
        match self.ip() {
            Some(_) => None,
            None => Some(parent),
        }
    }
}

impl HostPattern {
    /// Reads a binding's `hostname`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        match text {
            "+" => return Ok(Self::Strong),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let (wild, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(HostError::Wildcard);
        }
        let name = HostName::parse(name)?;
        match (wild, name.ip()) {
            (false, _) => Ok(Self::Exact(name)),
            (true, None) => Ok(Self::Wildcard(name)),
            (true, Some(_)) => Err(HostError::WildcardAddress),
        }
    }

    /// Whether the pattern takes this host.
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Strong | Self::Any => true,
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => host.parent() == Some(parent.as_str()),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strong => f.write_str("+"),
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Any => f.write_str("*"),
        }
    }
}

struct UriHost<'a>(&'a HostName);

impl fmt::Display for UriHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.as_str();
        if host.contains(':') {
            write!(f, "[{host}]")
        } else {
            f.write_str(host)
        }
    }
}

fn read_authority(text: &str) -> Result<(HostName, Option<u16>), HostError> {
    if let Some((host, rest)) = split_plain(text) {
        return Ok((HostName(host.into()), read_port(rest)?));
    }
    let (host, port) = if text.starts_with('[') {
        // Unlike a configuration, an authority has an IPv6 address only in brackets, and nothing but a port behind them.
        let end = text.find(']').ok_or(HostError::Address)? + 1;
        let (host, rest) = text.split_at(end);
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err(HostError::Byte(char_at(rest, 0))),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(HostError::Byte(':')),
            Some(split) => split,
            None => (text, ""),
        }
    };
    Ok((HostName::parse(host)?, read_port(port)?))
}

/// The host and the port's digits, if the host is a name that needs no change and nothing is wrong: nearly every one, read
/// in one pass.
fn split_plain(text: &str) -> Option<(&str, &str)> {
    let mut rest = text.as_bytes();
    let end = loop {
        let label = rest.iter().take_while(|byte| is_plain(**byte)).count();
        if !(1..=LABEL_MAX).contains(&label) {
            return None;
        }
        rest = &rest[label..];
        match rest {
            [] | [b':', ..] => break text.len() - rest.len(),
            [b'.', after @ ..] => rest = after,
            _ => return None,
        }
    };
    let port = text.get(end + 1..).unwrap_or_default();
    let plain = end <= NAME_MAX && port.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| (&text[..end], port))
}

/// Whether a byte may stand in a label, and is lower-case.
fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut at = 0;
        while at < 256 {
            plain[at] = matches!(at as u8, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            at += 1;
        }
        plain
    };
    PLAIN[usize::from(byte)]
}

fn read_port(text: &str) -> Result<Option<u16>, HostError> {
    if text.is_empty() {
        return Ok(None);
    }
    // The standard library would take a sign too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::Port);
    }
    text.parse().map(Some).map_err(|_| HostError::Port)
}

/// The character at a byte that ASCII characters alone stand before.
fn char_at(text: &str, at: usize) -> char {
    text[at..].chars().next().unwrap_or_default()
}

/// RFC 1035, section 2.3.4.
const LABEL_MAX: usize = 63;
/// RFC 1035, section 2.3.4: 255 bytes on the wire, of which the first length and the root take two.
const NAME_MAX: usize = 253;
/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const IPV6_TEXT_MAX: usize = 45;

#[cfg(test)]
mod tests;
