//! Which certificate, and which binding, a name leads to.

use std::sync::Arc;

use super::{Setup, ask, client_of, connect, port_of, s_client, shown};
use crate::support::{Server, Tool, raw};

fn folder_of_names() -> Server {
    Setup::new()
        .certificate("www.shop.test", &["www.shop.test"])
        .certificate("_.shop.test", &["*.shop.test"])
        .certificate("_default", &["default.test"])
        .certificate("127.0.0.1", &["127.0.0.1"])
        .binding("127.0.0.1", "*", "")
        .start()
}

#[test]
fn the_certificate_folder_goes_by_name_then_by_wildcard_of_one_label() {
    let server = folder_of_names();
    let by = |name| shown(server.https, &["-servername", name]);
    assert_eq!(by("www.shop.test"), "www.shop.test");
    assert_eq!(by("other.shop.test"), "*.shop.test");
    assert_eq!(by("WWW.Shop.TEST"), "www.shop.test");
    assert_eq!(by("www.shop.test."), "www.shop.test");
    // One label exactly: neither none nor two.
    assert_eq!(by("shop.test"), "alert 112");
    assert_eq!(by("a.b.shop.test"), "alert 112");
    // The default is for clients without a name, not for names without a certificate.
    assert_eq!(by("elsewhere.test"), "alert 112");
    assert_eq!(server.wait_errors("Tls_NoCertificate", 3).len(), 3);
    assert_eq!(server.errors().len(), 3);
}

#[test]
fn a_client_without_a_name_gets_the_certificate_of_the_address_and_failing_that_the_default() {
    let mut server = Setup::new()
        .certificate("_default", &["default.test"])
        .certificate("127.0.0.2", &["127.0.0.2"])
        .binding("127.0.0.1", "*", "")
        .binding("127.0.0.2", "*", "")
        .start();
    assert_eq!(shown(server.https, &["-noservername"]), "default.test");
    let other = port_of(&mut server, "127.0.0.2");
    let said = s_client(&format!("127.0.0.2:{other}"), &["-noservername"], "");
    assert!(said.contains("subject=CN = 127.0.0.2"), "{said}");
    // RFC 6066 section 3 forbids addresses as server names; a client that sends one all the same has named no host.
    let said = s_client(
        &format!("127.0.0.2:{other}"),
        &["-servername", "127.0.0.2"],
        "",
    );
    assert!(said.contains("subject=CN = 127.0.0.2"), "{said}");
}

#[test]
fn without_a_default_a_client_without_a_name_is_told_and_so_is_the_operator() {
    let server = Setup::new()
        .certificate("www.shop.test", &["www.shop.test"])
        .binding("127.0.0.1", "*", "")
        .start();
    assert_eq!(shown(server.https, &["-noservername"]), "alert 112");
    let line = server.wait_error("Tls_NoCertificate");
    assert_eq!(line.get("sni"), None);
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("_default.pem")),
        "{line}"
    );
}

#[test]
fn bindings_of_one_port_each_have_their_own_certificate_and_protocols() {
    let mut setup = Setup::new().certificate("b.test", &["b.test"]);
    setup
        .authority
        .issue(&["a.test"])
        .write(&setup.folder.path().join("own"), "of-a");
    setup.bindings +=
        "[[certificate]]\nname = \"a\"\nchain = \"../own/of-a.pem\"\nkey = \"../own/of-a.key\"\n";
    let server = setup
        .binding(
            "127.0.0.1",
            "a.test",
            "certificate = \"a\"\nprotocols = [\"http/1.1\"]",
        )
        .binding("127.0.0.1", "b.test", "min_version = \"1.3\"")
        .start();
    assert_eq!(shown(server.https, &["-servername", "a.test"]), "a.test");
    assert_eq!(shown(server.https, &["-servername", "b.test"]), "b.test");
    assert_eq!(shown(server.https, &["-servername", "c.test"]), "alert 112");
    let agreed = |name: &str, version: &str| {
        let arguments = ["-servername", name, "-alpn", "h2,http/1.1", version];
        s_client(&format!("127.0.0.1:{}", server.https), &arguments, "")
    };
    assert!(agreed("a.test", "-tls1_2").contains("ALPN protocol: http/1.1"));
    assert!(agreed("b.test", "-tls1_3").contains("ALPN protocol: h2"));
    assert!(agreed("b.test", "-tls1_2").contains("alert protocol version"));
}

