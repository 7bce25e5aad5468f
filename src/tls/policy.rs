//! What a binding asks of a handshake, and the rustls configuration that asks it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::clients::Clients;
use super::compress::compressors;
use super::tickets::{Identity, Sessions};
use crate::certificate::{Certificate, Offered, Source, TicketKey};
use crate::config::{
    AlpnProtocol, BindingTls, TlsVersion, group_name, spoken_versions, suite_name,
};
use crate::model::{BindingKey, HostName};

/// An https binding's policy.
///
/// Its ticket keys are its own: a session of one binding never resumes in another (CVE-2025-23419). They live as long as
/// what the binding asks for stays the same, whatever else a reload changes.
pub struct Policy {
    /// Which binding this is.
    pub key: Arc<BindingKey>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    protocols: Vec<AlpnProtocol>,
    provider: Arc<CryptoProvider>,
    source: Source,
    /// What is asked of the certificates of clients; none: nothing.
    clients: Option<Clients>,
    stapling: bool,
    sessions: Sessions,
    counted: Arc<Counted>,
    /// One for each certificate that has been shown, by where it lies; no more than there are certificates, and each keeps its
    /// own alive.
    configs: Mutex<HashMap<(Over, usize), Shown>>,
}

/// Handshakes that were done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// From nothing.
    pub full: u64,
    /// Of sessions that were resumed.
    pub resumed: u64,
}

/// Each handshake costs a thousand times what it costs to count it, so that threads may share the count.
#[derive(Default)]
struct Counted {
    full: AtomicU64,
    resumed: AtomicU64,
}

/// A certificate, and the configuration that shows it.
type Shown = (Arc<Certificate>, Arc<ServerConfig>);

/// What carries a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Over {
    Tcp,
    Quic,
}

impl Policy {
    /// A binding's policy; `old` is what the same binding had before.
    pub fn new(
        key: Arc<BindingKey>,
        tls: &BindingTls,
        protocols: &[AlpnProtocol],
        source: Source,
        clients: Option<Clients>,
        ticket_keys: Vec<Arc<TicketKey>>,
        old: Option<&Policy>,
    ) -> Result<Self, rustls::Error> {
        let mut identity = identity(&key, tls, protocols);
        if let Some(clients) = &clients {
            identity = identity.and("clients", clients.identity());
        }
        let sessions = old.map(|old| &old.sessions);
        Ok(Self {
            sessions: Sessions::new(identity, tls.ticket_rotation, ticket_keys, sessions)?,
            key,
            versions: spoken_versions(tls).map(version).collect(),
            protocols: protocols.to_vec(),
            provider: Arc::new(provider(tls)),
            source,
            clients,
            stapling: tls.ocsp_stapling,
            counted: old.map_or_else(Arc::default, |old| Arc::clone(&old.counted)),
            configs: Mutex::default(),
        })
    }

    /// How many handshakes were done since the binding was first there.
    pub fn handshakes(&self) -> Handshakes {
        Handshakes {
            full: self.counted.full.load(Ordering::Relaxed),
            resumed: self.counted.resumed.load(Ordering::Relaxed),
        }
    }

    /// Counts a handshake that is done.
    pub(super) fn count(&self, resumed: bool) {
        let count = match resumed {
            true => &self.counted.resumed,
            false => &self.counted.full,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The certificate for a client that asked for `name`, or for none and arrived at that address: of several, the one that it
    /// can check by what it offers.
    pub fn certificate(
        &self,
        name: &HostName,
        named: bool,
        offered: Option<&Offered<'_>>,
    ) -> Option<&Arc<Certificate>> {
        let choice = self.source.find(name, named)?;
        let suites = self.provider.cipher_suites.iter();
        let spoken = suites.filter(|suite| self.versions.contains(&suite.version()));
        Some(choice.for_client(offered, spoken))
    }

    /// What is asked of the certificates of clients; none: nothing.
    pub fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }

    /// Where its certificate comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether the binding speaks HTTP/1.1, which a client without ALPN does.
    pub fn speaks_http1(&self) -> bool {
        self.protocols.contains(&AlpnProtocol::Http1)
    }

    /// Whether the binding speaks HTTP/3.
    pub fn speaks_http3(&self) -> bool {
        self.protocols.contains(&AlpnProtocol::H3)
    }

    /// Whether the binding speaks TLS 1.3 over TCP.
    pub fn speaks_tls13(&self) -> bool {
        self.versions.contains(&&rustls::version::TLS13)
    }

    /// Whether the binding speaks anything over TCP.
    pub fn speaks_over_tcp(&self) -> bool {
        self.protocols
            .iter()
            .any(|protocol| over_tcp(*protocol).is_some())
    }

    /// The rustls configuration for a certificate over TCP.
    pub fn config(
        &self,
        certificate: &Arc<Certificate>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.config_over(Over::Tcp, certificate)
    }

    /// The rustls configuration for a certificate over QUIC.
    pub fn quic_config(
        &self,
        certificate: &Arc<Certificate>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.config_over(Over::Quic, certificate)
    }

    fn config_over(
        &self,
        over: Over,
        certificate: &Arc<Certificate>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (over, Arc::as_ptr(certificate) as usize);
        if let Some((_, config)) = configs.get(&place) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(over, certificate)?);
        configs.insert(place, (Arc::clone(certificate), Arc::clone(&config)));
        Ok(config)
    }

