//! Which sockets a configuration needs, and those that are open.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use crate::config::{AlpnProtocol, Binding, Config};
use crate::listener::{
    BindError, Group, Inherited, Listening, SocketKey, Transport, bind, listen, try_to_bind,
};
use crate::model::Scheme;

/// The sockets that are listened on.
#[derive(Default)]
pub(super) struct Ports {
    open: BTreeMap<SocketKey, Vec<SocketAddr>>,
    /// Of those for QUIC, whether they answer.
    answers: BTreeMap<SocketKey, Answers>,
    groups: BTreeMap<SocketKey, Arc<Group>>,
    /// Of those for QUIC that are no longer needed, while connections are still on them.
    leaving: BTreeMap<SocketKey, Weak<Group>>,
}

/// Whether packets reach a UDP port; found out once it is listened on.
pub(super) type Answers = Arc<AtomicBool>;

/// Sockets that were opened for a configuration and that nobody accepts from yet.
#[derive(Default)]
pub(super) struct Opened {
    /// In the order of their keys.
    pub sockets: Vec<(SocketKey, Listening)>,
    /// The same for QUIC.
    pub datagrams: Vec<Datagrams>,
}

/// Sockets for QUIC.
pub(super) struct Datagrams {
    pub key: SocketKey,
    pub listening: Listening<UdpSocket>,
    pub group: Arc<Group>,
    pub answers: Answers,
}

/// The sockets that a configuration needs and that are not open, and those that it no longer needs.
#[derive(Debug)]
pub(super) struct SocketsPlan {
    pub open: Vec<SocketKey>,
    pub close: Vec<SocketKey>,
}

impl Opened {
    /// What they are for.
    pub(super) fn keys(&self) -> Vec<SocketKey> {
        let sockets = self.sockets.iter().map(|(key, _)| *key);
        let datagrams = self.datagrams.iter().map(|datagrams| datagrams.key);
        sockets.chain(datagrams).collect()
    }
}

impl Ports {
    /// What is open, compared with what `config` needs.
    pub(super) fn compare(&self, config: &Config) -> SocketsPlan {
        let needed = needed(config);
        let open = needed.iter().filter(|key| !self.open.contains_key(key));
        let close = self.open.keys().filter(|key| !needed.contains(key));
        SocketsPlan {
            open: open.copied().collect(),
            close: close.copied().collect(),
        }
    }

    /// Whether the sockets of a plan could be had: each is bound for a moment, and listened on by nobody.
    pub(super) fn try_out(&self, plan: &SocketsPlan, inherited: &Inherited) -> Vec<BindError> {
        let leaves = |key: &SocketKey| {
            let group = self.leaving.get(key).and_then(Weak::upgrade);
            group.is_some_and(|group| group.port() == Some(key.port))
        };
        let keys = plan.open.iter();
        keys.filter(|key| !leaves(key) && !inherited.has(**key))
            .filter_map(|key| try_to_bind(*key, self.is_alone(*key)).err())
            .collect()
    }

    /// Opens the sockets of a plan that was made for `config`. Fails as a whole, with every reason.
    pub(super) fn open(
        &self,
        config: &Config,
        plan: &SocketsPlan,
        threads: usize,
        inherited: &Inherited,
    ) -> Result<Opened, Vec<BindError>> {
        let mut opened = Opened::default();
        let mut errors = Vec::new();
        let needed = needed(config);
        // TCP first: where the system chooses the port, QUIC takes the same.
        for key in &plan.open {
            let result = match key.transport {
                Transport::Tcp => {
                    let quic = needed.contains(&quic(*key));
                    self.open_tcp(*key, threads, inherited, quic)
                        .map(|listening| opened.sockets.push((*key, listening)))
                }
                Transport::Quic => self
                    .open_quic(*key, threads, inherited, &opened)
                    .map(|datagrams| opened.datagrams.push(datagrams)),
            };
            errors.extend(result.err());
        }
        if errors.is_empty() {
            Ok(opened)
        } else {
            Err(errors)
        }
    }

    /// `quic`: the UDP port of the same number is needed too.
    fn open_tcp(
        &self,
        key: SocketKey,
        threads: usize,
        inherited: &Inherited,
        quic: bool,
    ) -> Result<Listening, BindError> {
        if let Some(shared) = inherited.share(key, threads) {
            return shared.map_err(|source| unshared(key, source));
        }
        let mut listening = listen(key, threads, self.is_alone(key))?;
        // A port that the system chose may be somebody's over UDP.
        for _ in 0..CHOSEN_TRIES_MAX {
            let taken = |address: &SocketAddr| UdpSocket::bind(address).is_err();
            if key.port != 0 || !quic || !listening.addresses.iter().any(taken) {
                break;
            }
            listening = listen(key, threads, true)?;
        }
        Ok(listening)
    }

