//! HTTP/1 against the raw socket: what is refused, with which status and reason, and what must work.

use std::io::Write;

use crate::support::{Server, Site, Upstream, raw};

/// What is sent, the status that it gets, and the reason in the error log.
type Row = (&'static str, u16, &'static str);

/// Requests that two readers could take differently, or that no reader should take at all. `~` stands for CR LF.
const REFUSED: &[Row] = &[
    // Framing (RFC 9112 section 6).
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 5~Transfer-Encoding: chunked~~0~~",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~Content-Length: 5~~0~~",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 5~Content-Length: 5~~hello",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 5~Content-Length: 6~~hello",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 5, 5~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: +5~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: -5~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 0x5~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 5 5~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length:~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length: 99999999999999999999~~hello",
        400,
        "Number",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: gzip, chunked~~0~~",
        501,
        "N/I",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: identity~~",
        501,
        "N/I",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked, chunked~~0~~",
        501,
        "N/I",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: xchunked~~0~~",
        501,
        "N/I",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding:~~0~~",
        501,
        "N/I",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: \u{b}chunked~~0~~",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~Transfer-Encoding: chunked~~0~~",
        400,
        "Header",
    ),
    (
        "POST / HTTP/1.0~Host: a~Transfer-Encoding: chunked~~0~~",
        400,
        "Header",
    ),
    // Lines and fields (sections 2.2, 5).
    ("GET / HTTP/1.1\rHost: a~~", 400, "Invalid_CR/LF"),
    ("GET / HTTP/1.1~Host: a\rX: b~~", 400, "Invalid_CR/LF"),
    ("GET / HTTP/1.1~Host: a~X: b\r\rc~~", 400, "Invalid_CR/LF"),
    ("GET / HTTP/1.1~Host: a~X: b~ folded~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~X: b~\tfolded~~", 400, "Header"),
    ("GET / HTTP/1.1~ Host: a~~", 400, "Header"),
    ("GET / HTTP/1.1~Host : a~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~X\t: b~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~: b~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~no colon~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~X: b\0c~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~X: b\u{7f}c~~", 400, "Header"),
    ("GET / HTTP/1.1~Host: a~X\u{e9}: b~~", 400, "Header"),
    // The request line (section 3).
    ("GET / HTTP/2.0~Host: a~~", 505, "Version_N/S"),
    ("GET / HTTP/0.9~Host: a~~", 505, "Version_N/S"),
    ("GET / HTTP/1.2~Host: a~~", 505, "Version_N/S"),
    ("GET /~~", 505, "Version_N/S"),
    ("GET / http/1.1~Host: a~~", 400, "BadRequest"),
    ("GET / HTTP/1.1 ~Host: a~~", 400, "BadRequest"),
    ("GET / HTTP/11~Host: a~~", 400, "BadRequest"),
    ("GET  / HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET\t/ HTTP/1.1~Host: a~~", 400, "Verb"),
    ("G@T / HTTP/1.1~Host: a~~", 400, "Verb"),
    ("GET /a#b HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /a\u{1}b HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /%zz HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /a%00b HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /a%2fb HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /a%5cb HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /a/../../b HTTP/1.1~Host: a~~", 400, "URL"),
    ("GET /%c0%ae%c0%ae/ HTTP/1.1~Host: a~~", 400, "URL"),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", 400, "BadRequest"),
    // Host (section 3.2).
    ("GET / HTTP/1.1~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a~Host: a~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host:~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a b~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a,b~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: u@a~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a/b~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a:b~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a:99999~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: a..b~~", 400, "Hostname"),
    ("GET / HTTP/1.1~Host: [::1~~", 400, "Hostname"),
    ("GET http://b/ HTTP/1.1~Host: a~~", 400, "Hostname"),
    ("GET http://a/ HTTP/1.1~~", 400, "Hostname"),
];

