//! The reverse proxy: what reaches an upstream, what comes back, and every way in which an upstream can fail.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use crate::support::{Server, Site, Upstream, free_port, raw};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn proxy(upstream: &Upstream, keys: &str) -> Server {
    Site {
        handler: format!("{}\n{keys}", upstream.handler()),
        ..Site::default()
    }
    .start()
}

fn get(server: &Server, path: &str) -> String {
    raw::exchange(
        server.http,
        format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"),
    )
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[test]
fn an_upstream_is_told_of_the_client_and_a_client_is_never_believed() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&upstream, "");
    let request = "GET /a/b?c=d HTTP/1.1\r\nHost: shop.test:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
                   Forwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nProxy: http://evil\r\n\
                   X_Under: 1\r\nX.Dot: 1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\n\
                   Proxy-Connection: close\r\nX-End: 1\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.http, request)), 200);
    let head = upstream.head();
    assert!(head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some("shop.test:8080"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("shop.test:8080"));
    assert_eq!(
        field(&head, "forwarded"),
        Some("for=127.0.0.1;host=\"shop.test:8080\";proto=http")
    );
    assert_eq!(field(&head, "via"), Some("1.1 portunus"));
    assert_eq!(field(&head, "te"), Some("trailers"));
    assert_eq!(field(&head, "x-end"), Some("1"));
    for gone in [
        "x-real-ip",
        "proxy",
        "x_under",
        "x.dot",
        "x-hop",
        "keep-alive",
        "proxy-connection",
    ] {
        assert_eq!(field(&head, gone), None, "{gone} in {head}");
    }
    assert!(
        !head.contains("6.6.6.6") && !head.contains("evil"),
        "{head}"
    );
}

#[test]
fn a_client_cannot_have_the_proxys_own_fields_taken_out() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&upstream, "");
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close, host, x-forwarded-for, content-length\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.http, request)), 200);
    let head = upstream.head();
    assert_eq!(field(&head, "host"), Some("shop.test"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn framing_is_made_anew_and_bare_line_feeds_are_not_passed_on() {
    let upstream = Upstream::start(|talk| {
        while let Some(head) = talk.read_head() {
            assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
            let chunked = field(&head, "transfer-encoding").is_some();
            let sent = if chunked {
                String::from_utf8(talk.read_content(15)).unwrap()
            } else {
                String::new()
            };
            talk.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sent}",
                sent.len()
            ));
        }
    });
    let server = proxy(&upstream, "");
    let response = raw::exchange(
        server.http,
        "POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: chunked\nConnection: close\n\n00005;ext=1\r\nhello\r\n0\r\n\r\n",
    );
    assert!(response.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{response}");
    let head = upstream.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(field(&head, "content-length"), None);
}

#[test]
fn a_path_reaches_the_upstream_as_it_was_routed() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&upstream, "");
    for (asked, passed) in [
        ("/caf%C3%A9/%2B?x=%2F", "/caf%C3%A9/%2B?x=%2F"),
        ("/a//../b", "/b"),
        ("/a/./b/%2e%2e/c%20d?q", "/a/c%20d?q"),
        ("/%2525", "/%2525"),
    ] {
        assert_eq!(raw::status(&get(&server, asked)), 200, "{asked}");
        assert!(
            upstream
                .head()
                .starts_with(&format!("GET {passed} HTTP/1.1\r\n")),
            "{asked}"
        );
    }
}

#[test]
fn connections_to_the_upstream_are_kept() {
    let upstream = Upstream::start(|talk| {
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}",
            talk.number
        );
        talk.answer_all(&response);
    });
    let server = Site {
        head: "[server]\nthreads = 1".into(),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    for _ in 0..5 {
        assert!(get(&server, "/").ends_with("\r\n\r\n0"));
    }
}

#[test]
fn a_kept_connection_that_the_upstream_closed_is_no_failure() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.send(OK);
    });
    let server = Site {
        head: "[server]\nthreads = 1".into(),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    for _ in 0..20 {
        assert_eq!(raw::status(&get(&server, "/")), 200);
    }
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn an_upstream_that_cannot_be_connected_to_is_502_and_the_next_one_is_tried() {
    let gone = free_port();
    let handler = format!("type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{gone}\"]");
    let server = Site {
        handler,
        ..Site::default()
    }
    .start();
    assert_eq!(raw::status(&get(&server, "/")), 502);
    assert!(
        server.wait_error("Upstream_Connect")["detail"]
            .as_str()
            .unwrap()
            .contains(&gone.to_string())
    );

    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let both = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{gone}\", \"http://127.0.0.1:{}\"]",
        upstream.port
    );
    let server = Site {
        handler: both,
        ..Site::default()
    }
    .start();
    for _ in 0..4 {
        assert_eq!(raw::status(&get(&server, "/")), 200);
    }
}

#[test]
fn websockets_pass_both_ways() {
    let upstream = Upstream::start(|talk| {
        let head = talk.read_head().unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        talk.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwelcome");
        let heard = talk.read_content(5);
        talk.send(heard);
    });
    let server = proxy(&upstream, "");
    let mut client = raw::connect(server.http);
    // What follows the head at once must not be taken for another request.
    client
        .write_all(b"GET /chat HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhel")
        .unwrap();
    let (head, _) = raw::read_response(&mut client);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    client.write_all(b"lo").unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "welcomehello");
}

#[test]
fn an_upgrade_that_is_declined_leaves_http_going_on() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&upstream, "");
    let response = raw::exchange(
        server.http,
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
         GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(response.matches("HTTP/1.1 200").count(), 2, "{response}");
}

#[test]
fn a_unix_socket_is_an_upstream_too() {
    let folder = crate::support::folder();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut room = [0; 4096];
        let _ = stream.read(&mut room).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"unix:{}\"]",
        path.display()
    );
    let text = Site {
        handler,
        ..Site::default()
    }
    .text();
    let server = Server::start_in(folder, &text, |_| {});
    assert!(get(&server, "/").ends_with("ok"));
}
