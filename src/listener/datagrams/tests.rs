//! Which socket a packet reaches, asked of the kernel itself.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::model::Scheme;

const THREADS: usize = 3;

fn key(ip: &str, port: u16) -> SocketKey {
    SocketKey {
        transport: Transport::Quic,
        scheme: Scheme::Https,
        ip: Some(ip.parse().expect("an address")),
        port,
    }
}

/// Three sockets of one group, and a way to ask which of them gets a packet.
struct Group(Listening<UdpSocket>);

impl Group {
    fn new() -> Self {
        let listening = bind(key("127.0.0.1", 0), THREADS, true).expect("a port");
        for socket in listening.sockets.iter().flatten() {
            socket.set_nonblocking(false).expect("an option");
            let patience = Duration::from_millis(20);
            socket.set_read_timeout(Some(patience)).expect("an option");
        }
        Self(listening)
    }

    /// Sends from a port of its own, as a client does whose address has changed.
    fn receiver(&self, packet: &[u8]) -> usize {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        client
            .send_to(packet, self.0.addresses[0])
            .expect("loopback takes it");
        for _ in 0..50 {
            for (index, socket) in self.0.sockets.iter().enumerate() {
                if socket[0].recv(&mut [0; 64]).is_ok() {
                    return index;
                }
            }
        }
        panic!("nobody got the packet");
    }
}

#[test]
fn a_packet_reaches_the_thread_that_its_connection_id_names() {
    let group = Group::new();
    for index in 0..THREADS {
        for _ in 0..8 {
            let first = u8::try_from(index).expect("a byte");
            assert_eq!(group.receiver(&[0x40, first, 1, 2, 3, 4, 5, 6, 7]), index);
            let long = [0xc0, 0, 0, 0, 1, 8, first, 1, 2, 3, 4, 5, 6, 7];
            assert_eq!(group.receiver(&long), index);
        }
    }
}

#[test]
fn the_first_packets_of_clients_are_spread_over_all_threads() {
    let group = Group::new();
    for first in [3, 100, 254_u8] {
        let long = [0xc0, 0, 0, 0, 1, 8, first, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(group.receiver(&long), usize::from(first) % THREADS);
    }
    // An id of nobody's: the kernel's own hash, so that no thread is the one that gets all the rubbish.
    let reached: HashSet<usize> = (0..64).map(|_| group.receiver(&[0x40, 200, 1])).collect();
    assert!(reached.len() > 1, "{reached:?}");
}

#[test]
fn a_port_that_somebody_has_is_taken_and_says_by_whom_and_what_to_do() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("bound").port();
    let error = bind(key("127.0.0.1", port), 1, true)
        .err()
        .expect("no socket");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("UDP port 127.0.0.1:{port} is taken by")),
        "{text}"
    );
    assert!(text.contains("leave \"h3\" out"), "{text}");
}
