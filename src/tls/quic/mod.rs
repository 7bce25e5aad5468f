//! TLS for QUIC: ClientHello first, then the policy of the binding that it names.
//!
//! quinn asks for its cryptography before it has read a ClientHello. What it gets here is a session that reads the
//! ClientHello itself, asks the same table as TLS over TCP does, and only then begins.

mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::crypto::{self, Keys, UnsupportedVersion, rustls::QuicServerConfig};
use quinn::{ConnectionError, ConnectionId, rustls};
use quinn_proto::transport_parameters::TransportParameters;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use self::session::Session;
use super::clients::Objection;
use super::failure::{Traced, classify_tls, tell};
use super::hello;
use super::table::TlsTable;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, Refusal, TlsFacts};
use crate::report::Report;

/// The keys of first packets, which anybody can derive (RFC 9001 section 5.2): no certificate has a part in them.
#[derive(Clone)]
pub struct QuicKeys(Arc<QuicServerConfig>);

/// One handshake over QUIC, from the side of whoever accepted it; a clone is the same handshake.
#[derive(Clone)]
pub struct QuicHandshake {
    shared: Arc<Shared>,
}

struct Shared {
    keys: QuicKeys,
    table: Arc<TlsTable>,
    local: LocalAddr,
    known: Mutex<Known>,
}

/// What the session has found out so far.
#[derive(Default)]
struct Known {
    /// What has arrived of the ClientHello; kept until the handshake is done, to tell of a failure.
    hello: Vec<u8>,
    /// Why the session ended the handshake.
    refusal: Option<Refusal>,
    /// What there was to object to the client's certificate.
    objection: Option<Box<Objection>>,
    /// What it settled.
    facts: Option<TlsFacts>,
}

impl QuicKeys {
    /// Made once for each socket.
    pub fn new() -> Result<Self, rustls::Error> {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody));
        QuicServerConfig::try_from(config)
            .map(|config| Self(Arc::new(config)))
            .map_err(|error| rustls::Error::General(error.to_string()))
    }
}

impl QuicHandshake {
    /// A handshake of which nothing has been read, at an address of ours.
    pub fn new(keys: &QuicKeys, table: Arc<TlsTable>, local: LocalAddr) -> Self {
        Self {
            shared: Arc::new(Shared {
                keys: keys.clone(),
                table,
                local,
                known: Mutex::default(),
            }),
        }
    }

    /// What quinn asks for its cryptography.
    pub fn crypto(&self) -> Arc<dyn crypto::ServerConfig> {
        Arc::clone(&self.shared) as Arc<dyn crypto::ServerConfig>
    }

    /// Whether anything of a ClientHello has come. Packets before are of nobody: whoever means to connect can encrypt them.
    pub fn has_begun(&self) -> bool {
        !self.shared.known().hello.is_empty()
    }

    /// What a handshake that is done has settled; given once.
    pub fn take_facts(&self) -> Option<TlsFacts> {
        self.shared.known().facts.take()
    }

    /// What a handshake counts as that failed with this; none where nobody is to blame.
    pub fn refusal(&self, error: &ConnectionError) -> Option<Refusal> {
        if let Some(refusal) = self.shared.known().refusal.take() {
            return Some(refusal);
        }
        let detail = match error {
            ConnectionError::LocallyClosed => return None,
            ConnectionError::ConnectionClosed(close) => {
                return Some(closed_by_peer(u64::from(close.error_code)));
            }
            ConnectionError::TimedOut => "the client fell silent in the middle of it".to_owned(),
            other => other.to_string(),
        };
        Some(Refusal::new(
            Reason::QuicHandshake,
            format!("the QUIC handshake failed: {detail}"),
        ))
    }

    /// Tells the error log of a failed handshake, with all that its ClientHello says.
    pub fn tell(
        &self,
        report: &Report,
        traced: Option<Traced<'_>>,
        client: ClientAddr,
        refusal: &Refusal,
    ) {
        let known = self.shared.known();
        let hello = hello::read_message(&known.hello);
        let whence = (client, self.shared.local, Protocol::Quic);
        tell(
            report,
            hello,
            refusal,
            known.objection.as_deref(),
            traced,
            whence,
        );
    }
}

/// The client closed the connection: with an alert of TLS (RFC 9001 section 4.8), or for a reason of QUIC's own.
fn closed_by_peer(code: u64) -> Refusal {
    match code {
        0x100..=0x1ff => {
            let alert = rustls::AlertDescription::from(code.to_le_bytes()[0]);
            classify_tls(&rustls::Error::AlertReceived(alert))
        }
        code => Refusal::new(
            Reason::QuicHandshake,
            format!("the client ended the handshake with the QUIC error {code:#x}"),
        ),
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl crypto::ServerConfig for Shared {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.keys.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.keys.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        Box::new(Session::new(self, version, params))
    }
}

/// For what a socket does before it knows of any handshake: version negotiation, Retry, refusing.
impl crypto::ServerConfig for QuicKeys {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        // Every handshake is accepted with a configuration of its own; this one shows no certificate to anybody.
        Arc::clone(&self.0).start_session(version, params)
    }
}

/// Has no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests;
