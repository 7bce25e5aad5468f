//! Ports for what cannot say which one the system chose.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that nobody has at the moment, of those that the system gives to nobody by itself: else a client of another test may
/// have one in the moment before it is bound.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 18_000) as u16;
    std::array::from_fn(|_| {
        loop {
            let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
            if is_ours(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        }
    })
}

/// Whether no other process of tests on this machine has been given the port; none will be while this one runs.
fn is_ours(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("portunus-tests-{port}"));
    let claim = UnixDatagram::bind_addr(&name.expect("a short name"));
    claim.map(std::mem::forget).is_ok()
}

/// One of them.
pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}
