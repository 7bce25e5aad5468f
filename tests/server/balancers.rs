//! Clients behind a balancer that speaks the PROXY protocol, and whoever would like to be taken for one.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{PATIENCE, Server, Site, Tool, free_port, wait_for};

const FROM: &str = "proxy_protocol = { from = [\"127.0.0.1\"] }";

fn behind_a_balancer() -> Site {
    Site {
        head: "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n".into(),
        http: FROM.into(),
        https: FROM.into(),
        ..Site::default()
    }
}

fn clients(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.path().join("access.log")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| line["client"].as_str().expect("a client").to_owned())
        .collect()
}

/// Sends bytes, and gives all that comes back.
fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time to wait");
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    // A connection that is reset has said all that it will say.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn whoever_the_balancer_names_is_the_client() {
    let server = behind_a_balancer().start();
    let first = format!("PROXY TCP4 192.0.2.7 198.51.100.1 51234 80\r\n{REQUEST}");
    let answer = exchange(server.http, first.as_bytes());
    assert!(answer.ends_with("Hello, World!"), "{answer}");
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend([192, 0, 2, 8, 198, 51, 100, 1, 0xC8, 0x22, 0, 80]);
    second.extend(REQUEST.as_bytes());
    let answer = exchange(server.http, &second);
    assert!(answer.ends_with("Hello, World!"), "{answer}");
    // A balancer that looks whether we are there is its own client.
    let local = [b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", REQUEST.as_bytes()].concat();
    let answer = exchange(server.http, &local);
    assert!(answer.ends_with("Hello, World!"), "{answer}");
    wait_for("three lines of the access log", || {
        (clients(&server).len() == 3).then_some(())
    });
    // Two data threads write in no order.
    let mut clients = clients(&server);
    clients.sort();
    assert!(clients[0].starts_with("127.0.0.1:"), "{clients:?}");
    assert_eq!(clients[1..], ["192.0.2.7:51234", "192.0.2.8:51234"]);
}

#[test]
fn curl_and_haproxy_name_their_clients_over_tls() {
    let server = behind_a_balancer().start();
    let page = Tool::curl(&server)
        .args(["--haproxy-protocol", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", server.https))
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert_eq!(page, "Hello, World!");

    let port = free_port();
    let config = server.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode tcp\n timeout connect 100s\n timeout client 100s\n timeout server 100s\n\
         frontend f\n bind 127.0.0.1:{port}\n default_backend b\n\
         backend b\n source 127.0.0.1\n server s 127.0.0.1:{} send-proxy-v2\n",
        server.https
    );
    std::fs::write(&config, text).expect("haproxy's configuration");
    let mut haproxy = std::process::Command::new("/usr/sbin/haproxy")
        .arg("-f")
        .arg(&config)
        .arg("-db")
        .spawn()
        .expect("haproxy");
    wait_for("haproxy", || TcpStream::connect(("127.0.0.1", port)).ok());
    let page = Tool::curl(&server)
        .args(["--interface", "127.0.0.3", "--resolve"])
        .arg(format!("localhost:{port}:127.0.0.1"))
        .arg(format!("https://localhost:{port}/"))
        .stdout();
    haproxy.kill().expect("haproxy runs");
    haproxy.wait().expect("haproxy ends");
    assert_eq!(page, "Hello, World!");
    wait_for("the access log", || {
        let clients = clients(&server);
        let mut named = clients.into_iter();
        named.find(|client| client.starts_with("127.0.0.3:"))
    });
}

#[test]
fn a_balancer_that_names_nobody_is_refused_and_told_of() {
    let server = behind_a_balancer().start();
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 nonsense nonsense 1 1\r\n",
        b"PROXY ",
    ] {
        assert_eq!(exchange_and_end(server.http, bytes), "");
    }
    wait_for("three refusals", || {
        (server.errors().len() == 3).then_some(())
    });
    for line in server.errors() {
        assert_eq!(line["reason"], "BadRequest");
        assert_eq!(line["protocol"], "tcp");
        let detail = line["detail"].as_str().expect("a sentence");
        assert!(detail.contains("PROXY protocol"), "{detail}");
    }
    // A look whether the port answers is no refusal.
    drop(TcpStream::connect(("127.0.0.1", server.http)).expect("connected"));
    assert_eq!(server.errors().len(), 3);
}

/// The same with nothing more to come.
fn exchange_and_end(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.write_all(bytes).expect("sent");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("no more to send");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn nobody_else_can_choose_an_address() {
    let site = Site {
        http: "proxy_protocol = { from = [\"192.0.2.0/24\"] }".into(),
        ..Site::default()
    };
    let server = site.start();
    let forged = format!("PROXY TCP4 192.0.2.7 198.51.100.1 51234 80\r\n{REQUEST}");
    let answer = exchange(server.http, forged.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let plain = exchange(server.http, REQUEST.as_bytes());
    assert!(plain.ends_with("Hello, World!"), "{plain}");
}

#[test]
fn connections_are_counted_by_the_client_and_not_by_the_balancer() {
    let mut site = behind_a_balancer();
    site.head += "[limits]\nmax_connections_per_ip = 1\n";
    let server = site.start();
    let open = |client: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.http)).expect("connected");
        let head = format!("PROXY TCP4 {client} 198.51.100.1 51234 80\r\n");
        let request = head + "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        (stream, String::from_utf8_lossy(&answer).into_owned())
    };
    let (_first, answer) = open("192.0.2.7");
    assert_eq!(answer, "HTTP/1.1 200");
    let (_other, answer) = open("192.0.2.8");
    assert_eq!(answer, "HTTP/1.1 200");
    let (_again, answer) = open("192.0.2.7");
    assert_eq!(answer, "HTTP/1.1 503");
}
