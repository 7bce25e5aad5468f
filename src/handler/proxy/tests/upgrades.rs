//! Leaving HTTP: WebSocket and its like.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::scripted::Upstream;
use super::*;
use crate::handler::upgrade::Tunnel;

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: yes\r\n\r\n";

fn upgrade(protocol: &str) -> Request<Body> {
    request("GET", "/chat")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", protocol)
        .header("sec-websocket-key", "x")
        .body(Body::empty())
        .expect("a request")
}

fn proxy_that_allows<const N: usize>(protocols: [&str; N], upstream: &Upstream) -> Proxy {
    proxy_with([upstream.config()], |config| {
        config.upgrade = config::Upgrades::of(protocols);
    })
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_until_both_ends_are_done() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    // The first bytes of the new protocol come with the head.
    let greeting = format!("{SWITCHED}hello");
    let (outcome, (mut peer, head)) = tokio::join!(
        ask(&proxy, upgrade("websocket")),
        upstream.answer(&greeting)
    );
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: x\r\n"), "{head}");
    let mut response = outcome.expect("a response");
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["connection"], "upgrade");
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-accept"], "yes");
    let tunnel: Tunnel = response.extensions_mut().remove().expect("a tunnel");
    let (mut client, ours) = tokio::io::duplex(64);
    let talk = async {
        let mut read = [0; 5];
        client.read_exact(&mut read).await.expect("a greeting");
        assert_eq!(&read, b"hello");
        client.write_all(b"ping").await.expect("a write");
        assert_eq!(peer.content(4).await, "ping");
        // One end is done; the other is heard to its own end.
        client.shutdown().await.expect("an end");
        assert_eq!(peer.closed().await, b"");
        peer.say("goodbye").await;
        drop(peer);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.expect("the rest");
        assert_eq!(rest, "goodbye");
    };
    tokio::join!(tunnel.run(Box::new(ours)), talk);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn an_upstream_may_decline() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, _peer) = tokio::join!(
        ask(&proxy, upgrade("websocket")),
        upstream.answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    );
    let response = outcome.expect("a response");
    assert_eq!(response.status(), 403);
    assert!(response.extensions().get::<Tunnel>().is_none());
    assert_eq!(text(response).await.expect("content"), "no");
}

#[tokio::test]
async fn an_upstream_that_switches_to_something_else_is_not_followed() {
    for (asked, answer) in [
        ("websocket", "Upgrade: h2c\r\n"),
        ("websocket, tcp", "Upgrade: tcp, h2c\r\n"),
        ("websocket", ""),
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy_that_allows(["websocket", "tcp"], &upstream);
        let answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{answer}\r\n");
        let (outcome, _peer) = tokio::join!(ask(&proxy, upgrade(asked)), upstream.answer(&answer));
        let refusal = outcome.expect_err("a refusal");
        assert_eq!(
            refusal.reason,
            Reason::UpstreamProtocol,
            "{asked}: {answer}"
        );
    }
}

#[tokio::test]
async fn an_upgrade_goes_over_a_kept_connection_and_is_not_repeated() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, (mut peer, _)) = tokio::join!(
        ask(&proxy, get("/")),
        upstream.answer("HTTP/1.1 204 No Content\r\n\r\n")
    );
    outcome.expect("a response");
    let (outcome, ()) = tokio::join!(ask(&proxy, upgrade("websocket")), async {
        peer.head().await;
        drop(peer);
    });
    assert_eq!(reason(outcome), Reason::UpstreamReset);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn a_protocol_passes_only_where_it_is_allowed_by_name() {
    for (allowed, asked, passes) in [
        ("websocket", "websocket", true),
        ("websocket", "WebSocket", true),
        ("websocket", "tcp", false),
        ("websocket", "websocket, tcp", false),
        ("tcp", "websocket", false),
        ("tcp", "tcp/1.1", true),
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy_that_allows([allowed], &upstream);
        let (outcome, (_peer, head)) = tokio::join!(
            ask(&proxy, upgrade(asked)),
            upstream.answer("HTTP/1.1 204 No Content\r\n\r\n")
        );
        outcome.expect("a response");
        let passed = format!("upgrade: {asked}\r\n");
        assert_eq!(head.contains(&passed), passes, "{allowed}: {head}");
        assert_eq!(head.contains("upgrade"), passes, "{allowed}: {head}");
    }
}

#[tokio::test]
async fn nobody_is_let_past_us_by_another_version_of_http() {
    for protocol in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.2"] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, (_peer, head)) = tokio::join!(
            ask(&proxy, upgrade(protocol)),
            upstream.answer("HTTP/1.1 204 No Content\r\n\r\n")
        );
        outcome.expect("a response");
        assert!(!head.contains("upgrade"), "{protocol}: {head}");
    }
}

#[tokio::test]
async fn only_http_1_1_can_be_left() {
    for (version, protocol) in [
        (http::Version::HTTP_2, Protocol::Http2),
        (http::Version::HTTP_10, Protocol::Http1),
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let mut request = upgrade("websocket");
        *request.version_mut() = version;
        let facts = facts_of("shop.test", "192.0.2.7:1", request.uri(), protocol);
        let (outcome, (_peer, head)) = tokio::join!(
            proxy.handle(request, &facts).wait(),
            upstream.answer("HTTP/1.1 204 No Content\r\n\r\n")
        );
        outcome.expect("a response");
        assert!(!head.contains("upgrade"), "{head}");
    }
}