/// Bodies that break chunked framing (RFC 9112 section 7.1), and their reasons. They are refused by whoever reads them.
const BROKEN_CHUNKS: &[(&str, u16, &str)] = &[
    ("5\nhello~0~~", 400, "Invalid_CR/LF"),
    ("5~hello\n0~~", 400, "Invalid_CR/LF"),
    ("5~helloX~0~~", 400, "Invalid_CR/LF"),
    ("5\rXhello~0~~", 400, "Invalid_CR/LF"),
    ("5;a\nb~hello~0~~", 400, "Invalid_CR/LF"),
    ("~hello~0~~", 400, "Number"),
    ("-5~hello~0~~", 400, "Number"),
    ("0x5~hello~0~~", 400, "Number"),
    ("5 ~hello~0~~", 400, "Number"),
    ("+5~hello~0~~", 400, "Number"),
    ("1000000000000000~hello", 400, "Number"),
    ("0~X: a\n~", 400, "Invalid_CR/LF"),
    ("0~ X: a~~", 400, "Header"),
    ("0~X : a~~", 400, "Header"),
];

/// What a row says: `~` is CR LF, and a character up to U+00FF is that byte.
pub fn bytes(text: &str) -> Vec<u8> {
    text.replace('~', "\r\n")
        .chars()
        .flat_map(|c| {
            if (c as u32) < 0x100 && c as u32 >= 0x80 {
                vec![c as u8]
            } else {
                c.to_string().into_bytes()
            }
        })
        .collect()
}

#[test]
fn what_two_readers_could_take_differently_is_refused_logged_and_ends_the_connection() {
    let server = Site::default().start();
    for (index, (request, status, reason)) in REFUSED.iter().enumerate() {
        // Were the connection not ended, the second request would be answered.
        let mut sent = bytes(request);
        sent.extend_from_slice(
            b"\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let response = raw::exchange(server.http, sent);
        assert_eq!(raw::status(&response), *status, "{request:?}: {response}");
        assert_eq!(
            response.matches("HTTP/1.1 ").count(),
            1,
            "{request:?}: {response}"
        );
        assert!(
            response
                .to_ascii_lowercase()
                .contains("\r\nconnection: close\r\n"),
            "{request:?}: {response}"
        );
        assert!(
            response.contains("\r\ndate: ") || response.contains("\r\nDate: "),
            "{request:?}: {response}"
        );
        let lines = server.wait_all_errors(index + 1);
        assert_eq!(lines.len(), index + 1, "one line each: {request:?}");
        assert_eq!(
            lines[index]["reason"], *reason,
            "{request:?}: {}",
            lines[index]
        );
    }
}

#[test]
fn broken_chunks_are_refused_and_never_reach_an_upstream() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        let heard = String::from_utf8_lossy(&talk.read_to_end()).into_owned();
        assert!(
            !heard.ends_with("0\r\n\r\n"),
            "a broken body ended well: {heard:?}"
        );
    });
    let server = Site {
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    for (index, (body, status, reason)) in BROKEN_CHUNKS.iter().enumerate() {
        let request = format!("POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked~~{body}");
        let response = raw::exchange(server.http, bytes(&request));
        assert_eq!(raw::status(&response), *status, "{body:?}: {response}");
        let lines = server.wait_all_errors(index + 1);
        assert_eq!(
            (&lines[index]["reason"], lines.len()),
            (&(*reason).into(), index + 1),
            "{body:?}"
        );
    }
}

