//! One handshake with ourselves, and what it shows.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::{Certificate, Details, Trust, Verdict};
use crate::config::AlpnProtocol;
use crate::model::{ClientAddr, HostName, LocalAddr, Protocol};
use crate::report::Report;

/// A handshake that is to be made.
pub(super) struct Call {
    /// The binding, as logs call it.
    pub binding: String,
    /// Where.
    pub at: SocketAddr,
    /// The host; none: as a client that names none.
    pub name: Option<HostName>,
    /// What carries it.
    pub over: Over,
    /// What is offered over TCP.
    pub protocols: Vec<AlpnProtocol>,
    /// The signatures that are said to be checked, so that this certificate is shown; none: all.
    pub signatures: &'static [SignatureScheme],
    /// The certificate that should be shown.
    pub expected: Arc<Certificate>,
    /// What clients make of its chain.
    pub verdict: Verdict,
    /// Whether clients refuse it without a staple, and none is ever fetched.
    pub must_staple: bool,
}

/// What carries a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Over {
    Tcp,
    Quic,
}

impl Over {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }
}

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The address is not one of this machine's.
    #[error("the address is not this machine's")]
    Elsewhere,
    /// Nothing came back.
    #[error("there is no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// It failed.
    #[error("the handshake fails: {0}")]
    Failed(String),
}

impl Ended {
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Elsewhere => "",
            Self::Silence => "look whether a firewall on this machine drops what comes to the port",
            Self::Failed(_) => {
                "make the same handshake with `openssl s_client -connect ADDRESS -servername NAME`"
            }
        }
    }
}

/// What was seen of a binding.
pub(super) struct Seen {
    version: &'static str,
    protocol: String,
    chain: Vec<CertificateDer<'static>>,
    is_stapled: bool,
}

/// Something that a client would stumble over.
pub(super) struct Problem {
    pub what: String,
    pub remedy: &'static str,
}

/// What is to be said of what was seen.
pub(super) struct Problems {
    pub found: Vec<Problem>,
    /// Whether anything is known of where the chain leads.
    pub is_judged: bool,
}

