//! Handshakes that fail: what the client is told, and the one line that the operator is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use serde_json::Value;

use super::{Setup, client_hello, client_of, connect, s_client};
use crate::support::{Server, Tool, raw, wait_for};

fn with(keys: &str) -> Setup {
    Setup::new()
        .certificate("a.test", &["a.test"])
        .binding("127.0.0.1", "a.test", keys)
}

/// What openssl says of a handshake that must fail, and the one line that the error log has of it.
fn failed(server: &Server, reason: &str, arguments: &[&str]) -> (String, Value) {
    let address = format!("127.0.0.1:{}", server.https);
    let before = server.errors().len();
    let said = s_client(
        &address,
        &[&["-servername", "a.test"], arguments].concat(),
        "",
    );
    let line = server.wait_errors(reason, 1).pop().expect("one line");
    assert_eq!(server.errors().len(), before + 1);
    (said, line)
}

/// What openssl offers unless it is told otherwise.
const OPENSSL: &str = "TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3";

/// Every failure of a handshake whose ClientHello arrived tells all of it.
fn assert_told_whole(line: &Value, versions: &str) {
    assert_eq!(line["protocol"], "tls", "{line}");
    assert_eq!(line["sni"], "a.test", "{line}");
    assert_eq!(line["tls_version"], versions, "{line}");
    assert_eq!(line["ja4"].as_str().map(str::len), Some(36), "{line}");
    assert!(
        line["client"].is_string() && line["local"].is_string(),
        "{line}"
    );
    assert!(
        !line["detail"].as_str().unwrap_or_default().is_empty(),
        "{line}"
    );
}

#[test]
fn a_client_of_an_older_version_than_the_binding_takes() {
    let server = with("min_version = \"1.3\"").start();
    let (said, line) = failed(&server, "Tls_NoCommonVersion", &["-tls1_2", "-alpn", "h2"]);
    assert!(said.contains("alert number 70"), "{said}");
    assert_told_whole(&line, "TLSv1.2");
    assert_eq!(line["alpn"], "h2");
}

#[test]
fn a_client_of_a_version_that_nobody_takes_any_more() {
    let server = with("").start();
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let (said, line) = failed(&server, "Tls_NoCommonVersion", &old);
    assert!(said.contains("alert number 70"), "{said}");
    assert_told_whole(&line, "TLSv1.1");
}

#[test]
fn a_client_whose_ciphers_or_groups_are_not_ours() {
    let server = with("").start();
    let (said, line) = failed(
        &server,
        "Tls_NoCommonCipher",
        &["-tls1_2", "-cipher", "AES128-SHA"],
    );
    assert!(said.contains("alert number 40"), "{said}");
    assert_told_whole(&line, "TLSv1.2");

    let server = with("").start();
    let (said, line) = failed(
        &server,
        "Tls_NoCommonCipher",
        &["-tls1_3", "-groups", "P-521"],
    );
    assert!(said.contains("alert number 40"), "{said}");
    assert_told_whole(&line, "TLSv1.3");
}

#[test]
fn a_client_of_another_application_protocol() {
    let server = with("").start();
    let (said, line) = failed(&server, "Tls_NoCommonProtocol", &["-alpn", "imap,pop3"]);
    assert!(said.contains("alert number 120"), "{said}");
    assert_told_whole(&line, OPENSSL);
    assert_eq!(line["alpn"], "imap pop3");
}

#[test]
fn a_client_without_alpn_where_only_http2_is_spoken() {
    let server = with("protocols = [\"h2\"]").start();
    let (said, line) = failed(&server, "Tls_NoCommonProtocol", &[]);
    assert!(said.contains("alert number 120"), "{said}");
    assert_told_whole(&line, OPENSSL);
    assert_eq!(line.get("alpn"), None);
    let address = format!("127.0.0.1:{}", server.https);
    let said = s_client(&address, &["-servername", "a.test", "-alpn", "h2"], "");
    assert!(said.contains("ALPN protocol: h2"), "{said}");
}

#[test]
fn a_client_that_does_not_accept_our_certificate() {
    let server = with("").start();
    let versions = ["-verify_return_error", "-tls1_3"];
    let (_, line) = failed(&server, "Tls_PeerAlert", &versions);
    assert_told_whole(&line, "TLSv1.3");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("UnknownCA") && detail.contains("who issued"),
        "{detail}"
    );

    let server = with("").start();
    let out = Tool::new("curl")
        .args(["-sS", "--tls-max", "1.2", "--noproxy", "*", "--resolve"])
        .arg(format!("a.test:{}:127.0.0.1", server.https))
        .arg(format!("https://a.test:{}/", server.https))
        .output();
    assert_eq!(out.status.code(), Some(60));
    assert_told_whole(&server.wait_error("Tls_PeerAlert"), "TLSv1.2");
    assert_eq!(server.errors().len(), 1);
}

