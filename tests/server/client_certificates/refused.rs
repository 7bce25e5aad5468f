//! Who is refused: the alert that the client sees, and the one line that the operator does.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::*;
use crate::support::quic::{Http3, block_on, handshake_with};

/// What openssl says as this client of `own.test`, and the line of the error log.
fn openssl(server: &Server, client: Option<&str>, version: &str) -> (String, Value) {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-ign_eof", "-servername", "own.test", version])
        .args(["-connect", &format!("127.0.0.1:{}", server.https)]);
    if let Some(client) = client {
        let file = |kind: &str| server.path().join(format!("{client}.{kind}"));
        command
            .arg("-cert")
            .arg(file("pem"))
            .arg("-key")
            .arg(file("key"));
    }
    let before = server.errors().len();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is needed (.ci/setup installs it)");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // One whose handshake fails does not read what it should send.
    let _ = stdin.write_all(b"GET / HTTP/1.1\r\nHost: own.test\r\nConnection: close\r\n\r\n");
    let output = child.wait_with_output().expect("openssl ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let line = server.wait_all_errors(before + 1).remove(before);
    assert_eq!(line["reason"], "Tls_ClientCertificate", "{line}");
    assert_eq!(line["sni"], "own.test", "{line}");
    (said, line)
}

#[test]
fn whatever_is_wrong_with_a_certificate_has_its_alert_and_its_sentence() {
    let setup = Setup::new().binding("own.test", REQUIRE_UNREVOKED);
    setup.revoke(&[13]);
    let (server, authority) = setup.start();
    let write = |client: Client, name: &str| client.write(server.path(), name);
    write(client(&authority, "revoked", 13), "revoked");
    write(client(&Authority::new("other CA"), "other", 2), "other");
    let namesake = Authority::new("clients CA");
    write(client(&namesake, "namesake", 3), "namesake");
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    };
    write(client_with(&authority, "expired", 4, expired), "expired");
    let early = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    };
    write(client_with(&authority, "early", 5, early), "early");
    let no_client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    write(client_with(&authority, "server", 6, no_client), "server");

    for (name, alert, sentence) in [
        ("revoked", 44, "(serial 0D) is refused: it has been revoked"),
        ("other", 48, "CN=other CA, which issued it, is no CA in"),
        ("namesake", 51, "it is not signed with its issuer's key"),
        ("expired", 45, "it expired at 2025-01-01T00:00:00Z"),
        ("early", 45, "it is not valid before 2090-01-01T00:00:00Z"),
        ("server", 43, "its extended key usage lacks clientAuth"),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let (said, line) = openssl(&server, Some(name), version);
            let alert = format!("SSL alert number {alert}");
            assert!(said.contains(&alert), "{name} {version}: {said}");
            let detail = line["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(sentence), "{name} {version}: {detail}");
            assert_eq!(line["client_subject"], format!("CN={name}"), "{line}");
            assert_eq!(line["client_fingerprint"].as_str().map(str::len), Some(64));
        }
    }
    let (said, line) = openssl(&server, None, "-tls1_3");
    assert!(said.contains("SSL alert number 116"), "{said}");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("the client sent none"), "{detail}");
    assert_eq!(line.get("client_subject"), None);
    let (said, _) = openssl(&server, None, "-tls1_2");
    assert!(said.contains("alert number"), "{said}");
}

#[test]
fn over_http3_it_is_the_same() {
    let setup = Setup::new().binding("own.test", REQUIRE_UNREVOKED);
    setup.revoke(&[13]);
    let (server, authority) = setup.start();
    let revoked = client(&authority, "revoked", 13);
    let other = client(&Authority::new("other CA"), "other", 2);
    let good = client(&authority, "good", 1);
    let tls13 = &rustls::version::TLS13;
    block_on(async {
        for (client, alert) in [(None, 116), (Some(&revoked), 44), (Some(&other), 48)] {
            let before = server.errors().len();
            let config = quic(config(&server, tls13, client));
            let lost = match handshake_with(&server, config, "own.test").await {
                Err(error) => error,
                Ok((_endpoint, connection)) => connection.closed().await,
            };
            let quinn::ConnectionError::ConnectionClosed(close) = &lost else {
                panic!("{lost}");
            };
            assert_eq!(u64::from(close.error_code), 0x100 + alert, "{lost}");
            let line = server.wait_all_errors(before + 1).remove(before);
            assert_eq!(line["reason"], "Tls_ClientCertificate", "{line}");
            assert_eq!(line["protocol"], "quic", "{line}");
            assert_eq!(
                line["client_subject"].is_string(),
                client.is_some(),
                "{line}"
            );
        }
        let config = quic(config(&server, tls13, Some(&good)));
        let (endpoint, connection) = handshake_with(&server, config, "own.test")
            .await
            .expect("a handshake");
        let mut http3 = Http3::over(endpoint, connection).await;
        assert_eq!(http3.get("https://own.test/").await.head.status(), 200);
    });
    assert_eq!(server.errors().len(), 3);
}

#[test]
fn where_a_certificate_is_only_requested_a_client_may_do_without_but_not_with_a_bad_one() {
    let (server, authority) = Setup::new().binding("own.test", REQUEST).start();
    client(&authority, "good", 1).write(server.path(), "good");
    client(&Authority::new("other CA"), "bad", 2).write(server.path(), "bad");
    for protocol in ["--http1.1", "--http2"] {
        let get = |client: Option<&str>| curl(&server, "own.test", client).arg(protocol);
        assert_eq!(get(None).stdout(), "Hello, World!");
        assert_eq!(get(Some("good")).stdout(), "Hello, World!");
        assert!(!get(Some("bad")).output().status.success());
    }
    assert_eq!(server.wait_errors("Tls_ClientCertificate", 2).len(), 2);
}

#[test]
fn a_chain_is_completed_by_what_the_client_sends_along() {
    let (server, authority) = Setup::new().binding("own.test", REQUIRE).start();
    let middle = authority.intermediate("middle CA");
    let mut alice = client(&middle, "alice", 1);
    let alone = config(&server, &rustls::version::TLS13, Some(&alice));
    assert!(visit(&Arc::new(alone), &server, "own.test").is_err());
    let line = server.wait_error("Tls_ClientCertificate");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("CN=middle CA, which issued it"), "{detail}");
    alice
        .chain
        .extend(rustls_pemfile::certs(&mut middle.pem.as_bytes()).map(|der| der.expect("PEM")));
    let whole = config(&server, &rustls::version::TLS13, Some(&alice));
    assert_eq!(visit(&Arc::new(whole), &server, "own.test"), Ok(200));
}
