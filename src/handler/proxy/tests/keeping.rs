//! Which connections are kept, and what happens on those that should not have been.

use tokio::io::AsyncWriteExt as _;

use super::scripted::{Peer, UnixUpstream, Upstream};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One request and its answer over a connection that stands already.
async fn again(proxy: &Proxy, peer: &mut Peer, response: &str) -> String {
    let (outcome, ()) = tokio::join!(ask(proxy, get("/")), async {
        peer.head().await;
        peer.say(response).await;
    });
    text(outcome.expect("a response")).await.expect("content")
}

/// A proxy with a connection that was used once.
async fn used(upstream: &Upstream) -> (Proxy, Peer) {
    let proxy = proxy([upstream.config()]);
    let (outcome, (peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
    assert_eq!(
        text(outcome.expect("a response")).await.expect("content"),
        "ok"
    );
    (proxy, peer)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    for response in [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        OK,
    ] {
        again(&proxy, &mut peer, response).await;
    }
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn a_connection_is_used_again_after_content_both_ways() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    let (sender, unknown) = pieces();
    drop(sender);
    for (body, length) in [(Body::full("content"), 7), (unknown, 5)] {
        let (outcome, ()) = tokio::join!(ask(&proxy, post(body)), async {
            peer.head().await;
            peer.content(length).await;
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
                .await;
        });
        let response = outcome.expect("a response");
        let late = async { peer.say(&"twenty bytes of it. ".repeat(2)).await };
        let (content, ()) = tokio::join!(text(response), late);
        assert_eq!(content.expect("content").len(), 40);
    }
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("upstream.sock");
    let upstream = UnixUpstream::start(&path);
    let proxy = proxy([config::Upstream::Unix(path)]);
    let serve = async {
        let mut peer = upstream.accept().await;
        for _ in 0..2 {
            assert!(peer.head().await.starts_with("GET /"));
            peer.say(OK).await;
        }
    };
    let client = async {
        for _ in 0..2 {
            let response = ask(&proxy, get("/")).await.expect("a response");
            assert_eq!(text(response).await.expect("content"), "ok");
        }
    };
    tokio::join!(serve, client);
}

#[tokio::test]
async fn upstreams_are_asked_in_turn() {
    let upstreams = [
        Upstream::start().await,
        Upstream::start().await,
        Upstream::start().await,
    ];
    let proxy = proxy(upstreams.iter().map(Upstream::config));
    let mut peers = Vec::new();
    for upstream in &upstreams {
        let (outcome, (peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
        outcome.expect("a response");
        peers.push(peer);
    }
    for _ in 0..2 {
        for peer in &mut peers {
            assert_eq!(again(&proxy, peer, OK).await, "ok");
        }
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_that_has_more_to_say_or_is_to_be_closed() {
    for response in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, (mut peer, _)) =
            tokio::join!(ask(&proxy, get("/")), upstream.answer(response));
        assert_eq!(
            text(outcome.expect("a response")).await.expect("content"),
            "ok"
        );
        let (outcome, _peer) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
        assert_eq!(
            text(outcome.expect("a response")).await.expect("content"),
            "ok"
        );
        assert_eq!(peer.closed().await, b"", "{response}");
    }
}

#[tokio::test]
async fn content_may_end_with_the_connection() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let serve = async { drop(upstream.answer("HTTP/1.1 200 OK\r\n\r\nto the end").await) };
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), serve);
    assert_eq!(
        text(outcome.expect("a response")).await.expect("content"),
        "to the end"
    );
}

#[tokio::test]
async fn a_response_before_the_request_s_end_closes_the_connection() {
    for response in [
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge",
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (sender, body) = pieces();
        let serve = async {
            let mut peer = upstream.accept().await;
            peer.head().await;
            peer.say(response).await;
            peer
        };
        let (outcome, mut peer) = tokio::join!(ask(&proxy, post(body)), serve);
        let response = outcome.expect("a response");
        assert_eq!(response.status(), 413);
        text(response).await.expect("content");
        assert!(!peer.closed().await.ends_with(b"0\r\n\r\n"));
        drop(sender);
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_noticed() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    peer.stream.shutdown().await.expect("an end");
    // The runtime looks at its sockets before it goes on.
    tokio::task::yield_now().await;
    let request = post(Body::full("not to be repeated"));
    let (outcome, _second) = tokio::join!(ask(&proxy, request), upstream.answer(OK));
    assert_eq!(
        text(outcome.expect("a response")).await.expect("content"),
        "ok"
    );
    assert_eq!(peer.closed().await, b"");
}

#[tokio::test]
async fn a_request_that_a_kept_connection_swallowed_is_sent_once_more() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    let request = request("GET", "/path?query")
        .header("x-empty", "")
        .header("x-text", "a: b")
        .header("x-text", "c")
        .body(Body::empty())
        .expect("a request");
    let (outcome, (first, second)) = tokio::join!(ask(&proxy, request), async {
        let first = peer.head().await;
        drop(peer);
        (first, upstream.answer(OK).await.1)
    });
    assert_eq!(
        text(outcome.expect("a response")).await.expect("content"),
        "ok"
    );
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_request_is_sent_once_more_only_once() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        peer.head().await;
        drop(peer);
        let mut second = upstream.accept().await;
        second.head().await;
    });
    assert_eq!(reason(outcome), Reason::UpstreamReset);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_sent_once_more() {
    let method = |method: &str| request(method, "/").body(Body::empty()).expect("a request");
    for (request, said) in [
        (method("POST"), ""),
        (method("PATCH"), ""),
        (post(Body::full("content")), ""),
        (
            request("PUT", "/")
                .body(Body::full("content"))
                .expect("a request"),
            "",
        ),
        // It has begun to answer.
        (method("GET"), "HTTP/1.1 2"),
    ] {
        let upstream = Upstream::start().await;
        let (proxy, mut peer) = used(&upstream).await;
        let what = request.method().clone();
        let (outcome, ()) = tokio::join!(ask(&proxy, request), async {
            peer.head().await;
            peer.say(said).await;
            drop(peer);
        });
        assert_eq!(reason(outcome), Reason::UpstreamReset, "{what} {said}");
        assert!(!upstream.is_called().await, "{what} {said}");
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_for_long() {
    let upstream = Upstream::start().await;
    let (proxy, mut peer) = used(&upstream).await;
    // No more than there is left: what was before has taken its time too.
    pass(Duration::from_secs(20)).await;
    assert_eq!(again(&proxy, &mut peer, OK).await, "ok");
    pass(Duration::from_secs(31)).await;
    let (outcome, _second) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
    outcome.expect("a response");
    assert_eq!(peer.closed().await, b"");
}

#[tokio::test]
async fn so_many_connections_are_kept_and_the_oldest_go() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let serve = async {
        let mut peers = Vec::new();
        for _ in 0..66 {
            let mut peer = upstream.accept().await;
            peer.head().await;
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.say(OK).await;
        }
        peers
    };
    let clients = futures_util::future::join_all((0..66).map(|_| ask(&proxy, get("/"))));
    let (outcomes, mut peers) = tokio::join!(clients, serve);
    assert!(outcomes.iter().all(Result::is_ok));
    // The runtime looks at its sockets before it goes on.
    tokio::task::yield_now().await;
    let mut open = 0;
    for peer in &mut peers {
        let closed = tokio::time::timeout(Duration::ZERO, peer.closed()).await;
        open += usize::from(closed.is_err());
    }
    assert_eq!(open, 64);
}

#[tokio::test]
async fn a_client_that_goes_takes_the_upstream_s_connection_along() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    // Before the head.
    let serve = async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer
    };
    let mut peer = tokio::select! {
        peer = serve => peer,
        _ = ask(&proxy, get("/")) => unreachable!("nobody answers"),
    };
    assert_eq!(peer.closed().await, b"");
    // In the middle of the content.
    let (outcome, (mut peer, _)) = tokio::join!(
        ask(&proxy, get("/")),
        upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    );
    drop(outcome);
    assert_eq!(peer.closed().await, b"");
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn a_connection_ends_after_so_many_requests() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([upstream.config()], |proxy| {
        proxy.keeping.max_requests = Some(2);
    });
    let (outcome, (mut peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
    outcome.expect("a response");
    assert_eq!(again(&proxy, &mut peer, OK).await, "ok");
    peer.closed().await;
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
    outcome.expect("a response");
}

/// Time passes. Not while something is on its way: what is between two sockets looks as if all were at rest.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_ends_at_its_age_though_it_is_busy() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([upstream.config()], |proxy| {
        proxy.keeping.max_age = Some(Duration::from_secs(50));
    });
    let (outcome, (mut peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(OK));
    outcome.expect("a response");
    for _ in 0..2 {
        pass(Duration::from_secs(20)).await;
        again(&proxy, &mut peer, OK).await;
    }
    tokio::time::pause();
    peer.closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time_though_no_request_comes() {
    let upstream = Upstream::start().await;
    let begun = tokio::time::Instant::now();
    let (_proxy, mut peer) = used(&upstream).await;
    let used = tokio::time::Instant::now();
    tokio::time::pause();
    peer.closed().await;
    assert!(begun.elapsed().as_secs() >= 30 && used.elapsed().as_secs() <= 30);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_may_be_idle() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([upstream.config()], |proxy| {
        proxy.keeping.idle_connections = 1;
    });
    let (first, second, mut one, mut two) = {
        let serve = async {
            let mut one = upstream.accept().await;
            let mut two = upstream.accept().await;
            one.head().await;
            two.head().await;
            one.say(OK).await;
            two.say(OK).await;
            (one, two)
        };
        let (first, second, (one, two)) =
            tokio::join!(ask(&proxy, get("/1")), ask(&proxy, get("/2")), serve);
        (first, second, one, two)
    };
    first.expect("a response");
    second.expect("a response");
    tokio::select! {
        _ = one.closed() => {}
        _ = two.closed() => {}
    }
    assert_eq!(proxy.upstreams[0].idle(), 1);
}

/// Each request that is under way has one, and it is moved into its box: what few requests need lies in boxes of its own.
#[tokio::test]
async fn a_request_s_future_is_small() {
    let proxy = proxy([]);
    let request = get("/");
    let facts = facts_of(
        "shop.test",
        "192.0.2.7:4711",
        request.uri(),
        Protocol::Http1,
    );
    let crate::handler::Reply::Later(future) = proxy.handle(request, &facts) else {
        unreachable!("an upstream has to be asked");
    };
    let size = size_of_val(&*future);
    assert!(size <= 1024, "{size} bytes");
}
