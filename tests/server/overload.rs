//! More than there is room for: connections, descriptors, clients that never come to a point.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{Server, Site, folder, raw, tls};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn connections_beyond_the_limit_are_told_and_those_within_are_served() {
    for limit in ["max_connections = 2", "max_connections_per_ip = 2"] {
        let server = Site {
            head: format!("[limits]\n{limit}"),
            ..Site::default()
        }
        .start();
        let mut held: Vec<_> = (0..2).map(|_| raw::connect(server.http)).collect();
        for client in &mut held {
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            raw::read_response(client);
        }
        let refused = raw::exchange(server.http, "");
        assert!(
            refused.is_empty() || raw::status(&refused) == 503,
            "{limit}: {refused}"
        );
        assert_eq!(server.wait_error("ConnLimit")["protocol"], "tcp");
        drop(held);
        crate::support::wait_for("the places to be free", || {
            let mut client = raw::connect(server.http);
            client.write_all(GET.as_bytes()).ok()?;
            raw::read_to_end(&mut client)
                .starts_with("HTTP/1.1 200")
                .then_some(())
        });
    }
}

#[test]
fn out_of_descriptors_what_is_open_is_served_and_the_rest_waits() {
    let text = Site {
        head: "[server]\nthreads = 1\n[limits]\nmax_connections = 1000".into(),
        ..Site::default()
    }
    .text();
    let mut server = Server::start_in(folder(), &text, |command| {
        let mut limited = Command::new("prlimit");
        limited
            .arg("--nofile=48:48")
            .arg(command.get_program())
            .args(command.get_args());
        limited
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        *command = limited;
    });
    let mut clients: Vec<_> = (0..60).map(|_| raw::connect(server.http)).collect();
    clients[0]
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(raw::read_response(&mut clients[0]).1, b"Hello, World!");
    assert!(server.wait_line("connections cannot be accepted").is_some());
    clients[0]
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(raw::read_response(&mut clients[0]).1, b"Hello, World!");
    let mut last = clients.pop().unwrap();
    drop(clients);
    last.write_all(GET.as_bytes()).unwrap();
    assert_eq!(
        raw::status(&raw::read_to_end(&mut last)),
        200,
        "it recovers"
    );
}

/// 2,000 idle connections, 500 half-open handshakes, and 300 clients each that dribble heads, hold bodies back, and take
/// nothing of what they asked for.
fn crowd(server: &Server) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    let mut join = |port: u16, says: &[u8]| {
        let mut client = raw::connect(port);
        client.write_all(says).unwrap();
        crowd.push(client);
    };
    for _ in 0..2000 {
        join(server.http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for _ in 0..500 {
        join(server.https, &[22, 3, 1, 2, 0, 1, 0]);
    }
    for _ in 0..300 {
        join(server.http, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow");
        join(
            server.http,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx",
        );
        join(server.http, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    crowd
}

#[test]
fn a_crowd_that_comes_to_no_point_keeps_nobody_waiting_and_leaves_no_memory_behind() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let folder = folder();
    std::fs::create_dir(folder.path().join("www")).unwrap();
    std::fs::write(folder.path().join("www/big"), vec![7; 8 << 20]).unwrap();
    let files = "[[site.route]]\npath = \"/big\"\npool = \"files\"\n[[pool]]\nname = \"main\"\n";
    let text = Site {
        pool: "concurrency = 5000".into(),
        ..Site::default()
    }
    .text()
    .replace("[[pool]]\nname = \"main\"\n", files)
        + "[[pool]]\nname = \"files\"\nconcurrency = 1000\n[pool.handler]\ntype = \"files\"\nroot = \"../www\"\n";
    let server = Server::start_in(folder, &text, |_| {});
    let mut settled = Vec::new();
    for _ in 0..3 {
        let crowd = crowd(&server);
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(raw::status(&raw::exchange(server.http, GET)), 200);
            let mut secure = tls::connect(&server, &["http/1.1"]);
            secure.write_all(GET.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = std::io::Read::read_to_end(&mut secure, &mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            println!(
                "a good client was answered over http and https within {:?}",
                began.elapsed()
            );
        }
        drop(crowd);
        // The connections are gone when a stop would find none; memory is looked at when the last has been closed.
        crate::support::wait_for("the crowd to be gone", || {
            (open_files(&server) < 100).then_some(())
        });
        settled.push(server.memory_kib());
    }
    assert!(
        settled[2] < settled[0] + (24 << 10),
        "memory grows with every crowd: {settled:?} KiB"
    );
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}
