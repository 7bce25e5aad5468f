//! What handlers, upstreams and logs learn of a client's certificate, and that no client can forge it.

use serde_json::Value;

use super::*;
use crate::support::quic::{Http3, block_on, handshake_with};
use crate::support::{Nginx, Upstream, wait_for};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The fields of a head that tell of certificates, or pretend to.
fn told(head: &str) -> Vec<String> {
    let mut told: Vec<String> = head
        .lines()
        .filter(|line| {
            line.to_ascii_lowercase()
                .replace(['_', '.'], "-")
                .starts_with("client-cert")
        })
        .map(str::to_owned)
        .collect();
    told.sort();
    told
}

/// A DER certificate as a Byte Sequence, by openssl.
fn byte_sequence(server: &Server, der: &[u8]) -> String {
    let file = server.path().join("sequence.der");
    std::fs::write(&file, der).expect("a file");
    let text = Tool::new("openssl")
        .args(["base64", "-A", "-in"])
        .arg(file)
        .stdout();
    format!(":{}:", text.trim())
}

const FORGED: [&str; 6] = [
    "Client-Cert: :Zm9yZ2Vk:",
    "client-cert: :Zm9yZ2Vk:",
    "Client-Cert-Chain: :Zm9yZ2Vk:",
    "Client_Cert: :Zm9yZ2Vk:",
    "Client.Cert: :Zm9yZ2Vk:",
    "Client_Cert-Chain: :Zm9yZ2Vk:",
];

#[test]
fn an_upstream_is_told_of_the_certificate_by_us_alone() {
    let upstream = Upstream::start(|talk| talk.answer_all(EMPTY));
    let (server, authority) = Setup::new()
        .binding("open.test", "")
        .binding("own.test", REQUIRE)
        .binding("asked.test", REQUEST)
        .binding("*", "protocol = \"http\"")
        .handler(&upstream.handler())
        .start();
    let alice = client(&authority, "alice", 1);
    alice.write(server.path(), "alice");
    let field = format!("client-cert: {}", byte_sequence(&server, &alice.chain[0]));
    for protocol in ["--http1.1", "--http2"] {
        for (host, client, tells) in [
            ("open.test", None, false),
            ("open.test", Some("alice"), false),
            ("own.test", Some("alice"), true),
            ("asked.test", None, false),
            ("asked.test", Some("alice"), true),
        ] {
            let mut curl = curl(&server, host, client).arg(protocol);
            for forged in FORGED {
                curl = curl.arg("-H").arg(forged);
            }
            curl.stdout();
            let expected: Vec<String> = tells.then(|| field.clone()).into_iter().collect();
            assert_eq!(
                told(&upstream.head()),
                expected,
                "{protocol} {host} {client:?}"
            );
        }
    }
    let forged = FORGED.join("\r\n");
    raw::exchange(
        server.http,
        format!("GET / HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n{forged}\r\n\r\n"),
    );
    assert_eq!(told(&upstream.head()), Vec::<String>::new());
}

#[test]
fn trailers_are_no_way_in_either() {
    let upstream = Upstream::start(|talk| {
        while talk.read_head().is_some() {
            // `0` and the trailers, up to the empty line that ends them.
            talk.read_head();
            talk.send(EMPTY);
        }
    });
    let (server, _) = Setup::new()
        .binding("*", "protocol = \"http\"")
        .handler(&upstream.handler())
        .start();
    raw::exchange(
        server.http,
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTE: trailers\r\nTrailer: client-cert, client_cert, x-good\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nClient-Cert: :Zm9yZ2Vk:\r\nClient_Cert: :Zm9yZ2Vk:\r\n\
         Client-Cert-Chain: :Zm9yZ2Vk:\r\nX-Good: yes\r\n\r\n",
    );
    let head = upstream.head();
    assert_eq!(told(&head), Vec::<String>::new());
    let rest = upstream.head();
    assert!(!rest.contains("Zm9yZ2Vk"), "{rest}");
    assert!(rest.contains("x-good: yes"), "{rest}");
}