impl Call {
    /// Makes it. Our own end's address is made known before.
    pub(super) async fn make(&self, report: &Report) -> Result<Seen, Ended> {
        let eyes = Arc::new(Eyes {
            signatures: self.signatures,
            shown: Mutex::default(),
        });
        let made = async {
            match self.over {
                Over::Tcp => self.make_over_tcp(report, &eyes).await,
                Over::Quic => self.make_over_quic(report, &eyes).await,
            }
        };
        match timeout(PATIENCE, made).await {
            Err(_) => Err(Ended::Silence),
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                Err(Ended::Elsewhere)
            }
            // A binding that asks for the client's certificate has shown its own by then.
            Ok(Err(_)) if eyes.was_asked() => Ok(eyes.seen("", "")),
            Ok(Err(error)) => Err(Ended::Failed(error.to_string())),
            Ok(Ok((version, protocol))) => Ok(eyes.seen(version, &protocol)),
        }
    }

    /// The version and the protocol that were agreed on.
    async fn make_over_tcp(
        &self,
        report: &Report,
        eyes: &Arc<Eyes>,
    ) -> io::Result<(&'static str, String)> {
        let stream = self.connect(report).await?;
        let protocols = self.protocols.iter().map(|protocol| match protocol {
            AlpnProtocol::H2 => b"h2".to_vec(),
            _ => b"http/1.1".to_vec(),
        });
        let config = eyes.config(protocols.collect()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(self.server_name()?, stream).await?;
        let (_, session) = stream.get_ref();
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let protocol = session.alpn_protocol().unwrap_or(b"http/1.1");
        let protocol = String::from_utf8_lossy(protocol).into_owned();
        // As a client that has changed its mind: with a word, and having read what was sent, so that nothing is reset.
        let closed = async {
            tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
            (&mut stream)
                .take(FAREWELL_BYTES_MAX)
                .read_to_end(&mut Vec::new())
                .await
        };
        // However that ends, what was to be seen has been seen.
        let _ = timeout(FAREWELL, closed).await;
        Ok((version, protocol))
    }

    /// A connection from the very address that it goes to: one that is not this machine's is never called.
    async fn connect(&self, report: &Report) -> io::Result<TcpStream> {
        let socket = match self.at {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(self.at.ip(), 0))?;
        let from = ClientAddr::new(socket.local_addr()?);
        report.is_making(from, LocalAddr::new(self.at), Protocol::Tls);
        socket.connect(self.at).await
    }

    async fn make_over_quic(
        &self,
        report: &Report,
        eyes: &Arc<Eyes>,
    ) -> io::Result<(&'static str, String)> {
        let socket = UdpSocket::bind(SocketAddr::new(self.at.ip(), 0))?;
        let mut config = quinn::EndpointConfig::default();
        // What one read may fill is room for 2048 of the largest packets: 134 MB of what nobody sends us.
        config
            .max_udp_payload_size(UDP_PAYLOAD_BYTES)
            .map_err(io::Error::other)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(config, None, socket, runtime)?;
        let from = ClientAddr::new(endpoint.local_addr()?);
        report.is_making(from, LocalAddr::new(self.at), Protocol::Quic);
        let config = eyes
            .config(vec![b"h3".to_vec()])
            .map_err(io::Error::other)?;
        let config =
            quinn::crypto::rustls::QuicClientConfig::try_from(config).map_err(io::Error::other)?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
        let name = match &self.name {
            Some(name) => name.as_str().to_owned(),
            None => self.at.ip().to_string(),
        };
        let connecting = endpoint.connect(self.at, &name).map_err(io::Error::other)?;
        let connection = connecting.await?;
        connection.close(H3_NO_ERROR, b"");
        // The other side is to hear of it; that it does not answer changes nothing.
        let _ = timeout(QUIC_FAREWELL, endpoint.wait_idle()).await;
        Ok(("TLSv1.3", "h3".to_owned()))
    }

    fn server_name(&self) -> io::Result<ServerName<'static>> {
        match &self.name {
            Some(name) => ServerName::try_from(name.as_str().to_owned()).map_err(io::Error::other),
            None => Ok(ServerName::IpAddress(self.at.ip().into())),
        }
    }
}

impl Seen {
    /// What was agreed on, in words.
    pub(super) fn agreed(&self) -> String {
        match self.version {
            "" => "asked for a client certificate".to_owned(),
            version => format!("{version} {}", self.protocol),
        }
    }

    /// Everything that a client would stumble over.
    pub(super) fn problems(&self, call: &Call, trust: &Trust) -> Problems {
        let Some(Ok(leaf)) = self.chain.first().map(|leaf| Details::of(leaf)) else {
            let found = vec![Problem {
                what: "no certificate is shown that can be read".to_owned(),
                remedy: "write the certificate's file anew",
            }];
            return Problems {
                found,
                is_judged: true,
            };
        };
        let mut found = Vec::new();
        let is_expected = self.chain == call.expected.arranged().cert;
        if !is_expected {
            found.push(Problem {
                what: format!(
                    "another certificate is shown than the one in {}: {}",
                    call.expected.file.display(),
                    leaf.fingerprint
                ),
                remedy: "find out who else listens on this address",
            });
        }
        let now = SystemTime::now();
        if now > leaf.not_after || now < leaf.not_before {
            found.push(Problem {
                what: format!("{} is not valid today", call.expected.file.display()),
                remedy: "renew it, and look whether this machine's clock is right",
            });
        }
        if !self.is_for(call) {
            found.push(Problem {
                what: format!("{} does not cover the name", call.expected.file.display()),
                remedy: "use a certificate that names the host",
            });
        }
        if call.must_staple && !self.is_stapled {
            found.push(Problem {
                what: "the certificate is to be refused without a stapled OCSP response, and none comes".to_owned(),
                remedy: "request a certificate without must-staple",
            });
        }
        let verdict = match is_expected {
            true => call.verdict.clone(),
            false => trust.judge(&self.chain),
        };
        let is_judged = verdict.is_good();
        found.extend(problem_of(&verdict));
        Problems { found, is_judged }
    }

