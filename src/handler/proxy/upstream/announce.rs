//! The PROXY protocol, as we write it: what a connection to an upstream begins with, so that it knows the client's address.
//!
//! Such a connection speaks for one client, and is given no request of another: each has one request. Whoever looked for the
//! client that a kept connection was made for would find one for few requests, and hold many for nobody.
//!
//! The format is HAProxy's `proxy-protocol.txt`; `listener/proxied.rs` reads it.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Keeping, ProxyProtocol};
use crate::model::{ClientAddr, LocalAddr};

/// Whose request it is, and where of ours it came in.
#[derive(Clone, Copy, Debug)]
pub(in crate::handler::proxy) struct Ends {
    pub(in crate::handler::proxy) client: ClientAddr,
    pub(in crate::handler::proxy) local: LocalAddr,
}

/// How connections are kept that begin with a client's address: not at all.
pub(super) fn keeping(keeping: &Keeping, announced: Option<ProxyProtocol>) -> Keeping {
    match announced {
        None => keeping.clone(),
        Some(_) => Keeping {
            idle_connections: 0,
            max_requests: Some(1),
            ..keeping.clone()
        },
    }
}

/// The header. `ends`: none where we speak for nobody, to see how the upstream is.
pub(super) fn header(version: ProxyProtocol, ends: Option<Ends>) -> Vec<u8> {
    let pair = ends.map(|ends| {
        let client = SocketAddr::new(ends.client.ip(), ends.client.port());
        let local = SocketAddr::new(ends.local.ip(), ends.local.port());
        (client, local)
    });
    match version {
        ProxyProtocol::V1 => v1(pair),
        ProxyProtocol::V2 => v2(pair),
    }
}

/// Section 2.1. Both addresses are of one family: where they are not, that of IPv4 is written as IPv6.
fn v1(pair: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((client, local)) = pair else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (ports, ips) = ((client.port(), local.port()), (client.ip(), local.ip()));
    let (family, ips) = match ips {
        (IpAddr::V4(client), IpAddr::V4(local)) => ("TCP4", format!("{client} {local}")),
        (client, local) => ("TCP6", format!("{} {}", v6(client), v6(local))),
    };
    format!("PROXY {family} {ips} {} {}\r\n", ports.0, ports.1).into_bytes()
}

/// Section 2.2.
fn v2(pair: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let Some((client, local)) = pair else {
        // LOCAL, of no family, and nothing behind it.
        header.extend([0x20, 0, 0, 0]);
        return header;
    };
    match (client.ip(), local.ip()) {
        (IpAddr::V4(client), IpAddr::V4(local)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(client.octets());
            header.extend(local.octets());
        }
        (client, local) => {
            header.extend([0x21, 0x21, 0, 36]);
            header.extend(v6(client).octets());
            header.extend(v6(local).octets());
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(local.port().to_be_bytes());
    header
}

fn v6(ip: IpAddr) -> std::net::Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listener::proxied::{Proxied, parse};

    #[test]
    fn headers_are_written_as_the_format_has_them() {
        let address = |text: &str| text.parse().expect("an address");
        let ends = Ends {
            client: ClientAddr::new(address("192.0.2.7:4711")),
            local: LocalAddr::new(address("198.51.100.1:443")),
        };
        assert_eq!(
            header(ProxyProtocol::V1, Some(ends)),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
        );
        assert_eq!(
            header(ProxyProtocol::V2, Some(ends)),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb"
        );
        let mixed = Ends {
            client: ClientAddr::new(address("[2001:db8::7]:4711")),
            ..ends
        };
        assert_eq!(
            header(ProxyProtocol::V1, Some(mixed)),
            b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 4711 443\r\n"
        );
    }

    #[test]
    fn a_question_of_our_own_names_nobody() {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            assert_eq!(parse(&header(version, None)).ok(), Some(Proxied::Itself));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_client(client: SocketAddr, local: SocketAddr) {
            let client = ClientAddr::new(client);
            let ends = Ends { client, local: LocalAddr::new(local) };
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let read = parse(&header(version, Some(ends)));
                let Ok(Proxied::Client(read)) = read else {
                    return Err(TestCaseError::fail("no client"));
                };
                prop_assert_eq!(ClientAddr::new(read), client);
            }
        }
    }
}
