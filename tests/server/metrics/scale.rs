//! What many bindings, many connections and hostile clients do to what is told.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{admin, ask, samples, scrape, sum};
use crate::support::{Server, Site, Tool, raw, tls, wait_for};

fn series(server: &Server) -> BTreeSet<String> {
    let samples = scrape(server);
    samples.into_iter().map(|(series, _)| series).collect()
}

/// A request, and whatever comes of it.
fn send(port: u16, request: &str) {
    raw::exchange(port, request);
}

/// A handshake that asks for a name; it may well fail.
fn shake(server: &Server, name: &str) {
    let mut stream = raw::connect(server.https);
    let config = Arc::new(tls::config(server, &["http/1.1"]));
    let name = name.to_owned().try_into().expect("a name");
    let mut session = rustls::ClientConnection::new(config, name).expect("a session");
    // Whatever comes of it.
    let _ = session.complete_io(&mut stream);
}

#[test]
fn whatever_names_clients_make_up_no_series_is_added() {
    let site = Site {
        head: "[server]\nthreads = 1".into(),
        tail: "[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"*.wild.test\"\nsite = \"main\"".into(),
        ..Site::default()
    };
    let mut server = site.start();
    server.wait_rehearsed();
    let all = |number: usize| {
        let any = "Connection: close\r\n\r\n";
        for host in [
            format!("host{number}.test"),
            format!("host{number}.wild.test"),
            format!("host {number}"),
        ] {
            let path = format!("/path{number}?query={number}");
            send(
                server.http,
                &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: a{number}\r\n{any}"),
            );
        }
        let odd = format!("METHOD{number} /{number} HTTP/1.1\r\nHost: a.test\r\n{any}");
        send(server.http, &odd);
        let odd = format!("GET / HTTP/1.{number}\r\nHost: a.test\r\n{any}");
        send(server.http, &odd);
        let forwarded =
            format!("X-Forwarded-For: 192.0.2.{number}\r\nX-Request-Id: id-{number}\r\n");
        let odd = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{forwarded}{any}");
        send(server.http, &odd);
        if number.is_multiple_of(10) {
            shake(&server, &format!("sni{number}.test"));
        }
    };
    // Of each kind once, and what they are counted as is there.
    for number in [0, 10, 100, 1000] {
        all(number);
    }
    let counted = "portunus_http_server_request_duration_seconds_count";
    let before = wait_for("what was sent to be counted", || {
        let here = series(&server);
        (sum(&scrape(&server), counted, &[]) >= 20.0).then_some(here)
    });
    let requests = sum(&scrape(&server), counted, &[]);
    for number in 1001..1171 {
        all(number);
    }
    wait_for("all of it to be counted", || {
        (sum(&scrape(&server), counted, &[]) >= requests + 1000.0).then_some(())
    });
    let after = series(&server);
    let added: Vec<_> = after.difference(&before).collect();
    assert_eq!(added, Vec::<&String>::new());
}

#[test]
fn an_end_without_close_notify_is_told_from_one_with_it() {
    let mut server = Site::default().start();
    server.wait_rehearsed();
    let count = |said| {
        let labels = [("close_notify", said)];
        sum(&scrape(&server), "portunus_tls_closes_total", &labels)
    };
    assert_eq!((count("yes"), count("no")), (0.0, 0.0));
    let connect = |protocol: &str| {
        let mut stream = tls::connect(&server, &[protocol]);
        let (asked, enough) = match protocol {
            "h2" => (PREFACE, 9),
            _ => (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], 17),
        };
        stream.write_all(asked).expect("sent");
        stream.read_exact(&mut vec![0; enough]).expect("an answer");
        stream
    };
    // What closes with something unread sends a reset, which may overtake all else.
    let leave = |mut stream: tls::Stream| {
        stream.sock.shutdown(Shutdown::Write).expect("closed");
        let _ = stream.sock.read_to_end(&mut Vec::new());
    };
    for (polite, protocol) in [(1.0, "http/1.1"), (2.0, "h2")] {
        let mut stream = connect(protocol);
        stream.conn.send_close_notify();
        stream.flush().expect("sent");
        leave(stream);
        wait_for("a polite end", || (count("yes") == polite).then_some(()));
        assert_eq!(count("no"), polite - 1.0);
        leave(connect(protocol));
        wait_for("a rude end", || (count("no") == polite).then_some(()));
        assert_eq!(count("yes"), polite);
    }
}

