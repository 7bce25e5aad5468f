//! `portunus show connections`: what each connection does, while it does it.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use super::{admin, show, show_json};
use crate::support::frames::{HEADERS, Http2};
use crate::support::{Server, Site, Upstream, raw, wait_for};

/// What an upstream waits for before it answers.
#[derive(Clone, Default)]
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    fn open(&self) {
        *self.0.0.lock().expect("nobody panics with it") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.0.lock().expect("nobody panics with it");
        let opened = self.0.1.wait_while(open, |open| !*open);
        drop(opened.expect("nobody panics with it"));
    }
}

/// A server with one slot, whose upstream answers when the latch is open.
fn slow_server() -> (Server, Upstream, Latch) {
    let latch = Latch::default();
    let waits = latch.clone();
    let upstream = Upstream::start(move |talk| {
        while talk.read_head().is_some() {
            waits.wait();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = Site {
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        pool: "concurrency = 1\nqueue_length = 7".into(),
        handler: upstream.handler(),
        ..Site::default()
    };
    (site.start(), upstream, latch)
}

/// The connection that has come to do this.
fn doing(server: &Server, what: &str) -> Value {
    wait_for(&format!("a connection that is {what:?}"), || {
        let json = show_json(server, "connections");
        let all = json["connections"].as_array().expect("a list");
        all.iter().find(|it| it["doing"] == what).cloned()
    })
}

#[test]
fn each_connection_says_what_it_does_now_and_what_it_moved() {
    let (server, upstream, latch) = slow_server();
    let mut works = raw::connect(server.http);
    raw::ask(&mut works, "/report?secret=1");
    upstream.head();
    let one = doing(&server, "handler");
    assert_eq!(
        (&one["pool"], &one["requests"]),
        (&"main".into(), &1.into())
    );
    assert_eq!(one["request"]["path"], "/report", "the query is nobody's");
    assert!(
        one["bytes_received"].as_u64().expect("a number") > 20,
        "{one}"
    );
    assert_eq!(one["bytes_sent"], 0);

    let mut queued = raw::connect(server.http);
    raw::ask(&mut queued, "/second");
    let two = doing(&server, "queued");
    assert_eq!((&two["pool"], &two["queued"]), (&"main".into(), &1.into()));
    assert_eq!(two["request"]["path"], "/second");
    let text = show(&server, &["connections"]);
    assert!(text.contains("  handler of pool main, "), "{text}");
    assert!(
        text.contains("  waiting in the queue of pool main, "),
        "{text}"
    );
    assert!(text.contains("/second for "), "{text}");

    let mut half = raw::connect(server.http);
    half.write_all(b"GET / HTTP/1.1\r\nHost:").expect("sent");
    doing(&server, "reading a head");
    let silent = raw::connect(server.https);
    doing(&server, "handshake");

    latch.open();
    assert_eq!(raw::read_response(&mut works).1, b"ok");
    assert_eq!(raw::read_response(&mut queued).1, b"ok");
    half.write_all(b" a\r\n\r\n").expect("sent");
    assert_eq!(raw::read_response(&mut half).1, b"ok");
    wait_for("three connections to be idle", || {
        let json = show_json(&server, "connections");
        let all = json["connections"].as_array().expect("a list").clone();
        let idle = |it: &&Value| it["doing"] == "idle" && it["request"].is_null();
        (all.iter().filter(idle).count() == 3).then_some(())
    });
    let json = show_json(&server, "connections");
    assert!(
        json["connections"][0]["bytes_sent"].as_u64() > Some(30),
        "{json}"
    );
    drop(silent);
}

#[test]
fn a_connection_of_http2_says_how_many_streams_are_open_and_what_the_first_waits_for() {
    let (server, upstream, latch) = slow_server();
    let mut client = Http2::connect(server.http);
    client.get(1, "/one");
    upstream.head();
    client.get(3, "/two");
    client.get(5, "/three");
    let seen = wait_for("three streams", || {
        let one = doing(&server, "queued");
        (one["queued"] == 2).then_some(one)
    });
    assert_eq!(
        (&seen["in_flight"], &seen["with_handlers"]),
        (&3.into(), &1.into())
    );
    assert_eq!(seen["request"]["path"], "/one");
    let text = show(&server, &["connections"]);
    let said = "streams: 3 (2 queued, 1 with handlers), ";
    assert!(text.contains(said), "{text}");
    latch.open();
    for _ in 0..3 {
        assert!(client.next(HEADERS).is_some(), "each is answered");
    }
}

#[test]
fn connections_are_listed_up_to_a_limit_and_by_client() {
    let mut server = Site::default().start();
    // The handshakes with ourselves are connections, too.
    server.wait_rehearsed();
    let mut first = raw::connect(server.http);
    assert_eq!(raw::get(&mut first, "/").0, 200);
    let mut others: Vec<_> = (0..4).map(|_| raw::connect(server.http)).collect();
    for other in &mut others {
        assert_eq!(raw::get(other, "/").0, 200);
    }
    let ask = |arguments: &[&str]| {
        let text = show(&server, &[&["connections", "--json"], arguments].concat());
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let listed = json["connections"].as_array().expect("a list").clone();
        (json["matching"].as_u64(), listed)
    };
    let listed = wait_for("what others had open to be closed", || {
        let (matching, listed) = ask(&["--limit", "1"]);
        (matching == Some(5)).then_some(listed)
    });
    assert_eq!(listed.len(), 1);
    let oldest = first.local_addr().expect("an address").to_string();
    assert_eq!(listed[0]["client"], oldest);
    let (matching, listed) = ask(&["--client", "127.0.0.1"]);
    assert_eq!((matching, listed.len()), (Some(5), 5));
    let (matching, listed) = ask(&["--client", "192.0.2.1"]);
    assert_eq!((matching, listed.len()), (Some(0), 0));
    let text = show(&server, &["connections", "--client", "127.0.0.1"]);
    assert!(text.contains("    Of 127.0.0.1: 5\n"), "{text}");

    let (status, said) = admin(&server, "/v1/connections?limit=many");
    assert_eq!(status, 400, "{said}");
    let (status, said) = admin(&server, "/v1/connections?page=2");
    assert!(status == 400 && said.contains("limit and client"), "{said}");
}

/// U+009B is what terminals take for ESC and a bracket; it is allowed in a target as some clients send it.
#[test]
fn what_a_client_sends_moves_no_cursor() {
    let (server, upstream, latch) = slow_server();
    let mut client = raw::connect(server.http);
    let head = "GET /a\u{9b}2J\u{202e}b HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    upstream.head();
    doing(&server, "handler");
    for arguments in [&["connections"][..], &["connections", "--json"]] {
        let text = show(&server, arguments);
        let obeyed = text.chars().find(|it| it.is_control() && *it != '\n');
        assert_eq!(obeyed, None, "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }
    let one = doing(&server, "handler");
    assert_eq!(
        one["request"]["path"], "/a\u{9b}2J\u{202e}b",
        "JSON says it as it is"
    );
    latch.open();
    assert_eq!(raw::read_response(&mut client).1, b"ok");
}
