//! Asking a second upstream before the first has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

use crate::support::{PATIENCE, Server, Site, Upstream, raw};

fn hedging(upstreams: &[&Upstream], keys: &str) -> Server {
    let urls: Vec<_> = upstreams
        .iter()
        .map(|it| format!("\"http://127.0.0.1:{}\"", it.port))
        .collect();
    Site {
        head: "[server]\nthreads = 1".into(),
        handler: format!(
            "type = \"proxy\"\nupstreams = [{}]\n{keys}",
            urls.join(", ")
        ),
        ..Site::default()
    }
    .start()
}

fn ask(server: &Server, method: &str) -> String {
    raw::exchange(
        server.http,
        format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    )
}

/// Never answers, and tells when its connection was closed.
fn silent() -> (Upstream, mpsc::Receiver<()>) {
    let (closed, is_closed) = mpsc::channel();
    let upstream = Upstream::start(move |talk| {
        talk.read_head();
        talk.read_to_end();
        let _ = closed.send(());
    });
    (upstream, is_closed)
}

fn quick() -> Upstream {
    Upstream::start(|talk| talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick"))
}

#[test]
fn a_slow_upstream_is_overtaken_by_another_and_sees_that_nobody_waits() {
    let (slow, closed) = silent();
    let quick = quick();
    let server = hedging(
        &[&slow, &quick],
        "hedge = { after = \"50ms\", max_share = \"100%\" }",
    );
    let answers: Vec<_> = (0..2).map(|_| ask(&server, "GET")).collect();
    assert!(
        answers.iter().all(|answer| answer.ends_with("quick")),
        "{answers:?}"
    );
    slow.head();
    closed
        .recv_timeout(PATIENCE)
        .expect("the slow one sees its connection close");
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_not_safe_is_asked_for_once() {
    let (slow, _closed) = silent();
    let quick = quick();
    let keys = "response_timeout = \"300ms\"\nretry = { attempts = 1 }\nhedge = { after = \"10ms\", max_share = \"100%\" }";
    let server = hedging(&[&slow, &quick], keys);
    let mut statuses: Vec<_> = (0..2).map(|_| raw::status(&ask(&server, "POST"))).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    assert_eq!((slow.heads_so_far(), quick.heads_so_far()), (1, 1));
}

#[test]
fn no_more_than_a_share_is_asked_for_twice() {
    // Each is slower than `after`, so that every request would be asked for twice.
    let asked = Arc::new(AtomicUsize::new(0));
    let slow = || {
        let asked = asked.clone();
        Upstream::start(move |talk| {
            while talk.read_head().is_some() {
                asked.fetch_add(1, Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(30));
                talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        })
    };
    let (one, other) = (slow(), slow());
    let server = hedging(
        &[&one, &other],
        "hedge = { after = \"5ms\", max_share = \"10%\" }",
    );
    let mut stream = raw::connect(server.http);
    for _ in 0..50 {
        assert_eq!(raw::get(&mut stream, "/").0, 200);
    }
    let twice = asked.load(Relaxed) - 50;
    assert_eq!(twice, 5);
}

#[test]
fn a_second_one_that_fails_does_not_fail_the_first() {
    let slow = Upstream::start(|talk| {
        while talk.read_head().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(150));
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        }
    });
    let breaks = Upstream::start(|talk| drop(talk.read_head()));
    let server = hedging(
        &[&slow, &breaks],
        "hedge = { after = \"20ms\", max_share = \"100%\" }",
    );
    for _ in 0..2 {
        assert!(ask(&server, "GET").ends_with("slow"));
    }
}
