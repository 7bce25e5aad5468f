//! HTTP/1 between a hostile client and a hostile upstream: what neither may make of the other's messages, and what no one may
//! have refused in silence.

use std::io::Write;

use crate::http1::bytes;
use crate::support::{Server, Site, Upstream, raw};

/// Heads that hyper would refuse by itself, with a response of its own and no line in the error log, were they to reach it.
const REFUSED_BEFORE_HYPER: &[(&str, &str)] = &[
    // White space that is none (RFC 9110 section 5.6.3).
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: \u{c}chunked~~0~~",
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked\u{c}~~0~~",
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length:\u{c}5~~hello",
        "Header",
    ),
    ("GET / HTTP/1.1~Host: a\u{c}~~", "Header"),
    ("GET / HTTP/1.1~Host: a~X: \u{c}~~", "Header"),
    // Empty lines before the request line.
    ("\r\rGET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    ("~\rGET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    ("~~~~~GET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    // The target (RFC 9112 section 3.2).
    ("GET /a<b HTTP/1.1~Host: a~~", "URL"),
    ("GET /a`b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?a>b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?a\"b HTTP/1.1~Host: a~~", "URL"),
    ("GET /a\u{ff}b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?\u{c3}( HTTP/1.1~Host: a~~", "URL"),
    ("GET ?a HTTP/1.1~Host: a~~", "URL"),
    ("GET */a HTTP/1.1~Host: a~~", "URL"),
    ("GET a/b HTTP/1.1~Host: a~~", "URL"),
    ("GET \\a HTTP/1.1~Host: a~~", "URL"),
    ("GET http:// HTTP/1.1~Host: a~~", "URL"),
    ("GET http:///a HTTP/1.1~Host: a~~", "URL"),
    ("GET http:/a HTTP/1.1~Host: a~~", "URL"),
    ("GET http://a<b/ HTTP/1.1~Host: a~~", "URL"),
    ("GET http://[::1/ HTTP/1.1~Host: [::1]~~", "URL"),
    // A host alone, which would pass for the path `/`.
    ("GET a HTTP/1.1~Host: a~~", "URL"),
    ("GET a:80 HTTP/1.1~Host: a:80~~", "URL"),
    ("OPTIONS a HTTP/1.1~Host: a~~", "URL"),
    // Of these hyper would make a request: they are refused by the seam.
    ("GET * HTTP/1.1~Host: a~~", "URL"),
    ("GET ftp://a/ HTTP/1.1~Host: a~~", "URL"),
];

#[test]
fn what_hyper_would_refuse_in_silence_is_refused_before_it() {
    let server = Site::default().start();
    for (index, (request, reason)) in REFUSED_BEFORE_HYPER.iter().enumerate() {
        let response = raw::exchange(server.http, bytes(request));
        assert_eq!(raw::status(&response), 400, "{request:?}: {response}");
        // A response of our own has a line of text, which hyper's has not.
        assert!(!response.ends_with("\r\n\r\n"), "{request:?}: {response}");
        let lines = server.wait_all_errors(index + 1);
        assert_eq!(
            (&lines[index]["reason"], lines.len()),
            (&(*reason).into(), index + 1),
            "{request:?}"
        );
    }
}

/// A request whose chunks and trailers are as given.
fn chunked(head: &str, body: &str) -> Vec<u8> {
    bytes(&format!(
        "POST / HTTP/1.1~Host: a~Connection: close~{head}Transfer-Encoding: chunked~~{body}"
    ))
}

#[test]
fn a_body_is_refused_for_its_chunks_extensions_all_together() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    });
    let server = proxy(&upstream);
    let body = format!("1;{}~a~", "x".repeat(200)).repeat(100);
    let response = raw::exchange(server.http, chunked("", &body));
    assert_eq!(raw::status(&response), 431, "{response}");
    server.wait_error("RequestLength");
}

