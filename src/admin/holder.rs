//! Who holds a port of this machine, by the system's own word (proc_net(5)).
//!
//! While the server is not running, anybody may listen in its place. Who was sent the token by an administrator could use it when the
//! server is back.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The users that listen on this address and port, or on every address and this port. Empty where that cannot be told.
pub(super) fn holders(address: SocketAddr) -> Vec<u32> {
    let file = match address {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    let table = fs::read_to_string(file).unwrap_or_default();
    (table.lines().skip(1))
        .filter_map(listening)
        .filter(|(held, _)| {
            let here = held.ip() == address.ip() || held.ip().is_unspecified();
            here && held.port() == address.port()
        })
        .map(|(_, user)| user)
        .collect()
}

/// `0: 0100007F:23DC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 …`, if it listens.
fn listening(line: &str) -> Option<(SocketAddr, u32)> {
    let mut columns = line.split_ascii_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let user = columns.nth(3)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN).then_some((SocketAddr::new(ip_of(ip)?, port), user))
}

/// Words of 32 bits, each as this machine keeps them.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(IpAddr::from(word(0)?));
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
    let bytes: [u8; 16] = words.try_into().ok()?;
    Some(IpAddr::from(Ipv6Addr::from(bytes)))
}

const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn whoever_listens_is_found_and_nobody_where_nobody_does() {
        let me = nix::unistd::Uid::effective().as_raw();
        for ip in ["127.0.0.1", "0.0.0.0"] {
            let listener = TcpListener::bind((ip, 0)).expect("a port");
            let port = listener.local_addr().expect("its address").port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            // A connection is no listener.
            let _client = TcpStream::connect(address).expect("a client");
            assert_eq!(holders(address), [me], "{ip}");
            let elsewhere = SocketAddr::from(([127, 0, 0, 9], port));
            assert_eq!(holders(elsewhere).len(), usize::from(ip == "0.0.0.0"));
        }
    }

    #[test]
    fn a_line_is_read_as_the_system_writes_it() {
        let line = "   1: 00000000000000000000000001000000:23DC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1";
        let read = listening(line);
        if cfg!(target_endian = "little") {
            assert_eq!(read, Some(("[::1]:9180".parse().expect("one"), 1000)));
        }
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
    }
}
