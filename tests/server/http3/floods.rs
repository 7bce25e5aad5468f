//! Clients that make the server work for nothing, by streams and by packets: its processor, its memory and its logs stay bounded,
//! and others are served.

use std::time::Instant;

use h3::error::Code;
use quinn::{ConnectionError, VarInt};

use super::rules::{GET, HEADERS, SETTINGS, frame};
use super::*;
use crate::support::quic::{handshake, socket};
use crate::support::{Authority, PATIENCE};

/// A connection that has said what every client says first.
async fn greeted(server: &Server) -> (quinn::Endpoint, quinn::Connection, quinn::SendStream) {
    let (endpoint, quic) = handshake(server, "localhost", b"h3")
        .await
        .expect("a handshake");
    let mut control = quic.open_uni().await.expect("a stream");
    let settings = [&[0][..], &frame(SETTINGS, b"")].concat();
    control.write_all(&settings).await.expect("sent");
    (endpoint, quic, control)
}

/// Does the same again and again on one connection, until it is ended for it. How often it was done.
async fn until_ended(
    server: &Server,
    mut again: impl AsyncFnMut(&quinn::Connection) -> Result<(), ConnectionError>,
) -> usize {
    let (_endpoint, quic, _control) = greeted(server).await;
    let mut done = 0;
    let lost = loop {
        if let Err(lost) = again(&quic).await {
            break lost;
        }
        done += 1;
        assert!(done < 5000, "nobody minds");
    };
    let ConnectionError::ApplicationClosed(close) = lost else {
        panic!("{lost}");
    };
    let code = Code::H3_EXCESSIVE_LOAD.value();
    assert_eq!(close.error_code.into_inner(), code, "{close}");
    done
}

/// Whether somebody else is served, and the error log is no longer than this.
async fn assert_well(server: &Server, lines_max: usize) {
    let mut client = Http3::connect(server, "localhost").await;
    let answer = client.get("https://localhost/").await;
    assert_eq!(answer.head.status(), 200);
    let lines = server.errors();
    assert!(lines.len() <= lines_max, "{}: {lines:?}", lines.len());
}

#[test]
fn streams_without_a_request_end_the_connection() {
    let server = site().start();
    block_on(async {
        let done = until_ended(&server, async |quic| {
            let (mut send, mut receive) = quic.open_bi().await?;
            let _ = send.finish();
            let _ = receive.read_to_end(10).await;
            Ok(())
        })
        .await;
        assert!(done > 64, "{done}");
        assert_well(&server, 300).await;
    });
}

#[test]
fn requests_that_are_none_without_end_end_the_connection() {
    let server = site().start();
    block_on(async {
        let done = until_ended(&server, async |quic| {
            let (mut send, mut receive) = quic.open_bi().await?;
            let _ = send.write_all(&frame(HEADERS, b"\0\0\xd1")).await;
            let _ = send.finish();
            let _ = receive.read_to_end(10).await;
            Ok(())
        })
        .await;
        assert!(done > 64, "{done}");
        assert_well(&server, 300).await;
    });
}

#[test]
fn responses_that_are_asked_for_and_not_wanted_end_the_connection() {
    let server = Site {
        handler: "type = \"respond\"\nbody = \"late\"\ndelay = \"60s\"".into(),
        ..site()
    }
    .start();
    let code = VarInt::from_u64(Code::H3_REQUEST_CANCELLED.value()).expect("a code");
    block_on(async {
        let done = until_ended(&server, async |quic| {
            let (mut send, mut receive) = quic.open_bi().await?;
            let _ = send.write_all(&frame(HEADERS, GET)).await;
            let _ = send.finish();
            let _ = receive.stop(code);
            Ok(())
        })
        .await;
        assert!(done > 200, "{done}");
    });
    let lines = server.wait_errors("H3_Protocol", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn streams_of_unknown_types_without_end_end_the_connection() {
    let server = site().start();
    block_on(async {
        until_ended(&server, async |quic| {
            let mut stream = quic.open_uni().await?;
            let _ = stream.write_all(&[0x21, 1, 2, 3]).await;
            let _ = stream.finish();
            Ok(())
        })
        .await;
        assert_well(&server, 1).await;
    });
}

#[test]
fn unknown_frames_without_end_end_the_connection() {
    let server = site().start();
    block_on(async {
        let (_endpoint, quic, mut control) = greeted(&server).await;
        let frames = frame(0x21, b"").repeat(2000);
        let _ = control.write_all(&frames).await;
        let ConnectionError::ApplicationClosed(close) = quic.closed().await else {
            panic!("nobody minds");
        };
        let code = Code::H3_EXCESSIVE_LOAD.value();
        assert_eq!(close.error_code.into_inner(), code, "{close}");
        assert_well(&server, 1).await;
    });
}

#[test]
fn what_nobody_reads_waits_at_the_client() {
    const CONNECTIONS: u64 = 16;
    let mut server = site().start();
    // The first connections cost more than their own memory.
    block_on(assert_well(&server, 0));
    server.wait_rehearsed();
    let before = server.memory_kib();
    block_on(async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let (endpoint, quic, control) = greeted(&server).await;
            let mut encoder = quic.open_uni().await.expect("a stream");
            // Entries for a table that is not there (RFC 9204 section 4.3.3).
            let entry = [&[0x47][..], b"x-bombs", &[0x7f, 0x81, 0x07], &[b'x'; 1024]].concat();
            let bomb = [&[2][..], &entry.repeat(4096)].concat();
            let sent = tokio::time::timeout(Duration::from_millis(200), encoder.write_all(&bomb));
            assert!(
                !matches!(sent.await, Ok(Ok(()))),
                "four megabytes were taken"
            );
            connections.push((endpoint, quic, control, encoder));
        }
        assert_well(&server, 0).await;
    });
    // A connection's window, and packets that are held for a part of them.
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < CONNECTIONS * 2048, "{grown} KiB");
}