/// The preface of HTTP/2, and settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// So many bindings of two ports, each with a site and a pool of its own.
fn many(bindings: usize) -> String {
    let mut text = Site {
        head: "[server]\nthreads = 1".into(),
        ..Site::default()
    }
    .text();
    for number in 0..bindings {
        write!(
            text,
            "[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"host{number}.test\"\nsite = \"site{number}\"\n\
             [[site]]\nname = \"site{number}\"\n[[site.route]]\npath = \"/\"\npool = \"pool{number}\"\n\
             [[pool]]\nname = \"pool{number}\"\n[pool.handler]\ntype = \"respond\"\nbody = \"Hello\"\n"
        )
        .expect("memory");
    }
    text
}

#[test]
fn everything_that_can_be_asked_is_answered_under_load_with_many_bindings_and_connections() {
    let server = Server::start(&many(BINDINGS));
    let connections: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|number| {
            let mut stream = raw::connect(server.http);
            let host = format!("host{}.test", number % BINDINGS);
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            raw::read_response(&mut stream);
            stream
        })
        .collect();
    let url = format!("http://127.0.0.1:{}/", server.http);
    let load = std::thread::spawn(move || {
        let load = Tool::new("h2load").args(["--h1", "-c", "32", "-n", "10000"]);
        load.arg(url).output();
    });
    let mut slowest = Duration::ZERO;
    let mut timed = |answer: &mut dyn FnMut() -> (u16, String)| {
        let asked = Instant::now();
        let (status, content) = answer();
        slowest = slowest.max(asked.elapsed());
        assert_eq!(status, 200, "{content}");
        content
    };
    let metrics = timed(&mut || admin(&server, "/metrics"));
    for path in [
        "service",
        "bindings",
        "pools",
        "connections",
        "certificates",
        "tls-failures",
    ] {
        let path = format!("/v1/{path}");
        timed(&mut || admin(&server, &path));
        timed(&mut || as_text(&server, &path));
    }
    load.join().expect("h2load");
    // 50 ms where the machine has a core for it (benches/observe); a test has none of its own.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    let samples = samples(&metrics);
    let count = "portunus_http_server_request_duration_seconds_count";
    for number in 0..BINDINGS {
        let pool = format!("pool{number}");
        let counted = sum(&samples, count, &[("pool", &pool)]);
        assert_eq!(counted, (CONNECTIONS / BINDINGS) as f64, "{pool}");
    }
    let open = sum(&samples, "portunus_connections_open", &[]);
    assert!(
        open >= CONNECTIONS as f64,
        "{open} open; ended since: {:?}",
        ended(&connections)
    );
}

/// The places and addresses of those that the server has closed.
fn ended(connections: &[TcpStream]) -> Vec<(usize, std::io::Result<SocketAddr>)> {
    let is_over =
        |stream: &TcpStream| stream.set_nonblocking(true).is_err() || stream.peek(&mut [0]).is_ok();
    let connections = connections.iter().enumerate();
    connections
        .filter(|(_, stream)| is_over(stream))
        .map(|(place, stream)| (place, stream.local_addr()))
        .collect()
}

/// As a person is told.
fn as_text(server: &Server, path: &str) -> (u16, String) {
    let socket = server.path().join("run/portunus.sock");
    let stream = std::os::unix::net::UnixStream::connect(socket).expect("the admin socket");
    ask(Accepting(stream), path)
}

/// Asks for text, whatever is asked.
struct Accepting(std::os::unix::net::UnixStream);

impl Read for Accepting {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Accepting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let request = String::from_utf8_lossy(bytes);
        let request = request.replace("\r\n\r\n", "\r\nAccept: text/plain\r\n\r\n");
        self.0.write_all(request.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

const BINDINGS: usize = 200;
const CONNECTIONS: usize = 600;
