//! The table: which binding takes a request that came in on this socket for this host. Pure: no clock, no sockets.
//!
//! Built once from the checked configuration, then only asked: [`Table::endpoint`] once a connection, [`Endpoint::find`]
//! once a request. Neither allocates, and neither takes longer for more bindings.
//!
//! ```text
//!            "+"   exact   *.parent   "*"
//!  that IP    1      3        5        7      the lowest number that takes the host wins
//!  every IP   2      4        6        8
//! ```

mod balancers;
mod explain;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::Binding;
use crate::model::{HostName, HostPattern, LocalAddr, NameMap, Scheme};

pub use balancers::Balancers;
pub use explain::{Candidate, Verdict};

/// Every binding, ready to be found.
#[derive(Debug, Default)]
pub struct Table {
    /// In the order of their ports: there are few, and halving a few costs less than hashing one.
    ports: Box<[(u16, Port)]>,
    bindings: usize,
}

/// The bindings of one port.
#[derive(Debug, Default)]
struct Port {
    every_ip: Option<Names>,
    by_ip: HashMap<IpAddr, Names>,
}

/// The bindings of one address, or of all addresses, on one port.
#[derive(Debug)]
struct Names {
    scheme: Scheme,
    strong: Option<usize>,
    exact: NameMap<usize>,
    /// By parent.
    wildcard: NameMap<usize>,
    any: Option<usize>,
    /// All of them, in the order of the file.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    binding: usize,
    pattern: HostPattern,
}

/// The bindings in play on one socket, by the address that a client connected to.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    scheme: Scheme,
    this_ip: Option<&'a Names>,
    every_ip: Option<&'a Names>,
}

impl Table {
    /// Builds the table. Bindings are known by their index in `bindings` from here on.
    ///
    /// The configuration has refused two bindings alike, and two schemes on one address and port; were there any, the first
    /// of the file would stand and the other would never be found.
    pub fn build(bindings: &[Binding]) -> Self {
        let mut sockets: HashMap<(u16, Option<IpAddr>), (Scheme, Vec<Entry>)> = HashMap::new();
        for (index, binding) in bindings.iter().enumerate() {
            let ip = binding.ip.map(|ip| ip.to_canonical());
            let (scheme, entries) = sockets
                .entry((binding.port, ip))
                .or_insert_with(|| (binding.scheme, Vec::new()));
            if *scheme == binding.scheme {
                entries.push(Entry {
                    binding: index,
                    pattern: binding.hostname.clone(),
                });
            }
        }
        let mut ports: HashMap<u16, Port> = HashMap::new();
        for ((port, ip), (scheme, entries)) in sockets {
            let port = ports.entry(port).or_default();
            let names = Names::build(scheme, entries);
            match ip {
                Some(ip) => {
                    port.by_ip.insert(ip, names);
                }
                None => port.every_ip = Some(names),
            }
        }
        let mut ports: Box<[_]> = ports.into_iter().collect();
        ports.sort_unstable_by_key(|(port, _)| *port);
        Self {
            ports,
            bindings: bindings.len(),
        }
    }

    /// The bindings in play on the socket that a client connected to; none where nothing is bound.
    ///
    /// Where an address of its own and `*` are bound to one port with different schemes, the address is its own socket and
    /// the bindings on `*` are not in play on it.
    pub fn endpoint(&self, local: LocalAddr) -> Option<Endpoint<'_>> {
        let at = (self.ports)
            .binary_search_by_key(&local.port(), |(port, _)| *port)
            .ok()?;
        let (_, port) = &self.ports[at];
        let this_ip = if port.by_ip.is_empty() {
            None
        } else {
            port.by_ip.get(&local.ip())
        };
        let every_ip = port.every_ip.as_ref();
        let scheme = this_ip.or(every_ip)?.scheme;
        Some(Endpoint {
            scheme,
            this_ip,
            every_ip: every_ip.filter(|names| names.scheme == scheme),
        })
    }

    /// How many bindings the table was built from.
    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Whether there is nothing to be found.
    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }
}

impl Endpoint<'_> {
    /// What is spoken on the socket.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The binding that takes the host, by its index in the configuration.
    pub fn find(&self, host: &HostName) -> Option<usize> {
        self.first(|names| names.strong)
            .or_else(|| self.first(|names| names.exact(host)))
            .or_else(|| self.find_wildcard(host))
            .or_else(|| self.first(|names| names.any))
    }

    fn find_wildcard(&self, host: &HostName) -> Option<usize> {
        if self.names().all(|names| names.wildcard.is_empty()) {
            return None;
        }
        let parent = host.parent()?;
        self.first(|names| names.wildcard.find(parent).copied())
    }

    /// Asks the bindings on that very address, then those on every address.
    fn first(&self, ask: impl Fn(&Names) -> Option<usize>) -> Option<usize> {
        self.this_ip
            .and_then(&ask)
            .or_else(|| self.every_ip.and_then(&ask))
    }

    /// Every binding in play, by its index in the configuration: those on that very address, then those on every address,
    /// each in the order of the file.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        self.names()
            .flat_map(|names| &names.entries)
            .map(|entry| entry.binding)
    }
}

impl<'a> Endpoint<'a> {
    fn names(&self) -> impl Iterator<Item = &'a Names> + use<'a> {
        self.this_ip.into_iter().chain(self.every_ip)
    }
}

impl Names {
    fn build(scheme: Scheme, entries: Vec<Entry>) -> Self {
        let first = |wanted: HostPattern| {
            let entry = entries.iter().find(|entry| entry.pattern == wanted)?;
            Some(entry.binding)
        };
        let named = |name: fn(&HostPattern) -> Option<&HostName>| {
            entries
                .iter()
                .filter_map(|entry| Some((name(&entry.pattern)?.as_str().into(), entry.binding)))
                .collect()
        };
        Self {
            scheme,
            strong: first(HostPattern::Strong),
            exact: named(|pattern| match pattern {
                HostPattern::Exact(name) => Some(name),
                _ => None,
            }),
            wildcard: named(|pattern| match pattern {
                HostPattern::Wildcard(parent) => Some(parent),
                _ => None,
            }),
            any: first(HostPattern::Any),
            entries,
        }
    }

    fn exact(&self, host: &HostName) -> Option<usize> {
        self.exact.find(host.as_str()).copied()
    }
}

#[cfg(test)]
mod tests;
