//! Which certificate a name leads to over QUIC, and what a handshake that fails is told as.

use std::net::UdpSocket;

use quinn::ConnectionError;
use serde_json::Value;

use super::*;
use crate::support::Authority;
use crate::support::quic::{handshake, handshake_with, trusting, until};

/// The alert that a handshake ended with.
fn alert(error: ConnectionError) -> u64 {
    match error {
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            assert!((0x100..0x200).contains(&code), "{code:#x}: {close}");
            code & 0xff
        }
        other => panic!("{other}"),
    }
}

fn told(server: &Server, reason: &str) -> Value {
    let line = server.wait_error(reason);
    assert_eq!(line["protocol"], "quic", "{line}");
    assert!(
        line["client"]
            .as_str()
            .is_some_and(|client| client.starts_with("127.0.0.1:")),
        "{line}"
    );
    assert!(
        line["ja4"]
            .as_str()
            .is_some_and(|ja4| ja4.starts_with("q13")),
        "{line}"
    );
    line
}

#[test]
fn each_name_gets_its_own_certificate() {
    let folder = crate::support::folder();
    let authority = Authority::new("Test CA");
    for name in ["a.test", "b.test"] {
        authority
            .issue(&[name])
            .write(&folder.path().join("certs"), name);
    }
    let binding = |name: &str| {
        format!(
            "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{name}\"\nsite = \"main\"\n"
        )
    };
    let text = binding("a.test")
        + &binding("b.test")
        + "[[site]]\nname = \"main\"\n[[site.route]]\npool = \"main\"\n[[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\n";
    let server = Server::start_in(folder, &text, |_| {});
    block_on(async {
        for name in ["a.test", "b.test"] {
            let config = trusting(authority.pem.as_bytes(), b"h3");
            let (endpoint, quic) = handshake_with(&server, config, name)
                .await
                .expect("a handshake");
            let mut client = Http3::over(endpoint, quic).await;
            let answer = client.get(&format!("https://{name}/")).await;
            assert_eq!(answer.head.status(), 200);
            // A host of another certificate is another connection's.
            let other = if name == "a.test" { "b.test" } else { "a.test" };
            let answer = client.get(&format!("https://{other}/")).await;
            assert_eq!(answer.head.status(), 421);
        }
    });
    let line = server.wait_error("MisdirectedRequest");
    assert_eq!(line["protocol"], "h3", "{line}");
}

#[test]
fn a_name_that_nobody_has_is_refused_with_an_alert_and_told() {
    let server = site().start();
    let error = block_on(handshake(&server, "elsewhere.test", b"h3")).expect_err("no handshake");
    assert_eq!(alert(error), 112);
    let line = told(&server, "Tls_NoCertificate");
    assert_eq!(line["sni"], "elsewhere.test");
    assert_eq!(line["alpn"], "h3");
    assert_eq!(server.errors().len(), 1);
}

#[test]
fn a_client_of_another_protocol_is_refused_with_an_alert_and_told() {
    let server = site().start();
    let error = block_on(handshake(&server, "localhost", b"doq")).expect_err("no handshake");
    assert_eq!(alert(error), 120);
    assert_eq!(told(&server, "Tls_NoCommonProtocol")["alpn"], "doq");
}

#[test]
fn a_binding_without_h3_beside_one_with_it_is_not_served_over_quic() {
    let server = Site {
        tail: "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"plain.localhost\"\n\
               protocols = [\"h2\", \"http/1.1\"]\nsite = \"main\"\n"
            .into(),
        ..site()
    }
    .start();
    let error = block_on(handshake(&server, "plain.localhost", b"h3")).expect_err("no handshake");
    assert_eq!(alert(error), 120);
    let line = told(&server, "Tls_NoCommonProtocol");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("does not offer h3")),
        "{line}"
    );
}

#[test]
fn a_client_that_does_not_accept_our_certificate_is_told_of() {
    let server = site().start();
    let stranger = Authority::new("Nobody");
    let config = trusting(stranger.pem.as_bytes(), b"h3");
    let refused = block_on(handshake_with(&server, config, "localhost"));
    refused.map(|_| ()).expect_err("no handshake");
    let line = told(&server, "Tls_PeerAlert");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("UnknownCA")),
        "{line}"
    );
}