    /// Whether the certificate names whom it was asked for.
    fn is_for(&self, call: &Call) -> bool {
        let Some(name) = &call.name else {
            return true;
        };
        let Ok(name) = ServerName::try_from(name.as_str()) else {
            return true;
        };
        let leaf = self.chain.first().map(ParsedCertificate::try_from);
        leaf.is_some_and(|leaf| leaf.is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok()))
    }
}

/// What a verdict is to a client. Whom nobody here knows may be a private CA, which its own clients know.
fn problem_of(verdict: &Verdict) -> Option<Problem> {
    let (what, remedy) = match verdict {
        Verdict::Trusted | Verdict::Private | Verdict::Unknown { .. } | Verdict::Unjudged => {
            return None;
        }
        Verdict::SelfSigned => (
            "the certificate is signed by itself".to_owned(),
            "use a CA's, or put it into the file that `tls.trust` names",
        ),
        Verdict::Incomplete { issuer } => (
            format!("the chain is not whole: {issuer} is missing"),
            "append the CA's intermediate certificates, or put them into the certificate folder",
        ),
        Verdict::Invalid(why) => (
            format!("the chain leads to no root: {why}"),
            "`portunus check` says what is wrong with it",
        ),
    };
    Some(Problem { what, remedy })
}

/// Takes whatever is shown, and keeps it.
#[derive(Debug)]
struct Eyes {
    /// What it says that it checks; none: all that it can.
    signatures: &'static [SignatureScheme],
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    is_stapled: bool,
    was_asked: bool,
}

impl Eyes {
    fn config(self: &Arc<Self>, protocols: Vec<Vec<u8>>) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesClientCert>);
        config.alpn_protocols = protocols;
        // Compressing a chain costs megabytes for a moment, and shows nothing more.
        config.cert_decompressors = Vec::new();
        // Every handshake is a whole one.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    fn was_asked(&self) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.was_asked && !shown.chain.is_empty()
    }

    fn seen(&self, version: &'static str, protocol: &str) -> Seen {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Seen {
            version,
            protocol: protocol.to_owned(),
            chain: shown.chain.clone(),
            is_stapled: shown.is_stapled,
        }
    }
}

/// What is shown is judged afterwards, so that it can be told whole; that it is the server's own is checked here.
impl ServerCertVerifier for Eyes {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(leaf).chain(rest);
        shown.chain = all.map(|der| der.clone().into_owned()).collect();
        shown.is_stapled = !staple.is_empty();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if !self.signatures.is_empty() {
            return self.signatures.to_vec();
        }
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// There is none to show; that one was asked for explains how the handshake ends.
impl ResolvesClientCert for Eyes {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.was_asked = true;
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Of a client that knows all there is: a binding may ask for much.
fn provider() -> Arc<CryptoProvider> {
    use rustls::crypto::aws_lc_rs::{ALL_KX_GROUPS, default_provider};
    Arc::new(CryptoProvider {
        kx_groups: ALL_KX_GROUPS.to_vec(),
        ..default_provider()
    })
}

/// What a client offers that checks ECDSA (and its like) only, and one that checks RSA only.
pub(super) const OF_ECDSA: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
];
pub(super) const OF_RSA: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// RFC 9114 section 8.1.
const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);

/// A handshake with ourselves takes milliseconds; a data thread may be busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the other side's last words are waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// What every path takes, and a little more (RFC 9000 section 14).
const UDP_PAYLOAD_BYTES: u16 = 1472;

/// Long enough for the last packet to leave; what follows is the other side's wait for packets that are late.
const QUIC_FAREWELL: Duration = Duration::from_millis(50);
const FAREWELL_BYTES_MAX: u64 = 64 << 10;
