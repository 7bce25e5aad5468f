//! What an application does wrong, and what it counts as.

use super::*;

/// What becomes of a request whose application says these bytes, and closes.
async fn said(bytes: &[u8]) -> Refusal {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let (answered, ()) = tokio::join!(ask(&handler, get()), async {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.say(bytes).await;
    });
    answered.expect_err("no response")
}

fn out(content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, 6, 0, 1, high, low, 0, 0], content].concat()
}

fn end(status: u8, protocol: u8) -> Vec<u8> {
    vec![1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, status, protocol, 0, 0, 0]
}

#[tokio::test]
async fn what_is_no_response_is_told_apart() {
    use Reason::{UpstreamConnect, UpstreamProtocol, UpstreamReset};
    let head = b"Content-Type: text/html\r\n\r\n";
    for (bytes, reason, told) in [
        (Vec::new(), UpstreamReset, "closed the connection before"),
        (
            out(&head[..20]),
            UpstreamReset,
            "closed the connection before",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            UpstreamProtocol,
            "something else than FastCGI",
        ),
        (
            vec![1, 6, 0, 7, 0, 0, 0, 0],
            UpstreamProtocol,
            "a record is of request 7",
        ),
        (
            vec![1, 4, 0, 1, 0, 0, 0, 0],
            UpstreamProtocol,
            "a record is of type 4",
        ),
        (
            end(255, 0),
            UpstreamProtocol,
            "status 255 and without a response",
        ),
        (
            [out(&head[..20]), end(0, 0)].concat(),
            UpstreamProtocol,
            "in the middle of its head",
        ),
        (end(0, 1), UpstreamConnect, "takes no more requests"),
        (end(0, 2), UpstreamConnect, "takes no more requests"),
        (end(0, 3), UpstreamProtocol, "no responder"),
        (end(0, 9), UpstreamProtocol, "the unknown status 9"),
        (
            out(b"Status: 99\n\n"),
            UpstreamProtocol,
            "its status is \"99\"",
        ),
        (out(b"\n"), UpstreamProtocol, "no head"),
        (out(b"A\r\n\r\n"), UpstreamProtocol, "no field: \"A\""),
        (
            out(b"Content-Length: x\n\n"),
            UpstreamProtocol,
            "how long it is",
        ),
        (
            out(b"Content-Length: 1\nContent-Length: 2\n\n"),
            UpstreamProtocol,
            "how long it is",
        ),
        (
            out(&b"X: y\n".repeat(20_000)[..60_000]).repeat(2),
            UpstreamProtocol,
            "longer than 65536 bytes",
        ),
    ] {
        let refusal = said(&bytes).await;
        assert_eq!(refusal.reason, reason, "{refusal}");
        assert!(refusal.detail.contains(told), "{refusal}");
        assert!(refusal.detail.contains("fastcgi://127.0.0.1:"), "{refusal}");
    }
    assert_eq!(
        said(&end(0, 2)).await.status(),
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
}

#[tokio::test]
async fn content_that_breaks_is_told_to_whoever_takes_it() {
    for (bytes, expected) in [
        (out(b"X: y\n\nbegun"), Reason::UpstreamReset),
        (
            [out(b"X: y\n\nbegun"), vec![9; 8]].concat(),
            Reason::UpstreamProtocol,
        ),
        (
            [out(b"X: y\n\nbegun"), out(b""), out(b"more"), end(0, 0)].concat(),
            Reason::UpstreamProtocol,
        ),
    ] {
        let listener = Listener::start().await;
        let handler = handler(listener.address(), |_| {});
        let (answered, ()) = tokio::join!(ask(&handler, get()), async {
            let mut peer = listener.accept().await;
            peer.request().await;
            peer.say(&bytes).await;
        });
        let error = text(answered.expect("a response"))
            .await
            .expect_err("it is cut");
        assert_eq!(error.reason, expected);
    }
}

#[tokio::test]
async fn an_end_without_its_record_is_good_enough() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let (answered, ()) = tokio::join!(ask(&handler, get()), async {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.say(&[out(b"X: y\n\nall"), out(b"")].concat()).await;
    });
    let response = answered.expect("a response");
    assert_eq!(text(response).await.expect("content"), "all");
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let address = Listener::start().await.address();
    let refusal = ask(&handler(address, |_| {}), get())
        .await
        .expect_err("nobody listens");
    assert_eq!(refusal.reason, Reason::UpstreamConnect);
    let nowhere = config::Upstream::Unix("/nowhere/php.sock".into());
    let refusal = ask(&handler(nowhere, |_| {}), get())
        .await
        .expect_err("nobody listens");
    assert_eq!(refusal.reason, Reason::UpstreamConnect);
    assert!(
        refusal.detail.contains("unix:/nowhere/php.sock"),
        "{refusal}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_however_much_is_complained() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let began = tokio::time::Instant::now();
    let peer = async {
        let mut peer = listener.accept().await;
        peer.request().await;
        loop {
            tokio::time::sleep(RESPONSE_TIMEOUT / 4).await;
            peer.stderr(&[b'e'; 4000]).await;
        }
    };
    let answered = tokio::select! {
        answered = ask(&handler, get()) => answered,
        () = peer => panic!("it says more and more"),
    };
    assert_eq!(reason(answered), Reason::UpstreamTimeout);
    assert!(began.elapsed() >= RESPONSE_TIMEOUT && began.elapsed() < RESPONSE_TIMEOUT * 2);
}

#[tokio::test]
async fn tunnels_and_traces_do_not_reach_an_application() {
    let address = Listener::start().await.address();
    let handler = handler(address, |_| {});
    for method in ["CONNECT", "TRACE"] {
        let answered = ask(&handler, request(method, Body::empty())).await;
        assert_eq!(reason(answered), Reason::NotImplemented, "{method}");
    }
}
