//! OCSP stapling with OpenSSL's own responder, and with clients that look at the staple: OpenSSL, curl, and quinn over HTTP/3.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::pki::{GOOD, Pki, REVOKED, openssl, sign_request};
use crate::support::{Server, Site, Tool, folder, quic, wait_for};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// Starts a server whose binding of `localhost` shows the certificate.
fn start(pki: Pki, head: &str) -> Server {
    let site = Site {
        head: head.into(),
        ..Site::default()
    };
    Server::start_in(pki.folder, &site.text(), |_| {})
}

/// What `openssl s_client -status` says of a handshake.
fn s_client(server: &Server, arguments: &[&str]) -> String {
    let mut tool = Tool::new("openssl")
        .args(["s_client", "-status", "-servername", "localhost", "-CAfile"])
        .arg(server.path().join("ca.pem"))
        .arg("-connect")
        .arg(format!("127.0.0.1:{}", server.https));
    for argument in arguments {
        tool = tool.arg(argument);
    }
    String::from_utf8_lossy(&tool.output().stdout).into_owned()
}

fn assert_stapled(server: &Server) {
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(server, &[version]);
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
    }
}

fn assert_not_stapled(server: &Server) {
    let said = s_client(server, &[]);
    assert!(said.contains("OCSP response: no response sent"), "{said}");
    assert!(said.contains("Verification: OK"), "{said}");
}

/// curl, which refuses whatever has no good staple.
fn curl(server: &Server) -> Tool {
    Tool::new("curl")
        .args([
            "-sS",
            "--max-time",
            "100",
            "--noproxy",
            "*",
            "--cert-status",
        ])
        .arg("--cacert")
        .arg(server.path().join("ca.pem"))
        .arg(format!("https://localhost:{}/", server.https))
}

/// rustls' own verifier, and the staple that it was shown.
#[derive(Debug)]
struct Looking {
    verifier: Arc<WebPkiServerVerifier>,
    staple: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.staple.lock().expect("nobody has panicked") = staple.to_vec();
        (self.verifier).verify_server_cert(end_entity, intermediates, name, staple, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The staple that a client over HTTP/3 is shown; empty where there is none.
fn staple_over_quic(server: &Server) -> Vec<u8> {
    let pem = fs::read(server.path().join("ca.pem")).expect("the CA");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*pem) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let looking = Arc::new(Looking {
        verifier: verifier.build().expect("a verifier"),
        staple: Mutex::default(),
    });
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&looking) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("a suite");
    quic::block_on(async {
        let config = quinn::ClientConfig::new(Arc::new(tls));
        let (_endpoint, _connection) = quic::handshake_with(server, config, "localhost")
            .await
            .expect("a handshake");
    });
    looking.staple.lock().expect("nobody has panicked").clone()
}

fn kept(server: &Server) -> Option<Vec<u8>> {
    let mut files = fs::read_dir(server.path().join("state/ocsp")).ok()?;
    let file = files.find_map(|entry| {
        let path = entry.ok()?.path();
        (path.extension()? == "der").then_some(path)
    })?;
    fs::read(file).ok()
}

#[test]
fn a_staple_that_openssl_signed_is_shown_over_tcp_and_quic_alike() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD)]);
    pki.issue(7, responder.port, "");
    let mut server = start(pki, "");
    server.wait_lines(" stapled", 1);
    assert_stapled(&server);
    assert_eq!(curl(&server).stdout(), "Hello, World!");
    let kept = wait_for("the file", || kept(&server));
    assert_eq!(staple_over_quic(&server), kept);
    // What was agreed on before is as it was for those who do not ask.
    let said = Tool::new("openssl")
        .args(["s_client", "-servername", "localhost", "-connect"])
        .arg(format!("127.0.0.1:{}", server.https))
        .output();
    assert!(!String::from_utf8_lossy(&said.stdout).contains("OCSP"));
}

#[test]
fn a_staple_of_a_responder_that_the_ca_has_named_is_shown_and_one_of_any_other_is_not() {
    for (usage, is_named) in [("OCSPSigning", true), ("serverAuth", false)] {
        let pki = Pki::new();
        pki.sign(
            "ca",
            "signer",
            2,
            "a responder",
            &format!("extendedKeyUsage={usage}\n"),
        );
        let responder = pki.responder("signer", &[(7, GOOD)]);
        pki.issue(7, responder.port, "");
        let mut server = start(pki, "");
        if is_named {
            server.wait_lines(" stapled", 1);
            assert_stapled(&server);
            assert_eq!(curl(&server).stdout(), "Hello, World!");
        } else {
            let line = server.wait_lines("no OCSP response", 1).remove(0);
            assert!(line.contains("not for OCSP signing"), "{line}");
            assert_not_stapled(&server);
        }
    }
}

#[test]
fn a_staple_outlives_its_responder_a_reload_and_a_restart() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD)]);
    pki.issue(7, responder.port, "");
    let site = Site::default();
    let mut server = Server::start_in(pki.folder, &site.text(), |_| {});
    server.wait_lines(" stapled", 1);
    wait_for("the file", || kept(&server));
    drop(responder);
    assert_stapled(&server);
    assert!(server.reload(&site.text()).contains("reloaded"));
    assert_stapled(&server);

    // The same files under another server.
    let place = folder();
    copy(server.path(), place.path());
    drop(server);
    let server = Server::start_in(place, &site.text(), |_| {});
    assert_stapled(&server);
    assert!(!staple_over_quic(&server).is_empty());
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(copied.expect("cp").success());
}

