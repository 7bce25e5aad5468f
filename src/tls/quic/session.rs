//! The session that quinn drives: it gathers the ClientHello, has the binding chosen, and is rustls from there on.

use std::any::Any;
use std::io::Cursor;
use std::sync::Arc;
use std::time::SystemTime;

use quinn::crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey};
use quinn::{ConnectionId, Side, TransportErrorCode, rustls};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};
use rustls::server::{Accepted, Acceptor};

use super::Shared;
use crate::certificate::Offered;
use crate::config::suite_name;
use crate::model::{Reason, Refusal, TlsFacts};
use crate::tls::accept::{NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME};
use crate::tls::clients::{Objection, watched_now};
use crate::tls::failure::classify_tls;
use crate::tls::hello::{self, HELLO_BYTES_MAX, Malformed, Reading};
use crate::tls::policy::Policy;

/// A handshake's session.
pub(super) struct Session {
    shared: Arc<Shared>,
    version: u32,
    parameters: Vec<u8>,
    state: State,
}

enum State {
    /// The ClientHello gathers in [`Known`](super::Known).
    ExpectClientHello,
    Speaking(Box<Speaking>),
    /// The handshake has failed, and quinn has been told so.
    Failed,
}

struct Speaking {
    tls: ServerConnection,
    next_secrets: Option<Secrets>,
    policy: Arc<Policy>,
    /// What is known of the connection but for what the end of the handshake settles.
    facts: Option<TlsFacts>,
}

/// How a handshake fails: what the client is told, and what the error log is.
struct Failure {
    alert: u8,
    refusal: Refusal,
    objection: Option<Box<Objection>>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, version: u32, parameters: &TransportParameters) -> Self {
        let mut encoded = Vec::new();
        parameters.write(&mut encoded);
        Self {
            shared,
            version,
            parameters: encoded,
            state: State::ExpectClientHello,
        }
    }

    fn speaking(&self) -> Option<&Speaking> {
        match &self.state {
            State::Speaking(speaking) => Some(speaking),
            _ => None,
        }
    }

    /// Takes more of the ClientHello; whether it is whole, and TLS has begun.
    fn gather(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let hello = {
            let mut known = self.shared.known();
            // quinn hands over what comes in order; the largest ClientHello bounds what is kept of it.
            let room = (HELLO_BYTES_MAX + HEADER_BYTES).saturating_sub(known.hello.len());
            if bytes.len() > room {
                return Err(Failure::new(
                    DECODE_ERROR,
                    Reason::TlsOther,
                    Malformed::Length.to_string(),
                ));
            }
            known.hello.extend_from_slice(bytes);
            match hello::read_message(&known.hello) {
                Reading::Incomplete => return Ok(false),
                Reading::Malformed(malformed) => {
                    return Err(Failure::new(
                        DECODE_ERROR,
                        Reason::TlsOther,
                        malformed.to_string(),
                    ));
                }
                Reading::Hello(_) | Reading::NotTls(_) => known.hello.clone(),
            }
        };
        let mut speaking = self.begin(&hello)?;
        speaking.read(&hello)?;
        self.state = State::Speaking(speaking);
        Ok(true)
    }

    /// Finds whom the ClientHello is for.
    fn begin(&self, hello: &[u8]) -> Result<Box<Speaking>, Failure> {
        let accepted = accept(hello)?;
        let hello = accepted.client_hello();
        let sni = hello
            .server_name()
            .map(|name| name.to_ascii_lowercase().into_boxed_str());
        let offered = Offered::of(&hello);
        let shared = &self.shared;
        let chosen = (shared.table)
            .choose(shared.local, sni.as_deref(), Some(&offered))
            .map_err(|refusal| Failure {
                alert: UNRECOGNIZED_NAME,
                refusal,
                objection: None,
            })?;
        if !chosen.policy.speaks_http3() {
            return Err(Failure::new(
                NO_APPLICATION_PROTOCOL,
                Reason::TlsNoCommonProtocol,
                "the binding does not offer h3, and QUIC carries nothing else",
            ));
        }
        let tls = chosen
            .policy
            .quic_config(chosen.certificate)
            .and_then(|config| ServerConnection::new(config, Version::V1, self.parameters.clone()))
            .map_err(|error| {
                Failure::new(
                    INTERNAL_ERROR,
                    Reason::Internal,
                    format!("the binding's TLS policy cannot be used: {error}"),
                )
            })?;
        debug_assert_eq!(self.version, 1, "the socket answers no other version");
        Ok(Box::new(Speaking {
            tls,
            next_secrets: None,
            policy: Arc::clone(chosen.policy),
            facts: Some(TlsFacts {
                sni,
                alpn: Some("h3"),
                version: "TLSv1.3",
                cipher: "",
                resumed: false,
                binding: chosen.binding.cloned(),
                covers: Arc::clone(&chosen.certificate.covers),
                client: None,
                handshake: None,
            }),
        }))
    }

    fn fail(&mut self, failure: Failure) -> TransportError {
        self.state = State::Failed;
        let error = TransportError {
            code: TransportErrorCode::crypto(failure.alert),
            frame: None,
            // Whoever cannot connect is told by his own tools what this says.
            reason: failure.refusal.reason.as_str().to_owned(),
        };
        let mut known = self.shared.known();
        if known.refusal.is_none() {
            known.refusal = Some(failure.refusal);
            known.objection = failure.objection;
        }
        error
    }
}

