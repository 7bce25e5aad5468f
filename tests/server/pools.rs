//! Pools from outside: who runs, who waits, who is refused, and how.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Gate, Server, Site, Tool, Upstream, raw};

/// A pool with these keys and this handler at `/`, and a quick one at `/quick`.
fn site(threads: usize, pool: &str, handler: &str) -> Site {
    Site {
        head: format!("[server]\nthreads = {threads}"),
        http: "protocols = [\"h2\", \"http/1.1\"]".into(),
        pool: pool.into(),
        handler: handler.into(),
        tail: "[[site.route]]\npath = \"/quick\"\npool = \"quick\"\n\
               [[pool]]\nname = \"quick\"\n[pool.handler]\ntype = \"respond\"\nbody = \"quick\"\n"
            .into(),
        ..Site::default()
    }
}

fn respond(delay: &str) -> String {
    format!("type = \"respond\"\nbody = \"slow\"\ndelay = \"{delay}\"")
}

/// A connection that is known to the server, so that what it sends next comes before anybody who connects later.
fn known(server: &Server) -> TcpStream {
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/quick").0, 200);
    stream
}

/// A known connection with a request for `/` on its way.
fn asking(server: &Server) -> TcpStream {
    let mut stream = known(server);
    raw::ask(&mut stream, "/");
    stream
}

/// The pool has room for nobody.
fn is_full(server: &Server) {
    let (status, text) = raw::get(&mut raw::connect(server.http), "/");
    assert_eq!(status, 503, "{text}");
}

/// What h2load counted as `2xx` and `5xx`.
fn statuses(h2load: &str) -> (usize, usize) {
    let line = h2load
        .lines()
        .find(|line| line.starts_with("status codes:"))
        .unwrap_or_else(|| panic!("{h2load}"));
    let numbers: Vec<usize> = line
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[3])
}

#[test]
fn of_a_hundred_at_once_five_run_ten_wait_and_the_rest_is_told_at_once() {
    let (h1, h2) = (["--h1", "100", "1"], ["--no-tls-proto=h2c", "10", "10"]);
    std::thread::scope(|scope| {
        for (threads, load) in [(1, h1), (2, h1), (1, h2), (2, h2)] {
            scope.spawn(move || a_hundred_at_once(threads, load));
        }
    });
}

fn a_hundred_at_once(threads: usize, [version, clients, streams]: [&str; 3]) {
    // Those that run are held until all others have come.
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let pool = "queue_length = 10\nconcurrency = 5";
    let server = site(threads, pool, &upstream.handler()).start();
    let load = Tool::new("h2load")
        .args(["-n", "100", "-c", clients, "-m", streams, version])
        .arg(format!("http://127.0.0.1:{}/", server.http));
    let counted = std::thread::scope(|scope| {
        let load = scope.spawn(|| load.stdout());
        // The refused ones are there while those with a slot still run, and other pools do not notice.
        server.wait_errors("QueueFull", 85);
        assert_eq!(raw::get(&mut raw::connect(server.http), "/quick").0, 200);
        assert!(!load.is_finished(), "requests run");
        gate.open();
        load.join().expect("h2load")
    });
    assert_eq!(
        statuses(&counted),
        (15, 85),
        "{threads} {version}: {counted}"
    );
    let full = server.wait_errors("QueueFull", 85);
    assert_eq!(full.len(), 85);
    for line in full {
        assert_eq!(line["status"], 503);
        assert_eq!(line["pool"], "main");
    }
}

#[test]
fn a_refusal_says_when_to_come_back_and_keeps_the_connection() {
    let server = site(1, "queue_length = 0\nconcurrency = 1", &respond("5m")).start();
    let _running = asking(&server);
    let mut other = known(&server);
    for _ in 0..2 {
        let (status, text) = raw::get(&mut other, "/");
        let text = text.to_ascii_lowercase();
        assert_eq!(status, 503);
        assert!(text.contains("\r\nretry-after: 1\r\n"), "{text}");
        assert!(!text.contains("\r\nconnection: close"), "{text}");
    }
    assert_eq!(raw::get(&mut other, "/quick").0, 200);
}

#[test]
fn a_refusal_comes_before_the_content_of_the_request() {
    let server = site(1, "queue_length = 0\nconcurrency = 1", &respond("5m")).start();
    let _running = asking(&server);
    let mut other = known(&server);
    other
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        .expect("sent");
    let (head, _) = raw::read_response(&mut other);
    assert_eq!(raw::status(&head), 503);
}