#[test]
fn a_revoked_certificate_is_an_error_of_the_log_and_has_no_staple() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, REVOKED)]);
    pki.issue(7, responder.port, "");
    let mut server = start(pki, "");
    let line = server.wait_lines("REVOKED", 1).remove(0);
    assert!(line.contains("ERROR"), "{line}");
    assert!(line.contains("localhost.pem"), "{line}");
    assert!(line.contains("keyCompromise"), "{line}");
    assert!(line.contains("2025-01-01"), "{line}");
    assert_not_stapled(&server);
    assert!(!curl(&server).output().status.success());
}

#[test]
fn a_renewed_certificate_gets_a_staple_of_its_own() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD), (8, GOOD)]);
    pki.issue(7, responder.port, "");
    let site = Site::default();
    let renewing = Pki { folder: folder() };
    copy(pki.path(), renewing.path());
    renewing.issue(8, responder.port, "");
    let mut server = Server::start_in(pki.folder, &site.text(), |_| {});
    server.wait_lines(" stapled", 1);
    copy(&renewing.path().join("certs"), &server.path().join("certs"));
    server.wait_lines(" stapled", 2);
    let said = s_client(&server, &[]);
    assert!(said.contains("Serial Number: 08"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
}

#[test]
fn a_start_does_not_wait_for_a_responder_and_a_certificate_that_requires_a_staple_is_told_of() {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pki = Pki::new();
    let port = silent.local_addr().expect("bound").port();
    pki.issue(7, port, "tlsfeature=status_request\n");
    let mut server = start(pki, "");
    assert!(
        server
            .log()
            .contains("requires a staple (must-staple) and has none yet")
    );
    assert_not_stapled(&server);
    let ready = silent.accept();
    assert!(ready.is_ok(), "it is asked all the same");
}

#[test]
fn a_chain_without_its_issuer_is_told_of_and_served() {
    let pki = Pki::new();
    pki.issue(7, 1, "");
    let file = pki.path().join("certs/localhost.pem");
    let chain = fs::read_to_string(&file).expect("the chain");
    let (leaf, _) = chain.split_once("-----END CERTIFICATE-----").expect("PEM");
    fs::write(&file, format!("{leaf}-----END CERTIFICATE-----\n")).expect("the leaf");
    let mut server = start(pki, "");
    let log = server.log();
    assert!(log.contains("no OCSP response is stapled"), "{log}");
    assert!(log.contains("CN=test CA"), "{log}");
    assert_not_stapled(&server);
}

#[test]
fn certificates_that_name_no_responder_are_served_without_a_word() {
    let mut server = Site::default().start();
    let said = Tool::curl(&server)
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert_eq!(said, "Hello, World!");
    let log = server.log();
    assert!(!log.contains("OCSP") && !log.contains("staple"), "{log}");
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    for thread in threads {
        let name = fs::read_to_string(thread.expect("a thread").path().join("comm"));
        assert_ne!(name.unwrap_or_default().trim(), "ocsp");
    }
    assert!(!server.path().join("state").exists());
}

#[test]
fn a_binding_may_do_without() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD)]);
    pki.issue(7, responder.port, "");
    let other = "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.2\"\nport = 0\nhostname = \"localhost\"\n\
                 ocsp_stapling = false\nsite = \"main\"\n";
    let mut server = start(pki, other);
    server.wait_lines(" stapled", 1);
    assert_stapled(&server);
    let log = server.log();
    let (_, rest) = log
        .split_once("https://127.0.0.2:")
        .expect("where it listens");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let said = Tool::new("openssl")
        .args([
            "s_client",
            "-status",
            "-servername",
            "localhost",
            "-connect",
        ])
        .arg(format!("127.0.0.2:{digits}"))
        .output();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("OCSP response: no response sent"), "{said}");
}

#[test]
fn a_certificate_that_requires_a_staple_is_told_of_where_stapling_is_off() {
    let pki = Pki::new();
    pki.issue(7, 1, "tlsfeature=status_request\n");
    let mut server = start(pki, "[tls]\nocsp_stapling = false\n");
    let log = server.log();
    assert!(
        log.contains("requires a staple (must-staple) and can have none"),
        "{log}"
    );
    assert!(log.contains("ocsp_stapling is false"), "{log}");
    assert_not_stapled(&server);
}

#[test]
fn certificates_of_two_kinds_for_one_name_have_staples_of_their_own() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD), (8, GOOD)]);
    let port = responder.port;
    pki.issue(7, port, "");
    let new = "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout certs/localhost.rsa.key -out rsa.csr";
    openssl(pki.path(), &new.split(' ').collect::<Vec<_>>());
    let extensions = format!(
        "subjectAltName=DNS:localhost\nauthorityInfoAccess=OCSP;URI:http://127.0.0.1:{port}/\n"
    );
    let files = ("rsa.csr".as_ref(), "rsa.pem".as_ref());
    sign_request(pki.path(), "ca", files, 8, &extensions);
    let chain = ["rsa.pem", "ca.pem"].map(|file| fs::read(pki.path().join(file)).expect("a file"));
    fs::write(pki.path().join("certs/localhost.rsa.pem"), chain.concat()).expect("the chain");
    let mut server = start(pki, "");
    server.wait_lines(" stapled", 2);
    for (kind, serial) in [("ECDSA+SHA256", "07"), ("RSA-PSS+SHA256", "08")] {
        let said = s_client(&server, &["-sigalgs", kind]);
        assert!(
            said.contains(&format!("Serial Number: {serial}")),
            "{kind}: {said}"
        );
        assert!(said.contains("Cert Status: good"), "{kind}: {said}");
    }
}
