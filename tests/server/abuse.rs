//! Clients that spend the server's work by HTTP/2 means: each is told to calm down, told of once, and hurts nobody else.

use crate::support::frames::*;
use crate::support::{Server, Site};

fn http2() -> Server {
    Site {
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        ..Site::default()
    }
    .start()
}

/// Sends `bytes` again and again; the connection must end with ENHANCE_YOUR_CALM, and others must not notice.
fn flood(what: &str, opening: &[u8], mut again: impl FnMut(u32) -> Vec<u8>) {
    let server = http2();
    let mut good = Http2::connect(server.http);
    assert!(good.is_served(1));
    let mut bad = Http2::connect(server.http);
    bad.write(opening);
    for round in 0..3000 {
        bad.write(&again(round));
    }
    // A server that has stopped reading may reset the connection before its last words are read.
    if let Some(goaway) = bad.next(GOAWAY) {
        assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{what}");
    }
    let line = server.wait_error("H2_Abuse");
    assert!(line["detail"].is_string(), "{what}: {line}");
    assert!(good.is_served(3), "{what}: a good client suffers");
    assert_eq!(
        server
            .errors()
            .iter()
            .filter(|line| line["reason"] == "H2_Abuse")
            .count(),
        1,
        "{what}: one line"
    );
}

fn get(round: u32) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1 + 2 * round,
        &request("GET", "/"),
    )
}

#[test]
fn a_flood_of_resets() {
    flood("rapid reset", &[], |round| {
        [
            get(round),
            frame(RST_STREAM, 0, 1 + 2 * round, &8_u32.to_be_bytes()),
        ]
        .concat()
    });
}

#[test]
fn a_flood_of_streams_that_the_server_is_made_to_reset() {
    flood("MadeYouReset", &[], |round| {
        let post = frame(HEADERS, END_HEADERS, 1 + 2 * round, &request("POST", "/"));
        [
            post,
            frame(
                WINDOW_UPDATE,
                0,
                1 + 2 * round,
                &0x7fff_ffff_u32.to_be_bytes(),
            ),
        ]
        .concat()
    });
}

#[test]
fn a_flood_of_settings() {
    flood("SETTINGS", &[], |_| frame(SETTINGS, 0, 0, &[]));
}

#[test]
fn a_flood_of_pings() {
    flood("PING", &[], |_| frame(PING, 0, 0, &[0; 8]));
}

#[test]
fn a_flood_of_empty_data() {
    let post = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    flood("empty DATA", &post, |_| frame(DATA, 0, 1, &[]));
}

#[test]
fn a_flood_of_priorities() {
    flood("PRIORITY", &[], |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]));
}

#[test]
fn a_flood_of_window_updates() {
    flood("WINDOW_UPDATE", &[], |_| {
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())
    });
}

#[test]
fn a_flood_of_continuations() {
    let open = frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
    flood("CONTINUATION", &open, |_| frame(CONTINUATION, 0, 1, &[]));
}

#[test]
fn a_header_block_that_never_ends_is_waited_for_no_longer_than_a_head() {
    let server = Site {
        head: "[limits]\nheader_wait = \"300ms\"".into(),
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        ..Site::default()
    }
    .start();
    let mut client = server.at_once(|| {
        let mut client = Http2::connect(server.http);
        client.frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
        client
    });
    assert!(client.next(GOAWAY).is_some());
    server.wait_error("Timer_HeaderWait");
}

#[test]
fn an_indexed_field_repeated_beyond_measure_costs_no_memory() {
    let mut server = http2();
    // One large field into the dynamic table, and then a byte for each time it is said again.
    let mut bomb = request("GET", "/");
    bomb.push(0x40);
    bomb.extend(&field("x-bomb", &"b".repeat(3000))[1..]);
    bomb.extend([0xbe; 12_000]);
    assert!(Http2::connect(server.http).is_served(1));
    server.wait_rehearsed();
    let before = server.memory_kib();
    for _ in 0..50 {
        let mut client = Http2::connect(server.http);
        client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
        assert_eq!(
            client.next(GOAWAY).map(|frame| frame.code()),
            Some(ENHANCE_YOUR_CALM)
        );
    }
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
    assert_eq!(server.wait_errors("H2_Abuse", 50).len(), 50);
}
