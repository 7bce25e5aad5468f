//! What is known of a request beside the request itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::journal::Journal;
use super::{
    Activity, ClientAddr, ClientCertificate, ClientIdentity, Handshake, HostName, HostPattern,
    LocalAddr, Provenance, Reached, RoutePath, RouteRules,
};

/// What a connection speaks, as the logs write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Not yet known: the connection was refused before a byte of it was read.
    Tcp,
    /// In or before the TLS handshake.
    Tls,
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// In or before the QUIC handshake.
    Quic,
    /// HTTP/3.
    Http3,
}

/// The scheme that a binding serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// Over TLS.
    Https,
}

/// The facts of one connection; every request on it shares them.
#[derive(Debug)]
pub struct Connection {
    /// Where whoever is at the other end connects from. The client of a request may be behind it: [`Facts::client`].
    pub client: ClientAddr,
    /// Where of ours it connected to.
    pub local: LocalAddr,
    /// What the handshake settled; none on cleartext.
    pub tls: Option<TlsFacts>,
    /// What it does, for whoever asks.
    pub activity: Activity,
}

/// What tells bindings apart. It outlives a reload, which an index into the table does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindingKey {
    /// Cleartext or TLS.
    pub scheme: Scheme,
    /// The local address; `None`: every address.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The hosts that it takes.
    pub hostname: HostPattern,
}

/// What a TLS handshake settled.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The server name that the client asked for, lower-cased; none when it sent none.
    pub sni: Option<Box<str>>,
    /// The protocol agreed by ALPN (`h3`, `h2`, `http/1.1`); none when the client offered none.
    pub alpn: Option<&'static str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The binding that the connection was made for; none when it was made for no single one.
    pub binding: Option<Arc<BindingKey>>,
    /// The names that the certificate shown covers, exact or `*.parent`, lower-cased.
    pub covers: Arc<[Box<str>]>,
    /// What was asked of the client's certificate, and what it showed; none where nothing was asked.
    pub client: Option<Arc<ClientIdentity>>,
    /// When the handshake was; none where nobody asks for spans.
    pub handshake: Option<Arc<Handshake>>,
}

impl Connection {
    /// The server name that the client asked for in its handshake.
    pub fn sni(&self) -> Option<&str> {
        self.tls.as_ref()?.sni.as_deref()
    }

    /// What the connection itself is.
    pub fn scheme(&self) -> Scheme {
        match self.tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }

    /// The certificate that the client has shown.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.client_certificate()
    }
}

impl TlsFacts {
    /// The certificate that the client has shown.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()?.certificate.as_ref()
    }
}

/// The facts of one request.
#[derive(Debug)]
pub struct Facts {
    /// The connection that it came on.
    pub connection: Arc<Connection>,
    /// What it was spoken in.
    pub protocol: Protocol,
    /// The host asked for (Host or `:authority`), checked, lower-cased, without port.
    pub host: HostName,
    /// The port that the client named beside the host, if it named one.
    pub host_port: Option<u16>,
    /// The path that routes are matched with: percent-decoded once, dot segments resolved.
    pub path: RoutePath,
    /// What the route says to whoever carries the request on; none where it says nothing.
    pub rules: Option<Arc<RouteRules>>,
    /// What trusted hops say of it, and the names that it is known by.
    pub provenance: Provenance,
    /// Where its steps are noted, if somebody asked for them.
    pub journal: Option<Arc<Journal>>,
    /// Whom the handler has sent it on to.
    pub reached: Reached,
}

impl Facts {
    /// Where the client is: as trusted hops say, else at the other end of the connection.
    pub fn client(&self) -> ClientAddr {
        self.provenance.client(&self.connection)
    }

    /// The scheme that the client used: as trusted hops say, else that of the connection.
    pub fn scheme(&self) -> Scheme {
        self.provenance.scheme(&self.connection)
    }

    /// What `X-Request-Id` says; none where `request_id` is off.
    pub fn request_id(&self) -> Option<&str> {
        self.provenance.request_id()
    }
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Protocol {
    /// As the logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
            Protocol::Quic => "quic",
            Protocol::Http3 => "h3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As a binding is written in one piece: `https://*:443 www.example.com`.
impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, "{}://*:{} {}", self.scheme, self.port, self.hostname),
            Some(IpAddr::V4(ip)) => {
                write!(f, "{}://{ip}:{} {}", self.scheme, self.port, self.hostname)
            }
            Some(IpAddr::V6(ip)) => write!(
                f,
                "{}://[{ip}]:{} {}",
                self.scheme, self.port, self.hostname
            ),
        }
    }
}
