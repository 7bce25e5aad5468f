//! Asking our own UDP ports whether packets reach them, before any client is sent there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::ports::Answers;

/// Asks, from a thread of its own: the data threads may have other things to do just now.
pub(super) fn start(addresses: Vec<SocketAddr>, threads: usize, answers: Answers) {
    let asking = move || match addresses.iter().try_for_each(|at| ask(*at, threads)) {
        Ok(()) => answers.store(true, Relaxed),
        Err(error) => tracing::warn!(
            %error, ?addresses,
            "HTTP/3 is not advertised (Alt-Svc): the UDP port does not answer; does a firewall drop what comes to it?"
        ),
    };
    let thread = std::thread::Builder::new().name("quic-probe".into());
    if let Err(error) = thread.spawn(asking) {
        tracing::warn!(%error, "HTTP/3 is not advertised (Alt-Svc): its port cannot be asked");
    }
}

/// A packet of a version that nobody speaks is answered at once with those that are (RFC 9000 section 6), and begins nothing.
/// One for each thread, as connection ids name them.
fn ask(address: SocketAddr, threads: usize) -> io::Result<()> {
    let to = SocketAddr::new(reachable(address.ip()), address.port());
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for thread in 0..threads.min(256) {
        let mut packet = [0; FIRST_PACKET_BYTES];
        packet[..HEAD.len()].copy_from_slice(&HEAD);
        packet[HEAD.len()] = thread.to_le_bytes()[0];
        let mut outcome = Ok(0);
        for _ in 0..TRIES {
            socket.send(&packet)?;
            outcome = socket.recv(&mut [0; 256]);
            if outcome.is_ok() {
                break;
            }
        }
        outcome?;
    }
    Ok(())
}

/// An address that stands for all is reached by the one of this machine.
pub(super) fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// A long header, a version kept free for this (RFC 9000 section 15), and the length of the connection id that follows.
const HEAD: [u8; 6] = [0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8];

/// Less is not answered (RFC 9000 section 14.1).
const FIRST_PACKET_BYTES: usize = 1200;

const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 5;
