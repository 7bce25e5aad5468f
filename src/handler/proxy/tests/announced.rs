//! Upstreams that are told of clients by what a connection begins with.

use std::time::Duration;

use super::scripted::Upstream;
use super::*;
use crate::config::ProxyProtocol;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn announcing(upstream: &Upstream, version: ProxyProtocol) -> Proxy {
    proxy_with([upstream.config()], |proxy| {
        proxy.telling.proxy_protocol = Some(version);
    })
}

#[tokio::test]
async fn each_request_has_a_connection_that_begins_with_its_client() {
    let upstream = Upstream::start().await;
    let proxy = announcing(&upstream, ProxyProtocol::V1);
    for client in ["192.0.2.7:4711", "192.0.2.7:4711", "[2001:db8::7]:80"] {
        let request = get("/");
        let facts = facts_of("shop.test", client, request.uri(), Protocol::Http1);
        let (outcome, (mut peer, head)) =
            tokio::join!(proxy.handle(request, &facts).wait(), upstream.answer(OK));
        assert_eq!(
            text(outcome.expect("a response")).await.expect("content"),
            "ok"
        );
        let (line, request) = head.split_once("\r\n").expect("a line");
        let told = match client.starts_with('[') {
            false => "PROXY TCP4 192.0.2.7 127.0.0.1 4711 80",
            true => "PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 80 80",
        };
        assert_eq!(line, told);
        assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
        assert!(peer.closed().await.is_empty());
    }
    assert_eq!(proxy.upstreams[0].idle(), 0);
}

#[tokio::test]
async fn a_health_check_speaks_for_nobody() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([upstream.config()], |proxy| {
        proxy.telling.proxy_protocol = Some(ProxyProtocol::V1);
        proxy.balance.health = Some(config::Health {
            path: "/".to_owned(),
            host: String::new(),
            interval: Duration::from_secs(3600),
            jitter: 0,
            timeout: Duration::from_secs(5),
            statuses: vec![200..=399],
            body: String::new(),
            healthy_after: 1,
            unhealthy_after: 1,
        });
    });
    let checks = tokio::spawn(crate::handler::Handler::upkeep(&proxy).expect("checks"));
    let (_peer, head) = upstream.answer(OK).await;
    assert!(
        head.starts_with("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n"),
        "{head}"
    );
    drop(proxy);
    checks.await.expect("they end with the proxy");
}

#[tokio::test]
async fn requests_over_http2_share_no_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let upstream = local(config::UpstreamScheme::H2c, port);
    let proxy = proxy_with([upstream], |proxy| {
        proxy.telling.proxy_protocol = Some(ProxyProtocol::V2);
    });
    let serve = async {
        let mut clients = Vec::new();
        let mut open = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut header = [0; 28];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut header)
                .await
                .expect("a header");
            clients.push(header[19]);
            open.push(h2::server::handshake(stream).await.expect("HTTP/2"));
        }
        // Both requests are under way at once, each on its own connection.
        for connection in &mut open {
            let (_, mut respond) = connection
                .accept()
                .await
                .expect("a request")
                .expect("a good one");
            let response = Response::builder()
                .status(204)
                .body(())
                .expect("a response");
            respond.send_response(response, true).expect("sent");
        }
        let ended = open.into_iter().map(|mut connection| async move {
            assert!(
                connection.accept().await.is_none(),
                "a second request on a connection"
            );
        });
        futures_util::future::join_all(ended).await;
        clients.sort_unstable();
        clients
    };
    let ask = |client: &'static str| {
        let proxy = &proxy;
        async move {
            let request = get("/");
            let facts = facts_of("shop.test", client, request.uri(), Protocol::Http2);
            proxy
                .handle(request, &facts)
                .wait()
                .await
                .expect("a response")
                .status()
        }
    };
    let (one, two, clients) = tokio::join!(ask("192.0.2.7:1"), ask("192.0.2.8:1"), serve);
    assert_eq!((one.as_u16(), two.as_u16()), (204, 204));
    assert_eq!(clients, [7, 8]);
}