#[test]
fn what_is_no_tls_at_all() {
    let server = with("").start();
    let garbage: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x01\x02\x03\x04 looks like a handshake for one byte",
        // SSL 2.0's ClientHello.
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\xff",
    ];
    for (index, bytes) in garbage.iter().enumerate() {
        let answer = raw::exchange(server.https, bytes);
        assert!(!answer.contains("HTTP/1.1"), "{answer:?}");
        assert_eq!(server.wait_errors("Tls_NotTls", index + 1).len(), index + 1);
    }
    assert_eq!(server.errors().len(), garbage.len());
}

#[test]
fn a_plain_request_in_pieces_is_answered_readably_too() {
    let server = with("").start();
    let mut stream = raw::connect(server.https);
    stream.set_nodelay(true).expect("nodelay");
    for byte in b"GET / HTTP/1.1\r\n" {
        // The answer comes as soon as it is clear what is spoken.
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(raw::status(&raw::read_to_end(&mut stream)), 400);
    server.wait_error("Tls_NotTls");
    assert_eq!(server.errors().len(), 1);

    // Not even a method, and gone.
    let mut stream = raw::connect(server.https);
    stream.write_all(b"GE").expect("two bytes");
    stream.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(raw::read_to_end(&mut stream), "");
    server.wait_errors("Tls_NotTls", 2);
}

#[test]
fn a_client_that_goes_away_in_the_middle() {
    let server = with("").start();
    let hello = client_hello(&server, "a.test", &[]);
    let mut stream = raw::connect(server.https);
    stream
        .write_all(&hello[..hello.len() / 2])
        .expect("half a hello");
    drop(stream);
    let line = server.wait_error("Tls_Other");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|d| d.contains("closed the connection")),
        "{line}"
    );

    let mut stream = raw::connect(server.https);
    stream.write_all(&hello).expect("a hello");
    let mut first = [0];
    stream.read_exact(&mut first).expect("a ServerHello");
    stream.shutdown(Shutdown::Both).expect("a shutdown");
    drop(stream);
    let lines = server.wait_errors("Tls_Other", 2);
    assert_told_whole(&lines[1], "TLSv1.2 TLSv1.3");
    assert_eq!(server.errors().len(), 2);
}

#[test]
fn a_client_that_falls_silent_is_let_go_after_the_time_of_a_handshake() {
    let server = with("").head("[limits]\ntls_handshake = \"400ms\"").start();
    let hello = client_hello(&server, "a.test", &["h2", "http/1.1"]);
    let mut half = raw::send_at_once(&server, server.https, &hello[..100]);
    assert_eq!(raw::read_to_end(&mut half), "");
    let line = server.wait_error("Tls_Timeout");
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|d| d.contains("was not done")),
        "{line}"
    );

    let mut silent = raw::connect(server.https);
    assert_eq!(raw::read_to_end(&mut silent), "");
    let lines = server.wait_errors("Tls_Timeout", 2);
    assert!(
        lines[1]["detail"]
            .as_str()
            .is_some_and(|d| d.contains("no byte")),
        "{}",
        lines[1]
    );

    let mut whole = raw::send_at_once(&server, server.https, &hello);
    raw::read_to_end(&mut whole);
    let lines = server.wait_errors("Tls_Timeout", 3);
    assert_told_whole(&lines[2], "TLSv1.2 TLSv1.3");
    assert_eq!(lines[2]["alpn"], "h2 http/1.1");
    assert_eq!(server.errors().len(), 3);
}

#[test]
fn a_refused_client_that_does_not_hang_up_is_told_of_with_its_own_reason_all_the_same() {
    let server = with("").head("[limits]\ntls_handshake = \"400ms\"").start();
    // Each of them is answered, and then holds the connection until the server has had enough.
    let hello = client_hello(&server, "b.test", &[]);
    let mut unknown = raw::send_at_once(&server, server.https, &hello);
    let mut plain = raw::send_at_once(&server, server.https, "GET / HTTP/1.1\r\n\r\n");
    raw::read_to_end(&mut unknown);
    raw::read_to_end(&mut plain);
    server.wait_error("Tls_NoCertificate");
    server.wait_error("Tls_NotTls");
    drop((unknown, plain));
    // Whatever else would be told is told before the next failure.
    raw::read_to_end(&mut raw::send_at_once(&server, server.https, b"\xff"));
    server.wait_errors("Tls_NotTls", 2);
    assert_eq!(server.errors().len(), 3);
}

#[test]
fn a_client_that_connects_and_leaves_without_a_word_is_nobodys_concern() {
    let server = with("").start();
    for _ in 0..3 {
        drop(raw::connect(server.https));
    }
    let mut polite = raw::connect(server.https);
    polite.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(raw::read_to_end(&mut polite), "");
    let config = Arc::new(client_of(&server, rustls::ALL_VERSIONS));
    connect(&config, ("127.0.0.1", server.https), "a.test").expect("a handshake");
    assert_eq!(server.errors(), Vec::<Value>::new());
}

