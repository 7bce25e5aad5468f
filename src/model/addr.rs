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

/// Writes an address as its `Display` does. One of IPv4 is written by hand, in one piece: the standard library takes longer over it
/// than over all the rest of a field or a line.
pub fn write_ip(line: &mut impl fmt::Write, ip: IpAddr) -> fmt::Result {
    let IpAddr::V4(ip) = ip else {
        return write!(line, "{ip}");
    };
    let mut text = [0; IPV4_BYTES_MAX];
    let mut length = 0;
    let mut put = |byte: u8| {
        text[length] = byte;
        length += 1;
    };
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    line.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
}

/// `255.255.255.255`
const IPV4_BYTES_MAX: usize = 15;
