//! WebSockets through a proxy, over every version of HTTP.

use serde_json::{Value, json};

use crate::support::{Server, Site, Upstream, WebSocket, WebSocketServer, wait_for};

const VERSIONS: [&str; 3] = ["h1", "h2", "h3"];

fn site(handler: String) -> Site {
    Site {
        head: "[log]\naccess = \"../access.log\"".into(),
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
    assert_eq!(client.does(json!(["binary", 1_000_000])), true);
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
        let expected = [("h1", "http/1.1", 101), ("h2", "h2", 200), ("h3", "h3", 200)][number];
        assert_eq!(line["protocol"], expected.1, "{line}");
        assert_eq!(line["status"], expected.2, "{line}");
        assert_eq!(line["method"], "GET", "{line}");
        for bytes in ["bytes_sent", "bytes_received"] {
            let bytes = line[bytes].as_u64().expect("a number");
            assert!((1_000_000..1_001_000).contains(&bytes), "{line}");
        }
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}
