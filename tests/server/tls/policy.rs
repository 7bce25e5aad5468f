//! What a binding lets clients agree on.

use super::sessions::accesses;
use super::{Setup, s_client};
use crate::support::quic::{Http3, block_on};
use crate::support::{Server, Site};

fn setup() -> Setup {
    let hosts = ["a.test", "b.test", "c.test"];
    let mut setup = Setup::new();
    for host in hosts {
        setup = setup.certificate(host, &[host]);
    }
    setup
        .binding("127.0.0.1", "a.test", "")
        .binding(
            "127.0.0.1",
            "b.test",
            "groups = [\"secp384r1\"]\n\
             cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\"]",
        )
        .binding(
            "127.0.0.1",
            "c.test",
            "protocols = [\"h2\"]\ncipher_suites = [\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]",
        )
}

fn said(server: &Server, name: &str, arguments: &[&str]) -> String {
    let arguments = [&["-servername", name, "-alpn", "h2"], arguments].concat();
    s_client(&format!("127.0.0.1:{}", server.https), &arguments, "")
}

#[test]
fn a_binding_agrees_on_what_it_names_and_its_neighbour_on_all_that_there_is() {
    let server = setup().start();
    for (name, version, cipher, group) in [
        ("a.test", "-tls1_3", "TLS_AES_128_GCM_SHA256", "X25519"),
        (
            "a.test",
            "-tls1_2",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "X25519",
        ),
        (
            "b.test",
            "-tls1_3",
            "TLS_AES_128_GCM_SHA256",
            "ECDH, secp384r1",
        ),
        (
            "b.test",
            "-tls1_2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDH, secp384r1",
        ),
        (
            "c.test",
            "-tls1_2",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "X25519",
        ),
    ] {
        let said = said(&server, name, &[version]);
        assert!(
            said.contains(&format!("Cipher is {cipher}\n")),
            "{name} {version}: {said}"
        );
        assert!(
            said.contains(&format!("Server Temp Key: {group}")),
            "{name} {version}: {said}"
        );
    }
    for (name, arguments, alert) in [
        ("b.test", ["-tls1_3", "-groups", "X25519"], 40),
        (
            "b.test",
            ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
            40,
        ),
        ("c.test", ["-tls1_3", "-groups", "X25519"], 70),
    ] {
        let said = said(&server, name, &arguments);
        assert!(
            said.contains(&format!("SSL alert number {alert}")),
            "{name}: {said}"
        );
    }
}

#[test]
fn the_first_suite_of_the_bindings_list_is_agreed_on_whatever_a_client_prefers() {
    let keys = "cipher_suites = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_AES_128_GCM_SHA256\", \
                \"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let server = Setup::new()
        .certificate("a.test", &["a.test"])
        .binding("127.0.0.1", "a.test", keys)
        .start();
    let later = said(
        &server,
        "a.test",
        &[
            "-ciphersuites",
            "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
        ],
    );
    assert!(
        later.contains("Cipher is TLS_CHACHA20_POLY1305_SHA256\n"),
        "{later}"
    );
    let earlier = said(
        &server,
        "a.test",
        &[
            "-tls1_2",
            "-cipher",
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
        ],
    );
    assert!(
        earlier.contains("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305\n"),
        "{earlier}"
    );
}

#[test]
fn http3_agrees_on_what_the_binding_names_too() {
    let server = Site {
        head: "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"".into(),
        https: "groups = [\"secp384r1\"]\ncipher_suites = [\"TLS_CHACHA20_POLY1305_SHA256\", \
                \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]"
            .into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        client.get("https://localhost/").await;
    });
    let line = &accesses(&server, 1)[0];
    assert_eq!(line["protocol"], "h3");
    assert_eq!(line["cipher"], "TLS_CHACHA20_POLY1305_SHA256");
}

#[test]
fn a_client_that_falls_back_without_need_is_told_so() {
    let server = setup().start();
    let fallen = said(&server, "a.test", &["-tls1_2", "-fallback_scsv"]);
    assert!(fallen.contains("SSL alert number 86"), "{fallen}");
    let error = server.wait_error("Tls_NoCommonVersion");
    assert_eq!(error["tls_version"], "TLSv1.2");
    assert!(
        error["detail"]
            .as_str()
            .is_some_and(|said| said.contains("TLS_FALLBACK_SCSV")),
        "{error}"
    );
    // Where TLS 1.2 is the most that there is, it is no fall; and nobody falls with TLS 1.3.
    for (name, version) in [("c.test", "-tls1_2"), ("a.test", "-tls1_3")] {
        let agreed = said(&server, name, &[version, "-fallback_scsv"]);
        assert!(agreed.contains(&format!("subject=CN = {name}")), "{agreed}");
    }
}
