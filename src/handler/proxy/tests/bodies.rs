//! Content both ways: whole, in step with who takes it, with its trailers.

use std::future::poll_fn;

use http::HeaderMap;
use http_body::Body as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::scripted::Upstream;
use super::*;

const LARGE: usize = 20 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// More than the buffers of all sockets on the way, which the system lets grow to some MiB each.
const IN_BUFFERS_MAX: usize = 14 * 1024 * 1024;

#[tokio::test]
async fn small_content_is_there_with_its_head() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, _peer) = tokio::join!(ask(&proxy, get("/")), upstream.answer(said));
        let response = outcome.expect("a response");
        assert_eq!(response.body().full_len(), Some(2), "{said}");
        assert_eq!(text(response).await.expect("content"), "ok");
    }
}

#[tokio::test]
async fn a_request_s_content_is_framed_anew() {
    let (sender, unknown) = pieces();
    drop(sender);
    for (method, body, framing) in [
        ("POST", Body::full("seven b"), "content-length: 7"),
        ("GET", Body::full("seven b"), "content-length: 7"),
        ("POST", Body::empty(), "content-length: 0"),
        ("GET", unknown, "transfer-encoding: chunked"),
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let request = request(method, "/")
            .header("content-length", "999")
            .body(body)
            .expect("a request");
        let (outcome, (_peer, head)) = tokio::join!(
            ask(&proxy, request),
            upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        );
        outcome.expect("a response");
        let said: Vec<&str> = head
            .lines()
            .filter(|line| line.starts_with("content-length") || line.starts_with("transfer-"))
            .collect();
        assert_eq!(said, [framing], "{method}");
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (sender, body) = pieces();
    let request = request("POST", "/")
        .header("trailer", "x-sum, x-request-id")
        .body(body)
        .expect("a request");
    let client = async {
        sender.send(data("some")).await.expect("a reader");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().expect("a value"));
        // The name of a request is not a client's to choose, here either.
        trailers.insert("x-request-id", "forged".parse().expect("a value"));
        sender
            .send(Ok(Frame::trailers(trailers)))
            .await
            .expect("a reader");
        drop(sender);
    };
    let serve = async {
        let mut peer = upstream.accept().await;
        assert!(
            peer.head()
                .await
                .contains("trailer: x-sum, x-request-id\r\n")
        );
        let content = "4\r\nsome\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(peer.content(content.len()).await, content);
        peer.say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             4\r\nmore\r\n0\r\nX-Sum: 2\r\n\r\n",
        )
        .await;
        peer
    };
    let (outcome, (), _peer) = tokio::join!(ask(&proxy, request), client, serve);
    let response = outcome.expect("a response");
    assert_eq!(response.headers()["trailer"], "X-Sum");
    let collected = response.into_body().collect().await.expect("content");
    let trailers = collected.trailers().cloned().expect("trailers");
    assert_eq!(collected.to_bytes(), "more");
    assert_eq!(trailers["x-sum"], "2");
}

/// Time stands still here until everything rests.
#[tokio::test(start_paused = true)]
async fn twenty_megabytes_go_up_as_fast_as_the_upstream_reads() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (sender, body) = pieces();
    let (full, is_full) = tokio::sync::oneshot::channel();
    let client = async {
        let mut full = Some(full);
        for piece in 0..LARGE / PIECE {
            // Nobody takes pieces once everything comes to rest, since the upstream does not read.
            let permit =
                match tokio::time::timeout(Duration::from_millis(200), sender.reserve()).await {
                    Ok(permit) => permit,
                    Err(_) => {
                        if let Some(full) = full.take() {
                            full.send(piece * PIECE).expect("an upstream");
                        }
                        sender.reserve().await
                    }
                };
            permit.expect("a reader").send(data(vec![b'x'; PIECE]));
        }
        drop(sender);
    };
    let serve = async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        let taken = is_full.await.expect("the upload comes to rest");
        // What is between two sockets looks as if all were at rest, and no timer may run out over it.
        tokio::time::resume();
        assert!(taken < IN_BUFFERS_MAX, "{taken} bytes were taken");
        // No framing has an x.
        let content = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'x').count();
        let mut read = content(&peer.rest());
        let mut buffer = vec![0; PIECE];
        while read < LARGE {
            let step = peer.stream.read(&mut buffer).await.expect("a read");
            assert_ne!(step, 0);
            read += content(&buffer[..step]);
        }
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            .await;
        peer
    };
    let (outcome, (), _peer) = tokio::join!(ask(&proxy, post(body)), client, serve);
    assert_eq!(
        text(outcome.expect("a response")).await.expect("content"),
        "done"
    );
}

/// Time stands still here until everything rests.
#[tokio::test(start_paused = true)]
async fn twenty_megabytes_come_down_as_fast_as_the_client_reads() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    let (outcome, (mut peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(&head));
    let response = outcome.expect("a response");
    assert_eq!(response.body().size_hint().exact(), Some(LARGE as u64));
    let mut written = 0;
    let piece = vec![b'x'; PIECE];
    // Nobody reads: the upstream is held up.
    while let Ok(step) =
        tokio::time::timeout(Duration::from_millis(200), peer.stream.write(&piece)).await
    {
        written += step.expect("a write");
        assert!(written < IN_BUFFERS_MAX, "{written} bytes were taken");
    }
    tokio::time::resume();
    let rest = async {
        while written < LARGE {
            let end = piece.len().min(LARGE - written);
            written += peer.stream.write(&piece[..end]).await.expect("a write");
        }
    };
    let (content, ()) = tokio::join!(text(response), rest);
    assert_eq!(content.expect("content").len(), LARGE);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_takes_the_response() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (sender, body) = pieces();
    let serve = async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
            .await;
        peer
    };
    let (outcome, mut peer) = tokio::join!(ask(&proxy, post(body)), serve);
    let response = outcome.expect("a response");
    // The response is not touched until the upstream has all of the request.
    let upload = async {
        for _ in 0..20 {
            sender.send(data("piece")).await.expect("a reader");
        }
        drop(sender);
    };
    let took = async {
        let content = peer.content("5\r\npiece\r\n".len() * 20 + 5).await;
        assert!(content.ends_with("0\r\n\r\n"));
        peer.say("4\r\nlate\r\n0\r\n\r\n").await;
    };
    tokio::join!(upload, took);
    assert_eq!(text(response).await.expect("content"), "earlylate");
}

#[tokio::test]
async fn an_upload_that_breaks_behind_the_response_s_head_is_the_client_s_fault() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (sender, body) = pieces();
    let serve = async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        peer
    };
    let (outcome, mut peer) = tokio::join!(ask(&proxy, post(body)), serve);
    let mut body = outcome.expect("a response").into_body();
    let broken = BodyError::new(Reason::TimerEntityBody, "too slow");
    sender.send(Err(broken)).await.expect("a reader");
    let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    let error = frame.expect("an error").expect_err("an error");
    assert_eq!(error.reason, Reason::TimerEntityBody);
    assert!(!peer.closed().await.ends_with(b"0\r\n\r\n"));
}