#[test]
fn over_http3_upstreams_are_told_the_same_and_the_chain_where_that_is_asked_for() {
    let upstream = Upstream::start(|talk| talk.answer_all(EMPTY));
    let handler = upstream.handler() + "\nclient_certificate_fields = \"chain\"";
    let (server, authority) = Setup::new()
        .binding("own.test", REQUIRE)
        .handler(&handler)
        .start();
    let middle = authority.intermediate("middle CA");
    let mut alice = client(&middle, "alice", 1);
    let between = rustls_pemfile::certs(&mut middle.pem.as_bytes()).next();
    alice.chain.push(between.expect("a CA").expect("PEM"));
    let mut expected: Vec<String> = ["client-cert", "client-cert-chain"]
        .iter()
        .zip(&alice.chain)
        .map(|(name, der)| format!("{name}: {}", byte_sequence(&server, der)))
        .collect();
    expected.sort();
    block_on(async {
        let config = quic(config(&server, &rustls::version::TLS13, Some(&alice)));
        let (endpoint, connection) = handshake_with(&server, config, "own.test")
            .await
            .expect("a handshake");
        let mut http3 = Http3::over(endpoint, connection).await;
        let mut request = http::Request::get("https://own.test/");
        for forged in FORGED {
            let (name, value) = forged.split_once(": ").expect("a field");
            request = request.header(name, value);
        }
        let request = request.body(()).expect("a request");
        http3.ask(request, &[]).await.expect("a response");
    });
    assert_eq!(told(&upstream.head()), expected);
}

#[test]
fn nginx_behind_reads_what_the_client_has_shown() {
    let nginx =
        Nginx::start("location / { return 200 \"$http_client_cert|$http_client_cert_chain\"; }");
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
        nginx.port
    );
    let (server, authority) = Setup::new()
        .binding("own.test", REQUIRE)
        .handler(&handler)
        .start();
    let alice = client(&authority, "alice", 1);
    alice.write(server.path(), "alice");
    let said = curl(&server, "own.test", Some("alice"))
        .args([
            "-H",
            "Client_Cert: :Zm9yZ2Vk:",
            "-H",
            "Client-Cert-Chain: :Zm9yZ2Vk:",
        ])
        .stdout();
    assert_eq!(
        said,
        format!("{}|", byte_sequence(&server, &alice.chain[0]))
    );
    let quiet = format!("{handler}\nclient_certificate_fields = \"none\"");
    let (server, authority) = Setup::new()
        .binding("own.test", REQUIRE)
        .handler(&quiet)
        .start();
    client(&authority, "alice", 1).write(server.path(), "alice");
    assert_eq!(curl(&server, "own.test", Some("alice")).stdout(), "|");
}

fn accesses(server: &Server, count: usize) -> Vec<Value> {
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
fn the_logs_say_who_it_was() {
    let (server, authority) = Setup::new()
        .binding("own.test", REQUIRE)
        .binding("open.test", "")
        .head("[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"")
        .start();
    let alice = client(&authority, "alice", 1);
    alice.write(server.path(), "alice");
    let said = Tool::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(server.path().join("alice.pem"))
        .stdout();
    let (_, fingerprint) = said.trim().split_once('=').expect("a fingerprint");
    let fingerprint = fingerprint.replace(':', "").to_ascii_lowercase();
    curl(&server, "own.test", Some("alice")).stdout();
    let line = accesses(&server, 1).remove(0);
    assert_eq!(line["client_subject"], "CN=alice");
    assert_eq!(line["client_fingerprint"], fingerprint);
    // What is refused on such a connection is told with the name too.
    curl(&server, "own.test", Some("alice"))
        .args(["-H", "Host: open.test"])
        .stdout();
    let line = server.wait_error("MisdirectedRequest");
    assert_eq!(line["client_subject"], "CN=alice");
    curl(&server, "open.test", None).stdout();
    assert_eq!(accesses(&server, 3)[2].get("client_subject"), None);
}
