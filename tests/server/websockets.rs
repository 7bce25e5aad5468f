//! WebSockets through a proxy, over every version of HTTP.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::process::Command;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::support::{Server, Site, Talk, Upstream, WebSocket, WebSocketServer, wait_for};

const VERSIONS: [&str; 3] = ["h1", "h2", "h3"];

fn site(handler: String) -> Site {
    Site {
        head: "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"".into(),
        https: "protocols = [\"http/1.1\", \"h2\", \"h3\"]".into(),
        handler,
        ..Site::default()
    }
}

fn proxy(port: u16) -> Server {
    site(to(port)).start()
}

fn to(port: u16) -> String {
    format!("type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]")
}

/// Lines of the access log, as soon as there are so many.
fn accesses(server: &Server, count: usize) -> Vec<Value> {
    wait_for("lines in the access log", || {
        let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then(|| {
            lines
                .iter()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect()
        })
    })
}

/// Everything that a WebSocket does.
fn talk(client: &mut WebSocket) {
    assert_eq!(client.does(json!(["text", "hello"])), "hello");
    assert_eq!(client.does(json!(["binary", 300_000])), true);
    assert_eq!(client.does(json!(["ping"])), "there?");
    let closed = json!({ "code": 1000, "how": "end" });
    assert_eq!(client.does(json!(["close"])), closed);
}