#[test]
fn trailers_say_nothing_that_a_head_may_not() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        let mut body = String::new();
        while !body.ends_with("\r\n\r\n") {
            body.push(talk.read_content(1)[0].into());
        }
        assert_eq!(body, "5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n");
        talk.send(bytes(
            "HTTP/1.1 200 OK~Trailer: X-Sum, Connection, Keep-Alive, Upgrade~Transfer-Encoding: chunked~~\
             2~ok~0~X-Sum: 2~Connection: close, X-Gone~X-Gone: 1~Keep-Alive: 1~Upgrade: h2c~~",
        ));
    });
    let server = proxy(&upstream);
    let response = raw::exchange(
        server.http,
        chunked(
            "TE: trailers~Trailer: X-End, X-Forwarded-For, Forwarded, X-Real-IP, Connection, Upgrade, Proxy, X_User, Host~",
            "5~hello~0~X-End: 1~X-Forwarded-For: 6.6.6.6~Forwarded: for=6.6.6.6~X-Real-IP: 6.6.6.6~Connection: close~\
             Upgrade: h2c~Proxy: evil~X_User: root~Host: evil~~",
        ),
    );
    assert_eq!(raw::status(&response), 200, "{response}");
    assert!(
        response.ends_with("2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n"),
        "{response}"
    );
}

/// Responses that two readers could take differently, or that nobody asked for.
const BAD_RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK~Content-Length: 2~Transfer-Encoding: chunked~~2~ok~0~~",
    "HTTP/1.1 200 OK~Content-Length: 2~Transfer-Encoding:~~ok",
    "HTTP/1.1 200 OK~Transfer-Encoding:~~ok",
    "HTTP/1.1 200 OK~Transfer-Encoding: ,~~ok",
    "HTTP/1.1 200 OK~Transfer-Encoding: chunked,~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding: chunked\u{ff}~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding: \u{b}chunked~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding: \"chunked\"~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding: gzip, chunked~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding: chunked~Transfer-Encoding: chunked~~2~ok~0~~",
    "HTTP/1.1 200 OK~Transfer-Encoding : chunked~~2~ok~0~~",
    "HTTP/1.0 200 OK~Transfer-Encoding: chunked~~2~ok~0~~",
    "HTTP/1.1 200 OK~Content-Length: +2~~ok",
    "HTTP/1.1 200 OK~Content-Length: 0x2~~ok",
    "HTTP/1.1 200 OK~Content-Length:~~ok",
    "HTTP/1.1 200 OK~Content-Length: 2, 3~~ok",
    "HTTP/1.1 200 OK~Content-Length : 2~~ok",
    "HTTP/1.1 200 OK~Content-Length: 99999999999999999999~~ok",
    "HTTP/1.1 200 OK~X: a~ folded~Content-Length: 2~~ok",
    "HTTP/1.1 200 OK~X: a\rSet-Cookie: b~Content-Length: 2~~ok",
    "HTTP/1.1 200 OK~X: a\0b~Content-Length: 2~~ok",
    "HTTP/1.1 200 O\0K~Content-Length: 2~~ok",
    "HTTP/1.1 99 No~Content-Length: 2~~ok",
    "HTTP/1.1 2000 OK~Content-Length: 2~~ok",
    "HTTP/2 200 OK~Content-Length: 2~~ok",
    "<html>hello</html>~~",
    "HTTP/1.1 101 Switching Protocols~Connection: upgrade~Upgrade: websocket~~HTTP/1.1 200 OK~Content-Length: 2~~ok",
    "HTTP/1.1 103 Early~Content-Length: 4~~HTTP/1.1 200 OK~Content-Length: 2~~okEVIL",
];

#[test]
fn a_response_that_two_readers_could_take_differently_is_none() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.send(bytes(BAD_RESPONSES[talk.number]));
        // Nothing but the response's own framing tells where it ends.
        talk.read_to_end();
    });
    let server = proxy(&upstream);
    for (index, sent) in BAD_RESPONSES.iter().enumerate() {
        let response = raw::exchange(server.http, GET_AND_CLOSE);
        assert_eq!(raw::status(&response), 502, "{sent:?}: {response}");
        assert_eq!(
            response.matches("HTTP/1.").count(),
            1,
            "{sent:?}: {response}"
        );
        let lines = server.wait_all_errors(index + 1);
        assert_eq!(
            (&lines[index]["reason"], lines.len()),
            (&"Upstream_Protocol".into(), index + 1),
            "{sent:?}"
        );
    }
}

