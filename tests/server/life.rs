//! From the first signal to the last: start, the service manager, privileges, drain, stop.

mod h2;
mod start;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use crate::support::{Gate, PATIENCE, Server, Site, Upstream, folder, raw, through, wait_for};

/// One data thread, and beside the quick pool one at `/slow`, whose upstream answers when the gate is open.
struct Slow {
    site: Site,
    upstream: Upstream,
    gate: Gate,
}

fn slow(head: &str) -> Slow {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let site = Site {
        head: format!("[server]\nthreads = 1\n{head}"),
        http: "protocols = [\"h2\", \"http/1.1\"]".into(),
        tail: format!(
            "[[site.route]]\npath = \"/slow\"\npool = \"slow\"\n[[pool]]\nname = \"slow\"\n[pool.handler]\n{}",
            upstream.handler()
        ),
        ..Site::default()
    };
    Slow {
        site,
        upstream,
        gate,
    }
}

impl Slow {
    /// A connection whose request is with the slow handler.
    fn in_flight(&self, server: &Server) -> TcpStream {
        let mut stream = raw::connect(server.http);
        raw::ask(&mut stream, "/slow");
        self.upstream.head();
        stream
    }
}

fn refuses_connections(port: u16) {
    wait_for("the port to be closed", || {
        TcpStream::connect(("127.0.0.1", port))
            .is_err()
            .then_some(())
    });
}

#[test]
fn every_socket_is_told_of_and_then_that_the_server_is_ready() {
    let mut server = Site::default().start();
    let (http, https) = (server.http, server.https);
    let log = server.log();
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    let ready = place(" ready ");
    assert!(place(&format!("listening address=http://127.0.0.1:{http}")) < ready);
    assert!(place(&format!("listening address=https://127.0.0.1:{https}")) < ready);
}