#[test]
fn what_is_allowed_works() {
    let server = Site::default().start();
    for request in [
        "GET / HTTP/1.1\nHost: a\nConnection: close\n\n",
        "~~GET / HTTP/1.1~Host: a~Connection: close~~",
        "GET http://a/x HTTP/1.1~Host: a~Connection: close~~",
        "GET / HTTP/1.0~~",
        "GET / HTTP/1.0~Host: a~~",
        "GET / HTTP/1.1~Host: a.~Connection: close~~",
        "GET / HTTP/1.1~Host: A:8080~Connection: close~~",
        "GET / HTTP/1.1~Host: [::1]:80~Connection: close~~",
        "GET /?a=b%00 HTTP/1.1~Host: a~Connection: close~~",
        "BREW / HTTP/1.1~Host: a~Connection: close~~",
        "POST / HTTP/1.1~Host: a~Connection: close~Content-Length: 5~~hello",
        "POST / HTTP/1.1~Host: a~Connection: close~Transfer-Encoding: Chunked~~5;x=y~hello~0~T: v~~",
    ] {
        let response = raw::exchange(server.http, bytes(request));
        assert_eq!(raw::status(&response), 200, "{request:?}: {response}");
        assert!(
            response.ends_with("Hello, World!"),
            "{request:?}: {response}"
        );
    }
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn head_is_answered_as_get_without_content_and_options_for_the_server_itself() {
    let server = Site::default().start();
    let response = raw::exchange(
        server.http,
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(
        response
            .to_ascii_lowercase()
            .contains("content-length: 13\r\n"),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\n"), "{response}");
    let response = raw::exchange(
        server.http,
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&response), 204);
    let response = raw::exchange(server.http, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert_eq!(raw::status(&response), 501);
    let response = raw::exchange(
        server.http,
        "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&response), 405);
}

#[test]
fn pipelined_requests_are_answered_in_their_order_and_none_behind_a_bad_one() {
    let server = Site::default().start();
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let hundred = good.repeat(99) + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(
        raw::exchange(server.http, hundred)
            .matches("Hello, World!")
            .count(),
        100
    );
    let response = raw::exchange(
        server.http,
        format!("{good}GET / HTTP/1.1\r\nHost : a\r\n\r\n{good}"),
    );
    let statuses: Vec<_> = response
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &response[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "400"], "{response}");
}

#[test]
fn a_request_that_dribbles_in_is_the_same_request() {
    let server = Site::default().start();
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: v\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = raw::connect(server.http);
        stream.set_nodelay(true).unwrap();
        for byte in request.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(raw::status(&raw::read_to_end(&mut stream)), 200);
    }
}

fn limited(limits: &str) -> Server {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    });
    Site {
        head: format!("[limits]\n{limits}"),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start()
}

#[test]
fn every_limit_of_a_request_has_its_status_and_its_reason() {
    let server = limited(
        "max_request_bytes = \"2KiB\"\nmax_uri_bytes = \"1KiB\"\nmax_header_fields = 10\nmax_body_bytes = \"1KiB\"",
    );
    let long = "x".repeat(1500);
    let fields: String = (0..11).map(|n| format!("X-{n}: y\r\n")).collect();
    for (request, status, reason) in [
        (
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
            "URL_Length",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}{long}\r\n\r\n"),
            431,
            "RequestLength",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
            431,
            "FieldLength",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n".into(),
            413,
            "EntityTooLarge",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n{long}\r\n"
            ),
            413,
            "EntityTooLarge",
        ),
    ] {
        let seen = server.errors().len();
        let response = raw::exchange(server.http, &request);
        assert_eq!(raw::status(&response), status, "{reason}: {response}");
        assert_eq!(server.wait_all_errors(seen + 1)[seen]["reason"], reason);
    }
}

#[test]
fn every_timer_of_a_request_has_its_status_and_its_reason() {
    let server =
        limited("header_wait = \"200ms\"\nidle_connection = \"300ms\"\nentity_body = \"200ms\"");
    let response = raw::exchange_at_once(&server, "GET / HTTP/1.1\r\nHost");
    assert_eq!(raw::status(&response), 408);
    assert_eq!(server.wait_error("Timer_HeaderWait")["status"], 408);
    assert_eq!(
        raw::exchange(server.http, ""),
        "",
        "a client that says nothing is told nothing"
    );
    server.wait_errors("Timer_HeaderWait", 2);
    let response = raw::exchange_at_once(
        &server,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
    );
    assert_eq!(raw::status(&response), 408, "{response}");
    server.wait_error("Timer_EntityBody");
    let server = Site {
        head: "[limits]\nidle_connection = \"200ms\"".into(),
        ..Site::default()
    }
    .start();
    let response = raw::exchange(server.http, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.ends_with("Hello, World!"));
    server.wait_error("Timer_ConnectionIdle");
}

#[test]
fn a_client_is_told_to_go_on_only_when_its_content_is_wanted() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.read_content(5);
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let server = Site {
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    let mut stream = raw::connect(server.http);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert!(
        raw::read_response(&mut stream)
            .0
            .starts_with("HTTP/1.1 100")
    );
    stream.write_all(b"hello").unwrap();
    assert!(
        raw::read_response(&mut stream)
            .0
            .starts_with("HTTP/1.1 200")
    );
    let server = Site {
        head: "[limits]\nmax_body_bytes = 4".into(),
        ..Site::default()
    }
    .start();
    let response = raw::exchange(server.http, head);
    assert_eq!(raw::status(&response), 413, "{response}");
}
