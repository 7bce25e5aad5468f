//! The admin socket, by the commands that ask it and by whoever else finds it.

mod audit;
mod broken;
mod hostile;
mod openapi;
mod plan;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output};

use crate::support::{Server, Site, free_port};

fn asks(server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(arguments)
        .output()
        .expect("the portunus binary")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One request, and all that comes back.
fn raw(mut stream: impl Read + Write, head: &str) -> String {
    let request = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

#[test]
fn a_reload_that_is_asked_for_tells_what_came_of_it() {
    let mut server = Site::default().start();
    let done = asks(&server, &["reload"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(server.wait_line("reloaded").is_some());
    assert!(server.wait_line("an administrator asked").is_some());

    let file = server.path().join("config/bindings.toml");
    let good = fs::read_to_string(&file).expect("the bindings file");
    let bad = good.replace("pool = \"main\"", "pool = \"nobody\"");
    fs::write(&file, bad).expect("written");
    let refused = asks(&server, &["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("nobody") && said.contains("bindings.toml:"),
        "{said}"
    );
    assert!(said.contains("what ran before goes on running"), "{said}");
}

#[test]
fn a_stop_that_is_asked_for_returns_when_the_server_is_gone() {
    let mut server = Site::default().start();
    let socket = server.path().join("run/portunus.sock");
    assert!(socket.exists());
    let done = asks(&server, &["stop"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(server.wait_line("stopped").is_some());
    assert!(!socket.exists(), "the socket's file is removed");

    let again = asks(&server, &["stop"]);
    assert_eq!(again.status.code(), Some(1));
    let said = stderr(&again);
    assert!(said.contains("no server answers at unix:"), "{said}");
}

#[test]
fn the_socket_is_for_its_owner_and_group() {
    let server = Site::default().start();
    let socket = server.path().join("run/portunus.sock");
    let found = fs::symlink_metadata(&socket).expect("the socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    let folder = fs::metadata(server.path().join("run")).expect("its folder");
    assert_eq!(folder.permissions().mode() & 0o007, 0);
}

#[test]
fn what_a_killed_server_left_is_replaced_and_what_a_running_one_has_is_not() {
    let folder = crate::support::folder();
    fs::create_dir_all(folder.path().join("run")).expect("run/");
    let socket = folder.path().join("run/portunus.sock");
    // Its listener is gone, its file is not.
    drop(UnixListener::bind(&socket).expect("a socket"));
    let first = Server::start_in(folder, &Site::default().text(), |_| {});
    assert!(UnixStream::connect(&socket).is_ok());

    let second = Site {
        head: format!("[server]\nadmin = \"unix:{}\"", socket.display()),
        ..Site::default()
    };
    let mut second = second.start();
    let log = second.log();
    assert!(log.contains("another server answers at"), "{log}");
    drop(second);
    let done = asks(&first, &["reload"]);
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = crate::support::folder();
    fs::create_dir_all(folder.path().join("run")).expect("run/");
    let file = folder.path().join("run/portunus.sock");
    fs::write(&file, "notes").expect("written");
    let mut server = Server::start_in(folder, &Site::default().text(), |_| {});
    let log = server.log();
    assert!(log.contains("there is no admin socket"), "{log}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "notes");
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let server = Site::default().start();
    let socket = server.path().join("run/portunus.sock");
    let ask = |head: &str| raw(UnixStream::connect(&socket).expect("connected"), head);
    let nothing = ask("GET /v1/nothing HTTP/1.1\r\nHost: localhost");
    assert!(nothing.starts_with("HTTP/1.1 404 "), "{nothing}");
    assert!(nothing.contains("/v1/reload"), "{nothing}");
    let method = ask("GET /v1/reload HTTP/1.1\r\nHost: localhost");
    assert!(method.starts_with("HTTP/1.1 405 "), "{method}");
    assert!(
        method.to_lowercase().contains("\r\nallow: post\r\n"),
        "{method}"
    );
}

#[test]
fn at_an_address_only_who_has_the_token_is_answered() {
    let port = free_port();
    let site = Site {
        head: format!("[server]\nadmin = \"127.0.0.1:{port}\""),
        ..Site::default()
    };
    let server = site.start();
    let ask = |head: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        raw(stream, head)
    };
    let host = format!("POST /v1/reload HTTP/1.1\r\nHost: 127.0.0.1:{port}");
    let without = ask(&host);
    assert!(without.starts_with("HTTP/1.1 401 "), "{without}");
    let file = server.path().join("state/admin-token");
    let token = fs::read_to_string(&file).expect("the token");
    let mode = fs::metadata(&file).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bearer = format!("Authorization: Bearer {token}");
    let rebound = ask(&format!(
        "POST /v1/reload HTTP/1.1\r\nHost: evil.test:{port}\r\n{bearer}"
    ));
    assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
    let page = ask(&format!("{host}\r\nOrigin: https://evil.test\r\n{bearer}"));
    assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
    let good = ask(&format!("{host}\r\n{bearer}"));
    assert!(good.starts_with("HTTP/1.1 200 "), "{good}");
    let done = asks(&server, &["reload"]);
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn show_certificates_tells_what_is_shown_now() {
    let mut server = Site::default().start();
    let shown = asks(&server, &["show", "certificates"]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("localhost"), "{text}");
    assert!(text.contains("DAYS"), "{text}");

    let json = || {
        let shown = asks(&server, &["show", "certificates", "--json"]);
        let value: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        let all = value["certificates"].as_array().expect("a list").clone();
        all.into_iter()
            .find(|one| one["name"] == "localhost")
            .expect("the certificate of localhost")
    };
    let before = json();
    assert_eq!(before["used_by"][0], "https://127.0.0.1:0 localhost");
    assert!(before["days_left"].as_i64().expect("a number") > 0);
    // A certificate that takes its place is shown in its place.
    let made = asks(&server, &["cert", "dev", "localhost"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let fresh = crate::support::wait_for("another certificate", || {
        let now = json();
        (now["fingerprint_sha256"] != before["fingerprint_sha256"]).then_some(now)
    });
    assert_eq!(fresh["file"], before["file"]);
    assert!(server.wait_line("certificate taken").is_some());
}
