//! No way round: a connection that was made for one binding serves no other that asks for more.

use super::*;
use crate::support::quic::{Http3, block_on, handshake_with};

/// `open.test` asks for nothing, `own.test` and `too.test` require the same, `asked.test` requests.
fn four() -> Setup {
    Setup::new()
        .binding("open.test", "")
        .binding("own.test", REQUIRE)
        .binding("too.test", REQUIRE)
        .binding("asked.test", REQUEST)
}

/// Which host is served on a connection that was made for which.
const ANSWERS: [(&str, &str, u16); 9] = [
    ("open.test", "open.test", 200),
    ("open.test", "own.test", 421),
    ("open.test", "asked.test", 421),
    ("own.test", "own.test", 200),
    ("own.test", "too.test", 200),
    ("own.test", "open.test", 421),
    ("own.test", "asked.test", 421),
    ("asked.test", "own.test", 421),
    ("asked.test", "asked.test", 200),
];

#[test]
fn the_name_of_an_open_binding_is_no_way_into_a_closed_one_over_http1() {
    let (server, authority) = four().start();
    let alice = client(&authority, "alice", 1);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(config(&server, version, Some(&alice)));
        for (sni, host, answer) in ANSWERS {
            let mut stream = connect(&config, &server, sni).expect("a handshake");
            assert_eq!(status(&mut stream, host), answer, "{sni} {host}");
        }
    }
    let line = server.wait_error("MisdirectedRequest");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("client certificates"), "{detail}");
}

#[test]
fn nor_over_http2() {
    let (server, authority) = four().start();
    client(&authority, "alice", 1).write(server.path(), "alice");
    for (sni, host, answer) in ANSWERS {
        let said = curl(&server, sni, Some("alice"))
            .args([
                "--http2",
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
            ])
            .arg("-H")
            .arg(format!("Host: {host}"))
            .stdout();
        assert_eq!(said, format!("2 {answer}"), "{sni} {host}");
    }
}

#[test]
fn nor_over_http3() {
    let (server, authority) = four().start();
    let alice = client(&authority, "alice", 1);
    block_on(async {
        for (sni, host, answer) in ANSWERS {
            let config = quic(config(&server, &rustls::version::TLS13, Some(&alice)));
            let (endpoint, connection) = handshake_with(&server, config, sni)
                .await
                .expect("a handshake");
            let mut http3 = Http3::over(endpoint, connection).await;
            let got = http3.get(&format!("https://{host}/")).await;
            assert_eq!(got.head.status(), answer, "{sni} {host}");
        }
    });
}

#[test]
fn nor_is_saying_no_name_at_all() {
    let (server, authority) = four().start();
    let alice = client(&authority, "alice", 1);
    for client in [None, Some(&alice)] {
        let mut config = config(&server, &rustls::version::TLS13, client);
        config.enable_sni = false;
        // The first binding that has a certificate for such a client is the open one.
        let mut stream = connect(&Arc::new(config), &server, "open.test").expect("a handshake");
        assert_eq!(status(&mut stream, "open.test"), 200);
        assert_eq!(status(&mut stream, "own.test"), 421);
        assert_eq!(status(&mut stream, "asked.test"), 421);
    }
}

#[test]
fn nor_is_a_wildcard_or_a_host_below_it() {
    let (server, authority) = Setup::new()
        .binding("*.wild.test", REQUIRE)
        .binding("x.wild.test", "")
        .binding("open.test", "")
        .head("[tls]\ncertificates = \"../wild\"")
        .start_with_folder("wild", "_.wild.test");
    let alice = client(&authority, "alice", 1);
    let none = Arc::new(config(&server, &rustls::version::TLS13, None));
    let with = Arc::new(config(&server, &rustls::version::TLS13, Some(&alice)));
    for sni in ["x.wild.test", "open.test"] {
        for config in [&none, &with] {
            let mut stream = connect(config, &server, sni).expect("a handshake");
            assert_eq!(status(&mut stream, sni), 200);
            assert_eq!(status(&mut stream, "y.wild.test"), 421);
        }
    }
    assert!(visit(&none, &server, "y.wild.test").is_err());
    let mut stream = connect(&with, &server, "y.wild.test").expect("a handshake");
    assert_eq!(status(&mut stream, "y.wild.test"), 200);
    // The exact host asks for less, and that is another thing than what was agreed.
    assert_eq!(status(&mut stream, "x.wild.test"), 421);
}

impl Setup {
    /// With a folder of its own for a wildcard's certificate.
    fn start_with_folder(self, folder: &str, name: &str) -> (Server, Authority) {
        let (from, to) = (
            self.folder.path().join("certs"),
            self.folder.path().join(folder),
        );
        std::fs::create_dir_all(&to).expect("a folder");
        for kind in ["pem", "key"] {
            std::fs::copy(
                from.join(format!("all.{kind}")),
                to.join(format!("{name}.{kind}")),
            )
            .expect("a copy");
        }
        self.start()
    }
}

#[test]
fn a_reload_that_asks_for_more_is_heard_on_connections_that_stand() {
    let setup = Setup::new().binding("own.test", "");
    let open = setup.text();
    let (mut server, authority) = setup.start();
    let alice = client(&authority, "alice", 1);
    let config = Arc::new(config(&server, &rustls::version::TLS13, Some(&alice)));
    let mut before = connect(&config, &server, "own.test").expect("a handshake");
    assert_eq!(status(&mut before, "own.test"), 200);
    let closed = open.replace("hostname", &format!("{REQUIRE}\nhostname"));
    let said = server.reload(&closed);
    assert!(said.contains("reloaded"), "{said}");
    assert_eq!(status(&mut before, "own.test"), 421);
    // The ticket is of a time when nothing was asked.
    let mut after = connect(&config, &server, "own.test").expect("a handshake");
    assert_eq!(
        after.conn.handshake_kind(),
        Some(rustls::HandshakeKind::Full)
    );
    assert_eq!(status(&mut after, "own.test"), 200);
}

#[test]
fn explain_tells_what_is_asked_and_who_may_not_share_a_connection() {
    let (server, _) = four().start();
    let explain = |arguments: &[&str]| {
        let mut tool = Tool::new(env!("CARGO_BIN_EXE_portunus"))
            .arg("-c")
            .arg(server.path().join("config/bindings.toml"))
            .arg("explain");
        for argument in arguments {
            tool = tool.arg(argument);
        }
        let output = tool.output();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let said = explain(&["https://own.test:0/"]);
    assert!(said.contains("client certificate"), "{said}");
    assert!(said.contains("required: issued by a CA of "), "{said}");
    let said = explain(&["https://own.test:0/", "--sni", "open.test"]);
    assert!(said.contains("421, MisdirectedRequest"), "{said}");
    assert!(said.contains("other client certificates"), "{said}");
    assert!(!explain(&["https://open.test:0/"]).contains("client certificate"));
}
