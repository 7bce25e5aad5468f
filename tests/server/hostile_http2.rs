//! What a hostile client does over HTTP/2, and what an honest one must not suffer: frames too small for what is in them,
//! trailers and fields that nobody checks, resets in every way, and answers that overtake an upload.

use crate::support::frames::*;
use crate::support::{Server, Site, Tool, Upstream};

const PRIORITIZED: u8 = 0x20;
const NO_ERROR: u32 = 0;

fn http2() -> Server {
    with("type = \"respond\"\nbody = \"Hello, World!\"", "")
}

fn with(handler: &str, head: &str) -> Server {
    Site {
        head: head.into(),
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        handler: handler.into(),
        ..Site::default()
    }
    .start()
}

fn post(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let block = [request("POST", "/"), block(fields)].concat();
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A request whose fields are more than the server takes.
fn oversized(stream: u32) -> Vec<u8> {
    let part = block(&[("x-long", &"x".repeat(14_000))]);
    [
        frame(HEADERS, END_STREAM, stream, &request("GET", "/")),
        frame(CONTINUATION, 0, stream, &part),
        frame(CONTINUATION, 0, stream, &part),
        frame(CONTINUATION, END_HEADERS, stream, &part),
    ]
    .concat()
}

#[test]
fn a_frame_too_small_for_what_it_must_hold_is_an_error_of_its_size() {
    let server = http2();
    let rows: [(&str, Vec<u8>); 5] = [
        (
            "DATA without its padding's length",
            frame(DATA, PADDED, 1, &[]),
        ),
        ("HEADERS without it", frame(HEADERS, 5 | PADDED, 1, &[])),
        (
            "HEADERS without all of its priority",
            frame(HEADERS, 5 | PRIORITIZED, 1, &[0; 4]),
        ),
        (
            "HEADERS with padding, and without it",
            frame(HEADERS, 5 | PADDED | PRIORITIZED, 1, &[0; 5]),
        ),
        ("GOAWAY without a code", frame(GOAWAY, 0, 0, &[0; 7])),
    ];
    for (what, bytes) in rows {
        let mut client = Http2::connect(server.http);
        client.write(&post(1, &[]));
        client.write(&bytes);
        let goaway = client
            .next(GOAWAY)
            .unwrap_or_else(|| panic!("{what}: no GOAWAY"));
        assert_eq!(goaway.code(), FRAME_SIZE_ERROR, "{what}");
    }
    assert_eq!(server.wait_errors("H2_Protocol", 5).len(), 5);
}

#[test]
fn fields_that_are_too_long_are_told_behind_a_stream_that_was_reset() {
    let server = http2();
    let mut client = Http2::connect(server.http);
    // The request is read together with its reset: there is nothing to answer.
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    client.write(&[get(&[], &[]), reset, oversized(3)].concat());
    assert_eq!(client.next(HEADERS).map(|frame| frame.stream), Some(3));
    server.wait_error("RequestLength");
}

/// A request that is under way for as long as the test lasts, with its content still to come, or without any.
fn open(rest: &[u8]) -> Vec<u8> {
    [&post(1, &[]), rest].concat()
}

/// What must follow: a frame and its code, or nothing.
type Ends = Option<(u8, u32)>;
const FATAL: Ends = Some((GOAWAY, PROTOCOL_ERROR));
const RESET: Ends = Some((RST_STREAM, PROTOCOL_ERROR));

fn get(before: &[u8], behind: &[u8]) -> Vec<u8> {
    let block = [before, &request("GET", "/"), behind].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

fn trailers(flags: u8, name: &str) -> Vec<u8> {
    open(&frame(HEADERS, flags, 1, &block(&[(name, "x")])))
}

fn of_length(lengths: &[&str]) -> Vec<u8> {
    let fields: Vec<_> = lengths
        .iter()
        .map(|length| ("content-length", *length))
        .collect();
    [post(1, &fields), frame(DATA, END_STREAM, 1, b"xx")].concat()
}

/// What a stream's state allows, and what it does not.
fn states() -> Vec<(&'static str, Vec<u8>, Ends)> {
    let window = |by: u32| frame(WINDOW_UPDATE, 0, 1, &by.to_be_bytes());
    let ended = |rest: Vec<u8>| [get(&[], &[]), rest].concat();
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let after_reset = |rest: &[u8]| open(&[&reset, rest].concat());
    let data = frame(DATA, END_STREAM, 1, b"x");
    let padding = frame(DATA, END_STREAM | PADDED, 1, &[3, 0, 0, 0]);
    let both = END_HEADERS | END_STREAM;
    vec![
        ("DATA behind the end", ended(data), FATAL),
        (
            "PRIORITY behind it",
            ended(frame(PRIORITY, 0, 1, &[0; 5])),
            None,
        ),
        ("WINDOW_UPDATE behind it", ended(window(1)), None),
        ("HEADERS behind a reset", after_reset(&get(&[], &[])), FATAL),
        ("WINDOW_UPDATE behind it", after_reset(&window(1)), None),
        ("a second reset", after_reset(&reset), None),
        ("on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]), RESET),
        ("DATA that is all padding", open(&padding), None),
        ("a window of 0", open(&window(0)), FATAL),
        ("unasked ACK", frame(SETTINGS, ACK, 0, &[]).repeat(2), FATAL),
        ("trailers", trailers(both, "x"), None),
        (
            "trailers that do not end",
            trailers(END_HEADERS, "x"),
            RESET,
        ),
        ("trailers of a connection", trailers(both, "upgrade"), RESET),
    ]
}

/// What fields may say, and how HPACK may say it.
fn fields() -> Vec<(&'static str, Vec<u8>, Ends)> {
    let with = |name, value| get(&[], &block(&[(name, value)]));
    let huffman_end = b"\0\x84\xff\xff\xff\xff\x01a";
    let protocol = block(&[(":protocol", "websocket")]);
    let extended = [request("CONNECT", "/"), protocol].concat();
    vec![
        ("less than the content", of_length(&["1"]), RESET),
        ("two lengths", of_length(&["1", "2"]), RESET),
        ("the same length twice", of_length(&["2", "2"]), None),
        ("a signed length", of_length(&["+2"]), RESET),
        ("a list of lengths", of_length(&["2, 2"]), RESET),
        ("a NUL in a value", with("x", "a\0b"), FATAL),
        ("CR LF in a name", with("x\r\nhost", "b"), FATAL),
        ("a colon in a name", with("x:", "b"), FATAL),
        ("a smaller table", get(&[0x20], &[]), None),
        (
            "a larger one than is offered",
            get(&[0x3f, 0xe2, 0x1f], &[]),
            FATAL,
        ),
        ("a table's size behind a field", get(&[], &[0x20]), FATAL),
        ("index 0", get(&[], &[0x80]), FATAL),
        ("an index that is not there", get(&[], &[0xc6]), FATAL),
        ("Huffman's end of string", get(&[], huffman_end), FATAL),
        (
            "CONNECT to a protocol",
            frame(HEADERS, END_HEADERS, 1, &extended),
            RESET,
        ),
    ]
}

#[test]
fn states_content_and_hpack_are_what_they_must_be() {
    let server = with("type = \"respond\"\ndelay = \"1h\"", "");
    for (what, bytes, ends) in [states(), fields()].concat() {
        let mut client = Http2::connect(server.http);
        client.write(&bytes);
        // A PING may be answered before what the bytes bring; one that is sent then is answered behind it.
        client.frame(PING, 0, 0, &[0; 8]);
        let is_end = |frame: &Frame| matches!(frame.kind, RST_STREAM | GOAWAY | PING);
        let mut end = std::iter::from_fn(|| client.read()).find(is_end);
        if end.as_ref().is_some_and(|end| end.kind == PING) {
            client.frame(PING, 0, 0, &[0; 8]);
            end = std::iter::from_fn(|| client.read()).find(is_end);
        }
        let end = end.unwrap_or_else(|| panic!("{what}: closed without a word"));
        let seen = (end.kind != PING).then(|| (end.kind, end.code()));
        assert_eq!(seen, ends, "{what}");
    }
}

/// Each way to have the server reset a stream: whichever it is, it ends the connection before long.
#[test]
fn streams_are_not_made_reset_without_end() {
    let server = with("type = \"respond\"\ndelay = \"1h\"", "");
    let mut good = Http2::connect(server.http);
    type Reset = fn(u32) -> Vec<u8>;
    let ways: [(&str, Reset); 6] = [
        ("depends on itself", |id| {
            frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[1]].concat())
        }),
        ("trailers that do not end", |id| {
            frame(HEADERS, END_HEADERS, id, &block(&[("x", "y")]))
        }),
        ("trailers of a connection", |id| {
            frame(HEADERS, 5, id, &block(&[("upgrade", "y")]))
        }),
        ("a window that overflows", |id| {
            frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes())
        }),
        ("too much content", |id| {
            frame(DATA, END_STREAM, id, b"more than is said")
        }),
        ("more streams than are offered", |_| Vec::new()),
    ];
    for (turn, (what, reset)) in ways.into_iter().enumerate() {
        let mut client = Http2::connect(server.http);
        for id in (1..601).step_by(2) {
            client.write(&[post(id, &[("content-length", "5")]), reset(id)].concat());
        }
        // A server that has stopped reading may reset the connection before its last words are read.
        if let Some(goaway) = client.next(GOAWAY) {
            assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{what}");
        }
        assert_eq!(
            server.wait_errors("H2_Abuse", turn + 1).len(),
            turn + 1,
            "{what}"
        );
    }
    good.frame(PING, 0, 0, &[0; 8]);
    assert!(good.next(PING).is_some(), "a good client suffers");
}