#[test]
fn an_overflow_by_reset_closes_without_a_byte() {
    let pool = "queue_length = 0\nconcurrency = 1\non_overflow = \"reset\"";
    let server = site(1, pool, &respond("5m")).start();
    let _running = asking(&server);
    let mut other = known(&server);
    raw::ask(&mut other, "/");
    let error = other.read(&mut [0; 100]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let line = server.wait_error("QueueFull");
    assert_eq!(line["pool"], "main");
}

#[test]
fn an_overflow_by_reset_refuses_the_stream_of_http2_and_nothing_else() {
    let pool = "queue_length = 0\nconcurrency = 1\non_overflow = \"reset\"";
    let server = site(1, pool, &respond("5m")).start();
    let _running = asking(&server);
    let url = format!("http://127.0.0.1:{}", server.http);
    let output = Tool::new("curl")
        .args([
            "-sSv",
            "--noproxy",
            "*",
            "--http2-prior-knowledge",
            "--max-time",
            "100",
        ])
        .arg(format!("{url}/"))
        .output();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(told.contains("REFUSED_STREAM"), "{told}");
    assert!(!told.contains("GOAWAY"), "{told}");
}

#[test]
fn a_request_that_waited_too_long_is_told_so() {
    let pool = "queue_length = 5\nconcurrency = 1\nqueue_timeout = \"100ms\"";
    let server = site(1, pool, &respond("5m")).start();
    let _running = asking(&server);
    let mut waiting = known(&server);
    let (status, text) = raw::get(&mut waiting, "/");
    assert_eq!(status, 503);
    assert!(
        text.to_ascii_lowercase().contains("retry-after: "),
        "{text}"
    );
    let line = server.wait_error("Timer_ReqQueue");
    assert_eq!(
        (&line["status"], &line["pool"]),
        (&503.into(), &"main".into())
    );
    // The connection goes on.
    assert_eq!(raw::get(&mut waiting, "/quick").0, 200);
}

#[test]
fn a_client_that_goes_leaves_the_queue() {
    let server = site(1, "queue_length = 1\nconcurrency = 1", &respond("5m")).start();
    let _running = asking(&server);
    for turn in 1..=3 {
        let waiting = asking(&server);
        is_full(&server);
        drop(waiting);
        let gone = server.wait_errors("Client_Reset", turn);
        assert_eq!(gone.len(), turn);
        assert_eq!(gone[0]["path"], "/");
    }
    let _takes_its_place = asking(&server);
    is_full(&server);
}

#[test]
fn a_client_that_goes_while_its_request_runs_frees_the_slot() {
    let server = site(1, "queue_length = 0\nconcurrency = 1", &respond("5m")).start();
    for turn in 1..=3 {
        let running = asking(&server);
        is_full(&server);
        drop(running);
        assert_eq!(server.wait_errors("Connection_Dropped", turn).len(), turn);
    }
}

#[test]
fn who_came_first_is_served_first() {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let pool = "queue_length = 20\nconcurrency = 1";
    let server = site(1, pool, &upstream.handler()).start();
    let mut clients: Vec<_> = (0..12).map(|_| known(&server)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        raw::ask(client, &format!("/{number}"));
        // Whoever asks next does so on a connection that the thread looks at after this one.
        assert_eq!(raw::get(&mut raw::connect(server.http), "/quick").0, 200);
    }
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        raw::read_response(client);
        let head = upstream.head();
        assert!(head.starts_with(&format!("GET /{number} ")), "{head}");
    }
}

#[test]
fn a_slot_is_held_until_the_client_has_taken_the_response_or_is_gone() {
    let folder = crate::support::folder();
    std::fs::create_dir(folder.path().join("www")).expect("www/");
    let big = vec![b'x'; 30_000_000];
    std::fs::write(folder.path().join("www/big"), &big).expect("a file");
    std::fs::write(folder.path().join("www/small"), "small").expect("a file");
    let files = "type = \"files\"\nroot = \"../www\"";
    let text = site(1, "queue_length = 1\nconcurrency = 1", files).text();
    let server = Server::start_in(folder, &text, |_| {});
    let mut reader = known(&server);
    raw::ask(&mut reader, "/big");
    let mut first = [0; 1000];
    reader
        .read_exact(&mut first)
        .expect("the response has begun");
    let mut next = known(&server);
    raw::ask(&mut next, "/small");
    is_full(&server);
    drop(reader);
    assert_eq!(raw::read_response(&mut next).1, b"small");
    // And once the last byte is taken.
    let mut reader = known(&server);
    raw::ask(&mut reader, "/big");
    reader
        .read_exact(&mut first)
        .expect("the response has begun");
    raw::ask(&mut next, "/small");
    is_full(&server);
    std::io::copy(&mut reader.take(30_000_000 - 1000), &mut std::io::sink()).expect("the rest");
    assert_eq!(raw::read_response(&mut next).1, b"small");
}