    fn build(
        &self,
        over: Over,
        certificate: &Arc<Certificate>,
    ) -> Result<ServerConfig, rustls::Error> {
        let versions = match over {
            Over::Tcp => &self.versions[..],
            // QUIC has no other version (RFC 9001 section 4.2).
            Over::Quic => &[&rustls::version::TLS13],
        };
        let resolver = Arc::new(Always {
            certificate: Arc::clone(certificate),
            stapling: self.stapling,
        });
        let verifier = match &self.clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => clients.verifier(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        // The first suite of ours that a client has: whoever lists them means that order.
        config.ignore_client_order = true;
        config.alpn_protocols = match over {
            Over::Tcp => (self.protocols.iter())
                .filter_map(|protocol| over_tcp(*protocol))
                .map(<[u8]>::to_vec)
                .collect(),
            Over::Quic => vec![name(AlpnProtocol::H3).as_bytes().to_vec()],
        };
        config.cert_compressors = compressors();
        config.cert_compression_cache = Arc::clone(&certificate.compressed);
        // What is sent before the handshake is done can be sent again by anybody who saw it.
        config.max_early_data_size = 0;
        if let Some(ticketer) = self.sessions.ticketer() {
            config.ticketer = ticketer;
        }
        // Tickets resume sessions in both versions; nothing is kept here for a client that does not come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

/// Whose the sessions of a binding are. What stands here ends resumption when a reload changes it.
fn identity(key: &BindingKey, tls: &BindingTls, protocols: &[AlpnProtocol]) -> Identity {
    let list = |names: Vec<&str>| names.join(",");
    let suites = tls.cipher_suites.iter().map(|suite| suite_name(*suite));
    let groups = tls.groups.iter().map(|group| group_name(*group));
    Identity::of(key)
        .and("version", tls.min_version.to_string())
        .and(
            "protocols",
            list(protocols.iter().map(|protocol| name(*protocol)).collect()),
        )
        .and("suites", list(suites.collect()))
        .and("groups", list(groups.collect()))
}

fn version(version: TlsVersion) -> &'static rustls::SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &rustls::version::TLS12,
        TlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

/// The cryptography that a binding allows, in its order.
fn provider(tls: &BindingTls) -> CryptoProvider {
    let suite = |wanted: &rustls::CipherSuite| {
        let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        all.copied().find(|suite| suite.suite() == *wanted)
    };
    let group = |wanted: &rustls::NamedGroup| {
        let all = aws_lc_rs::ALL_KX_GROUPS.iter();
        all.copied().find(|group| group.name() == *wanted)
    };
    CryptoProvider {
        cipher_suites: tls.cipher_suites.iter().filter_map(suite).collect(),
        kx_groups: tls.groups.iter().filter_map(group).collect(),
        ..aws_lc_rs::default_provider()
    }
}

/// A protocol as ALPN writes it (RFC 7301).
fn name(protocol: AlpnProtocol) -> &'static str {
    match protocol {
        AlpnProtocol::Http1 => "http/1.1",
        AlpnProtocol::H2 => "h2",
        AlpnProtocol::H3 => "h3",
    }
}

/// Shows one certificate, whoever asks, with the staple that it has when it is asked for.
#[derive(Debug)]
struct Always {
    certificate: Arc<Certificate>,
    stapling: bool,
}

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(match self.stapling {
            true => self.certificate.shown(SystemTime::now()),
            false => Arc::clone(&self.certificate.key),
        })
    }
}

/// A protocol as ALPN writes it (RFC 7301), if it is spoken over TCP.
fn over_tcp(protocol: AlpnProtocol) -> Option<&'static [u8]> {
    (protocol != AlpnProtocol::H3).then(|| name(protocol).as_bytes())
}

#[cfg(test)]
mod tests;
