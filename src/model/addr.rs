//! The two ends of a connection, as two types that cannot be swapped.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address that a client connects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(SocketAddr);

/// The address of ours that a client connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalAddr(SocketAddr);

/// An IPv4 peer of a dual-stack socket is an IPv4 peer: `::ffff:192.0.2.1` and `192.0.2.1` are one address everywhere.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl ClientAddr {
    /// Takes a peer address as the system gave it.
    pub fn new(addr: SocketAddr) -> Self {
        Self(canonical(addr))
    }

    /// The IP address, IPv4-mapped addresses as IPv4.
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The port; 0 where a hop in front of us has named the client without one.
    pub fn port(self) -> u16 {
        self.0.port()
    }
}

impl LocalAddr {
    /// Takes a local address as the system gave it.
    pub fn new(addr: SocketAddr) -> Self {
        Self(canonical(addr))
    }

    /// The IP address, IPv4-mapped addresses as IPv4.
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The port.
    pub fn port(self) -> u16 {
        self.0.port()
    }
}

/// `192.0.2.1:4711`, or without the port where it is not known.
impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port() == 0 {
            return self.ip().fmt(f);
        }
        self.0.fmt(f)
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
