//! Waiting for the only upstream, which went a moment ago.

use tokio::net::TcpListener;

use super::scripted::{Peer, Upstream, nobody};
use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback";

fn waiting(upstream: config::Upstream, wait: Duration) -> Proxy {
    proxy_with([upstream], |config| config.balance.retry.wait = wait)
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_upstream_that_is_back_in_time_gets_what_it_missed_whatever_the_method() {
    let upstream = nobody().await;
    let config::Upstream::Net { port, .. } = &upstream else {
        panic!("no port")
    };
    let port = *port;
    let proxy = waiting(upstream, LONG);
    let asked = async {
        let (sender, body) = pieces();
        sender.send(data("x")).await.expect("somebody who reads");
        drop(sender);
        tokio::join!(ask(&proxy, get("/a")), ask(&proxy, post(body)))
    };
    let back = async {
        // Both have met nobody by now, or will.
        tokio::task::yield_now().await;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("the port");
        for _ in 0..2 {
            let mut peer = Peer::new(listener.accept().await.expect("a connection").0);
            tokio::spawn(async move {
                peer.head().await;
                peer.say(ANSWER).await;
                peer.closed().await;
            });
        }
    };
    let ((one, other), ()) = tokio::join!(asked, back);
    for outcome in [one, other] {
        assert_eq!(
            text(outcome.expect("an answer")).await.expect("content"),
            "back"
        );
    }
}

#[tokio::test]
async fn one_that_stays_away_is_not_waited_for_again_and_again() {
    let wait = Duration::from_millis(100);
    let proxy = waiting(nobody().await, wait);
    let began = tokio::time::Instant::now();
    assert_eq!(reason(ask(&proxy, get("/")).await), Reason::UpstreamConnect);
    assert!(began.elapsed() >= wait, "the first one waits");
    let tried = proxy.upstreams()[0].failures;
    assert!(tried > 1, "and tries meanwhile: {tried}");
    assert_eq!(reason(ask(&proxy, get("/")).await), Reason::UpstreamConnect);
    assert_eq!(
        proxy.upstreams()[0].failures,
        tried + 1,
        "the next one tries once"
    );
}

#[tokio::test]
async fn a_request_that_breaks_its_upstream_is_sent_no_more_often_than_to_others() {
    let upstream = Upstream::start().await;
    let proxy = waiting(upstream.config(), LONG);
    let breaking = async {
        for _ in 0..3 {
            let mut peer = upstream.accept().await;
            peer.head().await;
        }
    };
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), breaking);
    assert_eq!(reason(outcome), Reason::UpstreamReset);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_not_sent_again() {
    let upstream = Upstream::start().await;
    let proxy = waiting(upstream.config(), LONG);
    let breaking = async { drop(upstream.accept().await.head().await) };
    let (outcome, ()) = tokio::join!(ask(&proxy, post(Body::full("x"))), breaking);
    assert_eq!(reason(outcome), Reason::UpstreamReset);
    assert!(!upstream.is_called().await);
}

#[tokio::test]
async fn the_budget_holds_for_what_was_sent() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([upstream.config()], |config| {
        config.balance.retry.wait = LONG;
        config.balance.retry.budget = 0;
    });
    let breaking = async { drop(upstream.accept().await.head().await) };
    let (outcome, ()) = tokio::join!(ask(&proxy, get("/")), breaking);
    assert_eq!(reason(outcome), Reason::UpstreamReset);
    assert!(!upstream.is_called().await);
}
