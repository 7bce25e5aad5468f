//! Host names: what a client asks for, and the patterns that bindings are written with.

use std::fmt;

/// A host as a request or a certificate names it: lower-case, without port, trailing dot or brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Box<str>);

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
}

/// Reads `host` or `host:port` as Host and `:authority` carry it.
pub fn split_authority(text: &str) -> Result<(HostName, Option<u16>), HostError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port
        .map(|p| p.parse().map_err(|_| HostError::Port))
        .transpose()?;
    Ok((HostName::parse(host)?, port))
}

impl HostName {
    /// Reads a host without port: a DNS name, an IPv4 address, or an IPv6 address with or without brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The host, an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything behind the first label; none for one label and for an address.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }
}

impl HostPattern {
    /// Reads a binding's `hostname`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        match text {
            "+" => Ok(Self::Strong),
            "*" => Ok(Self::Any),
            _ => match text.strip_prefix("*.") {
                Some(parent) => HostName::parse(parent).map(Self::Wildcard),
                None => HostName::parse(text).map(Self::Exact),
            },
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
