//! Sockets that the service manager opened for us (systemd socket activation).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use socket2::{SockRef, Type};

use super::{Listening, SocketKey, Transport, adopt, sys};

/// Sockets that were passed, until a binding takes them.
pub struct Inherited(Vec<Passed>);

/// One socket that was passed.
struct Passed {
    transport: Transport,
    address: SocketAddr,
    socket: TcpListener,
}

/// Takes what was passed by `LISTEN_FDS`; nothing where the variable is not set, or is for another process.
pub fn inherit() -> Inherited {
    let passed = match sd_notify::listen_fds() {
        Ok(numbers) => sys::take_passed(numbers),
        Err(error) => {
            tracing::warn!(%error, "LISTEN_FDS cannot be read; sockets are opened by ourselves");
            Vec::new()
        }
    };
    Inherited(passed.into_iter().filter_map(recognize).collect())
}

fn recognize(socket: TcpListener) -> Option<Passed> {
    let transport = match SockRef::from(&socket).r#type() {
        Ok(Type::STREAM) => Some(Transport::Tcp),
        Ok(Type::DGRAM) => Some(Transport::Quic),
        _ => None,
    };
    match (transport, socket.local_addr()) {
        (Some(transport), Ok(address)) => Some(Passed {
            transport,
            address,
            socket,
        }),
        (_, address) => {
            tracing::warn!(
                ?address,
                "a socket that was passed is of neither TCP nor UDP, and is not used"
            );
            None
        }
    }
}

impl Inherited {
    /// Copies of the sockets for a key, if any were passed for it. They are shared by the data threads: each accepts from a
    /// copy of its own.
    pub fn share(&self, key: SocketKey, threads: usize) -> Option<std::io::Result<Listening>> {
        let mut mine = self.0.iter().filter(|passed| fits(key, passed)).peekable();
        mine.peek()?;
        Some(share(mine, threads))
    }

    /// The same for UDP. Packets of one connection must all reach one thread, and a socket that is alone on its address
    /// cannot tell them apart: the first thread has it.
    pub fn share_datagrams(
        &self,
        key: SocketKey,
        threads: usize,
    ) -> Option<std::io::Result<Listening<UdpSocket>>> {
        let mut mine = self.0.iter().filter(|passed| fits(key, passed)).peekable();
        mine.peek()?;
        let mut listening = Listening {
            addresses: Vec::new(),
            sockets: (0..threads).map(|_| Vec::new()).collect(),
        };
        for passed in mine {
            let socket = match passed.socket.try_clone() {
                Ok(socket) => UdpSocket::from(OwnedFd::from(socket)),
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = socket.set_nonblocking(true) {
                return Some(Err(error));
            }
            listening.sockets[0].push(socket);
            listening.addresses.push(passed.address);
        }
        Some(Ok(listening))
    }

    /// Lets go of the sockets for a key: their copies are in use. Kept until then, as a start or a reload may still fail.
    pub fn let_go(&mut self, key: SocketKey) {
        self.0.retain(|passed| !fits(key, passed));
    }

    /// Whether sockets were passed for a key, and nobody has them yet.
    pub fn has(&self, key: SocketKey) -> bool {
        self.0.iter().any(|passed| fits(key, passed))
    }

    /// The addresses of sockets that no binding is for.
    pub fn unused(&self, keys: &[SocketKey]) -> impl Iterator<Item = SocketAddr> {
        let of_none = |passed: &&Passed| !keys.iter().any(|key| fits(*key, passed));
        self.0.iter().filter(of_none).map(|passed| passed.address)
    }
}

fn fits(key: SocketKey, passed: &Passed) -> bool {
    let ip = match key.ip {
        None => passed.address.ip().is_unspecified(),
        Some(ip) => passed.address.ip() == ip,
    };
    key.transport == passed.transport && ip && key.port == passed.address.port()
}

fn share<'a>(
    sockets: impl Iterator<Item = &'a Passed>,
    threads: usize,
) -> std::io::Result<Listening> {
    let mut listening = Listening {
        addresses: Vec::new(),
        sockets: (0..threads).map(|_| Vec::new()).collect(),
    };
    for passed in sockets {
        let socket = adopt(passed.socket.try_clone()?)?;
        for of_thread in &mut listening.sockets {
            of_thread.push(socket.try_clone()?);
        }
        listening.addresses.push(passed.address);
    }
    Ok(listening)
}
