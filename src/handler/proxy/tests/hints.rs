//! 103 (Early Hints), which goes before a response.

use super::multiplexed::{Session, ask_h2, content_of, h2c};
use super::scripted::Upstream;
use super::*;
use crate::model::Interim;

fn page() -> (Interim, Request<Body>) {
    let interim = Interim::default();
    let mut request = get("/");
    request.extensions_mut().insert(interim.clone());
    (interim, request)
}

fn said(interim: &Interim) -> Vec<String> {
    let heads = interim.take().into_iter();
    heads.map(|head| format!("{head:?}")).collect()
}

const HINT: &str = r#"{"link": "</a.css>; rel=preload"}"#;

#[tokio::test]
async fn hints_are_passed_on_before_the_response_and_continue_is_not() {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (interim, request) = page();
    let mut asking = Box::pin(ask(&proxy, request));
    let mut peer = {
        let serve = upstream.answer(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
             Connection: x-hop\r\nX-Hop: 1\r\n\r\n",
        );
        tokio::select! {
            _ = &mut asking => panic!("there is no response yet"),
            (peer, _) = serve => peer,
        }
    };
    // It is there when the request's work was polled, and that is when a driver looks.
    let mut hints = Vec::new();
    while hints.is_empty() {
        assert!(futures_util::poll!(&mut asking).is_pending());
        tokio::task::yield_now().await;
        hints = said(&interim);
    }
    assert_eq!(hints, [HINT]);
    let last = peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (outcome, ()) = tokio::join!(asking, last);
    assert_eq!(content_of(outcome).await, "ok");
    assert_eq!(said(&interim), [""; 0]);
}

#[tokio::test]
async fn hints_come_over_http_2_too() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (interim, request) = page();
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        let hint = Response::builder().status(103);
        let hint = hint.header("link", "</a.css>; rel=preload").body(());
        let respond = &mut asked.respond;
        respond
            .send_informational(hint.expect("a head"))
            .expect("a stream");
        asked.say("page");
        session
    };
    let (outcome, _session) = tokio::join!(ask_h2(&proxy, request), serve);
    assert_eq!(content_of(outcome).await, "page");
    assert_eq!(said(&interim), [HINT]);
}
