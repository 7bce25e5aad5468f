//! TLS to upstreams: whom we believe, what we show, and what is said when a handshake fails.

mod files;
mod unverified;

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::files::Files;
use self::unverified::Unverified;
use crate::config;
use crate::model::{PerThread, Reason, Refusal};

pub use self::files::TlsFilesError;

/// What a proxy's handshakes with its upstreams are made of.
#[derive(Clone)]
pub(in crate::handler::proxy) struct TlsClients(Arc<Inner>);

struct Inner {
    /// A thread resumes the sessions that it had itself: they are found without a lock that another holds.
    threads: PerThread<Clients>,
    files: Files,
}

struct Clients {
    any: TlsConnector,
    http1: TlsConnector,
}

/// What we offer to speak, by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/2, or HTTP/1.1 if the upstream prefers it.
    Any,
    /// HTTP/1.1 alone: the request needs it.
    Http1,
}

impl TlsClients {
    /// Reads what the configuration names.
    pub(in crate::handler::proxy) fn new(
        settings: &config::UpstreamTls,
        threads: usize,
    ) -> Result<Self, TlsFilesError> {
        let (files, read) = Files::read(settings)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has a cipher suite for each version of TLS");
        let builder = if settings.verify {
            builder.with_root_certificates(match read.roots {
                Some(roots) => Arc::new(roots),
                None => system_roots()?,
            })
        } else {
            let verifier = Unverified::new(Arc::clone(&provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        };
        let config = match read.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| files.key_unusable(settings, &error))?,
        };
        let threads = PerThread::new(threads, |_| Clients {
            any: connector(&config, &[b"h2", b"http/1.1"]),
            http1: connector(&config, &[b"http/1.1"]),
        });
        Ok(Self(Arc::new(Inner { threads, files })))
    }

    /// Whether the files have changed since they were read.
    pub(in crate::handler::proxy) fn is_outdated(&self) -> bool {
        self.0.files.have_changed()
    }

    pub(super) async fn connect(
        &self,
        server: &ServerName<'static>,
        offer: Offer,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let clients = self.0.threads.mine();
        let connector = match offer {
            Offer::Any => &clients.any,
            Offer::Http1 => &clients.http1,
        };
        connector.connect(server.clone(), stream).await
    }
}

/// The version that a handshake has settled on.
pub(super) fn version(connection: &rustls::ClientConnection) -> &'static str {
    match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

fn connector(config: &ClientConfig, alpn: &[&[u8]]) -> TlsConnector {
    let mut config = config.clone();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    TlsConnector::from(Arc::new(config))
}

/// The authorities that this system trusts, read once: the files are large, and all proxies ask for the same.
fn system_roots() -> Result<Arc<RootCertStore>, TlsFilesError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry a certificate or two that are not well formed.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        return Err(TlsFilesError::no_system_roots(why));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// A host of the configuration, which was looked at there.
pub(super) fn server_name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).expect("a checked host is a server's name")
}

/// What a handshake that failed is told as.
pub(super) fn refusal(
    upstream: &config::Upstream,
    server: &ServerName<'static>,
    error: &io::Error,
) -> Refusal {
    let under = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Error>());
    let (reason, why) = match under {
        None => (
            Reason::UpstreamConnect,
            format!("it ended the connection in the handshake: {error}"),
        ),
        Some(error) => handshake(error, &server.to_str()),
    };
    Refusal::new(reason, format!("{upstream}: {why}"))
}

fn handshake(error: &Error, server: &str) -> (Reason, String) {
    let why = match error {
        Error::InvalidCertificate(wrong) => certificate(wrong, server),
        Error::AlertReceived(alert) => format!("it refused the handshake with the alert {alert:?}"),
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::PeerIncompatible(what) => {
            format!("it and Portunus have no version or cipher of TLS in common: {what:?}")
        }
        Error::InvalidMessage(_) => {
            let why = format!("what it answered is not TLS: {error}");
            return (Reason::UpstreamProtocol, why);
        }
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::DecryptError => {
            let why = format!("it broke the rules of TLS: {error}");
            return (Reason::UpstreamProtocol, why);
        }
        other => format!("the TLS handshake failed: {other}"),
    };
    (Reason::UpstreamConnect, why)
}

fn certificate(wrong: &CertificateError, server: &str) -> String {
    use CertificateError as C;
    match wrong {
        C::Expired | C::ExpiredContext { .. } => format!("its certificate has expired ({wrong})"),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({wrong})")
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            format!(
                "its certificate is not for {server} ({wrong}); `server_name` says which name is expected"
            )
        }
        C::UnknownIssuer => {
            "its certificate is not signed by an authority that is trusted; `ca` names one that is"
                .to_owned()
        }
        C::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate is not accepted: {other}"),
    }
}

/// The alert that an error comes from, if it comes from one.
pub(super) fn alert(error: &(dyn std::error::Error + 'static)) -> Option<AlertDescription> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = match error.downcast_ref::<io::Error>() {
            // An io::Error gives the source of what is in it, and not that itself.
            Some(io) => io.get_ref().and_then(|inner| inner.downcast_ref()),
            None => error.downcast_ref(),
        };
        if let Some(Error::AlertReceived(alert)) = inner {
            return Some(*alert);
        }
        next = error.source();
    }
    None
}

/// Sessions to resume, a thread: some for each upstream of a proxy.
const SESSIONS_MAX: usize = 64;