#[test]
fn both_signals_to_stop_let_a_request_in_flight_finish_and_end_with_it() {
    for signal in ["TERM", "INT"] {
        let slow = slow("drain_timeout = \"10m\"");
        let mut server = slow.site.start();
        let mut idle = raw::connect(server.http);
        assert_eq!(raw::get(&mut idle, "/").0, 200);
        let mut silent = raw::connect(server.http);
        let mut busy = slow.in_flight(&server);
        server.signal(signal);
        // Those that have nothing under way are closed while the other still waits for its answer.
        assert_eq!(raw::read_to_end(&mut idle), "");
        assert_eq!(raw::read_to_end(&mut silent), "");
        refuses_connections(server.http);
        slow.gate.open();
        let response = raw::read_to_end(&mut busy);
        assert_eq!(raw::status(&response), 200, "{response}");
        assert!(
            response
                .to_ascii_lowercase()
                .contains("\r\nconnection: close\r\n"),
            "{response}"
        );
        assert!(response.ends_with("slow"), "{response}");
        // Nine minutes and some before the time is up.
        assert_eq!(server.wait_exit().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_request_that_is_being_sent_when_the_drain_begins_is_answered() {
    let slow = slow("drain_timeout = \"10m\"");
    let mut server = slow.site.start();
    let mut half = raw::connect(server.http);
    half.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nha")
        .expect("sent");
    let busy = slow.in_flight(&server);
    server.signal("TERM");
    refuses_connections(server.http);
    half.write_all(b"lf").expect("the connection is still open");
    assert_eq!(raw::status(&raw::read_to_end(&mut half)), 200);
    drop(busy);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn what_was_connected_and_not_yet_accepted_is_served_by_a_drain() {
    for protocols in ["protocols = [\"h2\", \"http/1.1\"]", ""] {
        let mut site = slow("drain_timeout = \"10m\"").site;
        site.http = protocols.into();
        let mut server = site.start();
        // While the process is stopped nobody accepts, and everything that follows comes to it at once.
        server.signal("STOP");
        let mut queued: Vec<_> = (0..600).map(|_| raw::connect(server.http)).collect();
        for stream in &mut queued {
            raw::ask(stream, "/");
        }
        server.signal("TERM");
        server.signal("CONT");
        for stream in &mut queued {
            let response = raw::read_to_end(stream);
            assert_eq!(raw::status(&response), 200, "{response}");
        }
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn a_stream_of_new_connections_does_not_keep_a_drain_from_its_end() {
    let mut server = slow("drain_timeout = \"10m\"").site.start();
    let port = server.http;
    std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                // Each ends when it is refused.
                scope.spawn(move || while TcpStream::connect(("127.0.0.1", port)).is_ok() {})
            })
            .collect();
        server.signal("TERM");
        assert_eq!(server.wait_exit().code(), Some(0));
        for one in crowd {
            one.join().expect("refused in the end");
        }
    });
}

#[test]
fn an_http2_client_gets_goaway_and_its_answer() {
    let slow = slow("drain_timeout = \"10m\"");
    let mut server = slow.site.start();
    let mut client = h2::connect(server.http);
    h2::get(&mut client, 1, "/");
    assert_eq!(h2::read_until(&mut client, h2::DATA, 1), b"Hello, World!");
    h2::get(&mut client, 3, "/slow");
    slow.upstream.head();
    server.signal("TERM");
    let goaway = h2::read_until(&mut client, h2::GOAWAY, 0);
    assert_eq!(&goaway[4..8], &[0; 4], "NO_ERROR");
    slow.gate.open();
    assert_eq!(h2::read_until(&mut client, h2::DATA, 3), b"slow");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let slow = slow("drain_timeout = \"10m\"");
    let mut server = slow.site.start();
    let mut busy = slow.in_flight(&server);
    server.signal("TERM");
    refuses_connections(server.http);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert_eq!(raw::read_to_end(&mut busy), "");
    assert!(
        server.log().contains("connections were cut"),
        "{}",
        server.log()
    );
}

#[test]
fn a_drain_ends_when_its_time_is_up_and_says_how_many_were_cut() {
    let slow = slow("drain_timeout = \"100ms\"");
    let mut server = slow.site.start();
    let mut busy = slow.in_flight(&server);
    server.signal("TERM");
    let line = server.wait_line("connections were cut").expect("a warning");
    assert!(
        line.contains("WARN") && line.contains("connections=1"),
        "{line}"
    );
    assert_eq!(raw::read_to_end(&mut busy), "");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn quit_stops_at_once() {
    let slow = slow("drain_timeout = \"10m\"");
    let mut server = slow.site.start();
    let mut busy = slow.in_flight(&server);
    server.signal("QUIT");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert_eq!(raw::read_to_end(&mut busy), "");
    assert_eq!(server.wait_error("Connection_Dropped")["path"], "/slow");
}

#[test]
fn a_hand_over_that_is_not_there_yet_is_told_and_harms_nothing() {
    let mut server = Site::default().start();
    server.signal("USR2");
    let line = server.wait_line("SIGUSR2").expect("a warning");
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(raw::get(&mut raw::connect(server.http), "/").0, 200);
}

#[test]
fn the_service_manager_is_told_of_every_turn_of_life() {
    let manager_folder = tempfile::tempdir().expect("a folder");
    let path = manager_folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hear = |expected: &str| {
        let mut room = [0; 4096];
        loop {
            let read = manager
                .recv(&mut room)
                .unwrap_or_else(|e| panic!("{expected}: {e}"));
            let text = String::from_utf8_lossy(&room[..read]).into_owned();
            if text.contains(expected) {
                return text;
            }
            assert!(text.starts_with("WATCHDOG=1"), "{text:?} before {expected}");
        }
    };
    let mut server = Server::start_in(folder(), &Site::default().text(), |command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "100000");
    });
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    server.signal("HUP");
    let reloading = hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading:?}");
    hear("READY=1");
    server.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn sockets_of_the_service_manager_are_taken() {
    // What systemd does: bind, put the sockets at 3 and up, and execute.
    const ACTIVATE: &str = "
import os, socket, sys
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(10)
print('passed=' + str(s.getsockname()[1]) + '.', file=sys.stderr, flush=True)
text = open(sys.argv[3]).read().replace('PORT', str(s.getsockname()[1]))
open(sys.argv[3], 'w').write(text)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";
    let config = Site::default()
        .text()
        .replacen("port = 0", "port = PORT", 1);
    let mut server = Server::start_in(folder(), &config, |command| {
        through(command, &["python3", "-c", ACTIVATE]);
    });
    let log = server.log();
    let passed = log
        .split_once("passed=")
        .and_then(|(_, rest)| rest.split_once('.'));
    assert_eq!(passed.expect("the port").0, server.http.to_string());
    assert_eq!(raw::get(&mut raw::connect(server.http), "/").0, 200);
    assert!(!log.contains("no binding is for"), "{log}");
}

#[test]
fn every_address_means_ipv4_and_ipv6_each_on_a_socket_of_its_own() {
    let config = Site::default()
        .text()
        .replacen("ip = \"127.0.0.1\"", "ip = \"*\"", 1);
    let mut server = Server::start(&config);
    let log = server.log();
    let port = log
        .split_once("listening address=http://[::]:")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("{log}"))
        .to_owned();
    assert!(
        log.contains(&format!("listening address=http://0.0.0.0:{port}")),
        "{log}"
    );
    for address in ["127.0.0.1", "::1"] {
        let number: u16 = port.parse().expect("a port");
        let mut stream = TcpStream::connect((address, number)).expect("listened on");
        assert_eq!(raw::get(&mut stream, "/").0, 200, "{address}");
    }
}
