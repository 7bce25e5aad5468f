//! What changes while a server runs: lists of revoked certificates, CAs, and time.

use std::time::SystemTime;

use rustls::{HandshakeKind, SupportedProtocolVersion};

use super::*;
use crate::support::quic::{Http3, block_on, handshake_with};
use crate::support::wait_for;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Puts a list in the place of the server's, as tools do that mean well: whole, and at once. Nobody tells the server.
fn put(server: &Server, list: &str) {
    let file = server.path().join("clients.crl");
    let fresh = server.path().join("clients.crl.new");
    std::fs::write(&fresh, list).expect("a list");
    std::fs::rename(fresh, file).expect("renamed");
}

/// The same, and waits until it is in force.
fn swap(server: &mut Server, list: &str) {
    put(server, list);
    let taken = server.wait_line("CAs of clients taken");
    assert!(taken.is_some(), "{}", server.log());
}

/// Has the server look at its files now, and say what it thinks of them.
fn look(server: &mut Server) -> String {
    let file = server.path().join("config/bindings.toml");
    let said = server.reload(&std::fs::read_to_string(file).expect("the bindings file"));
    assert!(said.contains("reloaded"), "{said}");
    // Told before the end of the reload is.
    let log = server.log();
    let told = log.lines().rfind(|line| line.contains("CAs of clients "));
    told.expect("the server says what it thinks of the files")
        .to_owned()
}

#[test]
fn who_is_revoked_is_out_at_once_and_nobody_else_is() {
    let (mut server, authority) = Setup::new().binding("own.test", REQUIRE_UNREVOKED).start();
    let (alice, bob) = (
        client(&authority, "alice", 13),
        client(&authority, "bob", 14),
    );
    for version in VERSIONS {
        swap(&mut server, &authority.revokes(&[], in_seconds(1000)));
        let alice = Arc::new(config(&server, version, Some(&alice)));
        let bob = Arc::new(config(&server, version, Some(&bob)));
        assert_eq!(visit(&alice, &server, "own.test"), Ok(200));
        let mut alices = connect(&alice, &server, "own.test").expect("a handshake");
        assert_eq!(alices.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(status(&mut alices, "own.test"), 200);
        let mut bobs = connect(&bob, &server, "own.test").expect("a handshake");
        assert_eq!(status(&mut bobs, "own.test"), 200);

        swap(&mut server, &authority.revokes(&[13], in_seconds(1000)));
        assert_eq!(status(&mut alices, "own.test"), 421);
        assert_eq!(status(&mut bobs, "own.test"), 200);
        // She has tickets still; they are of another list.
        let refused = visit(&alice, &server, "own.test").expect_err("she is out");
        assert!(refused.contains("CertificateRevoked"), "{refused}");
        assert_eq!(visit(&bob, &server, "own.test"), Ok(200));
    }
    let line = server.wait_errors("Tls_ClientCertificate", 2).remove(1);
    assert_eq!(line["client_subject"], "CN=alice");
    let line = server.wait_error("MisdirectedRequest");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("has been revoked"), "{detail}");
}

#[test]
fn over_http3_it_is_the_same() {
    let (mut server, authority) = Setup::new().binding("own.test", REQUIRE_UNREVOKED).start();
    let alice = client(&authority, "alice", 13);
    let config = quic(config(&server, &rustls::version::TLS13, Some(&alice)));
    let list = authority.revokes(&[13], in_seconds(1000));
    block_on(async {
        let (endpoint, connection) = handshake_with(&server, config.clone(), "own.test")
            .await
            .expect("a handshake");
        let mut http3 = Http3::over(endpoint, connection).await;
        assert_eq!(http3.get("https://own.test/").await.head.status(), 200);
        swap(&mut server, &list);
        assert_eq!(http3.get("https://own.test/").await.head.status(), 421);
        let lost = match handshake_with(&server, config, "own.test").await {
            Err(error) => error,
            Ok((_endpoint, connection)) => connection.closed().await,
        };
        assert!(
            matches!(&lost, quinn::ConnectionError::ConnectionClosed(close)
            if u64::from(close.error_code) == 0x100 + 44),
            "{lost}"
        );
    });
}

