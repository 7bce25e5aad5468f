//! TLS to upstreams: who is believed, what is shown, and what is told when it fails.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::{Authority, Issued};
use super::scripted::Peer;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that speaks TLS.
pub(super) struct TlsUpstream {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsUpstream {
    pub(super) async fn start(issued: &Issued, alpn: &[&str], clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(authority.pem.as_bytes());
                roots.add(root.expect("a certificate")).expect("a root");
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
        let chain = chain.map(|one| one.expect("a certificate")).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        let mut config = builder.with_single_cert(chain, key).expect("a pair");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    pub(super) fn config(&self, host: &str) -> config::Upstream {
        config::Upstream::Net {
            scheme: config::UpstreamScheme::Https,
            host: host.to_owned(),
            port: self.listener.local_addr().expect("an address").port(),
        }
    }

    pub(super) async fn try_accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        self.acceptor.accept(stream).await
    }

    /// One request, answered with 200 and `Connection: close`; the connection.
    async fn serve_one(&self) -> TlsStream<TcpStream> {
        let mut peer = Peer::new(self.try_accept().await.expect("a handshake"));
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        let _ = peer.stream.flush().await;
        peer.stream
    }
}

/// A folder with an authority's certificate, and the authority.
pub(super) struct Trust {
    pub(super) folder: TempDir,
    pub(super) authority: Authority,
}

impl Trust {
    pub(super) fn new() -> Self {
        let trust = Self {
            folder: tempfile::tempdir().expect("a folder"),
            authority: Authority::new("upstreams of a test"),
        };
        trust.authority.write(&trust.ca());
        trust
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn client_certificate(&self, authority: &Authority) -> config::ClientCertificate {
        let issued = authority.issue_with(&["portunus.test"], |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        let chain = issued.write(self.folder.path(), "client");
        let key = self.folder.path().join("client.key");
        config::ClientCertificate { chain, key }
    }
}

#[tokio::test]
async fn an_upstream_is_believed_whose_authority_is_named_and_its_connection_is_kept() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &["http/1.1"], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    let serve = async {
        let stream = upstream.try_accept().await.expect("a handshake");
        assert_eq!(stream.get_ref().1.server_name(), Some("localhost"));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut peer = Peer::new(stream);
        for _ in 0..2 {
            assert!(peer.head().await.contains("x-forwarded-proto: http\r\n"));
            peer.say(OK).await;
            peer.stream.flush().await.expect("a flush");
        }
    };
    let client = async {
        for _ in 0..2 {
            let response = ask(&proxy, get("/")).await.expect("a response");
            assert_eq!(text(response).await.expect("content"), "ok");
        }
    };
    tokio::join!(serve, client);
}

#[tokio::test]
async fn a_certificate_that_is_not_right_is_502_and_says_which_check_failed() {
    let trust = Trust::new();
    let other = Authority::new("another");
    let ago = rcgen::date_time_ymd(2020, 1, 1);
    let expired = trust
        .authority
        .issue_with(&["localhost"], |params| params.not_after = ago);
    let coming = rcgen::date_time_ymd(3000, 1, 1);
    let early = trust
        .authority
        .issue_with(&["localhost"], |params| params.not_before = coming);
    for (issued, says) in [
        (
            other.issue(&["localhost"]),
            "not signed by an authority that is trusted; `ca`",
        ),
        (trust.authority.issue(&["else.test"]), "not for localhost"),
        (expired, "has expired"),
        (early, "not valid yet"),
    ] {
        let upstream = TlsUpstream::start(&issued, &[], None).await;
        let proxy = proxy_with([upstream.config("localhost")], |proxy| {
            proxy.tls.ca = Some(trust.ca());
        });
        let (outcome, _) = tokio::join!(ask(&proxy, get("/")), upstream.try_accept());
        let refusal = refused(outcome);
        assert_eq!(refusal.reason, Reason::UpstreamConnect);
        assert!(refusal.detail.contains(says), "{}", refusal.detail);
    }
}

#[tokio::test]
async fn without_a_ca_of_its_own_an_upstream_is_verified_by_the_system() {
    let trust = Trust::new();
    let upstream = TlsUpstream::start(&trust.authority.issue(&["localhost"]), &[], None).await;
    let proxy = proxy([upstream.config("localhost")]);
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), upstream.try_accept());
    let refusal = refused(outcome);
    assert!(
        refusal.detail.contains("not signed by"),
        "{}",
        refusal.detail
    );
}

#[tokio::test]
async fn server_name_is_what_is_asked_for_and_what_the_certificate_must_be_for() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["else.test"]);
    let upstream = TlsUpstream::start(&issued, &[], None).await;
    let proxy = proxy_with([upstream.config("127.0.0.1")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
        proxy.tls.server_name = Some("else.test".to_owned());
    });
    let (outcome, stream) = tokio::join!(ask(&proxy, get("/")), upstream.serve_one());
    assert_eq!(outcome.expect("a response").status(), 200);
    assert_eq!(stream.get_ref().1.server_name(), Some("else.test"));
}