/// Reads the ClientHello as TLS over TCP does, so that both take the same names for the same.
fn accept(hello: &[u8]) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    for part in hello.chunks(RECORD_BYTES_MAX) {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
        let head = [HANDSHAKE_RECORD, 3, 1, length[0], length[1]];
        for mut bytes in [&head[..], part] {
            while !bytes.is_empty() {
                // Reading from memory fails only when the acceptor's own bound is reached, which is near ours.
                if acceptor.read_tls(&mut bytes).is_err() {
                    return Err(Failure::new(
                        DECODE_ERROR,
                        Reason::TlsOther,
                        Malformed::Length.to_string(),
                    ));
                }
            }
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => Ok(accepted),
        Ok(None) => Err(Failure::new(
            DECODE_ERROR,
            Reason::TlsOther,
            "what follows the ClientHello is no part of it",
        )),
        Err((error, mut alert)) => {
            let mut words = Vec::new();
            // Writing to memory does not fail.
            let _ = alert.write_all(&mut words);
            Err(Failure {
                alert: words.last().copied().unwrap_or(DECODE_ERROR),
                refusal: classify_tls(&error),
                objection: None,
            })
        }
    }
}

impl Speaking {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (read, objection) = watched_now(|| self.tls.read_hs(bytes));
        read.map_err(|error| Failure {
            alert: self.tls.alert().map_or(INTERNAL_ERROR, u8::from),
            refusal: match &objection {
                Some(objection) => objection.refusal(),
                None => classify_tls(&error),
            },
            objection: objection.map(Box::new),
        })
    }

    /// What the handshake settled, once it is done. Its client may yet be refused: of a session that is resumed, nobody has
    /// looked at the certificate today.
    fn settle(&mut self) -> Result<Option<TlsFacts>, Failure> {
        if self.tls.is_handshaking() {
            return Ok(None);
        }
        let Some(mut facts) = self.facts.take() else {
            return Ok(None);
        };
        facts.cipher = self
            .tls
            .negotiated_cipher_suite()
            .map_or("", |suite| suite_name(suite.suite()));
        facts.resumed = self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        self.policy.count(facts.resumed);
        if let Some(clients) = self.policy.clients() {
            let shown = self.tls.peer_certificates();
            let admitted = clients.admit(shown, facts.resumed, SystemTime::now());
            facts.client = Some(admitted.map_err(|objection| Failure {
                alert: u8::from(objection.alert),
                refusal: objection.refusal(),
                objection: Some(Box::new(objection)),
            })?);
        }
        Ok(Some(facts))
    }
}

impl Failure {
    fn new(alert: u8, reason: Reason, detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self {
            alert,
            refusal: Refusal::new(reason, detail),
            objection: None,
        }
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        debug_assert!(
            side.is_server(),
            "only clients derive them anew, after a Retry"
        );
        match crypto::ServerConfig::initial_keys(&*self.shared, self.version, dst_cid) {
            Ok(keys) => keys,
            Err(_) => unreachable!("no session is started for a version without keys"),
        }
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        // What is sent before the handshake is done is not read.
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.speaking()
            .is_none_or(|speaking| speaking.tls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let read = match &mut self.state {
            State::ExpectClientHello => self.gather(bytes),
            State::Speaking(speaking) => speaking.read(bytes).map(|()| false),
            State::Failed => return Err(TransportErrorCode::crypto(INTERNAL_ERROR).into()),
        };
        let settled = match &mut self.state {
            State::Speaking(speaking) if read.is_ok() => speaking.settle(),
            _ => Ok(None),
        };
        match (read, settled) {
            (Ok(whole), Ok(facts)) => {
                if facts.is_some() {
                    self.shared.known().facts = facts;
                }
                Ok(whole)
            }
            (Err(failure), _) | (_, Err(failure)) => Err(self.fail(failure)),
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(speaking) = self.speaking() else {
            return Ok(None);
        };
        match speaking.tls.quic_transport_parameters() {
            None => Ok(None),
            Some(encoded) => TransportParameters::read(Side::Server, &mut Cursor::new(encoded))
                .map(Some)
                .map_err(TransportError::from),
        }
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let State::Speaking(speaking) = &mut self.state else {
            return None;
        };
        let keys = match speaking.tls.write_hs(buffer)? {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                speaking.next_secrets = Some(next);
                keys
            }
        };
        Some(Keys {
            header: KeyPair {
                local: Box::new(keys.local.header),
                remote: Box::new(keys.remote.header),
            },
            packet: KeyPair {
                local: Box::new(keys.local.packet),
                remote: Box::new(keys.remote.packet),
            },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let State::Speaking(speaking) = &mut self.state else {
            return None;
        };
        let keys = speaking.next_secrets.as_mut()?.next_packet_keys();
        Some(KeyPair {
            local: Box::new(keys.local),
            remote: Box::new(keys.remote),
        })
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        // Only clients are sent one.
        false
    }

    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        // Nobody here asks for any.
        Err(ExportKeyingMaterialError)
    }
}

/// A handshake message's header (RFC 8446 section 4).
const HEADER_BYTES: usize = 4;

/// TLSPlaintext (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
const RECORD_BYTES_MAX: usize = 1 << 14;

/// Alerts (RFC 8446 section 6).
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
