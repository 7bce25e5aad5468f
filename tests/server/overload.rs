//! More than there is room for: connections, file descriptors, slowness of every kind.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{PATIENCE, Server, Site, folder, raw, through, tls, wait_for};

fn limited(keys: &str) -> Site {
    Site {
        head: format!("[limits]\n{keys}\n[server]\nthreads = 2"),
        ..Site::default()
    }
}

/// A connection that was served once, and stays.
fn kept(port: u16) -> TcpStream {
    let mut stream = raw::connect(port);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    stream
}

/// A connection from another address of this machine.
fn connect_from(ip: &str, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = format!("{ip}:0").parse().expect("an address");
    socket
        .bind(&from.into())
        .expect("an address of this machine");
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&to.into()).expect("the server listens");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

#[test]
fn over_max_connections_a_client_is_told_and_its_place_is_the_next_ones() {
    let server = limited("max_connections = 3").start();
    let mut open: Vec<_> = (0..3).map(|_| kept(server.http)).collect();
    // Without a request, in the middle of one, and with a whole one that is never read.
    for sent in [
        "",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let response = raw::exchange(server.http, sent);
        assert_eq!(raw::status(&response), 503, "{response}");
        let head = response.to_ascii_lowercase();
        for field in [
            "retry-after: 1",
            "connection: close",
            "date: ",
            "content-length: ",
        ] {
            assert!(
                head.contains(&format!("\r\n{field}")),
                "{field}: {response}"
            );
        }
    }
    let lines = server.wait_errors("ConnLimit", 3);
    assert_eq!((lines.len(), &lines[0]["protocol"]), (3, &"tcp".into()));
    assert_eq!(lines[0]["status"], 503);
    let detail = lines[0]["detail"].as_str().expect("text");
    assert!(detail.contains("max_connections"), "{detail}");
    // Before a handshake there is nothing to say.
    assert_eq!(raw::exchange(server.https, ""), "");
    let told = server.wait_errors("ConnLimit", 4);
    assert_eq!(told[3]["status"], serde_json::Value::Null);
    for stream in &mut open {
        assert_eq!(raw::get(stream, "/").0, 200);
    }
    drop(open);
    let _again: Vec<_> = (0..3).map(|_| place(&server)).collect();
}

/// Waits for a place to become free, and takes it.
fn place(server: &Server) -> TcpStream {
    wait_for("a place", || {
        let mut stream = raw::connect(server.http);
        (raw::get(&mut stream, "/").0 == 200).then_some(stream)
    })
}

#[test]
fn over_max_connections_per_ip_other_addresses_are_served() {
    let server = limited("max_connections_per_ip = 2").start();
    let one = kept(server.http);
    let _two = kept(server.http);
    let response = raw::exchange(server.http, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw::status(&response), 503);
    let line = server.wait_error("ConnLimit");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|text| text.contains("max_connections_per_ip"))
    );
    let mut other = connect_from("127.0.0.2", server.http);
    assert_eq!(raw::get(&mut other, "/").0, 200);
    drop(one);
    let _three = place(&server);
}

#[test]
fn without_file_descriptors_open_connections_are_served_and_others_wait() {
    let text = limited("max_connections = 1000").text();
    let mut server = Server::start_in(folder(), &text, |command| {
        through(command, &["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]);
    });
    let mut first = kept(server.http);
    let mut others: Vec<_> = (0..100).map(|_| raw::connect(server.http)).collect();
    let line = server
        .wait_line("cannot be accepted and wait")
        .expect("a warning");
    assert!(
        line.contains("WARN") && line.contains("LimitNOFILE"),
        "{line}"
    );
    for stream in &mut others {
        raw::ask(stream, "/");
    }
    for _ in 0..100 {
        assert_eq!(raw::get(&mut first, "/").0, 200);
    }
    // They were accepted in their order: with the first half gone there is room for the second.
    let waiting = others.split_off(70);
    drop(others);
    for mut stream in waiting {
        let (head, _) = raw::read_response(&mut stream);
        assert_eq!(raw::status(&head), 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// Everything that a crowd of slow and silent clients holds open.
fn crowd(server: &Server) -> (Vec<TcpStream>, Vec<tls::Stream>) {
    let mut open: Vec<_> = (0..1800).map(|_| kept(server.http)).collect();
    let idle = (0..200)
        .map(|_| {
            let mut stream = tls::connect(server, &["http/1.1"]);
            let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("sent");
            assert_ne!(stream.read(&mut [0; 1024]).expect("a response"), 0);
            stream
        })
        .collect();
    let mut slow = |count: usize, port: u16, bytes: &[u8]| {
        for _ in 0..count {
            let mut stream = raw::connect(port);
            stream.write_all(bytes).expect("sent");
            open.push(stream);
        }
    };
    slow(300, server.https, b"\x16\x03\x01\x02\x00\x01\x00");
    slow(200, server.https, b"");
    slow(100, server.http, b"GET / HTTP/1.1\r\nHost: loc");
    slow(
        100,
        server.http,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx",
    );
    slow(
        50,
        server.http,
        b"GET /files/big HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    (open, idle)
}

/// How long a good client waits, from the first packet of its connection to its answer, at worst.
fn worst_answer(server: &Server) -> Duration {
    (0..30)
        .map(|turn| {
            let began = Instant::now();
            if turn % 2 == 0 {
                let _ = kept(server.http);
            } else {
                let mut stream = tls::connect(server, &["http/1.1"]);
                let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                stream.write_all(request.as_bytes()).expect("sent");
                let mut response = [0; 12];
                stream.read_exact(&mut response).expect("a response");
                assert_eq!(&response, b"HTTP/1.1 200");
            }
            began.elapsed()
        })
        .max()
        .unwrap_or_default()
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("it runs")
        .count()
}

#[test]
fn a_crowd_of_slow_and_silent_clients_keeps_nobody_from_an_answer_and_leaks_nothing() {
    let folder = folder();
    fs::create_dir(folder.path().join("www")).expect("www/");
    fs::write(folder.path().join("www/big"), vec![b'x'; 30_000_000]).expect("a file");
    let mut site = limited("");
    site.tail = "[[site.route]]\npath = \"/files\"\npool = \"files\"\n\
                 [[pool]]\nname = \"files\"\n[pool.handler]\ntype = \"files\"\nroot = \"../www\"\n"
        .into();
    let mut server = Server::start_in(folder, &site.text(), |_| {});
    worst_answer(&server);
    server.wait_rehearsed();
    let (files, begun) = (open_files(&server), server.memory_kib());
    let mut most = Vec::new();
    for round in 1..=3 {
        let held = crowd(&server);
        let crowded = server.memory_kib();
        let worst = worst_answer(&server);
        println!(
            "round {round}: {} files open, {} KiB more than at rest, a good client waited {worst:?} at worst (goal: 100 ms)",
            open_files(&server),
            crowded.saturating_sub(begun)
        );
        drop(held);
        wait_for("every connection to be closed", || {
            (open_files(&server) <= files).then_some(())
        });
        worst_answer(&server);
        let left = server.memory_kib();
        println!("round {round}: {left} KiB when they are gone, {begun} KiB at rest");
        most.push(crowded.max(left));
    }
    // When the allocator gives back what a crowd has left is its own affair; a leak would come again with every crowd.
    assert!(most[2] < most[0] + most[0] / 2, "{begun}: {most:?} KiB");
}