/// Responses that break behind their heads, what the client gets of their content, and the reason in the error log.
const BROKEN_RESPONSES: &[(&str, &str, &str)] = &[
    ("Content-Length: 5~~ok", "ok", "Upstream_Reset"),
    (
        "Transfer-Encoding: chunked~~2~ok~",
        "2~ok~",
        "Upstream_Reset",
    ),
    (
        "Transfer-Encoding: chunked~~2~ok~0~",
        "2~ok~",
        "Upstream_Reset",
    ),
    (
        "Transfer-Encoding: chunked~~2~okX~0~~",
        "2~ok~",
        "Upstream_Protocol",
    ),
    (
        "Transfer-Encoding: chunked~~0x2~ok~0~~",
        "",
        "Upstream_Protocol",
    ),
    (
        "Transfer-Encoding: chunked~~-2~ok~0~~",
        "",
        "Upstream_Protocol",
    ),
    (
        "Transfer-Encoding: chunked~~2;a\nb~ok~0~~",
        "",
        "Upstream_Protocol",
    ),
    (
        "Transfer-Encoding: chunked~~10000000000000002~ok~0~~",
        "",
        "Upstream_Protocol",
    ),
];

#[test]
fn a_response_that_breaks_is_cut_for_the_client_and_told() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        let rest = BROKEN_RESPONSES[talk.number].0;
        talk.send(bytes(&format!("HTTP/1.1 200 OK~{rest}")));
    });
    let server = proxy(&upstream);
    for (index, (sent, expected, reason)) in BROKEN_RESPONSES.iter().enumerate() {
        let response = raw::exchange(server.http, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
        let (_, content) = response.split_once("\r\n\r\n").expect("a head");
        assert_eq!(content.as_bytes(), bytes(expected), "{sent:?}");
        let line = server.wait_all_errors(index + 1).remove(index);
        assert_eq!(line["reason"], *reason, "{sent:?}: {line}");
        assert_eq!(
            (&line["path"], &line["status"], &line["pool"]),
            (&"/cut".into(), &200.into(), &"main".into())
        );
    }
}

/// Responses with something behind them that is not theirs, and what the client gets of them.
const OVERFULL_RESPONSES: &[(&str, &str, &str)] = &[
    ("GET", "HTTP/1.1 200 OK~Content-Length: 2~~okEVIL", "ok"),
    (
        "GET",
        "HTTP/1.1 200 OK~Connection: close~Content-Length: 2~~okEVIL",
        "ok",
    ),
    ("GET", "HTTP/1.1 204 No~Content-Length: 4~~EVIL", ""),
    (
        "GET",
        "HTTP/1.1 204 No~Transfer-Encoding: chunked~~4~EVIL~0~~",
        "",
    ),
    ("GET", "HTTP/1.1 304 No~Content-Length: 4~~EVIL", ""),
    ("HEAD", "HTTP/1.1 200 OK~Content-Length: 4~~EVIL", ""),
    (
        "HEAD",
        "HTTP/1.1 200 OK~Transfer-Encoding: chunked~~4~EVIL~0~~",
        "",
    ),
];

