//! Sockets that the service manager opened for us (systemd socket activation).

use std::net::{SocketAddr, TcpListener};

use super::{Listening, SocketKey, adopt, sys};

/// Sockets that were passed, until a binding takes them.
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

/// Takes what was passed by `LISTEN_FDS`; nothing where the variable is not set, or is for another process.
pub fn inherit() -> Inherited {
    let passed = match sd_notify::listen_fds() {
        Ok(numbers) => sys::take_passed(numbers),
        Err(error) => {
            tracing::warn!(%error, "LISTEN_FDS cannot be read; sockets are opened by ourselves");
            Vec::new()
        }
    };
    Inherited(
        passed
            .into_iter()
            .filter_map(|socket| match socket.local_addr() {
                Ok(address) => Some((address, socket)),
                Err(error) => {
                    tracing::warn!(%error, "a socket that was passed is no TCP socket, and is not used");
                    None
                }
            })
            .collect(),
    )
}

impl Inherited {
    /// Copies of the sockets for a key, if any were passed for it. They are shared by the data threads: each accepts from a
    /// copy of its own.
    pub fn share(&self, key: SocketKey, threads: usize) -> Option<std::io::Result<Listening>> {
        let mut mine = self.0.iter().filter(|(a, _)| fits(key, a)).peekable();
        mine.peek()?;
        Some(share(mine, threads))
    }

    /// Lets go of the sockets for a key: their copies are in use. Kept until then, as a start or a reload may still fail.
    pub fn let_go(&mut self, key: SocketKey) {
        self.0.retain(|(address, _)| !fits(key, address));
    }

    /// The addresses of sockets that no binding is for.
    pub fn unused(&self, keys: &[SocketKey]) -> impl Iterator<Item = SocketAddr> {
        let of_none = |address: &&SocketAddr| !keys.iter().any(|key| fits(*key, address));
        self.0
            .iter()
            .map(|(address, _)| address)
            .filter(of_none)
            .copied()
    }
}

fn fits(key: SocketKey, address: &SocketAddr) -> bool {
    let ip = match key.ip {
        None => address.ip().is_unspecified(),
        Some(ip) => address.ip() == ip,
    };
    ip && (key.port == address.port())
}

fn share<'a>(
    sockets: impl Iterator<Item = &'a (SocketAddr, TcpListener)>,
    threads: usize,
) -> std::io::Result<Listening> {
    let mut listening = Listening {
        addresses: Vec::new(),
        sockets: (0..threads).map(|_| Vec::new()).collect(),
    };
    for (address, socket) in sockets {
        let socket = adopt(socket.try_clone()?)?;
        for of_thread in &mut listening.sockets {
            of_thread.push(socket.try_clone()?);
        }
        listening.addresses.push(*address);
    }
    Ok(listening)
}
