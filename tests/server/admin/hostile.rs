//! The admin address as somebody sees it who may not ask.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{asks, raw, stderr};
use crate::support::{Server, Site, folder, free_port};

/// A server that is asked at a loopback address, its port, and its token.
fn start() -> (Server, u16, String) {
    let port = free_port();
    let site = Site {
        head: format!("[server]\nadmin = \"127.0.0.1:{port}\""),
        ..Site::default()
    };
    let server = site.start();
    let token = fs::read_to_string(server.path().join("state/admin-token")).expect("the token");
    (server, port, token)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let patience = Some(crate::support::PATIENCE);
    stream.set_read_timeout(patience).expect("a timeout");
    stream
}

/// Everything until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A connection that is closed with bytes unread is reset, behind what was sent before.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn connections_that_say_nothing_keep_no_administrator_out() {
    let (server, port, token) = start();
    let silent: Vec<TcpStream> = (0..100).map(|_| connect(port)).collect();
    let mut slow = connect(port);
    slow.write_all(b"POST /v1/reload HT").expect("sent");
    let done = asks(&server, &["show", "pools"]);
    assert!(done.status.success(), "{}", stderr(&done));
    // Who has shown that he may ask keeps his place.
    let mut kept = connect(port);
    let request =
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    kept.write_all(request.as_bytes()).expect("sent");
    let mut first = [0; 12];
    kept.read_exact(&mut first).expect("an answer");
    let more: Vec<TcpStream> = (0..100).map(|_| connect(port)).collect();
    let done = asks(&server, &["show", "pools"]);
    assert!(done.status.success(), "{}", stderr(&done));
    kept.write_all(
        request
            .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )
    .expect("sent");
    assert!(
        rest(kept).contains("HTTP/1.1 200 OK"),
        "it is still connected"
    );
    drop((silent, more));
}

#[test]
fn heads_that_are_too_long_and_other_protocols_end_their_connection_alone() {
    let (server, port, _) = start();
    let long = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let many = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "A: b\r\n".repeat(200)
    );
    let target = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(40_000)
    );
    for bytes in [
        long.as_str(),
        &many,
        &target,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{5}hello",
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /livez HTTP/1.1\r\n folded: x\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = connect(port);
        // It may close before it has read everything.
        let _ = stream.write_all(bytes.as_bytes());
        let said = rest(stream);
        let status = said.get(..12).unwrap_or("");
        assert!(!status.starts_with("HTTP/1.1 2"), "{bytes:.40}: {said}");
    }
    let done = asks(&server, &["show", "pools"]);
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn nothing_behind_a_refused_request_is_done() {
    let (mut server, port, token) = start();
    let mut stream = connect(port);
    let refused = format!("POST /v1/stop-now HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let good = refused.replace(
        "\r\n\r\n",
        &format!("\r\nAuthorization: Bearer {token}\r\n\r\n"),
    );
    stream
        .write_all(format!("{refused}{good}").as_bytes())
        .expect("sent");
    let said = rest(stream);
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(
        said.to_lowercase().contains("\r\nconnection: close\r\n"),
        "{said}"
    );
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    assert!(
        asks(&server, &["show", "pools"]).status.success(),
        "{}",
        server.log()
    );
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let (_server, port, token) = start();
    let mut stream = connect(port);
    let one = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    };
    let both = one("/livez", "") + &one("/v1/nothing", "Connection: close\r\n");
    stream.write_all(both.as_bytes()).expect("sent");
    let said = rest(stream);
    let at = |status: &str| {
        said.find(status)
            .unwrap_or_else(|| panic!("{status} in {said}"))
    };
    assert!(at("HTTP/1.1 200 ") < at("HTTP/1.1 404 "), "{said}");
}

#[test]
fn a_page_in_a_browser_gets_no_leave_by_asking_first() {
    let (_server, port, token) = start();
    let host = format!("Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}");
    for (head, status) in [
        (
            format!(
                "OPTIONS /v1/reload HTTP/1.1\r\n{host}\r\nOrigin: http://evil.test\r\nAccess-Control-Request-Method: POST"
            ),
            403,
        ),
        (format!("OPTIONS /v1/reload HTTP/1.1\r\n{host}"), 405),
        (format!("TRACE /v1/pools HTTP/1.1\r\n{host}"), 405),
        (format!("HEAD /v1/reload HTTP/1.1\r\n{host}"), 405),
        (
            format!("GET http://evil.test/v1/pools HTTP/1.1\r\n{host}"),
            421,
        ),
        (
            format!("GET /v1/pools HTTP/1.1\r\n{host}\r\nHost: evil.test"),
            421,
        ),
    ] {
        let response = raw(connect(port), &head);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {response}"
        );
        assert!(
            !response.to_lowercase().contains("access-control"),
            "{response}"
        );
    }
}

#[test]
fn a_token_that_others_may_know_or_have_put_there_is_not_taken() {
    type Make = fn(&std::path::Path);
    let cases: [(&str, Make); 3] = [
        ("lets others read it", |file| {
            fs::write(file, "0".repeat(64)).expect("written");
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("a mode");
        }),
        ("it is a symbolic link", |file| {
            let elsewhere = file.with_file_name("elsewhere");
            fs::write(&elsewhere, "0".repeat(64)).expect("written");
            symlink("elsewhere", file).expect("a link");
        }),
        ("it is no file", |file| {
            nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }),
    ];
    for (why, make) in cases {
        let folder = folder();
        fs::create_dir(folder.path().join("state")).expect("state/");
        make(&folder.path().join("state/admin-token"));
        let site = Site {
            head: format!("[server]\nadmin = \"127.0.0.1:{}\"", free_port()),
            ..Site::default()
        };
        let mut server = Server::start_in(folder, &site.text(), |_| {});
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.contains("there is no admin socket"));
        let line = line.unwrap_or_else(|| panic!("{why}: {log}"));
        assert!(line.contains(why), "{why}: {line}");
        let asked = asks(&server, &["show", "pools"]);
        assert!(stderr(&asked).contains(why), "{}", stderr(&asked));
    }
}