/// A ClientHello's one record taken apart into records of so many bytes.
fn in_records_of(hello: &[u8], size: usize) -> Vec<u8> {
    hello[5..]
        .chunks(size)
        .flat_map(|part| {
            let length = u16::try_from(part.len())
                .expect("a small part")
                .to_be_bytes();
            [&[22, 3, 1], &length[..], part].concat()
        })
        .collect()
}

fn is_answered(stream: &mut TcpStream) -> bool {
    let mut header = [0; 6];
    stream.read_exact(&mut header).expect("an answer");
    // A handshake record that begins with a ServerHello.
    header[0] == 22 && header[5] == 2
}

#[test]
fn a_client_hello_may_come_in_any_pieces() {
    let server = with("").start();
    let hello = client_hello(&server, "a.test", &["h2"]);
    let mut stream = raw::connect(server.https);
    stream.set_nodelay(true).expect("nodelay");
    for piece in hello.chunks(7) {
        stream.write_all(piece).expect("a piece");
    }
    assert!(is_answered(&mut stream));

    let mut stream = raw::connect(server.https);
    stream
        .write_all(&in_records_of(&hello, 100))
        .expect("records");
    assert!(is_answered(&mut stream));
    // What was asked for is told from records as well.
    let unknown = client_hello(&server, "b.test", &["h2"]);
    raw::exchange(server.https, in_records_of(&unknown, 300));
    let line = server.wait_error("Tls_NoCertificate");
    assert_eq!(line["sni"], "b.test");
    assert_eq!(line["alpn"], "h2");
}

#[test]
fn a_client_hello_may_be_as_long_as_16_kib_and_no_longer() {
    let server = with("").start();
    let long = |name: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("{n:0>250}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push("h2");
        client_hello(&server, name, &names)
    };
    let send = |hello: &[u8]| {
        let mut stream = raw::connect(server.https);
        stream.write_all(hello).expect("a hello");
        stream
    };
    let hello = long("a.test", 55);
    assert!(hello.len() > 14_500);
    assert!(is_answered(&mut send(&hello)));
    // What is told of one that fails is told of a long one too, and is kept short.
    raw::read_to_end(&mut send(&long("b.test", 55)));
    let line = server.wait_error("Tls_NoCertificate");
    assert_eq!(line["sni"], "b.test");
    assert!(line.to_string().len() < 1000, "{line}");

    let hello = long("a.test", 70);
    assert!(hello.len() > 17_000);
    let mut stream = raw::connect(server.https);
    // A server that refuses may close before it has read everything.
    let _ = stream.write_all(&hello);
    raw::read_to_end(&mut stream);
    wait_for("a line about its length", || {
        let lines = server.errors();
        let mut details = lines.iter().filter_map(|line| line["detail"].as_str());
        details
            .find(|detail| detail.contains("longer than 16 KiB"))
            .map(drop)
    });
}

#[test]
fn a_client_in_the_middle_of_its_handshake_is_told_of_when_the_server_stops() {
    let mut server = with("").start();
    let hello = client_hello(&server, "a.test", &[]);
    let mut stream = raw::connect(server.https);
    stream.write_all(&hello).expect("a hello");
    assert!(is_answered(&mut stream));
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    let lines = server.errors();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["reason"], "AppShutdown");
    assert_told_whole(&lines[0], "TLSv1.2 TLSv1.3");
}

#[test]
fn a_client_hello_without_end_is_refused_within_bounds() {
    let server = with("").start();
    // A handshake message of 16 MiB announced, in records as large as they may be.
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    endless.resize(5 + (1 << 14), 0);
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.resize(5 + (1 << 14), 0);
    for _ in 0..16 {
        endless.extend_from_slice(&record);
    }
    raw::exchange(server.https, &endless);
    server.wait_error("Tls_Other");
    assert_eq!(server.errors().len(), 1);
}

#[test]
fn five_hundred_half_open_handshakes_are_in_nobodys_way() {
    // None of them has been given up when the good one comes.
    let server = with("").head("[limits]\ntls_handshake = \"10m\"").start();
    let hello = client_hello(&server, "a.test", &[]);
    let half_open: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = raw::connect(server.https);
            stream
                .write_all(&hello[..hello.len() / 2])
                .expect("half a hello");
            stream
        })
        .collect();
    let config = Arc::new(client_of(&server, rustls::ALL_VERSIONS));
    let mut good = connect(&config, ("127.0.0.1", server.https), "a.test").expect("a handshake");
    assert_eq!(raw::status(&super::ask(&mut good, "a.test").0), 200);
    drop(half_open);
    server.wait_errors("Tls_Other", 500);
}
