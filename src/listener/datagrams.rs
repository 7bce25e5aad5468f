//! UDP sockets for QUIC: one for each data thread and address, all of one SO_REUSEPORT group that is steered by the
//! connection ids in the packets.
//!
//! A connection stays with the thread that accepted it, whatever address its client writes from: every id that a thread
//! gives out begins with the thread's index, and the kernel delivers by it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::sockets::{BindError, Listening, SocketKey, Transport, each_family, explain};

/// The sockets of one key, open for as long as any thread has connections on one of them. The kernel steers by the place of a
/// socket in its group, and when one leaves, others move up.
pub struct Group(Listening<UdpSocket>);

impl Group {
    /// The group of these sockets.
    pub fn of(listening: &Listening<UdpSocket>) -> io::Result<Arc<Self>> {
        copied(listening).map(|copies| Arc::new(Self(copies)))
    }

    /// Its sockets for the data threads, once more.
    pub fn share(&self) -> io::Result<Listening<UdpSocket>> {
        copied(&self.0)
    }

    /// The port that they are bound to.
    pub fn port(&self) -> Option<u16> {
        self.0.addresses.first().map(SocketAddr::port)
    }
}

fn copied(listening: &Listening<UdpSocket>) -> io::Result<Listening<UdpSocket>> {
    let of_thread = |sockets: &Vec<UdpSocket>| sockets.iter().map(UdpSocket::try_clone).collect();
    Ok(Listening {
        addresses: listening.addresses.clone(),
        sockets: (listening.sockets.iter())
            .map(of_thread)
            .collect::<io::Result<_>>()?,
    })
}

/// Binds, once for each data thread that QUIC reaches. `alone`: nothing of ours is bound to the port yet.
pub fn bind(
    key: SocketKey,
    threads: usize,
    alone: bool,
) -> Result<Listening<UdpSocket>, BindError> {
    each_family(key, threads, |address| bind_family(address, threads, alone))
}

fn bind_family(
    address: SocketAddr,
    threads: usize,
    alone: bool,
) -> Result<(SocketAddr, Vec<UdpSocket>), BindError> {
    let explain = |error| explain(Transport::Quic, address, error);
    if alone && address.port() != 0 {
        // Without SO_REUSEPORT a socket can be bound only where nobody is.
        let probe = socket(address).map_err(explain)?;
        probe.bind(&address.into()).map_err(explain)?;
    }
    let mut sockets: Vec<UdpSocket> = Vec::with_capacity(threads);
    let mut bound = address;
    // An index has one byte; more threads than that serve without QUIC.
    for _ in 0..threads.min(STEERED_MAX) {
        let socket = open(bound).map_err(explain)?;
        bound = socket.local_addr().map_err(explain)?;
        // The order in which sockets join their group is the index by which the program names them.
        sockets.push(socket);
    }
    if let [first, _, ..] = &*sockets
        && let Err(error) = steer(first, sockets.len())
    {
        tracing::warn!(
            %error, address = %bound,
            "QUIC packets cannot be steered by their connection ids; a client whose address changes loses its connections"
        );
    }
    Ok((bound, sockets))
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// SO_REUSEADDR, which TCP needs after a restart, would let anybody share a UDP port.
pub(super) fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // Left to the system, this differs from machine to machine (net.ipv6.bindv6only).
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Has the kernel choose the group's socket by the first byte of the packet's destination connection id.
///
/// ```text
///          0      1        5        6
/// long   ┌──────┬────────┬────────┬──────────────┐   the client's first id is of its own making: modulo the threads
///        │ 1... │version │ length │ destination… │
///        ├──────┼────────┴────────┴──────────────┤
/// short  │ 0... │ destination…                   │   one that is none of ours is left to the kernel's own hash
///        └──────┴────────────────────────────────┘
/// ```
fn steer(socket: &UdpSocket, threads: usize) -> io::Result<()> {
    let statement = |code: u32, k: u32| jump(code, k, 0, 0);
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    // A load beyond the packet's end returns 0: the first socket.
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0),
        jump(
            libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
            LONG_HEADER,
            0,
            3,
        ),
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 6),
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, threads),
        statement(libc::BPF_RET | libc::BPF_A, 0),
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 1),
        statement(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, AttachReusePortCbpf, &program).map_err(io::Error::from)
}

fn jump(code: u32, k: u32, when_true: u8, when_false: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: when_true,
        jf: when_false,
        k,
    }
}

/// Asks for room for packets that arrive while the thread does something else; what is had, in bytes.
pub(super) fn make_room(socket: &UdpSocket) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    // Linux tells twice of what it was asked for: its own overhead counts there.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Threads that a byte can name.
const STEERED_MAX: usize = 256;

/// What a gigabit brings in 16 ms; the system's usual bound (net.core.rmem_max) is a tenth of it.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// The first bit of a packet (RFC 9000 section 17).
const LONG_HEADER: u32 = 0x80;

#[cfg(test)]
mod tests;
