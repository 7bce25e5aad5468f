//! A running server whose bindings file is broken by now is asked all the same.

use std::fs;
use std::path::PathBuf;

use super::{asks, stderr};
use crate::support::{Server, Site, free_port};

fn file(server: &Server) -> PathBuf {
    server.path().join("config/bindings.toml")
}

/// Puts a line at the end of the bindings file.
fn append(server: &Server, line: &str) {
    let text = fs::read_to_string(file(server)).expect("the bindings file");
    fs::write(file(server), format!("{text}\n{line}\n")).expect("written");
}

/// Everything can be asked, and a reload is answered by the server with what is wrong.
fn is_asked(server: &Server, wrong: &str) {
    for works in [
        &["show", "service"][..],
        &["pool", "stop", "main"],
        &["pool", "start", "main"],
    ] {
        let done = asks(server, works);
        assert!(done.status.success(), "{works:?}: {}", stderr(&done));
    }
    for refused in [&["reload"][..], &["reload", "--dry-run"]] {
        let done = asks(server, refused);
        let said = stderr(&done);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(
            said.contains("bindings.toml:") && said.contains(wrong),
            "{said}"
        );
        assert!(said.contains("on running"), "{said}");
    }
    let done = asks(server, &["stop"]);
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn a_server_whose_file_has_a_typo_is_asked_where_the_file_says() {
    let site = Site {
        head: "[server]\nadmin = \"unix:../run/else.sock\"".into(),
        ..Site::default()
    };
    for (line, wrong) in [("[sevrer]", "sevrer"), ("= what", "not TOML")] {
        let server = site.start();
        append(&server, line);
        is_asked(&server, wrong);
    }
}

#[test]
fn a_server_whose_file_is_no_toml_at_all_is_asked_beside_it() {
    let server = Site::default().start();
    fs::write(file(&server), "\u{1}{{{ ]] nothing\n").expect("written");
    is_asked(&server, "not TOML");

    let nobody = asks(&server, &["show", "service"]);
    let said = stderr(&nobody);
    assert_eq!(nobody.status.code(), Some(1));
    for told in [
        "no server answers at unix:",
        "bindings.toml:1:1: ",
        "--admin",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn an_address_with_a_token_is_asked_by_name_as_the_socket_is() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let site = Site {
        head: format!("[server]\nadmin = \"{address}\""),
        ..Site::default()
    };
    let server = site.start();
    let bad = (site.text()).replace(&address, "nowhere");
    fs::write(file(&server), bad).expect("written");
    let done = asks(&server, &["show", "service", "--admin", &address]);
    assert!(done.status.success(), "{}", stderr(&done));
    let far = asks(&server, &["show", "service", "--admin", "192.0.2.1:9180"]);
    assert!(
        stderr(&far).contains("--admin cannot be"),
        "{}",
        stderr(&far)
    );
}
