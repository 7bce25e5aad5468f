//! From whom a socket takes the PROXY protocol: the balancers that bindings name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::Binding;
use crate::model::LocalAddr;

/// For each address and port, the balancers in front of it.
#[derive(Debug, Default)]
pub struct Balancers {
    /// Empty where no binding names any, which costs a connection nothing.
    by_socket: HashMap<(u16, Option<IpAddr>), Arc<[IpNet]>>,
}

impl Balancers {
    /// Takes what the bindings say; those of one address and port say the same.
    pub fn build(bindings: &[Binding]) -> Self {
        if bindings
            .iter()
            .all(|binding| binding.proxy_protocol.is_empty())
        {
            return Self::default();
        }
        let of = |binding: &Binding| {
            let ip = binding.ip.map(|ip| ip.to_canonical());
            let from = Arc::from(&*binding.proxy_protocol);
            ((binding.port, ip), from)
        };
        Self {
            by_socket: bindings.iter().map(of).collect(),
        }
    }

    /// Whether a peer speaks for its clients on this socket: it must then, and nobody else may. An address of its own is asked
    /// before every address.
    pub fn trusts(&self, local: LocalAddr, peer: IpAddr) -> bool {
        if self.by_socket.is_empty() {
            return false;
        }
        let this_ip = self.by_socket.get(&(local.port(), Some(local.ip())));
        let from = this_ip.or_else(|| self.by_socket.get(&(local.port(), None)));
        from.is_some_and(|from| from.iter().any(|net| net.contains(&peer)))
    }
}

#[cfg(test)]
mod tests;
