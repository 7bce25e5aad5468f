//! `portunus show`.

use std::io::Write;
use std::net::TcpStream;

use super::{show, show_json};
use crate::support::{Site, Tool, Upstream, free_port, raw, wait_for};

#[test]
fn show_service_is_laid_out_as_netsh_lays_it_out() {
    let upstream =
        Upstream::start(|talk| talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let site = Site {
        pool: "concurrency = 5\nqueue_length = 7".into(),
        handler: upstream.handler(),
        ..Site::default()
    };
    let server = site.start();
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let text = show(&server, &["service"]);
    for line in [
        "Snapshot of HTTP service state (Request Queue View):",
        "    Ready: yes",
        "Request queue name: main",
        "    State: Running",
        "    Max active requests: 5",
        "    Max requests: 7",
        "    Active requests: 0",
        "    Requests arrived: 1",
        "    Requests rejected: 0",
        &format!("Binding: http://127.0.0.1:{} *", server.http),
        "        / -> main, requests: 1",
        "    TLS handshakes: 0 (resumed: 0), failed: 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} in\n{text}");
    }
    assert!(
        text.contains(", responses: 1 (0 of 5xx), failures: 0") && text.contains(": up for "),
        "{text}"
    );

    let json = show_json(&server, "service");
    assert_eq!(json["ready"], true);
    let pool = &json["pools"][0];
    assert_eq!(
        (&pool["name"], &pool["arrived"]),
        (&"main".into(), &1.into())
    );
    assert_eq!(pool["upstreams"][0]["state"], "up");
}

#[test]
fn a_pools_only_upstream_that_fails_does_not_read_as_if_it_were_well() {
    let dead = free_port();
    let site = Site {
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{dead}\"]\nretry = {{ wait = \"0s\" }}"
        ),
        ..Site::default()
    };
    let server = site.start();
    assert_eq!(
        show_json(&server, "service")["pools"][0]["upstreams"][0]["failing"],
        false
    );
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 502);
    let text = show(&server, &["service"]);
    let line = text.lines().find(|line| line.contains("failures: 1"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.contains(": up (fails; the pool has no other) for "),
        "{line}"
    );
    assert!(line.contains("last failure: "), "{line}");
    let upstream = &show_json(&server, "service")["pools"][0]["upstreams"][0];
    assert_eq!(
        (&upstream["state"], &upstream["failing"]),
        (&"up".into(), &true.into())
    );
}

#[test]
fn show_bindings_tells_what_came_of_their_requests() {
    let server = Site::default().start();
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let json = show_json(&server, "bindings");
    let binding = &json["bindings"][0];
    assert_eq!(binding["responses"], 2);
    assert_eq!(binding["responses_by_class"]["2xx"], 2);
    assert_eq!(binding["responses_by_pool"]["main"], 2);
    assert_eq!(binding["bytes_sent"], 2 * "Hello, World!".len());
    assert_eq!(binding["routes"][0]["path"], "/");
    assert_eq!(binding["routes"][0]["requests"], 2);
    assert_eq!(json["bindings"][1]["responses"], 0);
    let text = show(&server, &["bindings"]);
    assert!(text.contains("    Responses: 2 (2xx: 2)"), "{text}");
    // A route's requests are those of its site, and it is said that they are.
    assert_eq!(json["bindings"][1]["routes"][0]["requests"], 2);
    assert!(
        text.contains("    Routes of site main, with the requests of all its bindings:\n"),
        "{text}"
    );
}

#[test]
fn show_connections_tells_who_is_connected_and_by_what_protocol() {
    let server = Site::default().start();
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let mut secure = crate::support::tls::connect(&server, &["http/1.1"]);
    secure
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("sent");
    raw::read_response(&mut secure);
    let json = show_json(&server, "connections");
    assert_eq!(json["speaking_http"], 2, "{json}");
    let plain = &json["connections"][0];
    let client = stream.local_addr().expect("an address").to_string();
    assert_eq!(
        (&plain["client"], &plain["protocol"]),
        (&client.into(), &"http/1.1".into())
    );
    let tls = &json["connections"][1]["tls"];
    assert_eq!(
        (&tls["version"], &tls["sni"]),
        (&"TLSv1.3".into(), &"localhost".into())
    );
    let text = show(&server, &["connections"]);
    assert!(text.contains("    Speaking HTTP: 2"), "{text}");
    drop((stream, secure));
    wait_for("connections that are closed to be no more", || {
        let json = show_json(&server, "connections");
        (json["speaking_http"] == 0).then_some(())
    });
}

#[test]
fn show_tls_failures_groups_those_that_are_alike() {
    let server = Site::default().start();
    assert!(show(&server, &["tls-failures"]).contains("no handshake has failed"));
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.https)).expect("a connection");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        raw::read_to_end(&mut stream);
    }
    let url = format!("https://nobody.test:{}/", server.https);
    let to = format!("nobody.test:{}:127.0.0.1", server.https);
    Tool::curl(&server)
        .arg("--resolve")
        .arg(to)
        .arg(url)
        .output();
    server.wait_error("Tls_NoCertificate");
    let json = show_json(&server, "tls-failures");
    let failures = json["failures"].as_array().expect("a list");
    assert_eq!(failures.len(), 2, "{json}");
    assert_eq!(failures[0]["reason"], "Tls_NoCertificate");
    assert_eq!(failures[0]["sni"], "nobody.test");
    assert_eq!(
        (&failures[1]["reason"], &failures[1]["count"]),
        (&"Tls_NotTls".into(), &3.into())
    );
    let text = show(&server, &["tls-failures"]);
    assert!(
        text.contains(
            "Tls_NotTls\n    SNI: (none)\n    Client: 127.0.0.1\n    Over: tcp\n    Count: 3\n"
        ),
        "{text}"
    );
}
