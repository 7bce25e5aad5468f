//! HTTP/2 against hand-written frames, section by section of RFC 9113; and the clients that people use.

use crate::support::frames::*;
use crate::support::{Server, Site, Tool};

fn http2() -> Server {
    Site {
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        ..Site::default()
    }
    .start()
}

/// What a mistake must bring.
#[derive(Debug)]
enum Ends {
    /// The connection ends, with GOAWAY and this code if one could be sent.
    Connection(u32),
    /// The stream is reset with this code, and the connection goes on.
    Stream(u32),
    /// The stream is answered with this status (as HPACK writes it), and the connection goes on.
    Status(&'static str),
    /// Nothing: it is to be ignored.
    Nothing,
}
use Ends::{Connection, Nothing, Status, Stream};

fn head(extra: &[(&str, &str)]) -> Vec<u8> {
    [request("GET", "/"), block(extra)].concat()
}

fn get_with(extra: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(extra))
}

fn get_of(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

fn open_post() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &request("POST", "/"))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Every rule that can be broken from outside: its section, what breaks it, and what that brings.
fn rows() -> Vec<(&'static str, Vec<u8>, Ends)> {
    let m = (":method", "GET");
    let s = (":scheme", "http");
    let a = (":authority", "a");
    let p = (":path", "/");
    vec![
        (
            "4.1 unknown frame types are ignored",
            frame(0xfa, 0xff, 0, b"x"),
            Nothing,
        ),
        (
            "4.1 unknown flags are ignored",
            frame(PING, 0xfe, 0, &[0; 8]),
            Nothing,
        ),
        (
            "4.1 the reserved bit is ignored",
            frame(PING, 0, 0x8000_0000, &[0; 8]),
            Nothing,
        ),
        (
            "4.2 a frame over 16,384 bytes",
            frame(DATA, 0, 1, &[0; 16_385]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "4.3 a header block that cannot be decoded (h2 says PROTOCOL_ERROR for COMPRESSION_ERROR)",
            frame(HEADERS, 5, 1, &[0xff; 20]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "4.3 a frame of another stream inside a header block",
            [frame(HEADERS, 1, 1, &head(&[])), frame(PING, 0, 0, &[0; 8])].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1 DATA on an idle stream",
            frame(DATA, 1, 1, b"x"),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1 RST_STREAM on an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1 WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1 CONTINUATION on an idle stream",
            frame(CONTINUATION, 4, 1, &head(&[])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1.1 an even stream id",
            frame(HEADERS, 5, 2, &head(&[])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1.1 a stream id that decreases",
            [
                frame(HEADERS, 5, 5, &head(&[])),
                frame(HEADERS, 5, 3, &head(&[])),
            ]
            .concat(),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.5 an extension frame inside a header block",
            [frame(HEADERS, 1, 1, &head(&[])), frame(0xfa, 0, 1, b"x")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.1 DATA on stream 0",
            frame(DATA, 1, 0, b"x"),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.1 padding longer than DATA",
            [open_post(), frame(DATA, 1 | PADDED, 1, &[9, 0])].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.2 HEADERS on stream 0",
            frame(HEADERS, 5, 0, &head(&[])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.2 padding longer than HEADERS",
            frame(HEADERS, 5 | PADDED, 1, &[200, 0]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.3 PRIORITY is tolerated",
            frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]),
            Nothing,
        ),
        (
            "6.3 PRIORITY of another length",
            frame(PRIORITY, 0, 1, &[0; 4]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.3 PRIORITY on stream 0",
            frame(PRIORITY, 0, 0, &[0; 5]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.4 RST_STREAM on stream 0",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.4 RST_STREAM of another length",
            [open_post(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.5 SETTINGS ACK with content",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.5 SETTINGS on a stream",
            frame(SETTINGS, 0, 1, &[]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5 SETTINGS of another length",
            frame(SETTINGS, 0, 0, &[0; 5]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.5.2 ENABLE_PUSH that is no boolean",
            frame(SETTINGS, 0, 0, &setting(2, 2)),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5.2 a window of 2^31 (h2 says PROTOCOL_ERROR for FLOW_CONTROL_ERROR)",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE below 16,384",
            frame(SETTINGS, 0, 0, &setting(5, 16_383)),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE above 2^24-1",
            frame(SETTINGS, 0, 0, &setting(5, 1 << 24)),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5.2 unknown settings are ignored",
            frame(SETTINGS, 0, 0, &setting(0xfff, 7)),
            Nothing,
        ),
        (
            "6.6 PUSH_PROMISE from a client",
            frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.7 PING on a stream",
            frame(PING, 0, 1, &[0; 8]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.7 PING of another length",
            frame(PING, 0, 0, &[0; 7]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.8 GOAWAY on a stream",
            frame(GOAWAY, 0, 1, &[0; 8]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.9 WINDOW_UPDATE of 0 on the connection",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.9 WINDOW_UPDATE of another length",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "6.9.1 the connection's window overflows",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.1 a stream's window overflows",
            [
                open_post(),
                frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()),
            ]
            .concat(),
            Stream(FLOW_CONTROL_ERROR),
        ),
        (
            "6.10 CONTINUATION without a header block",
            [
                get_with(&[]),
                frame(CONTINUATION, 4, 1, &block(&[("x", "y")])),
            ]
            .concat(),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.10 CONTINUATION completes a header block",
            [
                frame(HEADERS, 1, 1, &head(&[])),
                frame(CONTINUATION, 4, 1, &block(&[("x", "y")])),
            ]
            .concat(),
            Nothing,
        ),
        (
            "8.1.1 Content-Length that is more than DATA",
            [
                frame(
                    HEADERS,
                    4,
                    1,
                    &[request("POST", "/"), block(&[("content-length", "5")])].concat(),
                ),
                frame(DATA, 1, 1, b"x"),
            ]
            .concat(),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.1 upper case in a name",
            get_with(&[("X-Upper", "y")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.1 a line feed in a value",
            get_with(&[("x", "a\nb")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 connection",
            get_with(&[("connection", "close")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 keep-alive",
            get_with(&[("keep-alive", "5")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 proxy-connection",
            get_with(&[("proxy-connection", "x")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 transfer-encoding",
            get_with(&[("transfer-encoding", "chunked")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 upgrade",
            get_with(&[("upgrade", "x")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 te other than trailers",
            get_with(&[("te", "gzip")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.2.2 te: trailers is allowed",
            get_with(&[("te", "trailers")]),
            Nothing,
        ),
        (
            "8.3 an unknown pseudo-field",
            get_of(&[m, s, a, p, (":x", "y")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3 a pseudo-field of responses",
            get_of(&[m, s, a, p, (":status", "200")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3 a pseudo-field behind a field",
            get_of(&[m, s, a, ("x", "y"), p]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3.1 no :method",
            get_of(&[s, a, p]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3.1 no :scheme",
            get_of(&[m, a, p]),
            Stream(PROTOCOL_ERROR),
        ),
        ("8.3.1 no :path", get_of(&[m, s, a]), Stream(PROTOCOL_ERROR)),
        (
            "8.3.1 an empty :path",
            get_of(&[m, s, a, (":path", "")]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3.1 :method twice",
            get_of(&[m, m, s, a, p]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3.1 :path twice",
            get_of(&[m, s, a, p, p]),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "8.3.1 neither :authority nor Host",
            get_of(&[m, s, p]),
            Status("400"),
        ),
        (
            "8.3.1 Host differs from :authority",
            get_with(&[("host", "b")]),
            Status("400"),
        ),
        (
            "8.3.1 Host equals :authority",
            get_with(&[("host", "a")]),
            Nothing,
        ),
        (
            "8.5 CONNECT",
            get_of(&[(":method", "CONNECT"), (":authority", "a:443")]),
            Status("501"),
        ),
    ]
}

/// Whether a header block begins with this status, by index or written out.
fn has_status(payload: &[u8], status: &str) -> bool {
    let indexed = match status {
        "200" => 0x88,
        "204" => 0x89,
        "400" => 0x8c,
        "404" => 0x8d,
        _ => 0,
    };
    payload.first() == Some(&indexed)
        || payload
            .windows(status.len())
            .any(|window| window == status.as_bytes())
        || payload
            .first()
            .is_some_and(|first| first & 0x40 != 0 && status != "200")
}

#[test]
fn every_rule_of_rfc_9113_that_a_client_can_break_is_kept_and_told() {
    let server = http2();
    for (rule, bytes, ends) in rows() {
        let seen = server.errors().len();
        let mut client = Http2::connect(server.http);
        client.write(&bytes);
        let told = match &ends {
            Connection(code) => {
                // Nothing that is sent behind it is answered.
                client.get(101, "/");
                let goaway = client.next(GOAWAY);
                assert_eq!(goaway.map(|frame| frame.code()), Some(*code), "{rule}");
                assert!(
                    client.next(HEADERS).is_none(),
                    "{rule}: the connection went on"
                );
                1
            }
            Stream(code) => {
                let end = loop {
                    let frame = client
                        .read()
                        .unwrap_or_else(|| panic!("{rule}: closed without a word"));
                    if matches!(frame.kind, RST_STREAM | GOAWAY) {
                        break frame;
                    }
                };
                assert_eq!(end.code(), *code, "{rule}");
                // RFC 9113 section 5.4.1 lets an error of the stream be one of the connection.
                assert!(
                    end.kind == GOAWAY || client.is_served(101),
                    "{rule}: the connection did not go on"
                );
                1
            }
            Status(status) => {
                let headers = client
                    .next(HEADERS)
                    .unwrap_or_else(|| panic!("{rule}: the connection was closed"));
                assert!(
                    has_status(&headers.payload, status),
                    "{rule}: {:?}",
                    headers.payload
                );
                assert!(
                    client.is_served(101),
                    "{rule}: the connection did not go on"
                );
                1
            }
            Nothing => {
                assert!(client.is_served(101), "{rule}");
                0
            }
        };
        drop(client);
        let lines = server.wait_all_errors(seen + told);
        assert_eq!(lines.len(), seen + told, "{rule}: {:?}", &lines[seen..]);
    }
}

#[test]
fn the_preface_is_what_it_must_be() {
    let server = http2();
    let mut client = Http2::bare(server.http);
    client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.frame(PING, 0, 0, &[0; 8]);
    // RFC 9113 section 3.4 lets the server leave GOAWAY out: this may be no HTTP/2 at all.
    assert!(client.next(PING).is_none(), "the connection went on");
    server.wait_error("H2_Protocol");
    // Anything else is HTTP/1, and not good HTTP/1.
    let mut client = Http2::bare(server.http);
    client.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(client.read().is_none() || client.read().is_none());
    server.wait_error("Version_N/S");
}

#[test]
fn a_ping_is_answered_and_settings_are_acknowledged() {
    let server = http2();
    let mut client = Http2::connect(server.http);
    client.frame(PING, 0, 0, b"12345678");
    let pong = client.next(PING).expect("an answer");
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"12345678"[..]));
}

#[test]
fn more_streams_than_are_offered_are_refused() {
    let server = Site {
        http: "protocols = [\"h2\", \"http/1.1\"]".into(),
        handler: "type = \"respond\"\ndelay = \"1h\"".into(),
        ..Site::default()
    }
    .start();
    let mut client = Http2::connect(server.http);
    for stream in 0..129 {
        client.get(1 + 2 * stream, "/");
    }
    let reset = client.next(RST_STREAM).expect("a reset");
    assert_eq!((reset.stream, reset.code()), (257, REFUSED_STREAM));
    assert_eq!(server.wait_all_errors(1)[0]["reason"], "H2_Protocol");
}

#[test]
fn a_smaller_window_holds_the_content_back_and_a_larger_lets_it_go() {
    let server = http2();
    let mut client = Http2::connect(server.http);
    client.frame(SETTINGS, 0, 0, &setting(4, 5));
    client.get(1, "/");
    let first = client.next(DATA).expect("content");
    assert_eq!((&first.payload[..], first.flags), (&b"Hello"[..], 0));
    client.frame(SETTINGS, 0, 0, &setting(4, 10));
    assert_eq!(client.next(DATA).expect("content").payload, b", Wor");
    client.frame(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes());
    let last = client.next(DATA).expect("content");
    assert_eq!((&last.payload[..], last.flags), (&b"ld!"[..], END_STREAM));
}

#[test]
fn too_many_fields_and_too_long_ones_are_431_and_told() {
    let server = http2();
    let mut client = Http2::connect(server.http);
    let crumbs: Vec<(&str, &str)> = vec![("cookie", "a=b"); 101];
    client.write(&get_with(&crumbs));
    assert!(has_status(
        &client.next(HEADERS).expect("an answer").payload,
        "431"
    ));
    server.wait_error("FieldLength");
    let long = "x".repeat(8000);
    let fields: Vec<_> = (0..6)
        .map(|n| (["a", "b", "c", "d", "e", "f"][n], long.as_str()))
        .collect();
    let block = head(&fields);
    let (first, rest) = block.split_at(16_000);
    client.frame(HEADERS, END_STREAM, 3, first);
    let (second, third) = rest.split_at(16_000);
    client.frame(CONTINUATION, 0, 3, second);
    client.frame(CONTINUATION, END_HEADERS, 3, third);
    assert!(has_status(
        &client.next(HEADERS).expect("an answer").payload,
        "431"
    ));
    server.wait_error("RequestLength");
    assert!(client.is_served(5));
}

#[test]
fn tools_of_the_field_see_no_error() {
    let server = http2();
    for url in [
        format!("https://localhost:{}/", server.https),
        format!("http://localhost:{}/", server.http),
    ] {
        let output = Tool::new("h2load")
            .args(["-n20000", "-c10", "-m128"])
            .arg(&url)
            .stdout();
        assert!(
            output.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{url}: {output}"
        );
        assert!(output.contains("20000 2xx"), "{url}: {output}");
    }
    let prior = Tool::curl(&server)
        .args(["--http2-prior-knowledge", "-w", " %{http_version}"])
        .arg(format!("http://localhost:{}/", server.http));
    assert_eq!(prior.stdout(), "Hello, World! 2");
    let head = Tool::curl(&server)
        .args(["--http2", "-I"])
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert!(
        head.contains("content-length: 13") && head.contains("date: "),
        "{head}"
    );
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}
