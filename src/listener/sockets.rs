//! Listening sockets: one for each data thread and address, all of one SO_REUSEPORT group.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::owner;
use crate::model::Scheme;

/// What lies under a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Connections that are accepted.
    Tcp,
    /// Datagrams, with QUIC in them.
    Quic,
}

/// What a listening socket is for, as bindings name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey {
    /// What lies under it.
    pub transport: Transport,
    /// What is spoken on it.
    pub scheme: Scheme,
    /// `None`: every IPv4 and IPv6 address.
    pub ip: Option<IpAddr>,
    /// The port; 0: one that the system chooses.
    pub port: u16,
}

impl std::fmt::Display for SocketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spoken = self.spoken();
        match self.ip {
            Some(ip) => write!(f, "{spoken}://{}", SocketAddr::new(ip, self.port)),
            None => write!(f, "{spoken}://*:{}", self.port),
        }
    }
}

impl SocketKey {
    /// What is spoken there, in a word: `http`, `https` or `quic`.
    pub fn spoken(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => self.scheme.as_str(),
            Transport::Quic => "quic",
        }
    }
}

/// The sockets of one key: for each data thread, one for each address family.
pub struct Listening<S = TcpListener> {
    /// The addresses that are listened on, the port as it came out.
    pub addresses: Vec<SocketAddr>,
    /// For each data thread.
    pub sockets: Vec<Vec<S>>,
}

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{}{address} is taken{}: stop that program, {}or give the binding another port",
        if *transport == Transport::Quic { "UDP port " } else { "" },
        owner.as_ref().map(|owner| format!(" by {owner}")).unwrap_or_default(),
        if *transport == Transport::Quic { "leave \"h3\" out of the binding's protocols, " } else { "" },
    )]
    Taken {
        /// What was to listen there.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// The program, if it could be found out.
        owner: Option<String>,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "{0} needs a privilege: start as root with server.user set, give the binary CAP_NET_BIND_SERVICE \
         (setcap cap_net_bind_service=+ep), use systemd socket activation, or a port from 1024 up"
    )]
    Forbidden(SocketAddr),
    /// The address is none of this machine's.
    #[error("{0} is no address of this machine: see `ip address`, or use ip = \"*\"")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("{address} cannot be listened on: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Binds and listens, once for each of `threads` data threads. `alone`: nothing of ours listens on the port yet.
pub fn listen(key: SocketKey, threads: usize, alone: bool) -> Result<Listening, BindError> {
    each_family(key, threads, |address| {
        listen_family(address, threads, alone)
    })
}

/// Whether a key's sockets could be had. They are bound for a moment, and not listened on: nobody can connect to them.
pub fn try_to_bind(key: SocketKey, alone: bool) -> Result<(), BindError> {
    let bind = |address: SocketAddr| {
        let socket = match key.transport {
            Transport::Tcp => socket(address),
            Transport::Quic => super::datagrams::socket(address),
        };
        let bound = socket.and_then(|socket| {
            // Beside a socket of ours the question whether somebody else has the address cannot be asked.
            if !alone {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&address.into())
        });
        let bound = bound.map_err(|error| explain(key.transport, address, error));
        bound.map(|()| (address, Vec::<()>::new()))
    };
    each_family(key, 0, bind).map(|_| ())
}

/// Opens the sockets of every address family that a key is for, all on one port.
pub(super) fn each_family<S>(
    key: SocketKey,
    threads: usize,
    open: impl Fn(SocketAddr) -> Result<(SocketAddr, Vec<S>), BindError>,
) -> Result<Listening<S>, BindError> {
    let families = match key.ip {
        Some(ip) => vec![ip],
        None => vec![
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ],
    };
    let mut listening = Listening {
        addresses: Vec::new(),
        sockets: (0..threads).map(|_| Vec::new()).collect(),
    };
    let mut port = key.port;
    for ip in families {
        let address = SocketAddr::new(ip, port);
        match open(address) {
            Ok((bound, sockets)) => {
                port = bound.port();
                listening.addresses.push(bound);
                for (of_thread, socket) in listening.sockets.iter_mut().zip(sockets) {
                    of_thread.push(socket);
                }
            }
            // A kernel without IPv6 still has every IPv4 address.
            Err(error) if key.ip.is_none() && is_without_ipv6(&error) => {
                tracing::warn!(%address, "IPv6 is not available; listening on IPv4 only");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listening)
}

fn is_without_ipv6(error: &BindError) -> bool {
    match error {
        BindError::NoSuchAddress(address) => address.is_ipv6(),
        BindError::Other { address, source } => {
            address.is_ipv6()
                && source.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
        }
        _ => false,
    }
}

fn listen_family(
    address: SocketAddr,
    threads: usize,
    alone: bool,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let explain = |error| explain(Transport::Tcp, address, error);
    if alone {
        probe(address).map_err(explain)?;
    }
    let mut sockets = Vec::with_capacity(threads);
    let mut bound = address;
    for _ in 0..threads {
        let socket = open(bound).map_err(explain)?;
        bound = socket.local_addr().map_err(explain)?;
        sockets.push(socket);
    }
    Ok((bound, sockets))
}

/// SO_REUSEPORT would let a second server of the same user share the port in silence, each getting half of the connections.
/// A socket without it can be bound only where nobody listens.
fn probe(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = socket(address)?;
    socket.bind(&address.into())
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last one's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Left to the system, this differs from machine to machine (net.ipv6.bindv6only).
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes a socket that somebody else opened fit to be accepted from.
pub fn adopt(socket: TcpListener) -> io::Result<TcpListener> {
    let reference = SockRef::from(&socket);
    reference.set_nonblocking(true)?;
    reference.listen(BACKLOG)?;
    Ok(socket)
}

/// What a failed bind means to whoever reads of it.
pub(super) fn explain(transport: Transport, address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken {
            transport,
            address,
            owner: owner::of_port(transport, address.port()),
        },
        io::ErrorKind::PermissionDenied => BindError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress(address),
        _ => BindError::Other { address, source },
    }
}

/// Connections that are established and not yet accepted; the kernel's own bound (net.core.somaxconn) is 4096.
pub(super) const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests;