#[test]
fn what_stands_behind_a_response_reaches_nobody() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.send(bytes(OVERFULL_RESPONSES[talk.number].1));
        talk.read_to_end();
    });
    let server = proxy(&upstream);
    // Each request is on the client's one connection, and on a connection of its own to the upstream.
    let mut stream = raw::connect(server.http);
    for (method, sent, expected) in OVERFULL_RESPONSES {
        stream
            .write_all(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .expect("sent");
        let (head, content) = match *method {
            "HEAD" => (raw::read_head(&mut stream), Vec::new()),
            _ => raw::read_response(&mut stream),
        };
        assert!(raw::status(&head) < 400, "{sent:?}: {head}");
        assert_eq!(content, expected.as_bytes(), "{sent:?}");
    }
    drop(stream);
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_pipelined_behind_a_declined_upgrade_is_answered() {
    let server = Site {
        // No timer of the connection wakes it before this test has failed.
        head: "[limits]\nheader_wait = \"90s\"\nidle_connection = \"90s\"".into(),
        handler: "type = \"respond\"\nbody = \"ok\"\ndelay = \"100ms\"".into(),
        ..Site::default()
    }
    .start();
    let good = raw::exchange(server.http, bytes(&format!("{UPGRADE}{GET_AND_CLOSE}")));
    assert_eq!(good.matches("HTTP/1.1 200").count(), 2, "{good}");
    let bad = raw::exchange(
        server.http,
        bytes(&format!("{UPGRADE}GET / HTTP/1.1~Host : a~~")),
    );
    assert_eq!(bad.matches("HTTP/1.1 200").count(), 1, "{bad}");
    assert_eq!(bad.matches("HTTP/1.1 400").count(), 1, "{bad}");
    server.wait_error("Header");
}

#[test]
fn a_declined_upgrade_and_a_response_that_took_its_time_stop_no_timer() {
    for (limits, sent, reason) in [
        (
            "header_wait = \"90s\"\nidle_connection = \"200ms\"",
            UPGRADE,
            "Timer_ConnectionIdle",
        ),
        (
            "header_wait = \"200ms\"\nidle_connection = \"90s\"",
            "GET / HTTP/1.1~Host: a~~GET / HT",
            "Timer_HeaderWait",
        ),
    ] {
        let server = Site {
            head: format!("[limits]\n{limits}"),
            handler: "type = \"respond\"\nbody = \"ok\"\ndelay = \"100ms\"".into(),
            ..Site::default()
        }
        .start();
        let response = raw::exchange_at_once(&server, bytes(sent));
        assert_eq!(response.matches("HTTP/1.1 200").count(), 1, "{response}");
        server.wait_error(reason);
    }
}

#[test]
fn a_response_to_the_request_before_declines_no_upgrade() {
    const FRAME: &str = "\u{81}\u{5}hello~~no head at all~~";
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.send(bytes("HTTP/1.1 200 OK~Content-Length: 0~~"));
        talk.read_head();
        talk.send(bytes(
            "HTTP/1.1 101 Switching Protocols~Connection: upgrade~Upgrade: websocket~~",
        ));
        assert_eq!(talk.read_content(bytes(FRAME).len()), bytes(FRAME));
        talk.send("welcome");
    });
    let server = proxy(&upstream);
    let response = raw::exchange(
        server.http,
        bytes(&format!(
            "GET /1 HTTP/1.1~Host: a~~GET /2 HTTP/1.1~Host: a~Connection: upgrade~Upgrade: websocket~~{FRAME}"
        )),
    );
    assert!(response.ends_with("\r\n\r\nwelcome"), "{response}");
}

#[test]
fn a_line_end_too_many_behind_content_begins_no_request() {
    let server = Site {
        head: "[limits]\nheader_wait = \"100ms\"\nidle_connection = \"400ms\"".into(),
        ..Site::default()
    }
    .start();
    let response = raw::exchange_at_once(
        &server,
        bytes("POST / HTTP/1.1~Host: a~Content-Length: 5~~hello~"),
    );
    assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    server.wait_error("Timer_ConnectionIdle");
    assert_eq!(server.errors().len(), 1);
}

/// Asks to leave HTTP, for what no handler here offers.
const UPGRADE: &str = "GET / HTTP/1.1~Host: a~Connection: upgrade~Upgrade: websocket~~";

const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn proxy(upstream: &Upstream) -> Server {
    Site {
        handler: upstream.handler(),
        ..Site::default()
    }
    .start()
}
