//! What a hostile client does over HTTP/2, and what an honest one must not suffer: frames too small for what is in them,
//! trailers and fields that nobody checks, resets in every way, and answers that overtake an upload.

use crate::support::frames::*;
use crate::support::{Server, Site};

const PRIORITIZED: u8 = 0x20;

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
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/"));
    client.write(&[get, reset, oversized(3)].concat());
    assert_eq!(client.next(HEADERS).map(|frame| frame.stream), Some(3));
    server.wait_error("RequestLength");
}
