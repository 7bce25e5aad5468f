//! Responses that others might read otherwise than we do: they are no responses, and their connection is not used again.

use super::scripted::Upstream;
use super::*;

/// What came of asking an upstream that says this, which is closed by nobody but us.
async fn asked(said: &[u8]) -> Outcome {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, said).await;
        peer.closed().await;
    });
    outcome
}

async fn assert_breaks_the_protocol(said: &str) {
    let refusal = refused(asked(said.as_bytes()).await);
    assert_eq!(
        refusal.reason,
        Reason::UpstreamProtocol,
        "{said:?}: {refusal}"
    );
}

#[tokio::test]
async fn a_head_that_breaks_rfc_9112_is_502_and_the_end_of_its_connection() {
    for said in [
        // Section 6.3: how long is it?
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "Content-Length: 2, 2\r\n\r\nok",
        "Content-Length: 2, 3\r\n\r\nok",
        "Content-Length: +2\r\n\r\nok",
        "Content-Length: 0x2\r\n\r\nok",
        "Content-Length: 2 0\r\n\r\nok",
        "Content-Length: \r\n\r\nok",
        "Content-Length: 99999999999999999999\r\n\r\nok",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \r\n\r\n0\r\n\r\n",
        // Section 5: fields.
        "Content-Length: 2\r\nX-Folded: a\r\n b\r\n\r\nok",
        "Content-Length: 2\r\nX-Folded: a\r\n\tb\r\n\r\nok",
        " Content-Length: 2\r\n\r\nok",
        "Content-Length : 2\r\n\r\nok",
        "Content-Length: 2\r\nX Y: 1\r\n\r\nok",
        "Content-Length: 2\r\nX@Y: 1\r\n\r\nok",
        "Content-Length: 2\r\n: 1\r\n\r\nok",
        "Content-Length: 2\r\nX\r\n\r\nok",
        "Content-Length: 2\r\nX: a\0b\r\n\r\nok",
        "Content-Length: 2\r\nX: a\rb\r\n\r\nok",
        "Content-Length: 2\r\nX: a\x7fb\r\n\r\nok",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\n{said}");
        assert_breaks_the_protocol(&said).await;
    }
}

#[tokio::test]
async fn a_status_line_that_breaks_rfc_9112_is_502_and_the_end_of_its_connection() {
    for line in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 Low",
        "HTTP/1.1  200 OK",
        "HTTP/2 200",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200 O\0K",
        "ICY 200 OK",
    ] {
        let said = format!("{line}\r\nContent-Length: 2\r\n\r\nok");
        assert_breaks_the_protocol(&said).await;
    }
}

#[tokio::test]
async fn chunks_that_make_no_sense_cut_the_content() {
    for chunks in [
        "x\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nok",
        "2\r\nok\r\n0\r\nX : 1\r\n\r\n",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let client = async {
            let response = ask(&proxy, get("/")).await.expect("a response");
            text(response).await.expect_err("it is cut").reason
        };
        let (reason, ()) = tokio::join!(client, async {
            let mut peer = upstream.accept().await;
            peer.head().await;
            peer.say(&said).await;
            peer.closed().await;
        });
        assert_eq!(reason, Reason::UpstreamProtocol, "{chunks:?}");
    }
}

#[tokio::test]
async fn what_comes_behind_a_response_is_never_the_next_one() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil",
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, (mut old, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(said));
        let content = text(outcome.expect("a response")).await.expect("content");
        assert!(!content.contains("evil"), "{said:?}: {content}");
        let (outcome, _new) = tokio::join!(
            ask(&proxy, get("/")),
            upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        );
        let content = text(outcome.expect("a response")).await.expect("content");
        assert_eq!(content, "good", "{said:?}");
        old.closed().await;
    }
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (outcome, (mut peer, _)) = tokio::join!(ask(&proxy, get("/")), upstream.answer(head));
    let response = outcome.expect("a response");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut content = response.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        peer.say(&format!("9\r\n{event}\r\n")).await;
        let frame = content.frame().await.expect("a piece").expect("a piece");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    peer.say("0\r\n\r\n").await;
    assert!(content.frame().await.is_none());
}
