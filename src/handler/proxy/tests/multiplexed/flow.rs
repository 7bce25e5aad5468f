//! Nobody is made to hold what another does not take.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

#[tokio::test]
async fn an_upload_waits_for_an_upstream_that_does_not_take_it() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (sender, body) = pieces();
    let taken = AtomicUsize::new(0);
    const PIECE: usize = 16 * 1024;
    const PIECES: usize = 64;
    let client = async {
        for _ in 0..PIECES {
            sender
                .send(data(vec![b'x'; PIECE]))
                .await
                .expect("a reader");
            taken.fetch_add(PIECE, Relaxed);
        }
        drop(sender);
    };
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        // All that the window allows has come, and so nothing more will.
        let mut came = 0;
        while came < 65_535 {
            let data = asked.request.body_mut().data().await;
            came += data.expect("content").expect("content").len();
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // The window; a piece that waits for it; one in the channel, and one that waits for that.
        let most = 65_535 + 3 * PIECE;
        assert!(taken.load(Relaxed) <= most, "{}", taken.load(Relaxed));
        let flow = asked.request.body_mut().flow_control();
        flow.release_capacity(came).expect("a window");
        assert_eq!(
            asked.content().await.expect("content").len() + came,
            PIECE * PIECES
        );
        asked.say("all");
        session
    };
    let (outcome, (), _session) = tokio::join!(ask(&proxy, post(body)), client, serve);
    assert_eq!(content_of(outcome).await, "all");
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_up_the_upstream_and_no_other_client() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (outcome, (mut session, mut stream)) = tokio::join!(ask(&proxy, get("/")), async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        let response = asked.respond.send_response(Response::new(()), false);
        (session, response.expect("a stream"))
    });
    let slow = outcome.expect("a response");
    // More than anybody could hold: what has room is sent.
    stream.reserve_capacity(16 << 20);
    let mut sent = 0;
    loop {
        let capacity = std::future::poll_fn(|cx| match stream.poll_capacity(cx) {
            std::task::Poll::Pending if stream.capacity() == 0 && sent >= 256 * 1024 => {
                std::task::Poll::Ready(None)
            }
            other => other,
        });
        let Some(capacity) = capacity.await else {
            break;
        };
        let capacity = capacity.expect("a window");
        let piece = Bytes::from(vec![b'x'; capacity]);
        stream.send_data(piece, false).expect("a stream");
        sent += capacity;
    }
    assert_eq!(sent, 256 * 1024);
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), async {
        session.asked().await.say("quick");
    });
    assert_eq!(content_of(outcome).await, "quick");
    let (content, ()) = tokio::join!(text(slow), async {
        stream.send_data(Bytes::new(), true).expect("a stream");
    });
    assert_eq!(content.expect("content").len(), sent);
}

#[tokio::test]
async fn an_upload_goes_on_while_the_response_is_taken() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (sender, body) = pieces();
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        let response = asked.respond.send_response(Response::new(()), false);
        let mut stream = response.expect("a stream");
        let mut echoed = 0;
        while let Some(data) = asked.request.body_mut().data().await {
            let data = data.expect("content");
            let flow = asked.request.body_mut().flow_control();
            flow.release_capacity(data.len()).expect("a window");
            echoed += usize::from(!data.is_empty());
            stream.send_data(data, false).expect("a stream");
        }
        stream.send_data(Bytes::new(), true).expect("a stream");
        assert_eq!(echoed, 3);
        session
    };
    let client = async {
        let response = ask(&proxy, post(body)).await.expect("a response");
        let mut content = response.into_body();
        for piece in ["one", "two", "three"] {
            sender.send(data(piece)).await.expect("a reader");
            let frame = content.frame().await.expect("a piece").expect("a piece");
            assert_eq!(frame.into_data().expect("data"), piece);
        }
        drop(sender);
        assert!(
            content
                .collect()
                .await
                .expect("an end")
                .to_bytes()
                .is_empty()
        );
    };
    let (_session, ()) = tokio::join!(serve, client);
}
