//! Everything that can go wrong with an upstream, and what the client is told.

use std::net::SocketAddr;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::time::Instant;

use super::scripted::{Upstream, nobody};
use super::*;
use crate::model::journal::{AttemptStep, Cause, Journal, Noted, Step};

#[tokio::test]
async fn an_upstream_that_refuses_is_502_and_says_which() {
    let upstream = nobody().await;
    let refusal = refused(ask(&proxy([upstream.clone()]), get("/")).await);
    assert_eq!(refusal.reason, Reason::UpstreamConnect);
    assert_eq!(refusal.status().map(|status| status.as_u16()), Some(502));
    assert!(
        refusal.detail.contains(&upstream.to_string()),
        "{}",
        refusal.detail
    );
    let missing = config::Upstream::Unix("/nowhere/at/all.sock".into());
    assert_eq!(
        reason(ask(&proxy([missing]), get("/")).await),
        Reason::UpstreamConnect
    );
}

#[tokio::test]
async fn others_are_tried_when_an_upstream_cannot_be_connected_to() {
    let upstream = Upstream::start().await;
    let proxy = proxy([nobody().await, upstream.config(), nobody().await]);
    for _ in 0..3 {
        let serve = async {
            upstream
                .answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .await
        };
        let (outcome, _peer) = tokio::join!(ask(&proxy, post(Body::full("once"))), serve);
        assert_eq!(
            text(outcome.expect("a response")).await.expect("content"),
            "ok"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_take_the_connection_is_504_after_connect_timeout() {
    // Once the queue of a listening socket is full, Linux drops what wants to connect.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a port");
    listener.listen(0).expect("a queue");
    let address = listener.local_addr().expect("an address");
    let _waiting: Vec<Socket> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a flag");
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    let port = address.as_socket().expect("an address").port();
    let upstream = local(config::UpstreamScheme::Http, port);
    let begun = Instant::now();
    let refusal = refused(ask(&proxy([upstream]), get("/")).await);
    assert_eq!(refusal.reason, Reason::UpstreamTimeout);
    assert_eq!(refusal.status().map(|status| status.as_u16()), Some(504));
    assert_eq!(begun.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_answers_is_504_after_response_timeout() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let begun = Instant::now();
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.closed().await;
    });
    assert_eq!(reason(outcome), Reason::UpstreamTimeout);
    assert_eq!(begun.elapsed().as_secs(), RESPONSE_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_does_not_count_as_a_slow_upstream() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (sender, body) = pieces();
    let client = async {
        for _ in 0..3 {
            tokio::time::sleep(RESPONSE_TIMEOUT * 2).await;
            sender.send(data("piece")).await.expect("a reader");
        }
        drop(sender);
    };
    let begun = Instant::now();
    let serve = async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        let content = peer.content("5\r\npiece\r\n".len() * 3 + 5).await;
        assert!(content.ends_with("piece\r\n0\r\n\r\n"), "{content:?}");
        peer.closed().await;
    };
    let (outcome, (), ()) = tokio::join!(ask(&proxy, post(body)), client, serve);
    assert_eq!(reason(outcome), Reason::UpstreamTimeout);
    assert_eq!(
        begun.elapsed().as_secs(),
        (RESPONSE_TIMEOUT * 7).as_secs(),
        "the time counts from the last piece"
    );
}

#[tokio::test]
async fn a_request_that_breaks_is_the_client_s_fault() {
    for broken in [Reason::TimerEntityBody, Reason::EntityTooLarge] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (sender, body) = pieces();
        let client = async {
            sender.send(data("begun")).await.expect("a reader");
            let error = BodyError::new(broken, "it broke");
            sender.send(Err(error)).await.expect("a reader");
        };
        let serve = async {
            let mut peer = upstream.accept().await;
            peer.head().await;
            // No last chunk: the upstream must not take it for whole.
            assert!(!peer.closed().await.ends_with(b"0\r\n\r\n"));
        };
        let (outcome, (), ()) = tokio::join!(ask(&proxy, post(body)), client, serve);
        assert_eq!(reason(outcome), broken);
    }
}

#[tokio::test]
async fn an_upstream_that_closes_before_the_head_is_whole_is_502_reset() {
    for said in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
            let mut peer = upstream.accept().await;
            peer.head().await;
            peer.say(said).await;
        });
        let refusal = refused(outcome);
        assert_eq!(refusal.reason, Reason::UpstreamReset, "{said:?}");
        assert_eq!(refusal.status().map(|status| status.as_u16()), Some(502));
        // A new connection has no excuse: nothing is tried again.
        assert!(!upstream.is_called().await, "{said:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_resets_before_the_head_is_502_reset() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        let mut peer = upstream.accept().await;
        peer.head().await;
        SockRef::from(&peer.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket option");
    });
    assert_eq!(reason(outcome), Reason::UpstreamReset);
}