#[test]
fn a_list_that_is_out_of_date_does_not_take_the_place_of_one_that_is_not() {
    let (mut server, authority) = Setup::new().binding("own.test", REQUIRE_UNREVOKED).start();
    let alice = client(&authority, "alice", 13);
    let config = Arc::new(config(&server, &rustls::version::TLS13, Some(&alice)));
    assert_eq!(visit(&config, &server, "own.test"), Ok(200));
    put(&server, &authority.revokes(&[], in_seconds(-5)));
    let said = look(&mut server);
    assert!(
        said.contains("refused; those before stay in force"),
        "{said}"
    );
    assert!(said.contains("client-crl-expired"), "{said}");
    assert_eq!(visit(&config, &server, "own.test"), Ok(200));
    // Nor does one that its CA has not signed, nor half of one, nor none at all.
    let other = Authority::new("clients CA").revokes(&[13], in_seconds(1000));
    put(&server, &other);
    let said = look(&mut server);
    assert!(said.contains("is not signed by that CA"), "{said}");
    put(&server, &other[..other.len() / 2]);
    let said = look(&mut server);
    assert!(said.contains("client-crl-"), "{said}");
    std::fs::remove_file(server.path().join("clients.crl")).expect("a file");
    let said = look(&mut server);
    assert!(said.contains("client-crl-missing"), "{said}");
    assert_eq!(visit(&config, &server, "own.test"), Ok(200));
    swap(&mut server, &authority.revokes(&[13], in_seconds(1000)));
    assert!(visit(&config, &server, "own.test").is_err());
}

#[test]
fn a_ca_that_is_added_or_taken_away_counts_at_once() {
    let (mut server, own) = Setup::new().binding("own.test", REQUIRE).start();
    let other = Authority::new("other CA");
    let (alice, bob) = (client(&own, "alice", 1), client(&other, "bob", 1));
    let tls13 = &rustls::version::TLS13;
    let alice = Arc::new(config(&server, tls13, Some(&alice)));
    let bob = Arc::new(config(&server, tls13, Some(&bob)));
    let mut alices = connect(&alice, &server, "own.test").expect("a handshake");
    assert_eq!(status(&mut alices, "own.test"), 200);
    assert!(visit(&bob, &server, "own.test").is_err());
    for (cas, answers) in [
        (own.pem.clone() + &other.pem, 200),
        (other.pem.clone(), 421),
    ] {
        std::fs::write(server.path().join("clients.pem"), cas).expect("the CAs");
        let taken = server.wait_line("CAs of clients taken");
        assert!(taken.is_some(), "{}", server.log());
        assert_eq!(visit(&bob, &server, "own.test"), Ok(200));
        assert_eq!(status(&mut alices, "own.test"), answers);
    }
    assert!(visit(&alice, &server, "own.test").is_err());
}

#[test]
fn a_list_that_goes_out_of_date_while_it_is_in_force_lets_nobody_in() {
    let setup = Setup::new().binding("own.test", REQUIRE_UNREVOKED);
    let list = setup.clients.revokes(&[], in_seconds(-5));
    std::fs::write(setup.folder.path().join("clients.crl"), list).expect("a list");
    let (server, authority) = setup.start();
    let alice = client(&authority, "alice", 13);
    let config = Arc::new(config(&server, &rustls::version::TLS13, Some(&alice)));
    assert!(visit(&config, &server, "own.test").is_err());
    let line = server.wait_error("Tls_ClientCertificate");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("CN=clients CA in ") && detail.contains("is out of date since"),
        "{detail}"
    );
}

#[test]
fn a_session_is_resumed_no_longer_when_its_certificate_has_expired() {
    let (server, authority) = Setup::new().binding("own.test", REQUIRE).start();
    let end = in_seconds(4);
    let alice = client_with(&authority, "alice", 1, |params| params.not_after = end);
    let configs = VERSIONS.map(|version| Arc::new(config(&server, version, Some(&alice))));
    let mut standing = Vec::new();
    for config in &configs {
        assert_eq!(visit(config, &server, "own.test"), Ok(200));
        let mut stream = connect(config, &server, "own.test").expect("a handshake");
        assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(status(&mut stream, "own.test"), 200);
        standing.push(stream);
    }
    let over_quic = quic(config(&server, &rustls::version::TLS13, Some(&alice)));
    block_on(async {
        let (endpoint, connection) = handshake_with(&server, over_quic.clone(), "own.test")
            .await
            .expect("a handshake");
        let mut http3 = Http3::over(endpoint, connection).await;
        assert_eq!(http3.get("https://own.test/").await.head.status(), 200);
    });
    assert_eq!(server.errors().len(), 0);
    wait_for("the certificate to expire", || {
        (SystemTime::now() > SystemTime::from(end) + std::time::Duration::from_secs(1))
            .then_some(())
    });
    for mut stream in standing {
        assert_eq!(status(&mut stream, "own.test"), 421);
    }
    for config in &configs {
        // No alert says so: the session was resumed, and what it brought looked at then.
        let lost = visit(config, &server, "own.test").expect_err("it has expired");
        assert!(!lost.contains("CertificateExpired"), "{lost}");
    }
    block_on(async {
        let lost = match handshake_with(&server, over_quic, "own.test").await {
            Err(error) => error,
            Ok((_endpoint, connection)) => connection.closed().await,
        };
        assert!(
            matches!(&lost, quinn::ConnectionError::ConnectionClosed(close)
            if u64::from(close.error_code) == 0x100 + 45),
            "{lost}"
        );
    });
    for line in server.wait_errors("Tls_ClientCertificate", 3) {
        let detail = line["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("it expired at"), "{detail}");
    }
}