#[test]
fn a_client_that_takes_a_byte_at_a_time_costs_no_other_its_answer() {
    let mut server = with_big_file(1 << 20);
    server.wait_rehearsed();
    let before = server.memory_kib();
    block_on(async {
        let mut config = crate::support::quic::config(&server, b"h3");
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(1));
        config.transport_config(Arc::new(transport));
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::EndpointConfig::default();
        let endpoint = quinn::Endpoint::new(endpoint, None, socket(), runtime).expect("a port");
        let to = ([127, 0, 0, 1], server.https).into();
        let connecting = endpoint.connect_with(config, to, "localhost");
        let quic = connecting.expect("a name").await.expect("a handshake");
        // Settings come by the byte too, and must.
        let reading = quic.clone();
        tokio::spawn(async move {
            while let Ok(mut stream) = reading.accept_uni().await {
                tokio::spawn(async move { while stream.read_exact(&mut [0]).await.is_ok() {} });
            }
        });
        let request = [&GET[..4], b"\x51\x04/big", &GET[5..]].concat();
        let mut streams = Vec::new();
        for _ in 0..100 {
            let (mut send, receive) = quic.open_bi().await.expect("a stream");
            send.write_all(&frame(HEADERS, &request))
                .await
                .expect("sent");
            send.finish().expect("finished");
            streams.push((send, receive));
        }
        for _ in 0..50 {
            for (_, receive) in &mut streams {
                receive.read_exact(&mut [0; 1]).await.expect("a byte");
            }
        }
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/big").await;
        assert_eq!(answer.content.len(), 1 << 20);
    });
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB");
}

#[test]
fn packets_that_mean_nothing_leave_no_trace() {
    const PACKETS: usize = 20_000;
    let mut server = site().start();
    server.wait_rehearsed();
    let before = server.memory_kib();
    let flood = socket();
    flood
        .connect(("127.0.0.1", server.https))
        .expect("an address");
    for number in 0..PACKETS {
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let mut packet: Vec<u8> = noise.iter().copied().cycle().take(1200).collect();
        match number % 4 {
            // What begins as a first packet does, of our version and not.
            0 => packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
            // And as a first packet is built, with noise where its payload should be.
            1 => {
                packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
                packet[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
            }
            2 => packet.truncate(number % 64 + 1),
            _ => {}
        }
        // A buffer may be full; that is a packet less.
        let _ = flood.send(&packet);
    }
    block_on(assert_well(&server, 0));
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    let lines = server.log().lines().count();
    assert!(lines < 20, "{lines}");
}

#[test]
fn packets_of_unknown_connections_are_answered_at_a_bounded_rate() {
    let server = site().start();
    let stranger = socket();
    stranger
        .connect(("127.0.0.1", server.https))
        .expect("an address");
    let began = Instant::now();
    for number in 0..4000_u16 {
        let mut packet = [0x41; 200];
        packet[1] = (number % 2).to_le_bytes()[0];
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        let _ = stranger.send(&packet);
    }
    // Who is served now has waited behind them all.
    block_on(assert_well(&server, 0));
    stranger.set_nonblocking(true).expect("an option");
    let mut resets = 0;
    while stranger.recv(&mut [0; 2048]).is_ok() {
        resets += 1;
    }
    // One in 20 ms a thread.
    let elapsed = began.elapsed();
    let most = 2 * (elapsed.as_millis() / 20 + 2);
    assert!(resets > 0 && resets <= most, "{resets} in {elapsed:?}");
}

#[test]
fn an_address_that_is_not_shown_gets_three_times_what_came_from_it_and_at_most_the_rest_of_a_packet()
 {
    let folder = crate::support::folder();
    // A certificate so long that it does not fit.
    let names: Vec<String> = (0..300).map(|n| format!("name-number-{n}.test")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.insert(0, "localhost");
    let authority = Authority::new("Test CA");
    let issued = authority.issue(&names);
    issued.write(&folder.path().join("certs"), "localhost");
    assert!(issued.chain.len() > 8000);
    let text = Site {
        head: "[limits]\ntls_handshake = \"2s\"\n".into(),
        ..Site::default()
    };
    authority.write(&folder.path().join("certs/development-ca.crt"));
    let server = Server::start_in(folder, &text.text(), |_| {});
    let victim = socket();
    let sent = block_on(async {
        let mut sent = 0;
        for packet in super::handshakes::first_packets(&server).await {
            sent += packet.len();
            let to = ("127.0.0.1", server.https);
            victim.send_to(&packet, to).expect("sent");
        }
        sent
    });
    // Whatever is sent again is sent before this.
    assert_eq!(server.wait_error("Tls_Timeout")["protocol"], "quic");
    victim.set_read_timeout(Some(PATIENCE)).expect("an option");
    let mut packets = vec![victim.recv(&mut [0; 2048]).expect("an answer")];
    victim.set_nonblocking(true).expect("an option");
    while let Ok(length) = victim.recv(&mut [0; 2048]) {
        packets.push(length);
    }
    let received: usize = packets.iter().sum();
    // quinn sends a packet whole that begins within the bound (quinn-rs/quinn#1082).
    assert!(received < 3 * sent + 1200, "{packets:?} for {sent}");
    assert!(
        received > 2 * sent,
        "the bound was not reached: {packets:?} for {sent}"
    );
}
