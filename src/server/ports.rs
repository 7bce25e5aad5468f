//! Which sockets a configuration needs, and those that are open.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::{Binding, Config};
use crate::listener::{BindError, Inherited, Listening, SocketKey, listen};
use crate::model::Scheme;

/// The sockets that are listened on.
#[derive(Default)]
pub(super) struct Ports {
    open: BTreeMap<SocketKey, Vec<SocketAddr>>,
}

/// Sockets that were opened for a configuration and that nobody accepts from yet.
#[derive(Default)]
pub(super) struct Opened {
    /// In the order of their keys.
    pub sockets: Vec<(SocketKey, Listening)>,
}

impl Opened {
    /// What they are for.
    pub(super) fn keys(&self) -> Vec<SocketKey> {
        self.sockets.iter().map(|(key, _)| *key).collect()
    }
}

impl Ports {
    /// Opens what `config` needs and is not open yet. Fails as a whole, with every reason.
    pub(super) fn open(
        &self,
        config: &Config,
        threads: usize,
        inherited: &Inherited,
    ) -> Result<Opened, Vec<BindError>> {
        let mut opened = Opened::default();
        let mut errors = Vec::new();
        for key in needed(config) {
            if self.open.contains_key(&key) {
                continue;
            }
            match self.open_one(key, threads, inherited) {
                Ok(listening) => opened.sockets.push((key, listening)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(opened)
        } else {
            Err(errors)
        }
    }

    fn open_one(
        &self,
        key: SocketKey,
        threads: usize,
        inherited: &Inherited,
    ) -> Result<Listening, BindError> {
        if let Some(shared) = inherited.share(key, threads) {
            let address = SocketAddr::new(key.ip.unwrap_or(IpAddr::from([0, 0, 0, 0])), key.port);
            return shared.map_err(|source| BindError::Other { address, source });
        }
        // Beside a socket of ours the question whether somebody else has the address cannot be asked.
        let overlaps = |open: &SocketKey| {
            open.port == key.port && (open.ip == key.ip || open.ip.is_none() || key.ip.is_none())
        };
        let alone = !self.open.keys().any(overlaps);
        listen(key, threads, alone)
    }

    /// Takes note of sockets that are accepted from now.
    pub(super) fn add(&mut self, key: SocketKey, addresses: Vec<SocketAddr>) {
        self.open.insert(key, addresses);
    }

    /// The sockets that `config` no longer needs; they are forgotten here.
    pub(super) fn take_unneeded(&mut self, config: &Config) -> Vec<SocketKey> {
        let needed = needed(config);
        let gone: Vec<SocketKey> = self
            .open
            .keys()
            .filter(|key| !needed.contains(key))
            .copied()
            .collect();
        for key in &gone {
            self.open.remove(key);
        }
        gone
    }

    /// Every address that is listened on.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.values().flatten().copied().collect()
    }

    /// The addresses of a key, among those open and those just opened.
    fn addresses_of<'a>(&'a self, key: SocketKey, opened: &'a Opened) -> Option<&'a [SocketAddr]> {
        let fresh = opened
            .sockets
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, listening)| &*listening.addresses);
        fresh.or_else(|| self.open.get(&key).map(|addresses| &**addresses))
    }

    /// The same configuration with the ports that the system chose in the place of port 0.
    pub(super) fn settle(&self, config: &Config, opened: &Opened) -> Config {
        let mut config = config.clone();
        let keys = keys(&config);
        for (binding, key) in config.bindings.iter_mut().zip(keys) {
            if binding.port == 0
                && let Some([address, ..]) = self.addresses_of(key, opened)
            {
                binding.port = address.port();
            }
        }
        config
    }
}

/// The sockets that a configuration needs.
fn needed(config: &Config) -> BTreeSet<SocketKey> {
    keys(config).into_iter().collect()
}

/// Each binding's socket. One on every address takes the place of those on single ones.
fn keys(config: &Config) -> Vec<SocketKey> {
    let everywhere: HashSet<(Scheme, u16)> = config
        .bindings
        .iter()
        .filter(|b| b.ip.is_none())
        .map(|b| (b.scheme, b.port))
        .collect();
    let ip = |b: &Binding| b.ip.filter(|_| !everywhere.contains(&(b.scheme, b.port)));
    config
        .bindings
        .iter()
        .map(|b| SocketKey {
            scheme: b.scheme,
            ip: ip(b),
            port: b.port,
        })
        .collect()
}
