//! Streams that go one way, by hand: what a client may say on them, and what ends its connection.

use h3::error::Code;
use quinn::{ConnectionError, ReadToEndError, VarInt};

use super::life::{HELD, Held};
use super::rules::{DATA, GET, HEADERS, SETTINGS, frame};
use super::*;
use crate::support::quic::handshake;

/// Types of frames and streams (RFC 9114 sections 6.2 and 7.2, RFC 9204 section 4.2).
const CANCEL_PUSH: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const MAX_PUSH_ID: u8 = 13;
const CONTROL: &[u8] = &[0];
const PUSH: &[u8] = &[1];
const ENCODER: &[u8] = &[2];
const DECODER: &[u8] = &[3];

/// The bytes of a stream, and whether it ends behind them.
type OneWay = (Vec<u8>, bool);

/// Opens these streams and then asks; the code that the connection ends with, if it is not answered.
async fn ends(server: &Server, streams: &[OneWay]) -> Option<Code> {
    let (_endpoint, quic) = handshake(server, "localhost", b"h3")
        .await
        .expect("a handshake");
    let mut open = Vec::new();
    for (bytes, ends) in streams {
        // Either may fail, once the connection has ended.
        let Ok(mut stream) = quic.open_uni().await else {
            break;
        };
        let _ = stream.write_all(bytes).await;
        if *ends {
            let _ = stream.finish();
        }
        open.push(stream);
    }
    // What is wrong with them shows now, or with the requests that follow.
    for _ in 0..20 {
        let Ok((mut send, mut receive)) = quic.open_bi().await else {
            break;
        };
        let _ = send.write_all(&frame(HEADERS, GET)).await;
        let _ = send.finish();
        if receive.read_to_end(1 << 16).await.is_err() {
            break;
        }
    }
    match quic.close_reason() {
        None => None,
        Some(ConnectionError::ApplicationClosed(close)) => {
            Some(close.error_code.into_inner().into())
        }
        Some(other) => panic!("{other}"),
    }
}

