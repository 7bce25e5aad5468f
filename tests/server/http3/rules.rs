//! HTTP/3 against hand-written frames: what breaks RFC 9114, and what that brings.

use h3::error::Code;
use quinn::{ConnectionError, ReadError};

use super::*;
use crate::support::quic::handshake;

/// Frame types (RFC 9114 section 7.2).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const SETTINGS: u8 = 4;

/// The head of a GET of `https://localhost/`, with nothing from a dynamic table (RFC 9204 section 4.5).
pub(super) const GET: &[u8] = b"\0\0\xd1\xd7\xc1\x50\x09localhost";
const POST: &[u8] = b"\0\0\xd4\xd7\xc1\x50\x09localhost";

/// A field by a name of its own.
fn field(name: &str, value: &str) -> Vec<u8> {
    assert!(
        name.len() >= 7 && value.len() < 127,
        "one more byte of length"
    );
    let mut bytes = vec![0x27, u8::try_from(name.len() - 7).expect("short")];
    bytes.extend(name.as_bytes());
    bytes.push(u8::try_from(value.len()).expect("short"));
    bytes.extend(value.as_bytes());
    bytes
}

pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short") | 0x4000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// What a mistake must bring.
#[derive(Debug, PartialEq)]
enum Ends {
    Connection(Code),
    Stream(Code),
    /// Something is answered.
    Answered,
    /// There is no answer.
    Silently,
}

