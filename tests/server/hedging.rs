//! Asking a second upstream before the first has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{PATIENCE, Server, Site, Upstream, raw, wait_for};

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

/// Takes as long for an answer as this does with the request's head.
fn slow(takes_long: impl Fn(&str) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |talk| {
        while let Some(head) = talk.read_head() {
            takes_long(&head);
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        }
    })
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
    // Each is slower than `after`.
    let slow = || slow(|_| std::thread::sleep(Duration::from_millis(100)));
    let (one, other) = (slow(), slow());
    let keys = "hedge = { after = \"5ms\", max_share = \"100%\" }";
    let server = hedging(&[&one, &other], keys);
    for turn in 1..=4 {
        assert_eq!(raw::status(&ask(&server, "POST")), 200);
        assert_eq!(one.heads_so_far() + other.heads_so_far(), 1, "{turn}");
    }
}

#[test]
fn no_more_than_a_share_is_asked_for_twice() {
    // Each waits for the other where both are to be asked, and is slower than `after` where they are not.
    let asked = Arc::new(AtomicUsize::new(0));
    let upstream = || {
        let asked = asked.clone();
        slow(move |head| {
            asked.fetch_add(1, Relaxed);
            if head.starts_with("GET /twice ") {
                wait_for("the other one to be asked too", || {
                    (asked.load(Relaxed) == 2).then_some(())
                });
            } else {
                std::thread::sleep(Duration::from_millis(30));
            }
        })
    };
    let (one, other) = (upstream(), upstream());
    let keys = "hedge = { after = \"5ms\", max_share = \"10%\" }";
    let server = hedging(&[&one, &other], keys);
    let mut stream = raw::connect(server.http);
    for number in 1..=50 {
        let (path, times) = match number % 10 {
            0 => ("/twice", 2),
            _ => ("/once", 1),
        };
        asked.store(0, Relaxed);
        assert_eq!(raw::get(&mut stream, path).0, 200);
        assert_eq!(asked.load(Relaxed), times, "{number}");
    }
}

#[test]
fn a_second_one_that_fails_does_not_fail_the_first() {
    let slow = slow(|_| std::thread::sleep(Duration::from_millis(150)));
    let breaks = Upstream::start(|talk| drop(talk.read_head()));
    let server = hedging(
        &[&slow, &breaks],
        "hedge = { after = \"20ms\", max_share = \"100%\" }",
    );
    for _ in 0..2 {
        assert!(ask(&server, "GET").ends_with("slow"));
    }
}