    fn open_quic(
        &self,
        key: SocketKey,
        threads: usize,
        inherited: &Inherited,
        opened: &Opened,
    ) -> Result<Datagrams, BindError> {
        let unshared = |source| unshared(key, source);
        let datagrams = |listening, group| Datagrams {
            key,
            listening,
            group,
            answers: Answers::default(),
        };
        let mut wanted = key;
        if wanted.port == 0
            && let Some([address, ..]) = self.addresses_of(tcp(key), opened)
        {
            wanted.port = address.port();
        }
        if let Some(group) = self.leaving.get(&key).and_then(Weak::upgrade)
            && group.port() == Some(wanted.port)
        {
            let listening = group.share().map_err(unshared)?;
            return Ok(datagrams(listening, group));
        }
        let listening = match inherited.share_datagrams(key, threads) {
            Some(shared) => shared.map_err(unshared)?,
            None => bind(wanted, threads, self.is_alone(key))?,
        };
        let group = Group::of(&listening).map_err(unshared)?;
        Ok(datagrams(listening, group))
    }

    /// Beside a socket of ours the question whether somebody else has the address cannot be asked.
    fn is_alone(&self, key: SocketKey) -> bool {
        let overlaps = |open: &SocketKey| {
            open.transport == key.transport
                && open.port == key.port
                && (open.ip == key.ip || open.ip.is_none() || key.ip.is_none())
        };
        let still_open = |(_, group): &(&SocketKey, &Weak<Group>)| group.strong_count() > 0;
        let leaving = self.leaving.iter().filter(still_open).map(|(key, _)| key);
        !self.open.keys().chain(leaving).any(overlaps)
    }

    /// Takes note of sockets that are accepted from now.
    pub(super) fn add(&mut self, key: SocketKey, addresses: Vec<SocketAddr>) {
        self.open.insert(key, addresses);
    }

    /// Takes note of the group of sockets for QUIC, and of where it is told whether their port answers.
    pub(super) fn add_datagrams(&mut self, key: SocketKey, group: Arc<Group>, answers: Answers) {
        self.leaving.remove(&key);
        self.groups.insert(key, group);
        self.answers.insert(key, answers);
    }

    /// For each binding of a configuration that speaks HTTP/3, where it is told whether its UDP port answers.
    pub(super) fn answers(&self, config: &Config, opened: &Opened) -> Vec<Option<Answers>> {
        let of = |key: SocketKey| {
            let fresh = opened.datagrams.iter().find(|fresh| fresh.key == key);
            fresh
                .map(|fresh| &fresh.answers)
                .or_else(|| self.answers.get(&key))
        };
        keys(config)
            .into_iter()
            .zip(&config.bindings)
            .map(|(key, binding)| {
                let speaks = binding.protocols.contains(&AlpnProtocol::H3);
                of(quic(key)).filter(|_| speaks).cloned()
            })
            .collect()
    }

    /// Forgets a socket that is no longer needed.
    pub(super) fn forget(&mut self, key: SocketKey) {
        self.leaving.retain(|_, group| group.strong_count() > 0);
        self.open.remove(&key);
        self.answers.remove(&key);
        if let Some(group) = self.groups.remove(&key) {
            self.leaving.insert(key, Arc::downgrade(&group));
        }
    }

    /// Every address that is listened on for TCP; QUIC is on some of the same.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = |(key, _): &(&SocketKey, _)| key.transport == Transport::Tcp;
        let open = self.open.iter().filter(tcp);
        open.flat_map(|(_, addresses)| addresses).copied().collect()
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

    /// For each binding, an address that it is listened on over TCP.
    pub(super) fn addresses_of_bindings(&self, config: &Config) -> Vec<Option<SocketAddr>> {
        let of = |key| self.open.get(&key).and_then(|all| all.first().copied());
        keys(config).into_iter().map(of).collect()
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

fn unshared(key: SocketKey, source: std::io::Error) -> BindError {
    let address = SocketAddr::new(key.ip.unwrap_or(IpAddr::from([0, 0, 0, 0])), key.port);
    BindError::Other { address, source }
}

/// The sockets that a configuration needs: for each binding one over TCP, and one over UDP where it speaks HTTP/3.
fn needed(config: &Config) -> BTreeSet<SocketKey> {
    let keys = keys(config);
    let over_quic: Vec<SocketKey> = keys
        .iter()
        .zip(&config.bindings)
        .filter(|(_, binding)| binding.protocols.contains(&AlpnProtocol::H3))
        .map(|(key, _)| quic(*key))
        .collect();
    keys.into_iter().chain(over_quic).collect()
}

fn quic(key: SocketKey) -> SocketKey {
    SocketKey {
        transport: Transport::Quic,
        ..key
    }
}

fn tcp(key: SocketKey) -> SocketKey {
    SocketKey {
        transport: Transport::Tcp,
        ..key
    }
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
            transport: Transport::Tcp,
            scheme: b.scheme,
            ip: ip(b),
            port: b.port,
        })
        .collect()
}

/// So often the system is asked for another port that is free over UDP as well.
const CHOSEN_TRIES_MAX: usize = 16;