/// Sends these bytes as a request's stream, and looks what comes of it.
async fn ends(server: &Server, bytes: &[u8]) -> Ends {
    let (_endpoint, quic) = handshake(server, "localhost", b"h3")
        .await
        .expect("a handshake");
    let mut control = quic.open_uni().await.expect("a stream");
    let settings = [&[0][..], &frame(SETTINGS, b"")].concat();
    control.write_all(&settings).await.expect("sent");
    let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
    // Either may be refused already.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let read = receive.read_to_end(1 << 20).await;
    // A connection that ends may have answered before: one that goes on answers once more.
    if let Ok((mut send, mut receive)) = quic.open_bi().await {
        let _ = send.write_all(&frame(HEADERS, GET)).await;
        let _ = send.finish();
        let _ = receive.read_to_end(1 << 20).await;
    }
    let closed = tokio::time::timeout(Duration::from_millis(100), quic.closed()).await;
    if let Ok(ConnectionError::ApplicationClosed(close)) = closed {
        return Ends::Connection(close.error_code.into_inner().into());
    }
    match read {
        Ok(answer) => {
            if answer.first() == Some(&HEADERS) {
                Ends::Answered
            } else {
                Ends::Silently
            }
        }
        Err(quinn::ReadToEndError::Read(ReadError::Reset(code))) => {
            Ends::Stream(code.into_inner().into())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_rule_that_is_broken_ends_what_it_should() {
    let server = site().start();
    let get = |extra: Vec<u8>| frame(HEADERS, &[GET, &extra].concat());
    let post = |extra: Vec<u8>| frame(HEADERS, &[POST, &extra].concat());
    let rows = [
        ("a request", get(vec![]), Ends::Answered),
        (
            "4.1: unknown frames are ignored",
            [frame(0x21, b"grease"), get(vec![]), frame(0x21, b"")].concat(),
            Ends::Answered,
        ),
        (
            "4.1: DATA before HEADERS",
            frame(DATA, b"x"),
            Ends::Connection(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "4.1: SETTINGS on a request's stream",
            [get(vec![]), frame(SETTINGS, b"")].concat(),
            Ends::Connection(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "4.1: nothing at all",
            vec![],
            Ends::Stream(Code::H3_REQUEST_INCOMPLETE),
        ),
        (
            "4.1.2: content shorter than Content-Length",
            [post(field("content-length", "5")), frame(DATA, b"abc")].concat(),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.1.2: content longer than Content-Length",
            [post(field("content-length", "5")), frame(DATA, b"abcdefgh")].concat(),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.1.2: a Content-Length that is no number",
            post(field("content-length", "+5")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.1.2: two different lengths",
            post([field("content-length", "5"), field("content-length", "6")].concat()),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.2: whitespace before a field's value",
            get(field("x-field", " 1")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.2: a field of HTTP/1.1",
            get(field("connection", "close")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.2: a field of HTTP/1.1, of whatever use",
            get(field("transfer-encoding", "chunked")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.2: capitals in a field's name",
            get(field("X-Capitals", "1")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3: an unknown pseudo-field",
            get(field(":protocols", "x")),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3: a path behind another field",
            get([field("x-field", "1"), b"\xc1".to_vec()].concat()),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3: a status",
            get(b"\xd9".to_vec()),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3.1: two paths",
            get(b"\x51\x02/x".to_vec()),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3: a path among trailers",
            [post(vec![]), frame(DATA, b"x"), frame(HEADERS, b"\0\0\xc1")].concat(),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.1: trailers",
            [
                post(vec![]),
                frame(DATA, b"x"),
                frame(HEADERS, &[b"\0\0", &*field("x-trail", "1")].concat()),
            ]
            .concat(),
            Ends::Answered,
        ),
        (
            "4.3.1: no method",
            frame(HEADERS, b"\0\0\xd7\xc1\x50\x09localhost"),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3.1: no path",
            frame(HEADERS, b"\0\0\xd1\xd7\x50\x09localhost"),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3.1: no scheme",
            frame(HEADERS, b"\0\0\xd1\xc1\x50\x09localhost"),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "4.3.1: nobody is asked",
            frame(HEADERS, b"\0\0\xd1\xd7\xc1"),
            Ends::Stream(Code::H3_MESSAGE_ERROR),
        ),
        (
            "7.1: a frame that ends with its stream",
            [post(vec![]), vec![DATA, 10, b'a', b'b']].concat(),
            Ends::Connection(Code::H3_FRAME_ERROR),
        ),
        (
            "7.1: a frame of which only the head comes",
            [post(vec![]), vec![DATA, 10]].concat(),
            Ends::Connection(Code::H3_FRAME_ERROR),
        ),
        (
            "7.2.8: a frame of HTTP/2",
            frame(6, b""),
            Ends::Connection(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "9204 2.2: a reference to a table that is not there",
            frame(HEADERS, b"\x02\0\x80"),
            Ends::Connection(Code::QPACK_DECOMPRESSION_FAILED),
        ),
        (
            "10.5: a frame of a gigabyte",
            vec![0x21, 0xc0, 0, 0, 0, 0x40, 0, 0, 0, 1],
            Ends::Connection(Code::H3_EXCESSIVE_LOAD),
        ),
    ];
    let wrong: Vec<String> = block_on(async {
        let mut wrong = Vec::new();
        for (what, bytes, wanted) in rows {
            let ends = ends(&server, &bytes).await;
            if ends != wanted {
                wrong.push(format!("{what}: {ends:?}, not {wanted:?}"));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for line in server.wait_errors("H3_Protocol", 13) {
        assert_eq!(line["protocol"], "h3", "{line}");
        assert_eq!(line["sni"], "localhost", "{line}");
    }
}

#[test]
fn a_flood_of_resets_ends_the_connection_and_ordinary_leaving_does_not() {
    let server = site().start();
    let code = quinn::VarInt::from_u64(Code::H3_REQUEST_CANCELLED.value()).expect("a code");
    block_on(async {
        let (_endpoint, quic) = handshake(&server, "localhost", b"h3")
            .await
            .expect("a handshake");
        let mut control = quic.open_uni().await.expect("a stream");
        let settings = [&[0][..], &frame(SETTINGS, b"")].concat();
        control.write_all(&settings).await.expect("sent");
        let mut begun = 0;
        let lost = loop {
            let (mut send, receive) = match quic.open_bi().await {
                Ok(stream) => stream,
                Err(lost) => break lost,
            };
            let _ = send.write_all(&[HEADERS]).await;
            let _ = send.reset(code);
            drop(receive);
            begun += 1;
            assert!(begun < 5000, "nobody minds");
        };
        let ConnectionError::ApplicationClosed(close) = lost else {
            panic!("{lost}");
        };
        assert_eq!(
            close.error_code.into_inner(),
            Code::H3_EXCESSIVE_LOAD.value()
        );
        assert!(begun > 200, "{begun}");
    });
    let line = server.wait_error("H3_Protocol");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("rapid reset")),
        "{line}"
    );
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let server = Site {
        head: "[limits]\nheader_wait = \"200ms\"\n".into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let (_endpoint, quic) = handshake(&server, "localhost", b"h3")
            .await
            .expect("a handshake");
        let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
        send.write_all(&[HEADERS, 20, 0, 0]).await.expect("sent");
        let error = receive.read_to_end(100).await.expect_err("no answer");
        assert!(
            matches!(error, quinn::ReadToEndError::Read(ReadError::Reset(_))),
            "{error}"
        );
    });
    assert_eq!(server.wait_error("Timer_HeaderWait")["protocol"], "h3");
}

#[test]
fn a_client_that_takes_nothing_is_let_go_of() {
    let server = with_big_file(32 << 20);
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let request = Request::get("https://localhost/big")
            .body(())
            .expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        stream.finish().await.expect("finished");
        stream.recv_response().await.expect("a response");
        let line = server.wait_error("Timer_MinBytesPerSecond");
        assert_eq!(line["protocol"], "h3", "{line}");
        let ended = loop {
            match stream.recv_data().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nobody took the end"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(ended, h3::error::StreamError::RemoteTerminate { .. }),
            "{ended}"
        );
    });
}