#[tokio::test]
async fn what_is_no_http_is_502_protocol() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(200));
    for said in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 twohundred OK\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Space : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        &long,
        &many,
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
            let mut peer = upstream.accept().await;
            peer.head().await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, said.as_bytes()).await;
            peer.closed().await;
        });
        let refusal = refused(outcome);
        assert_eq!(
            refusal.reason,
            Reason::UpstreamProtocol,
            "{:.80}: {refusal}",
            said
        );
        assert_eq!(refusal.status().map(|status| status.as_u16()), Some(502));
    }
}

#[tokio::test]
async fn a_client_sees_that_a_response_is_cut() {
    for (said, why) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            Reason::UpstreamReset,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            Reason::UpstreamReset,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            Reason::UpstreamReset,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
            Reason::UpstreamReset,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            Reason::UpstreamProtocol,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf!!",
            Reason::UpstreamProtocol,
        ),
    ] {
        let upstream = Upstream::start().await;
        let proxy = proxy([upstream.config()]);
        let serve = async { drop(upstream.answer(said).await) };
        let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), serve);
        let error = text(outcome.expect("a head")).await.expect_err("a cut");
        assert_eq!(error.reason, why, "{said}");
        assert!(!upstream.is_called().await, "{said}");
    }
}

#[tokio::test]
async fn a_response_that_stops_is_broken_off_after_body_timeout() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, (mut peer, _)) = tokio::join!(
        ask(&proxy, get("/")),
        upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none")
    );
    let mut content = outcome.expect("a head").into_body();
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let reading = async {
        loop {
            match content.frame().await.expect("a cut") {
                Ok(frame) => arrived
                    .send(frame.into_data().expect("content"))
                    .expect("a listener"),
                Err(refusal) => break refusal,
            }
        }
    };
    // Time stands still while nothing is on its way: what is between two sockets looks as if all were at rest.
    let slow = async {
        assert_eq!(arrivals.recv().await.expect("a piece"), "one");
        tokio::time::pause();
        tokio::time::sleep(BODY_TIMEOUT - Duration::from_secs(1)).await;
        tokio::time::resume();
        peer.say("two").await;
        assert_eq!(arrivals.recv().await.expect("a piece"), "two");
        tokio::time::pause();
        let begun = Instant::now();
        peer.closed().await;
        begun
    };
    let (refusal, begun) = tokio::join!(reading, slow);
    assert_eq!(refusal.reason, Reason::UpstreamTimeout);
    assert!(begun.elapsed() + Duration::from_secs(1) >= BODY_TIMEOUT);
}

#[tokio::test]
async fn interim_responses_are_no_answer() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, _peer) = tokio::join!(
        ask(&proxy, get("/")),
        upstream.answer(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
    );
    let response = outcome.expect("a response");
    assert!(!response.headers().contains_key("link"));
    assert_eq!(text(response).await.expect("content"), "ok");
}

#[tokio::test]
async fn every_attempt_is_noted_with_its_number_and_why_it_was_made() {
    let upstream = Upstream::start().await;
    let dead = nobody().await;
    let proxy = proxy([dead.clone(), upstream.config()]);
    let get = get("/");
    let mut facts = facts_of("shop.test", "192.0.2.7:4711", get.uri(), Protocol::Http1);
    let journal = Journal::new(std::time::Instant::now(), std::time::SystemTime::UNIX_EPOCH);
    let journal = facts.journal.insert(Arc::new(journal)).clone();
    let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let asked = proxy.handle(get, &facts).wait();
    let (outcome, _peer) = tokio::join!(asked, upstream.answer(ok));
    assert!(outcome.is_ok());
    let attempt = |noted: &Noted| match &noted.step {
        Step::Attempt(number, step) => Some((*number, step.clone())),
        _ => None,
    };
    let steps = journal.steps().noted;
    let steps: Vec<(u32, AttemptStep)> = steps.iter().filter_map(attempt).collect();
    let named: Vec<(u32, &str)> = steps.iter().map(|(of, step)| (*of, step.name())).collect();
    assert_eq!(
        named,
        [
            (1, "attempt_began"),
            (1, "attempt_failed"),
            (2, "attempt_began"),
            (2, "attempt_connected"),
            (2, "attempt_sent"),
            (2, "attempt_answered"),
        ]
    );
    let began = |at: usize| match &steps[at].1 {
        AttemptStep::Began { upstream, cause } => (upstream.to_string(), *cause),
        other => panic!("{other:?}"),
    };
    assert_eq!(began(0), (dead.to_string(), Cause::First));
    assert_eq!(began(2), (upstream.config().to_string(), Cause::Retry));
}