#[test]
fn every_rule_of_one_way_streams_that_is_broken_ends_the_connection() {
    let server = site().start();
    let control = |more: Vec<u8>| ([CONTROL, &frame(SETTINGS, b""), &more].concat(), false);
    let stream = |kind: &[u8], more: &[u8]| ([kind, more].concat(), false);
    let rows: Vec<(&str, Vec<OneWay>, Option<Code>)> = vec![
        ("settings alone", vec![control(vec![])], None),
        (
            "9114 6.2: an unknown stream",
            vec![control(vec![]), stream(&[0x21], b"whatever")],
            None,
        ),
        (
            "9114 6.2: an unknown stream that ends in its type",
            vec![control(vec![]), (vec![0x40], true)],
            None,
        ),
        (
            "9114 7.2.8: unknown frames on the control stream",
            vec![control([frame(0x21, b"grease"), frame(0x21, b"")].concat())],
            None,
        ),
        (
            "9114 7.2.7: a bound for pushes, raised",
            vec![control(
                [frame(MAX_PUSH_ID, &[1]), frame(MAX_PUSH_ID, &[2])].concat(),
            )],
            None,
        ),
        (
            "9114 6.2.1: a control stream that ends",
            vec![([CONTROL, &frame(SETTINGS, b"")].concat(), true)],
            Some(Code::H3_CLOSED_CRITICAL_STREAM),
        ),
        (
            "9114 6.2.1: two control streams",
            vec![control(vec![]), control(vec![])],
            Some(Code::H3_STREAM_CREATION_ERROR),
        ),
        (
            "9114 6.2.1: a control stream that begins otherwise",
            vec![stream(CONTROL, &frame(MAX_PUSH_ID, &[1]))],
            Some(Code::H3_MISSING_SETTINGS),
        ),
        (
            "9114 6.2.2: a push by a client",
            vec![control(vec![]), stream(PUSH, &[0])],
            Some(Code::H3_STREAM_CREATION_ERROR),
        ),
        (
            "9114 7.2.1: DATA on the control stream",
            vec![control(frame(DATA, b"x"))],
            Some(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "9114 7.2.4: SETTINGS twice",
            vec![control(frame(SETTINGS, b""))],
            Some(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "9114 7.2.4: a setting twice",
            vec![stream(CONTROL, &frame(SETTINGS, &[6, 1, 6, 2]))],
            Some(Code::H3_SETTINGS_ERROR),
        ),
        (
            "9114 7.2.4.1: a setting of HTTP/2",
            vec![stream(CONTROL, &frame(SETTINGS, &[2, 1]))],
            Some(Code::H3_SETTINGS_ERROR),
        ),
        (
            "9114 7.2.5: a promise on the control stream",
            vec![control(frame(PUSH_PROMISE, &[0]))],
            Some(Code::H3_FRAME_UNEXPECTED),
        ),
        (
            "9114 10.5: settings without end",
            vec![stream(
                CONTROL,
                &[SETTINGS, 0xc0, 0, 0, 0, 0x40, 0, 0, 0, 1],
            )],
            Some(Code::H3_EXCESSIVE_LOAD),
        ),
        (
            "9204 4.2: streams of QPACK with nothing on them",
            vec![control(vec![]), stream(ENCODER, &[]), stream(DECODER, &[])],
            None,
        ),
        (
            "9204 4.2: an encoder stream twice",
            vec![control(vec![]), stream(ENCODER, &[]), stream(ENCODER, &[])],
            Some(Code::H3_STREAM_CREATION_ERROR),
        ),
        // What an attentive server would end the connection for. The h3 crate does not look at it, and it costs us nothing.
        (
            "9114 7.2.3: a push taken back that nobody promised",
            vec![control(
                [frame(MAX_PUSH_ID, &[1]), frame(CANCEL_PUSH, &[9])].concat(),
            )],
            None,
        ),
        (
            "9114 7.2.7: a bound for pushes, lowered",
            vec![control(
                [frame(MAX_PUSH_ID, &[2]), frame(MAX_PUSH_ID, &[1])].concat(),
            )],
            None,
        ),
        (
            "9204 4.2: a decoder stream that ends",
            vec![control(vec![]), (DECODER.to_vec(), true)],
            None,
        ),
        (
            "9204 4.3.1: a table that we did not offer",
            vec![control(vec![]), stream(ENCODER, &[0x3f, 0xe1, 0x1f])],
            None,
        ),
        (
            "9204 4.4.3: entries that nobody inserted",
            vec![control(vec![]), stream(DECODER, &[0x05])],
            None,
        ),
    ];
    let wrong: Vec<String> = block_on(async {
        let mut wrong = Vec::new();
        for (what, streams, wanted) in rows {
            let ends = ends(&server, &streams).await;
            if ends != wanted {
                wrong.push(format!("{what}: {ends:?}, not {wanted:?}"));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The ids that the server's GOAWAYs name, so many.
async fn goaways(quic: &quinn::Connection, count: usize) -> Vec<u64> {
    let mut control = loop {
        let mut stream = quic.accept_uni().await.expect("a stream");
        let mut kind = [9];
        stream.read_exact(&mut kind).await.expect("its type");
        if kind == CONTROL {
            break stream;
        }
    };
    let mut named = Vec::new();
    while named.len() < count {
        let kind = number(&mut control).await;
        let length = number(&mut control).await;
        let mut payload = vec![0; usize::try_from(length).expect("short")];
        control.read_exact(&mut payload).await.expect("a payload");
        if kind == u64::from(GOAWAY) {
            payload[0] &= 0x3f;
            named.push(
                payload
                    .iter()
                    .fold(0, |id, byte| id << 8 | u64::from(*byte)),
            );
        }
    }
    named
}

/// RFC 9000 section 16.
async fn number(stream: &mut quinn::RecvStream) -> u64 {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes[..1]).await.expect("a byte");
    let length = 1 << (bytes[0] >> 6);
    stream.read_exact(&mut bytes[1..length]).await.expect("all");
    bytes[0] &= 0x3f;
    bytes[..length]
        .iter()
        .fold(0, |whole, byte| whole << 8 | u64::from(*byte))
}

#[test]
fn a_request_behind_the_last_goaway_is_rejected_and_none_before_it_is() {
    let held = Held::start();
    let mut server = Site {
        handler: held.upstream.handler(),
        ..site()
    }
    .start();
    let gate = held.gate.write();
    block_on(async {
        let (_endpoint, quic) = handshake(&server, "localhost", b"h3")
            .await
            .expect("a handshake");
        let mut control = quic.open_uni().await.expect("a stream");
        let settings = [CONTROL, &frame(SETTINGS, b"")].concat();
        control.write_all(&settings).await.expect("sent");
        let (mut send, mut answered) = quic.open_bi().await.expect("a stream");
        let request = [&GET[..4], b"\x51\x05", HELD, &GET[5..]].concat();
        send.write_all(&frame(HEADERS, &request))
            .await
            .expect("sent");
        send.finish().expect("finished");
        held.is_asked(1).await;
        server.signal("TERM");
        let named = goaways(&quic, 2).await;
        assert!(
            named[0] > 1 << 20,
            "the first takes nothing back: {named:?}"
        );
        assert_eq!(
            named[1], 4,
            "the last names the stream behind the last request"
        );
        for _ in 0..3 {
            let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
            let _ = send.write_all(&frame(HEADERS, GET)).await;
            let _ = send.finish();
            let rejected = receive.read_to_end(1 << 16).await;
            let code = VarInt::from_u64(Code::H3_REQUEST_REJECTED.value()).expect("a code");
            let reset = ReadToEndError::Read(quinn::ReadError::Reset(code));
            assert_eq!(rejected, Err(reset));
        }
        drop(gate);
        let answer = answered.read_to_end(1 << 16).await.expect("an answer");
        assert!(answer.ends_with(b"ok"), "{answer:?}");
    });
    assert!(server.wait_exit().success());
    assert_eq!(server.errors(), [] as [Value; 0]);
}
