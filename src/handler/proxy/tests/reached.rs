//! What is left for the logs of whom a request was sent on to.

use super::multiplexed::{Session, content_of, h2c};
use super::scripted::{Upstream, nobody};
use super::*;
use crate::model::SentOn;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Asks, and gives what is left of it.
async fn sent_on(proxy: &Proxy) -> (Outcome, Option<SentOn>) {
    let request = get("/");
    let client = "192.0.2.7:4711";
    let facts = facts_of("shop.test", client, request.uri(), Protocol::Http1);
    let outcome = proxy.handle(request, &facts).wait().await;
    (outcome, facts.reached.sent_on())
}

/// The upstream, how often one was tried, and whether there was a new connection and a response.
fn told(sent: Option<SentOn>) -> (u32, u32, bool, bool) {
    let sent = sent.expect("it was sent on");
    let took = sent.took;
    (
        sent.upstream,
        sent.attempts,
        took.connect.is_some(),
        took.response.is_some(),
    )
}

#[tokio::test]
async fn one_that_a_kept_connection_swallowed_is_one_attempt_with_a_new_connection() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let ((outcome, sent), (mut peer, _)) = tokio::join!(sent_on(&proxy), upstream.answer(OK));
    assert_eq!(content_of(outcome).await, "ok");
    assert_eq!(told(sent), (0, 1, true, true));
    let again = async {
        peer.head().await;
        drop(peer);
        upstream.answer(OK).await
    };
    let ((outcome, sent), _peer) = tokio::join!(sent_on(&proxy), again);
    assert_eq!(content_of(outcome).await, "ok");
    assert_eq!(told(sent), (0, 1, true, true));
}

#[tokio::test]
async fn over_http_2_a_session_is_connected_once() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let first = async {
        let mut session = Session::accept(&upstream).await;
        session.asked().await.say("one");
        session
    };
    let ((outcome, sent), mut session) = tokio::join!(sent_on(&proxy), first);
    assert_eq!(content_of(outcome).await, "one");
    assert_eq!(told(sent), (0, 1, true, true));
    let second = async { session.asked().await.say("two") };
    let ((outcome, sent), ()) = tokio::join!(sent_on(&proxy), second);
    assert_eq!(content_of(outcome).await, "two");
    assert_eq!(told(sent), (0, 1, false, true));
}

#[tokio::test]
async fn where_none_answers_the_last_one_tried_is_told() {
    let proxy = proxy([nobody().await, nobody().await]);
    let (outcome, sent) = sent_on(&proxy).await;
    assert_eq!(reason(outcome), Reason::UpstreamConnect);
    assert_eq!(told(sent), (1, 2, false, false));
}

#[tokio::test]
async fn each_response_counts_once_in_its_upstream_s_histogram() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let proxy = proxy(upstreams.iter().map(Upstream::config));
    for upstream in &upstreams {
        let ((outcome, _), _peer) = tokio::join!(sent_on(&proxy), upstream.answer(OK));
        assert_eq!(content_of(outcome).await, "ok");
    }
    for state in proxy.upstreams() {
        assert_eq!(
            (state.answers, state.took.count()),
            (1, 1),
            "{}",
            state.name
        );
        assert!(state.took.sum > 0.0);
    }
}

#[tokio::test]
async fn upstreams_are_called_as_the_configuration_writes_them() {
    let proxy = proxy([
        nobody().await,
        config::Upstream::Unix("/run/app.sock".into()),
    ]);
    let states = proxy.upstreams();
    for (number, state) in states.iter().enumerate() {
        let name = proxy.upstream_name(number as u32);
        assert_eq!(name.as_deref(), Some(&*state.name));
    }
    assert_eq!(
        proxy.upstream_name(1).as_deref(),
        Some("unix:/run/app.sock")
    );
    assert_eq!(proxy.upstream_name(2), None);
}
