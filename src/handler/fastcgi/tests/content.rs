//! Content both ways, in step with who takes it.

use std::future::poll_fn;
use std::pin::pin;

use futures_util::poll;
use http_body::Body as _;
use tokio::io::AsyncReadExt as _;

use super::*;

/// More than the buffers of all sockets on the way.
const IN_BUFFERS_MAX: usize = 14 * 1024 * 1024;

#[tokio::test]
async fn content_is_sent_in_records_and_its_length_said_first() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let large = Bytes::from(vec![b'x'; 200_000]);
    let (answered, ()) = tokio::join!(
        ask(&handler, request("POST", Body::full(large.clone()))),
        async {
            let mut peer = listener.accept().await;
            assert_eq!(peer.params().await["CONTENT_LENGTH"], "200000");
            assert_eq!(peer.stdin().await, large);
            peer.answer(b"X: y\n\nok").await;
        }
    );
    assert_eq!(
        text(answered.expect("a response")).await.expect("content"),
        "ok"
    );
}

#[tokio::test]
async fn content_of_unknown_length_is_read_first_up_to_a_bound() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let (sender, body) = pieces();
    let client = async {
        for piece in ["one ", "two"] {
            sender
                .send(Ok(Frame::data(piece.into())))
                .await
                .expect("a reader");
        }
        drop(sender);
    };
    let peer = async {
        let mut peer = listener.accept().await;
        assert_eq!(peer.params().await["CONTENT_LENGTH"], "7");
        assert_eq!(peer.stdin().await, b"one two");
        peer.answer(b"X: y\n\n").await;
    };
    let (answered, (), ()) = tokio::join!(ask(&handler, request("POST", body)), client, peer);
    answered.expect("a response");

    let (sender, body) = pieces();
    let client = async {
        while sender
            .send(Ok(Frame::data(Bytes::from_static(&[0; 400]))))
            .await
            .is_ok()
        {}
    };
    let (answered, ()) = tokio::join!(ask(&handler, request("POST", body)), client);
    assert_eq!(reason(answered), Reason::LengthRequired);
}

#[tokio::test]
async fn an_application_is_read_no_faster_than_its_client_reads() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let peer = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.stdout(b"X: y\n\n").await;
        let piece = [b'z'; 32 * 1024];
        let mut written = 0;
        while written < 4 * IN_BUFFERS_MAX {
            let more = tokio::time::timeout(Duration::from_millis(300), peer.stdout(&piece));
            if more.await.is_err() {
                return written;
            }
            written += piece.len();
        }
        written
    });
    let response = ask(&handler, get()).await.expect("a response");
    let written = peer.await.expect("a number");
    assert!(
        written < IN_BUFFERS_MAX,
        "{written} bytes are taken for nobody"
    );
    drop(response);
}

#[tokio::test]
async fn a_response_may_come_before_all_of_its_request_is_sent() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let body = Body::full(vec![b'x'; 2 * IN_BUFFERS_MAX]);
    let (answered, mut peer) = tokio::join!(ask(&handler, request("POST", body)), async {
        let mut peer = listener.accept().await;
        peer.params().await;
        peer.stdout(b"X: y\n\nearly ").await;
        peer
    });
    let response = answered.expect("a response");
    // The client takes nothing of the response until all of its request is read.
    assert_eq!(peer.stdin().await.len(), 2 * IN_BUFFERS_MAX);
    peer.answer(b"late").await;
    assert_eq!(text(response).await.expect("content"), "early late");
}

