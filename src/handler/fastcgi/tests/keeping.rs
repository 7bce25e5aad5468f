//! Connections that are kept, where that was asked for.

use std::time::{Instant, SystemTime};

use super::peer::Peer;
use super::*;
use crate::model::journal::Journal;

const ANSWER: &[u8] = b"X: y\n\nok";

fn keeping(address: config::Upstream) -> FastCgi {
    handler(address, |terms| terms.idle_connections = 1)
}

/// One request that the peer answers.
async fn over(handler: &FastCgi, peer: &mut Peer) {
    let (answered, ()) = tokio::join!(ask(handler, get()), async {
        peer.request().await;
        assert!(
            peer.keeps,
            "the application is to leave the connection open"
        );
        peer.answer(ANSWER).await;
    });
    assert_eq!(
        text(answered.expect("a response")).await.expect("content"),
        "ok"
    );
}

/// The same over a connection of its own.
async fn over_new(handler: &FastCgi, listener: &Listener) -> Peer {
    let (answered, peer) = tokio::join!(ask(handler, get()), async {
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.answer(ANSWER).await;
        peer
    });
    assert_eq!(
        text(answered.expect("a response")).await.expect("content"),
        "ok"
    );
    peer
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    let mut peer = over_new(&handler, &listener).await;
    for _ in 0..3 {
        over(&handler, &mut peer).await;
    }
}

#[tokio::test]
async fn one_that_was_closed_costs_no_request() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    drop(over_new(&handler, &listener).await);
    let mut peer = over_new(&handler, &listener).await;
    // Closed with the request in hand, not a byte of an answer given: it is asked once more.
    let (answered, _peer) = tokio::join!(ask(&handler, get()), async {
        peer.request().await;
        drop(peer);
        let mut peer = listener.accept().await;
        peer.request().await;
        peer.answer(ANSWER).await;
        peer
    });
    answered.expect("a response");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    let mut peer = over_new(&handler, &listener).await;
    let (answered, ()) = tokio::join!(ask(&handler, request("POST", Body::empty())), async {
        peer.request().await;
        drop(peer);
    });
    assert_eq!(reason(answered), Reason::UpstreamReset);
}

#[tokio::test]
async fn one_that_says_more_than_its_answer_is_not_used_again() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    let mut peer = over_new(&handler, &listener).await;
    let (answered, ()) = tokio::join!(ask(&handler, get()), async {
        peer.request().await;
        let out = [&[1, 6, 0, 1, 0, 6, 0, 0], &b"X: y\n\n"[..]].concat();
        let end = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // The beginning of an answer to a request that nobody has made yet.
        peer.say(&[&out[..], &end, &out].concat()).await;
    });
    answered.expect("a response");
    over_new(&handler, &listener).await;
}

#[tokio::test]
async fn one_that_nobody_needs_is_closed_in_time() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    let began = tokio::time::Instant::now();
    let mut peer = over_new(&handler, &listener).await;
    tokio::time::pause();
    peer.closed().await;
    assert!(began.elapsed() >= Duration::from_secs(30));
}

#[tokio::test]
async fn the_steps_of_an_exchange_are_noted_where_somebody_asks_for_them() {
    let listener = Listener::start().await;
    let handler = keeping(listener.address());
    let mut peer = over_new(&handler, &listener).await;
    let request = get();
    let mut facts = facts(request.uri());
    let journal = Journal::new(Instant::now(), SystemTime::UNIX_EPOCH);
    let journal = Arc::clone(facts.journal.insert(Arc::new(journal)));
    let asked = handler.handle(request, &facts).wait();
    let (answered, ()) = tokio::join!(asked, async {
        peer.request().await;
        peer.answer(ANSWER).await;
    });
    assert!(answered.is_ok());
    let steps = journal.steps().noted;
    let names: Vec<&str> = steps.iter().map(|noted| noted.step.name()).collect();
    assert_eq!(
        names,
        [
            "attempt_began",
            "attempt_kept_connection",
            "attempt_sent",
            "attempt_answered"
        ]
    );
}
