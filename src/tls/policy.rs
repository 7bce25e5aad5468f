//! What a binding asks of a handshake, and the rustls configuration that asks it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::{Certificate, Choice, Source};
use crate::config::{AlpnProtocol, TlsVersion};
use crate::model::{BindingKey, HostName};

/// An https binding's policy.
///
/// Its ticket key is its own: a session of one binding never resumes in another (CVE-2025-23419). The key lives as long as
/// what the binding asks for stays the same, whatever else a reload changes.
pub struct Policy {
    /// Which binding this is.
    pub key: Arc<BindingKey>,
    min_version: TlsVersion,
    protocols: Vec<AlpnProtocol>,
    source: Source,
    stapling: bool,
    tickets: Arc<dyn ProducesTickets>,
    /// One for each certificate that has been shown, by where it lies; no more than there are certificates, and each keeps its
    /// own alive.
    configs: Mutex<HashMap<(Over, usize), Shown>>,
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
        min_version: TlsVersion,
        protocols: &[AlpnProtocol],
        source: Source,
        stapling: bool,
        old: Option<&Policy>,
    ) -> Result<Self, rustls::Error> {
        let kept = old.filter(|old| old.min_version == min_version && old.protocols == protocols);
        let tickets = match kept {
            Some(old) => Arc::clone(&old.tickets),
            None => rustls::crypto::aws_lc_rs::Ticketer::new()?,
        };
        Ok(Self {
            key,
            min_version,
            protocols: protocols.to_vec(),
            source,
            stapling,
            tickets,
            configs: Mutex::default(),
        })
    }

    /// The certificates for a client that asked for `name`, or for none and arrived at that address.
    pub fn certificates(&self, name: &HostName, named: bool) -> Option<&Choice> {
        self.source.find(name, named)
    }

    /// Whether the binding speaks HTTP/1.1, which a client without ALPN does.
    pub fn speaks_http1(&self) -> bool {
        self.protocols.contains(&AlpnProtocol::Http1)
    }

    /// Whether the binding speaks HTTP/3.
    pub fn speaks_http3(&self) -> bool {
        self.protocols.contains(&AlpnProtocol::H3)
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
        let versions: &[&rustls::SupportedProtocolVersion] = match (over, self.min_version) {
            (Over::Tcp, TlsVersion::V1_2) => &[&rustls::version::TLS13, &rustls::version::TLS12],
            // QUIC has no other version (RFC 9001 section 4.2).
            (Over::Quic, _) | (_, TlsVersion::V1_3) => &[&rustls::version::TLS13],
        };
        let resolver = Arc::new(Always {
            certificate: Arc::clone(certificate),
            stapling: self.stapling,
        });
        // aws-lc-rs' own order of groups: X25519MLKEM768 first.
        let mut config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
        config.alpn_protocols = match over {
            Over::Tcp => (self.protocols.iter())
                .filter_map(|protocol| over_tcp(*protocol))
                .map(<[u8]>::to_vec)
                .collect(),
            Over::Quic => vec![HTTP3.to_vec()],
        };
        // What is sent before the handshake is done can be sent again by anybody who saw it.
        config.max_early_data_size = 0;
        config.ticketer = Arc::clone(&self.tickets);
        // Tickets resume sessions in both versions; nothing is kept here for a client that does not come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
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
    match protocol {
        AlpnProtocol::Http1 => Some(b"http/1.1"),
        AlpnProtocol::H2 => Some(b"h2"),
        AlpnProtocol::H3 => None,
    }
}

const HTTP3: &[u8] = b"h3";

#[cfg(test)]
mod tests;