/// An upload that the server answers before it has read it: too long for it, or refused.
#[test]
fn an_answer_that_overtakes_an_upload_is_read_by_curl() {
    let server = with(
        "type = \"files\"\nroot = \".\"",
        "[limits]\nmax_body_bytes = \"1MB\"",
    );
    let upload = server.path().join("upload");
    for (bytes, status) in [(3_000_000, "413"), (900_000, "405")] {
        std::fs::write(&upload, vec![b'x'; bytes]).expect("a file");
        for round in 0..5 {
            let answer = Tool::curl(&server)
                .args(["--http2", "-H", "Expect:", "-w", " %{http_code}"])
                .args(["-o", "/dev/null", "--data-binary"])
                .arg(format!("@{}", upload.display()))
                .arg(format!("https://localhost:{}/upload", server.https))
                .stdout();
            assert_eq!(answer.trim(), status, "{bytes} bytes, round {round}");
        }
    }
}

#[test]
fn frames_behind_an_early_answer_are_no_fault_of_the_client() {
    let server = with("type = \"files\"\nroot = \".\"", "");
    let mut client = Http2::connect(server.http);
    client.write(&post(1, &[]));
    for stream in (1..401).step_by(2) {
        let reset = client.next(RST_STREAM).map(|reset| reset.code());
        assert_eq!(reset, Some(NO_ERROR), "stream {stream}");
        let late = frame(DATA, END_STREAM, stream, b"on its way already");
        client.write(&[late, post(stream + 2, &[])].concat());
    }
    client.frame(PING, 0, 0, &[0; 8]);
    assert!(client.next(PING).is_some(), "the connection was closed");
    assert_eq!(server.wait_errors("Verb", 201).len(), server.errors().len());
}

