//! Which requests share a connection, and for how long it is kept.

use super::*;

#[tokio::test]
async fn requests_share_a_connection_from_the_first_on() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = Vec::new();
        for _ in 0..20 {
            asked.push(session.asked().await);
        }
        for one in asked {
            one.say("shared");
        }
        assert!(!upstream.is_called().await);
        session
    };
    let clients = (0..20).map(|_| async { content_of(ask(&proxy, get("/")).await).await });
    let (contents, _session) = tokio::join!(futures_util::future::join_all(clients), serve);
    assert!(contents.iter().all(|content| content == "shared"));
}

#[tokio::test]
async fn more_streams_than_an_upstream_takes_open_another_connection() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let serve = async {
        let stream = upstream.accept().await.stream;
        let mut first = Session::on(stream, |builder| {
            builder.max_concurrent_streams(1);
        })
        .await;
        let one = first.asked().await;
        one.say("first");
        let one = first.asked().await;
        let mut second = Session::accept(&upstream).await;
        second.asked().await.say("third");
        one.say("second");
        (first, second)
    };
    let client = async {
        assert_eq!(content_of(ask(&proxy, get("/")).await).await, "first");
        let (second, third) = tokio::join!(ask(&proxy, get("/")), ask(&proxy, get("/")));
        assert_eq!(content_of(second).await, "second");
        assert_eq!(content_of(third).await, "third");
    };
    tokio::join!(client, serve);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let upstream = Upstream::start().await;
    let begun = tokio::time::Instant::now();
    let proxy = proxy([h2c(&upstream)]);
    let (outcome, session) = tokio::join!(ask(&proxy, get("/")), async {
        let mut session = Session::accept(&upstream).await;
        session.asked().await.say("once");
        session
    });
    assert_eq!(content_of(outcome).await, "once");
    let used = tokio::time::Instant::now();
    tokio::time::pause();
    session.over().await;
    assert!(begun.elapsed().as_secs() >= 30 && used.elapsed().as_secs() <= 30);
}

#[tokio::test]
async fn a_connection_ends_after_so_many_requests() {
    let upstream = Upstream::start().await;
    let proxy = proxy_with([h2c(&upstream)], |proxy| {
        proxy.keeping.max_requests = Some(2);
    });
    let serve = async {
        let mut first = Session::accept(&upstream).await;
        for _ in 0..2 {
            first.asked().await.say("old");
        }
        let mut second = Session::accept(&upstream).await;
        second.asked().await.say("new");
        first.over().await;
        second
    };
    let client = async {
        let mut contents = Vec::new();
        for _ in 0..3 {
            contents.push(content_of(ask(&proxy, get("/")).await).await);
        }
        contents
    };
    let (contents, _second) = tokio::join!(client, serve);
    assert_eq!(contents, ["old", "old", "new"]);
}
