//! Streams and connections that end before they should.

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::*;

/// A proxy whose first request was answered, and the session that it went by.
async fn used(upstream: &Upstream) -> (Proxy, Session) {
    let proxy = proxy([h2c(upstream)]);
    let (outcome, session) = tokio::join!(ask(&proxy, get("/")), async {
        let mut session = Session::accept(upstream).await;
        session.asked().await.say("first");
        session
    });
    assert_eq!(content_of(outcome).await, "first");
    (proxy, session)
}

#[tokio::test]
async fn a_stream_that_was_refused_is_asked_for_again() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let request = request("POST", "/").body(Body::empty()).expect("a request");
    let (outcome, ()) = tokio::join!(ask(&proxy, request), async {
        session
            .asked()
            .await
            .respond
            .send_reset(Code::REFUSED_STREAM);
        session.asked().await.say("again");
    });
    assert_eq!(content_of(outcome).await, "again");
}

#[tokio::test]
async fn an_upstream_that_goes_away_finishes_what_it_has_and_gets_nothing_new() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let mut begun = Box::pin(ask(&proxy, get("/begun")));
    let held = tokio::select! {
        _ = &mut begun => panic!("there is no response yet"),
        held = session.asked() => held,
    };
    session.part();
    let serve = async {
        let mut second = loop {
            tokio::select! {
                // Until the farewell has come, requests go on as before.
                asked = session.asked() => asked.say("old"),
                second = Session::accept(&upstream) => break second,
            }
        };
        second.asked().await.say("new");
        held.say("finished");
        session.over().await;
        second
    };
    let client = async { while content_of(ask(&proxy, get("/")).await).await != "new" {} };
    let (begun, (), _second) = tokio::join!(begun, client, serve);
    assert_eq!(content_of(begun).await, "finished");
}

#[tokio::test]
async fn a_kept_connection_that_is_lost_costs_a_get_nothing_and_a_post_its_answer() {
    for (method, again) in [("GET", true), ("POST", false)] {
        let upstream = Upstream::start().await;
        let (proxy, mut session) = used(&upstream).await;
        let request = request(method, "/").body(Body::empty()).expect("a request");
        let serve = async {
            let _asked = session.asked().await;
            session.over.abort();
            if again {
                let mut session = Session::accept(&upstream).await;
                session.asked().await.say("again");
                return Some(session);
            }
            None
        };
        let (outcome, _session) = tokio::join!(ask(&proxy, request), serve);
        match again {
            true => assert_eq!(content_of(outcome).await, "again"),
            false => assert_eq!(reason(outcome), Reason::UpstreamReset),
        }
    }
}

#[tokio::test]
async fn an_upstream_is_told_when_the_client_goes_before_the_head() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let mut asking = Box::pin(ask(&proxy, get("/slow")));
    let asked = tokio::select! {
        _ = &mut asking => panic!("there is no response yet"),
        asked = session.asked() => asked,
    };
    drop(asking);
    assert_eq!(asked.reset().await, Code::CANCEL);
}

#[tokio::test]
async fn an_upstream_is_told_when_the_client_goes_in_the_middle_of_the_content() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let (outcome, mut stream) = tokio::join!(ask(&proxy, get("/")), async {
        let mut asked = session.asked().await;
        let response = asked.respond.send_response(Response::new(()), false);
        response.expect("a stream")
    });
    let response = outcome.expect("a response");
    stream.send_data("begun".into(), false).expect("a stream");
    drop(response);
    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    assert_eq!(reset.expect("a reset"), Code::CANCEL);
}

#[tokio::test]
async fn content_that_is_cut_or_broken_is_never_whole() {
    for (length, code, expected) in [
        (None, Some(Code::INTERNAL_ERROR), Reason::UpstreamReset),
        (Some("9"), None, Reason::UpstreamProtocol),
    ] {
        let upstream = Upstream::start().await;
        let (proxy, mut session) = used(&upstream).await;
        let (outcome, mut stream) = tokio::join!(ask(&proxy, get("/")), async {
            let mut asked = session.asked().await;
            let mut response = Response::builder();
            if let Some(length) = length {
                response = response.header("content-length", length);
            }
            let head = response.body(()).expect("a head");
            asked.respond.send_response(head, false).expect("a stream")
        });
        let response = outcome.expect("a response");
        stream
            .send_data("begun".into(), code.is_none())
            .expect("a stream");
        if let Some(code) = code {
            stream.send_reset(code);
        }
        assert_eq!(
            text(response).await.expect_err("it is cut").reason,
            expected
        );
    }
}

#[tokio::test]
async fn a_request_that_breaks_is_cut_for_the_upstream_and_the_clients_fault() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let (sender, body) = pieces();
    let client = async {
        sender.send(data("begun")).await.expect("a reader");
        let error = BodyError::new(Reason::TimerEntityBody, "it broke");
        sender.send(Err(error)).await.expect("a reader");
    };
    let serve = async {
        let mut asked = session.asked().await;
        let error = asked.content().await.expect_err("it is cut");
        assert_eq!(error.reason(), Some(Code::CANCEL));
    };
    let (outcome, (), ()) = tokio::join!(ask(&proxy, post(body)), client, serve);
    assert_eq!(reason(outcome), Reason::TimerEntityBody);
}

#[tokio::test]
async fn what_is_no_http_2_is_502_protocol() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (outcome, _peer) = tokio::join!(ask(&proxy, get("/")), async {
        let mut peer = upstream.accept().await;
        peer.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await;
        peer
    });
    let refusal = refused(outcome);
    assert_eq!(refusal.reason, Reason::UpstreamProtocol, "{refusal}");
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_504_and_its_stream_is_reset() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let begun = Instant::now();
    let answer = async {
        let outcome = ask(&proxy, get("/")).await;
        assert!(begun.elapsed() >= RESPONSE_TIMEOUT);
        outcome
    };
    let (outcome, (asked, since)) = tokio::join!(answer, async {
        let asked = session.asked().await;
        // Time stands still once nothing is on its way any more.
        tokio::time::pause();
        (asked, Instant::now())
    });
    assert_eq!(reason(outcome), Reason::UpstreamTimeout);
    assert!(since.elapsed().as_secs() <= RESPONSE_TIMEOUT.as_secs());
    assert_eq!(asked.reset().await, Code::CANCEL);
}

#[tokio::test]
async fn content_that_stops_is_cut_after_body_timeout() {
    let upstream = Upstream::start().await;
    let (proxy, mut session) = used(&upstream).await;
    let (outcome, _stream) = tokio::join!(ask(&proxy, get("/")), async {
        let mut asked = session.asked().await;
        let response = asked.respond.send_response(Response::new(()), false);
        response.expect("a stream")
    });
    tokio::time::pause();
    let begun = Instant::now();
    let error = text(outcome.expect("a response")).await.expect_err("a cut");
    assert_eq!(error.reason, Reason::UpstreamTimeout);
    assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_dead_is_found_out_by_ping() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let begun = Instant::now();
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        // It takes what is sent, and says not a byte.
        let mut peer = upstream.accept().await;
        let mut all = Vec::new();
        let _ = peer.stream.read_to_end(&mut all).await;
    });
    let refusal = refused(outcome);
    assert_eq!(refusal.reason, Reason::UpstreamReset);
    assert!(refusal.detail.contains("PING"), "{}", refusal.detail);
    assert_eq!(begun.elapsed().as_secs(), 20);
}