#[test]
fn trailers_are_held_to_bounds_and_not_cut() {
    let upstream = Upstream::start(|talk| talk.answer_all(""));
    let server = with(&upstream.handler(), "");
    let long = "x".repeat(8_000);
    let rows: [(&str, Vec<(&str, &str)>); 2] = [
        ("too many", vec![("x-a", "1"); 101]),
        ("too long", vec![("x-a", &long), ("x-b", &long)]),
    ];
    for (turn, (what, trailers)) in rows.into_iter().enumerate() {
        let mut client = Http2::connect(server.http);
        client.write(&post(1, &[("trailer", "x-a, x-b")]));
        client.frame(DATA, 0, 1, b"content");
        let (first, rest) = (block(&trailers[..1]), block(&trailers[1..]));
        client.frame(HEADERS, END_STREAM, 1, &first);
        client.frame(CONTINUATION, END_HEADERS, 1, &rest);
        assert!(client.next(HEADERS).is_some(), "{what}: no answer");
        let told = server.wait_errors("FieldLength", turn + 1);
        assert_eq!(told[turn]["status"], 431, "{what}");
    }
}

#[test]
fn what_an_upstream_might_read_otherwise_is_malformed() {
    let upstream = Upstream::start(|talk| talk.answer_all("HTTP/1.1 204 No Content\r\n\r\n"));
    let server = with(&upstream.handler(), "");
    let mut client = Http2::connect(server.http);
    let rows: [&[(&str, &str)]; 6] = [
        &[(":path", "/"), ("x", " a")],
        &[(":path", "/"), ("x", "a\t")],
        &[(":path", "/"), ("content-length", "")],
        &[(":path", "/"), ("content-length", " 0")],
        &[(":path", "/"), (":path", "/")],
        &[(":path", "?query")],
    ];
    for (turn, fields) in rows.into_iter().enumerate() {
        let head = [(":method", "GET"), (":scheme", "http"), (":authority", "a")];
        let stream = 1 + 2 * turn as u32;
        let block = [block(&head), block(fields)].concat();
        client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        let reset = client
            .next(RST_STREAM)
            .map(|reset| (reset.stream, reset.code()));
        assert_eq!(reset, Some((stream, PROTOCOL_ERROR)), "{fields:?}");
    }
    assert_eq!(server.wait_errors("H2_Protocol", 6).len(), 6);
    client.get(101, "/good");
    assert!(
        upstream.head().starts_with("GET /good "),
        "nothing before it"
    );
}

/// A head that stops in the middle of its one frame, beside a request that goes on.
#[test]
fn half_a_frame_of_fields_is_waited_for_no_longer_than_a_head() {
    let slow = "type = \"respond\"\ndelay = \"1h\"";
    let server = with(slow, "[limits]\nheader_wait = \"300ms\"");
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 3, &request("GET", "/"));
    let mut client = server.at_once(|| {
        let mut client = Http2::connect(server.http);
        client.get(1, "/");
        client.write(&get[..20]);
        client
    });
    let goaway = client.next(GOAWAY).map(|goaway| goaway.code());
    assert_eq!(goaway, Some(ENHANCE_YOUR_CALM));
    server.wait_error("Timer_HeaderWait");
}

#[test]
fn pings_that_measure_the_line_with_each_response_are_no_flood() {
    let body = format!("type = \"respond\"\nbody = \"{}\"", "x".repeat(500));
    let server = with(&body, "");
    let mut client = Http2::connect(server.http);
    for stream in (1..201).step_by(2) {
        client.get(stream, "/");
        assert!(client.next(DATA).is_some(), "stream {stream}");
        client.frame(PING, 0, 0, &[0; 8]);
        assert!(client.next(PING).is_some(), "stream {stream}");
    }
}