#[test]
fn a_websocket_works_over_every_version_and_is_logged_at_its_end() {
    let upstream = WebSocketServer::start();
    let server = proxy(upstream.port);
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let mut client = WebSocket::opened(&server, version, "/chat?room=1");
        talk(&mut client);
        let line = accesses(&server, number + 1).remove(number);
        let expected = [
            ("h1", "http/1.1", 101),
            ("h2", "h2", 200),
            ("h3", "h3", 200),
        ][number];
        assert_eq!(line["protocol"], expected.1, "{line}");
        assert_eq!(line["status"], expected.2, "{line}");
        assert_eq!(line["method"], "GET", "{line}");
        for bytes in ["bytes_sent", "bytes_received"] {
            let bytes = line[bytes].as_u64().expect("a number");
            assert!((300_000..301_000).contains(&bytes), "{line}");
        }
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn the_handshake_with_the_upstream_is_that_of_http_1_1_and_has_what_the_client_asks_for() {
    let upstream = WebSocketServer::start();
    let server = proxy(upstream.port);
    for version in ["h2", "h3"] {
        let mut client = WebSocket::new(version);
        let fields = json!([
            ["sec-websocket-version", "13"],
            ["sec-websocket-protocol", "chat"],
            ["origin", "https://localhost"],
            // Ours alone counts.
            ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="],
        ]);
        let head = client.open(&server, "/head", fields);
        assert_eq!(head[":status"], "200", "{head}");
        assert_eq!(head["allowed"], 1, "{head}");
        assert_eq!(head["sec-websocket-protocol"], "chat", "{head}");
        for gone in ["sec-websocket-accept", "upgrade", "connection"] {
            assert_eq!(head[gone], Value::Null, "{head}");
        }
        let asked = client.does(json!(["heard"]));
        let asked: Value = serde_json::from_str(asked.as_str().expect("text")).expect("JSON");
        assert_eq!(asked["upgrade"], "websocket", "{asked}");
        assert_eq!(asked["connection"], "upgrade", "{asked}");
        assert_eq!(asked["sec-websocket-version"], "13", "{asked}");
        assert_eq!(asked["origin"], "https://localhost", "{asked}");
        assert_eq!(asked["x-forwarded-proto"], "https", "{asked}");
        let key = asked["sec-websocket-key"].as_str().expect("a key");
        assert_eq!(key.len(), 24, "{key}");
        assert_ne!(key, "AAAAAAAAAAAAAAAAAAAAAA==");
        talk(&mut client);
    }
}

#[test]
fn a_websocket_goes_to_an_upstream_of_https_over_http_1_1() {
    let upstream = WebSocketServer::start();
    let behind = proxy(upstream.port);
    let server = site(format!(
        "type = \"proxy\"\nupstreams = [\"https://localhost:{}\"]\ntls = {{ ca = {:?} }}",
        behind.https,
        behind.ca()
    ))
    .start();
    talk(&mut WebSocket::opened(&server, "h2", "/"));
    let line = accesses(&behind, 1).remove(0);
    assert_eq!(line["protocol"], "http/1.1", "{line}");
}

#[test]
fn what_opens_no_websocket_is_refused_with_its_reason() {
    let declining = Upstream::start(|talk| {
        talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let lying = Upstream::start(|talk| {
        talk.answer_all(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
    });
    let mut clients = ["h2", "h3"].map(|version| (version, WebSocket::new(version)));
    let respond = "type = \"respond\"".to_owned();
    let h2c = "type = \"proxy\"\nupstreams = [\"h2c://127.0.0.1:9\"]".to_owned();
    for (handler, status, reason, why) in [
        (to(declining.port), "501", "N/I", "opens none"),
        (
            to(lying.port),
            "502",
            "Upstream_Protocol",
            "Sec-WebSocket-Accept",
        ),
        (h2c, "501", "N/I", "does not speak"),
    ] {
        let server = site(handler.clone()).start();
        for (number, (version, client)) in clients.iter_mut().enumerate() {
            let head = client.open(&server, "/", json!([]));
            assert_eq!(head[":status"], status, "{version} {handler}: {head}");
            let line = server.wait_errors(reason, number + 1).remove(number);
            let detail = line["detail"].as_str().expect("a detail");
            assert!(detail.contains(why), "{line}");
            assert_eq!(line["method"], "GET", "{line}");
        }
    }
    // Nobody is told that he may ask: who asks all the same has broken a rule.
    for handler in [respond, format!("{}\nupgrade = []", to(declining.port))] {
        let server = site(handler).start();
        for (version, client) in &mut clients {
            let head = client.open(&server, "/", json!([]));
            assert_eq!(head[":status"], Value::Null, "{version}: {head}");
        }
    }
}

#[test]
fn an_upstreams_own_refusal_reaches_the_client() {
    let upstream = WebSocketServer::start();
    let server = proxy(upstream.port);
    for version in VERSIONS {
        let fields = json!([["sec-websocket-version", "13"]]);
        let head = WebSocket::new(version).open(&server, "/forbidden", fields);
        assert_eq!(head[":status"], "403", "{version}: {head}");
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn connect_leads_to_websockets_and_nowhere_else() {
    let upstream = WebSocketServer::start();
    let server = proxy(upstream.port);
    for (number, version) in ["h2", "h3"].into_iter().enumerate() {
        let mut client = WebSocket::new(version);
        for protocol in ["connect-udp", "websockets", "WebSocket/13"] {
            let head = client.open_for(protocol, &server, "/", json!([]));
            assert_eq!(head[":status"], "501", "{version} {protocol}: {head}");
        }
        let lines = server.wait_errors("N/I", 3 * (number + 1));
        assert!(
            lines.iter().all(|line| line["method"] == "CONNECT"
                && line["detail"] == "CONNECT asks for another protocol than websocket"),
            "{lines:?}"
        );
        // A length makes no sense there, and a tunnel to elsewhere is not made.
        let fields = json!([["content-length", "5"]]);
        let head = client.open(&server, "/", fields);
        assert_eq!(head[":status"], Value::Null, "{version}: {head}");
    }
}

/// Answers a handshake as RFC 6455 section 4.2.2 has it; what follows is a test's.
fn accept(talk: &mut Talk) {
    let head = talk.read_head().expect("a request");
    let key = (head.lines())
        .find_map(|line| line.strip_prefix("sec-websocket-key: "))
        .expect("a key");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    talk.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        base64(hash.as_ref())
    ));
}

fn base64(bytes: &[u8]) -> String {
    let mut encode = Command::new("base64");
    encode.stdin(std::process::Stdio::piped());
    encode.stdout(std::process::Stdio::piped());
    let mut child = encode.spawn().expect("base64");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(bytes).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("base64 ends");
    String::from_utf8(output.stdout)
        .expect("ASCII")
        .trim()
        .to_owned()
}

#[test]
fn an_end_is_an_end_and_a_break_is_a_break_on_both_sides() {
    let upstream = Upstream::start(|talk| {
        accept(talk);
        match &*talk.read_content(4) {
            // It ends, and hears the client to its end.
            b"end?" => {
                talk.send("bye");
                talk.end();
                let how = talk.how_it_ends();
                talk.tell(how);
            }
            b"rst?" => talk.reset(),
            // The client is the one to act.
            _ => {
                talk.send("yes!");
                let how = talk.how_it_ends();
                talk.tell(how);
            }
        }
    });
    let server = proxy(upstream.port);
    for (version, reset) in [("h2", "reset 8"), ("h3", "reset 0x10c")] {
        let mut client = WebSocket::new(version);
        client.reopen(&server, "/");
        upstream.head();
        client.does(json!(["say", "end?"]));
        assert_eq!(client.does(json!(["hear", 3])), "bye");
        assert_eq!(client.does(json!(["ended"])), "end");
        client.does(json!(["say", "more"]));
        client.does(json!(["end"]));
        assert_eq!(upstream.head(), "more, then the end", "{version}");

        client.reopen(&server, "/");
        upstream.head();
        client.does(json!(["say", "rst?"]));
        assert_eq!(client.does(json!(["ended"])), reset, "{version}");

        for (act, seen) in [("end", ", then the end"), ("reset", ", then a reset")] {
            client.reopen(&server, "/");
            upstream.head();
            client.does(json!(["say", "mine"]));
            assert_eq!(client.does(json!(["hear", 4])), "yes!");
            client.does(json!([act]));
            assert_eq!(upstream.head(), seen, "{version}");
        }
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn a_reload_lets_websockets_be_and_a_drain_waits_for_them_as_long_as_it_may() {
    let upstream = WebSocketServer::start();
    let mut site = site(to(upstream.port));
    site.head += "\n[server]\ndrain_timeout = \"10m\"";
    let mut server = site.start();
    let mut clients = VERSIONS.map(|version| WebSocket::opened(&server, version, "/"));
    // Another handler: the proxy that they go through is that of the old configuration.
    let text = site.text();
    let text = text.replace(&to(upstream.port), "type = \"respond\"");
    let said = server.reload(&text);
    assert!(said.contains("reloaded"), "{said}");
    for client in &mut clients {
        assert_eq!(client.does(json!(["text", "still there?"])), "still there?");
    }
    server.signal("TERM");
    wait_for("the drain", || {
        let error = TcpStream::connect(("127.0.0.1", server.http)).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    let [first, rest @ ..] = &mut clients;
    for client in rest {
        assert_eq!(client.does(json!(["text", "and now?"])), "and now?");
        let closed = json!({ "code": 1000, "how": "end" });
        assert_eq!(client.does(json!(["close"])), closed);
    }
    // It waits for this one, until it is told again.
    assert_eq!(first.does(json!(["text", "still?"])), "still?");
    server.signal("TERM");
    assert_ne!(first.does(json!(["ended"])), Value::Null);
    assert!(server.wait_exit().success());
}

#[test]
fn no_more_is_read_of_an_upstream_than_the_client_takes() {
    let upstream = Upstream::start(|talk| {
        accept(talk);
        let _ = talk.read_content(4);
        let taken = talk.send_while_taken(200 << 20);
        talk.tell(format!("{}", taken >> 20));
    });
    let server = proxy(upstream.port);
    for version in VERSIONS {
        let mut client = WebSocket::opened(&server, version, "/");
        upstream.head();
        let before = server.memory_kib();
        client.does(json!(["say", "flow"]));
        client.stop();
        // What the buffers of two sockets hold, and what a window lets through.
        let taken: u64 = upstream.head().parse().expect("a number");
        assert!(taken < 64, "{version}: {taken} MiB");
        let after = server.memory_kib();
        assert!(after < before + (16 << 10), "{version}: {before} {after}");
    }
}