#[tokio::test]
async fn an_address_is_verified_as_an_address() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["127.0.0.1"]);
    let upstream = TlsUpstream::start(&issued, &[], None).await;
    let proxy = proxy_with([upstream.config("127.0.0.1")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    let (outcome, stream) = tokio::join!(ask(&proxy, get("/")), upstream.serve_one());
    assert_eq!(outcome.expect("a response").status(), 200);
    assert_eq!(stream.get_ref().1.server_name(), None);
}

#[tokio::test]
async fn only_who_says_so_believes_any_certificate() {
    let issued = Authority::new("nobody").issue(&["else.test"]);
    let upstream = TlsUpstream::start(&issued, &[], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.verify = false;
    });
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), upstream.serve_one());
    assert_eq!(outcome.expect("a response").status(), 200);
}

#[tokio::test]
async fn an_upstream_that_asks_is_shown_the_client_certificate() {
    let trust = Trust::new();
    let clients = Authority::new("clients");
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &[], Some(&clients)).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
        proxy.tls.client_certificate = Some(trust.client_certificate(&clients));
    });
    let (outcome, stream) = tokio::join!(ask(&proxy, get("/")), upstream.serve_one());
    assert_eq!(outcome.expect("a response").status(), 200);
    assert!(stream.get_ref().1.peer_certificates().is_some());
}

#[tokio::test]
async fn an_upstream_that_does_not_take_our_certificate_is_502_with_its_alert() {
    let trust = Trust::new();
    let clients = Authority::new("clients");
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &[], Some(&clients)).await;
    for (shown, says) in [
        (None, "CertificateRequired"),
        (Some(Authority::new("others")), "UnknownCA"),
    ] {
        let proxy = proxy_with([upstream.config("localhost")], |proxy| {
            proxy.tls.ca = Some(trust.ca());
            proxy.tls.client_certificate = shown.map(|by| trust.client_certificate(&by));
        });
        let (outcome, accepted) = tokio::join!(ask(&proxy, get("/")), upstream.try_accept());
        assert!(accepted.is_err());
        let refusal = refused(outcome);
        assert_eq!(refusal.reason, Reason::UpstreamConnect);
        assert!(refusal.detail.contains(says), "{}", refusal.detail);
    }
}

#[tokio::test]
async fn what_is_no_tls_is_502_protocol() {
    let upstream = super::scripted::Upstream::start().await;
    let proxy = proxy([local(config::UpstreamScheme::Https, upstream.port())]);
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), async {
        let mut peer = upstream.accept().await;
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer
    });
    let refusal = refused(outcome);
    assert_eq!(refusal.reason, Reason::UpstreamProtocol);
    assert!(refusal.detail.contains("not TLS"), "{}", refusal.detail);
}

#[tokio::test]
async fn a_session_is_resumed() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &[], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    for expected in [
        HandshakeKind::FullWithHelloRetryRequest,
        HandshakeKind::Resumed,
    ] {
        let (outcome, stream) = tokio::join!(ask(&proxy, get("/")), upstream.serve_one());
        outcome.expect("a response");
        let kind = stream.get_ref().1.handshake_kind();
        let full = kind == Some(HandshakeKind::Full);
        assert!(
            kind == Some(expected) || (full && expected != HandshakeKind::Resumed),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_reload_notices_that_a_file_has_changed() {
    let trust = Trust::new();
    let upstream = TlsUpstream::start(&trust.authority.issue(&["localhost"]), &[], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    assert!(!proxy.is_outdated());
    Authority::new("another").write(&trust.ca());
    assert!(proxy.is_outdated());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let trust = Trust::new();
    let pair = trust.client_certificate(&trust.authority);
    let other = Authority::new("other").issue(&["x.test"]);
    let other_key = trust.folder.path().join("other.key");
    std::fs::write(&other_key, &other.key).expect("a key");
    let none = trust.folder.path().join("none.pem");
    let fault = |ca: Option<PathBuf>, pair: Option<config::ClientCertificate>| {
        let settings = config::UpstreamTls {
            ca,
            server_name: None,
            verify: true,
            client_certificate: pair,
        };
        match TlsClients::new(&settings, 1) {
            Ok(_) => panic!("it is taken"),
            Err(error) => error.to_string(),
        }
    };
    let missing = fault(Some(none.clone()), None);
    assert!(missing.contains("none.pem cannot be read"), "{missing}");
    let no_certificate = fault(Some(pair.key.clone()), None);
    assert!(
        no_certificate.contains("holds no certificate"),
        "{no_certificate}"
    );
    let mut mixed = pair.clone();
    mixed.key = other_key;
    let mismatch = fault(None, Some(mixed));
    assert!(
        mismatch.contains("other.key cannot be used with"),
        "{mismatch}"
    );
    let mut keyless = pair;
    keyless.key = keyless.chain.clone();
    let no_key = fault(None, Some(keyless));
    assert!(no_key.contains("holds no private key"), "{no_key}");
}
