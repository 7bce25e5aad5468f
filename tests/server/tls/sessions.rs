//! What a handshake agrees on, and sessions that are resumed.

use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, NamedGroup};
use serde_json::Value;

use super::tickets::write_key;
use super::{Setup, ask, client_of, connect, port_of, s_client};
use crate::support::{Server, raw, wait_for};

fn two_bindings() -> Setup {
    Setup::new()
        .certificate("a.test", &["a.test", "b.test"])
        .certificate("b.test", &["a.test", "b.test"])
        .binding("127.0.0.1", "a.test", "")
        .binding("127.0.0.1", "b.test", "")
        .binding("127.0.0.2", "a.test", "")
}

#[test]
fn a_post_quantum_group_is_agreed_first_and_classic_ones_still_work() {
    let server = two_bindings().start();
    let config = Arc::new(client_of(&server, rustls::ALL_VERSIONS));
    let stream = connect(&config, ("127.0.0.1", server.https), "a.test").expect("a handshake");
    let group = stream.conn.negotiated_key_exchange_group();
    assert_eq!(group.expect("a group").name(), NamedGroup::X25519MLKEM768);
    assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));

    let address = format!("127.0.0.1:{}", server.https);
    for (version, group) in [
        ("-tls1_3", "X25519"),
        ("-tls1_3", "P-256"),
        ("-tls1_3", "P-384"),
        ("-tls1_2", "X25519"),
        ("-tls1_2", "P-256"),
    ] {
        let arguments = ["-servername", "a.test", version, "-groups", group];
        let said = s_client(&address, &arguments, "");
        assert!(said.contains("subject=CN = a.test"), "{group}: {said}");
        let named = match group {
            "P-256" => "ECDH, prime256v1",
            "P-384" => "ECDH, secp384r1",
            other => other,
        };
        assert!(
            said.contains(&format!("Server Temp Key: {named}")),
            "{said}"
        );
    }
    // One that shows a share of a group we do not take, and names one that we do, is asked again (RFC 8446 section 4.1.4).
    let arguments = ["-servername", "a.test", "-groups", "P-521:X25519"];
    let said = s_client(&address, &arguments, "");
    assert!(said.contains("Server Temp Key: X25519"), "{said}");
}

#[test]
fn tls_1_2_is_spoken_with_ephemeral_keys_only() {
    let server = two_bindings().start();
    let arguments = ["-servername", "a.test", "-tls1_2"];
    let said = s_client(&format!("127.0.0.1:{}", server.https), &arguments, "");
    assert!(said.contains("Protocol  : TLSv1.2"), "{said}");
    assert!(said.contains("Cipher    : ECDHE-ECDSA-"), "{said}");
    assert!(said.contains("Extended master secret: yes"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
}

#[test]
fn openssl_resumes_in_both_versions() {
    let server = two_bindings().start();
    let address = format!("127.0.0.1:{}", server.https);
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let session = server.path().join(format!("session{version}"));
        let session = session.to_str().expect("a path");
        let first = [
            "-servername",
            "a.test",
            "-ign_eof",
            version,
            "-sess_out",
            session,
        ];
        let said = s_client(&address, &first, request);
        assert!(said.contains("New, TLS"), "{version}: {said}");
        assert!(said.contains("Hello, World!"), "{version}: {said}");
        let again = [
            "-servername",
            "a.test",
            "-ign_eof",
            version,
            "-sess_in",
            session,
        ];
        let said = s_client(&address, &again, request);
        assert!(said.contains("Reused, TLS"), "{version}: {said}");
        assert!(said.contains("Hello, World!"), "{version}: {said}");
    }
}

/// Sessions that a client would use for any server at all: what an attacker does who wants to carry one elsewhere.
#[derive(Debug)]
struct Anywhere(ClientSessionMemoryCache);

impl Anywhere {
    fn key() -> ServerName<'static> {
        ServerName::try_from("anywhere.test").expect("a name")
    }
}