#[tokio::test]
async fn a_length_that_is_said_holds() {
    for (said, expected) in [
        ("Content-Length: 5\n\nhello", Ok("hello")),
        ("Content-Length: 5\n\nhello world", Ok("hello")),
        ("Content-Length: 6\n\nhello", Err(Reason::UpstreamReset)),
        ("Content-Length: 0\n\n", Ok("")),
    ] {
        let listener = Listener::start().await;
        let handler = handler(listener.address(), |_| {});
        let (answered, _peer) = tokio::join!(ask(&handler, get()), async {
            let mut peer = listener.accept().await;
            peer.request().await;
            peer.answer(said.as_bytes()).await;
            peer
        });
        let response = answered.expect("a response");
        assert!(
            !response.headers().contains_key("content-length"),
            "it is said by who frames"
        );
        if expected.is_ok() {
            assert_eq!(
                response.body().size_hint().exact(),
                expected.ok().map(|it| it.len() as u64)
            );
        }
        let content = text(response).await;
        assert_eq!(
            content.as_deref().map_err(|error| error.reason),
            expected,
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_has_no_content_gets_none() {
    for (method, head, length) in [
        ("HEAD", "Content-Length: 5\n\nhello", Some("5")),
        ("HEAD", "X: y\n\n", None),
        ("GET", "Status: 304\n\nhello", None),
        ("GET", "Status: 204\n\n", None),
    ] {
        let listener = Listener::start().await;
        let handler = handler(listener.address(), |_| {});
        let (answered, _peer) =
            tokio::join!(ask(&handler, request(method, Body::empty())), async {
                let mut peer = listener.accept().await;
                peer.request().await;
                peer.answer(head.as_bytes()).await;
                peer
            });
        let response = answered.expect("a response");
        let said = response
            .headers()
            .get("content-length")
            .map(|it| it.to_str().expect("text"));
        assert_eq!(said, length, "{method} {head}");
        assert_eq!(text(response).await.expect("content"), "");
    }
}

#[tokio::test]
async fn an_application_learns_that_its_client_has_gone() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let mut peer = {
        let mut asking = pin!(ask(&handler, get()));
        let accepted = async {
            let mut peer = listener.accept().await;
            peer.request().await;
            peer
        };
        tokio::select! {
            _ = &mut asking => panic!("nobody has answered"),
            peer = accepted => peer,
        }
    };
    peer.closed().await;

    let (answered, mut peer) = tokio::join!(ask(&handler, get()), async {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.stdout(b"X: y\n\nbegun").await;
        peer
    });
    drop(answered.expect("a response"));
    peer.closed().await;
}

#[tokio::test]
async fn content_that_breaks_is_the_client_s_doing_before_and_behind_the_head() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let broken = || Err(BodyError::new(Reason::ClientReset, "gone"));
    let sized = |body: Body| request("POST", Body::stream(Sized(body)));
    let (sender, body) = pieces();
    let (answered, mut peer, ()) = tokio::join!(
        ask(&handler, sized(body)),
        async {
            let mut peer = listener.accept().await;
            peer.params().await;
            assert_eq!(peer.piece().await, b"some");
            peer
        },
        async {
            sender
                .send(Ok(Frame::data("some".into())))
                .await
                .expect("a reader");
            sender.send(broken()).await.expect("a reader");
        }
    );
    assert_eq!(reason(answered), Reason::ClientReset);
    peer.closed().await;

    let (sender, body) = pieces();
    let (answered, mut peer) = tokio::join!(ask(&handler, sized(body)), async {
        let mut peer = listener.accept().await;
        peer.params().await;
        peer.stdout(b"X: y\n\nearly").await;
        peer
    });
    let response = answered.expect("a response");
    sender.send(broken()).await.expect("a reader");
    let error = text(response).await.expect_err("it is broken off");
    assert_eq!(error.reason, Reason::ClientReset);
    let mut byte = [0];
    let _ = peer.stream.read(&mut byte).await;
    peer.closed().await;
}

/// Content that says how long it is.
struct Sized(Body);

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Piece>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(1000)
    }
}

#[tokio::test]
async fn gaps_have_a_bound_and_complaints_do_not_count() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let (answered, mut peer) = tokio::join!(ask(&handler, get()), async {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.stdout(b"X: y\n\nbegun").await;
        peer
    });
    let mut content = answered.expect("a response").into_body();
    let first = poll_fn(|cx| std::pin::Pin::new(&mut content).poll_frame(cx)).await;
    assert!(matches!(first, Some(Ok(_))));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let complaining = async {
        loop {
            tokio::time::sleep(BODY_TIMEOUT / 4).await;
            peer.stderr(b"still here").await;
        }
    };
    let next = tokio::select! {
        next = content.frame() => next,
        () = complaining => None,
    };
    let error = next.expect("an end").expect_err("it is late");
    assert_eq!(error.reason, Reason::UpstreamTimeout);
    assert!(began.elapsed() >= BODY_TIMEOUT && began.elapsed() < BODY_TIMEOUT * 2);
    let mut again = pin!(content.frame());
    assert!(matches!(poll!(&mut again), std::task::Poll::Ready(None)));
}