#[test]
fn a_handshake_that_goes_silent_ends_in_its_time() {
    let server = Site {
        head: "[limits]\ntls_handshake = \"300ms\"\n".into(),
        ..Site::default()
    }
    .start();
    // A whole ClientHello whose sender hears no answer.
    let relay = crate::support::quic::socket();
    let to = relay.local_addr().expect("bound");
    let port = server.https;
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        for _ in 0..2 {
            let length = relay.recv(&mut packet).expect("a packet");
            let sent = relay.send_to(&packet[..length], ("127.0.0.1", port));
            sent.expect("sent");
        }
    });
    block_on(async {
        let config = crate::support::quic::config(&server, b"h3");
        let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
        let connecting = endpoint
            .connect_with(config, to, "localhost")
            .expect("a name");
        let told = until("the end of its time", || !server.errors().is_empty());
        tokio::select! {
            () = told => {}
            connected = connecting => panic!("{connected:?}"),
        }
    });
    told(&server, "Tls_Timeout");
}

#[test]
fn a_connection_too_many_is_refused_and_told() {
    let server = Site {
        head: "[limits]\nmax_connections_per_ip = 1\n".into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let _client = Http3::connect(&server, "localhost").await;
        let refused = handshake(&server, "localhost", b"h3").await;
        let error = refused.map(|_| ()).expect_err("no handshake");
        let ConnectionError::ConnectionClosed(close) = error else {
            panic!("{error}");
        };
        assert_eq!(
            close.error_code,
            quinn::TransportErrorCode::CONNECTION_REFUSED
        );
    });
    let line = server.wait_error("ConnLimit");
    assert_eq!(line["protocol"], "quic", "{line}");
    assert_eq!(server.errors().len(), 1);
}

/// The packets that a client begins its handshake with.
pub(super) async fn first_packets(server: &Server) -> Vec<Vec<u8>> {
    let sink = crate::support::quic::socket();
    let to = sink.local_addr().expect("bound");
    let config = crate::support::quic::config(server, b"h3");
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
    let _connecting = endpoint
        .connect_with(config, to, "localhost")
        .expect("a name");
    let sink = tokio::net::UdpSocket::from_std({
        sink.set_nonblocking(true).expect("an option");
        sink
    })
    .expect("watched");
    let mut packets = Vec::new();
    // A ClientHello with a post-quantum key share takes two.
    while packets.len() < 2 {
        let mut packet = vec![0; 2048];
        let length = sink.recv(&mut packet).await.expect("a packet");
        packet.truncate(length);
        packets.push(packet);
    }
    packets
}

/// Clients that begin a handshake and hear no answer, so many; where each waits, and the type of the packet that answered it.
pub(super) async fn silent_handshakes(server: &Server, count: usize) -> Vec<(UdpSocket, u8)> {
    let mut silent = Vec::new();
    for _ in 0..count {
        let socket = crate::support::quic::socket();
        for packet in first_packets(server).await {
            let sent = socket.send_to(&packet, ("127.0.0.1", server.https));
            sent.expect("sent");
        }
        let mut answer = [0; 2048];
        socket.recv(&mut answer).expect("an answer");
        silent.push((socket, answer[0] & 0xf0));
    }
    silent
}

#[test]
fn beyond_a_number_of_unknown_clients_each_must_show_that_it_is_where_it_says() {
    let server = Site {
        // None of them is given up before all have come.
        head: "[server]\nthreads = 1\n[limits]\ntls_handshake = \"10m\"\n".into(),
        ..Site::default()
    }
    .start();
    /// A packet type that has a long header (RFC 9000 section 17.2).
    const RETRY: u8 = 0xf0;
    block_on(async {
        let silent = silent_handshakes(&server, 132).await;
        let unasked = silent.iter().take_while(|(_, kind)| *kind != RETRY).count();
        assert_eq!(unasked, 128);
        // One that is where it says is served all the same.
        let mut client = Http3::connect(&server, "localhost").await;
        assert_eq!(client.get("https://localhost/").await.head.status(), 200);
    });
}

#[test]
fn a_client_of_another_version_is_told_ours() {
    let server = site().start();
    let socket = crate::support::quic::socket();
    let mut packet = vec![0; 1200];
    packet[..7].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1]);
    socket
        .send_to(&packet, ("127.0.0.1", server.https))
        .expect("sent");
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[1..5], [0; 4], "version negotiation");
    assert!(
        answer[..length]
            .windows(4)
            .any(|version| version == [0, 0, 0, 1])
    );
}