impl ClientSessionStore for Anywhere {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::key(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::key())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::key());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::key(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::key())
    }
}

/// A client's handshake that has offered the session it was given before, and one request, so that new tickets have come.
pub(super) fn visit(
    config: &Arc<rustls::ClientConfig>,
    address: (&str, u16),
    name: &str,
) -> Option<HandshakeKind> {
    let mut stream = connect(config, address, name).expect("a handshake");
    assert_eq!(raw::status(&ask(&mut stream, name).0), 200);
    stream.conn.handshake_kind()
}

#[test]
fn a_session_resumes_in_its_own_binding_and_in_no_other() {
    resumes_at_home_alone(two_bindings());
}

#[test]
fn bindings_that_share_files_of_ticket_keys_share_no_session() {
    let setup = two_bindings().head("[tls]\nticket_keys = [\"a.key\"]");
    write_key(&setup.folder.path().join("config/a.key"), 1);
    resumes_at_home_alone(setup);
}

fn resumes_at_home_alone(setup: Setup) {
    let mut server = setup.start();
    let here = ("127.0.0.1", server.https);
    let other_address = ("127.0.0.2", port_of(&mut server, "127.0.0.2"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = client_of(&server, &[version]);
        config.resumption = Resumption::store(Arc::new(Anywhere(ClientSessionMemoryCache::new(8))));
        let config = Arc::new(config);
        assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Full));
        assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Resumed));
        // The same name on another address, and then another name on this one, with a certificate that covers both.
        assert_eq!(
            visit(&config, other_address, "a.test"),
            Some(HandshakeKind::Full)
        );
        let _ = visit(&config, here, "a.test");
        assert_eq!(visit(&config, here, "b.test"), Some(HandshakeKind::Full));
    }
    assert_eq!(server.errors(), Vec::<Value>::new());
}

#[test]
fn sessions_outlive_a_reload_until_the_binding_asks_for_something_else() {
    let mut server = two_bindings().start();
    let here = ("127.0.0.1", server.https);
    let config = Arc::new(client_of(&server, &[&rustls::version::TLS13]));
    assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Full));
    let file = server.path().join("config/bindings.toml");
    let text = std::fs::read_to_string(file).expect("the bindings file");
    let said = server.reload(&text.replace("Hello, World!", "Hello again!"));
    assert!(said.contains("reloaded"), "{said}");
    assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Resumed));
    let said = server.reload(&format!("{text}\n[tls]\nmin_version = \"1.3\"\n"));
    assert!(said.contains("reloaded"), "{said}");
    assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Full));
    assert_eq!(visit(&config, here, "a.test"), Some(HandshakeKind::Resumed));
}

pub(super) fn accesses(server: &Server, count: usize) -> Vec<Value> {
    wait_for("lines of the access log", || {
        let text = std::fs::read_to_string(server.path().join("access.log")).unwrap_or_default();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn the_access_log_tells_what_the_handshake_agreed_on() {
    let server = two_bindings()
        .head("[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"")
        .start();
    let here = ("127.0.0.1", server.https);
    let mut config = client_of(&server, &[&rustls::version::TLS13]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    visit(&Arc::new(config), here, "a.test");
    accesses(&server, 1);
    let config = client_of(&server, &[&rustls::version::TLS12]);
    visit(&Arc::new(config), here, "a.test");
    let lines = accesses(&server, 2);
    assert_eq!(lines[0]["sni"], "a.test");
    assert_eq!(lines[0]["alpn"], "http/1.1");
    assert_eq!(lines[0]["tls_version"], "TLSv1.3");
    assert_eq!(lines[0]["cipher"], "TLS_AES_128_GCM_SHA256");
    assert_eq!(lines[0]["tls_resumed"], false);
    assert_eq!(lines[1].get("alpn"), None);
    assert_eq!(lines[1]["tls_version"], "TLSv1.2");
    assert_eq!(
        lines[1]["cipher"],
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    );
}
