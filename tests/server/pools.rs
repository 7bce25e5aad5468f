//! Pools under load: who runs, who waits, who is refused.

use std::io::Write;
use std::time::Duration;

use crate::support::{Site, Tool, raw};

const SLOW: &str = "type = \"respond\"\nbody = \"slow\"\ndelay = \"1s\"";

fn statuses(output: &str) -> String {
    output
        .lines()
        .find(|line| line.starts_with("status codes:"))
        .unwrap_or(output)
        .to_owned()
}

#[test]
fn of_a_hundred_at_once_five_run_ten_wait_and_eighty_five_are_refused_at_once() {
    let quick = "[[site]]\nname = \"quick\"\n[[site.route]]\npath = \"/\"\npool = \"quick\"\n[[pool]]\nname = \"quick\"\n\
                 [pool.handler]\ntype = \"respond\"\nbody = \"quick\"\n\
                 [[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"quick.localhost\"\nsite = \"quick\"";
    let server = Site {
        head: "[server]\nthreads = 2".into(),
        pool: "queue_length = 10\nconcurrency = 5".into(),
        handler: SLOW.into(),
        tail: quick.into(),
        ..Site::default()
    }
    .start();
    let url = format!("https://localhost:{}/", server.https);
    let load = std::thread::spawn(move || {
        Tool::new("h2load")
            .args(["-n100", "-c20", "-m5"])
            .arg(url)
            .stdout()
    });
    // The refusals are there long before the first slow answer is.
    let lines = server.wait_errors("QueueFull", 85);
    let other = Tool::curl(&server)
        .arg("-k")
        .arg(format!("https://quick.localhost:{}/", server.https))
        .stdout();
    assert_eq!(other, "quick");
    assert!(
        !load.is_finished(),
        "the slow requests are still on their way"
    );
    let output = load.join().unwrap();
    assert_eq!(
        statuses(&output),
        "status codes: 15 2xx, 0 3xx, 0 4xx, 85 5xx"
    );
    assert_eq!(lines[0]["pool"], "main");
    assert_eq!(server.wait_errors("QueueFull", 85).len(), 85);
}

#[test]
fn a_refused_request_is_told_when_to_come_back_and_keeps_its_connection() {
    let server = Site {
        pool: "queue_length = 0\nconcurrency = 1".into(),
        handler: SLOW.into(),
        ..Site::default()
    }
    .start();
    let mut first = raw::connect(server.http);
    first
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut second = raw::connect(server.http);
    loop {
        // Until the first has its slot, this one may be served in its place.
        second
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let (head, _) = raw::read_response(&mut second);
        if raw::status(&head) == 503 {
            assert!(
                head.to_ascii_lowercase().contains("retry-after: "),
                "{head}"
            );
            break;
        }
    }
    second
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    raw::read_response(&mut second);
}

#[test]
fn an_overflow_can_reset_the_connection_instead() {
    let pool = "queue_length = 0\nconcurrency = 1\non_overflow = \"reset\"";
    let server = Site {
        pool: pool.into(),
        handler: SLOW.into(),
        ..Site::default()
    }
    .start();
    let mut clients: Vec<_> = (0..2).map(|_| raw::connect(server.http)).collect();
    for client in &mut clients {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
    }
    let mut answers: Vec<_> = clients.iter_mut().map(raw::read_to_end).collect();
    answers.sort();
    assert_eq!(answers[0], "", "one is reset");
    assert_eq!(raw::status(&answers[1]), 200);
    server.wait_error("QueueFull");
}

#[test]
fn a_request_that_waits_too_long_is_refused() {
    let pool = "concurrency = 1\nqueue_timeout = \"100ms\"";
    let server = Site {
        pool: pool.into(),
        handler: SLOW.into(),
        ..Site::default()
    }
    .start();
    let requests: Vec<_> = (0..2)
        .map(|_| {
            let port = server.http;
            std::thread::spawn(move || {
                raw::exchange(
                    port,
                    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                )
            })
        })
        .collect();
    let mut statuses: Vec<_> = requests
        .into_iter()
        .map(|request| raw::status(&request.join().unwrap()))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    server.wait_error("Timer_ReqQueue");
}

#[test]
fn a_client_that_goes_away_leaves_the_queue() {
    let pool = "queue_length = 1\nconcurrency = 1";
    let server = Site {
        pool: pool.into(),
        handler: SLOW.into(),
        ..Site::default()
    }
    .start();
    let ask = || {
        let mut client = raw::connect(server.http);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        client
    };
    // One runs, one waits, in whatever order; who comes third is refused, so that the other two are known to be in.
    let (mut one, two) = (ask(), ask());
    std::thread::sleep(Duration::from_millis(50));
    let refused = raw::read_to_end(&mut ask());
    assert_eq!(raw::status(&refused), 503);
    drop(two);
    let gone = server.wait_errors_any(&["Client_Reset", "Connection_Dropped"]);
    assert_eq!(gone["pool"], "main");
    let mut three = ask();
    assert_eq!(raw::status(&raw::read_to_end(&mut one)), 200);
    assert_eq!(raw::status(&raw::read_to_end(&mut three)), 200);
}