#[test]
fn a_host_of_another_certificate_is_misdirected_and_one_that_the_certificate_covers_is_served() {
    let server = Setup::new()
        .certificate("a.test", &["a.test", "b.test"])
        .certificate("b.test", &["b.test"])
        .certificate("c.test", &["c.test"])
        .binding("127.0.0.1", "a.test", "")
        .binding("127.0.0.1", "b.test", "")
        .binding("127.0.0.1", "c.test", "")
        .start();
    let config = Arc::new(client_of(&server, rustls::ALL_VERSIONS));
    let mut stream = connect(&config, ("127.0.0.1", server.https), "a.test").expect("a handshake");
    assert_eq!(raw::status(&ask(&mut stream, "a.test").0), 200);
    assert_eq!(raw::status(&ask(&mut stream, "b.test").0), 200);
    let (head, _) = ask(&mut stream, "c.test");
    assert_eq!(raw::status(&head), 421);
    let line = server.wait_error("MisdirectedRequest");
    assert_eq!(line["sni"], "a.test");
    assert_eq!(line["host"], "c.test");
    assert_eq!(line["status"], 421);
    // No binding at all is another matter.
    assert_eq!(raw::status(&ask(&mut stream, "d.test").0), 400);
}

#[test]
fn a_connection_of_an_old_version_is_no_way_around_a_binding_that_takes_the_new_one_only() {
    let server = Setup::new()
        .certificate("a.test", &["a.test", "b.test"])
        .certificate("b.test", &["b.test"])
        .binding("127.0.0.1", "a.test", "")
        .binding("127.0.0.1", "b.test", "min_version = \"1.3\"")
        .start();
    let here = ("127.0.0.1", server.https);
    let status = |version| {
        let config = Arc::new(client_of(&server, &[version]));
        let mut stream = connect(&config, here, "a.test").expect("a handshake");
        raw::status(&ask(&mut stream, "b.test").0)
    };
    assert_eq!(status(&rustls::version::TLS13), 200);
    assert_eq!(status(&rustls::version::TLS12), 421);
    server.wait_error("MisdirectedRequest");
}

#[test]
fn http2_connections_are_shared_between_hosts_only_as_far_as_the_certificate_goes() {
    let server = Setup::new()
        .certificate("a.test", &["a.test", "b.test"])
        .certificate("b.test", &["b.test"])
        .certificate("c.test", &["c.test"])
        .binding("127.0.0.1", "a.test", "")
        .binding("127.0.0.1", "b.test", "")
        .binding("127.0.0.1", "c.test", "")
        .start();
    let port = server.https;
    let status = |host: &str| {
        Tool::new("curl")
            .args([
                "-sS",
                "--http2",
                "--max-time",
                "100",
                "--noproxy",
                "*",
                "-o",
                "/dev/null",
            ])
            .args(["-w", "%{http_version} %{http_code}", "--cacert"])
            .arg(server.path().join("ca.pem"))
            .arg("--resolve")
            .arg(format!("a.test:{port}:127.0.0.1"))
            .arg("-H")
            .arg(format!("Host: {host}"))
            .arg(format!("https://a.test:{port}/"))
            .stdout()
    };
    assert_eq!(status("a.test"), "2 200");
    assert_eq!(status("b.test"), "2 200");
    assert_eq!(status("c.test"), "2 421");
}

#[test]
fn a_connection_for_the_default_certificate_serves_only_what_that_certificate_covers() {
    let server = Setup::new()
        .certificate("a.test", &["a.test"])
        .certificate("b.test", &["b.test"])
        .certificate("_default", &["a.test"])
        .binding("127.0.0.1", "a.test", "")
        .binding("127.0.0.1", "b.test", "")
        .start();
    let mut config = client_of(&server, rustls::ALL_VERSIONS);
    config.enable_sni = false;
    let config = Arc::new(config);
    let mut stream = connect(&config, ("127.0.0.1", server.https), "a.test").expect("a handshake");
    assert_eq!(raw::status(&ask(&mut stream, "a.test").0), 200);
    assert_eq!(raw::status(&ask(&mut stream, "b.test").0), 421);
}
