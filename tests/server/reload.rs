//! SIGHUP: a good configuration is taken whole, a bad one not at all.

use std::io::Write;

use crate::support::{Server, Site, Tool, folder, raw};

fn says(body: &str) -> Site {
    Site {
        handler: format!("type = \"respond\"\nbody = \"{body}\""),
        ..Site::default()
    }
}

fn get(port: u16) -> String {
    let response = raw::exchange(
        port,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    response
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_good_one_is_taken_and_a_bad_one_changes_nothing() {
    let mut server = says("one").start();
    assert_eq!(get(server.http), "one");
    assert!(server.reload(&says("two").text()).contains("reloaded"));
    assert_eq!(get(server.http), "two");
    let bad = says("three")
        .text()
        .replace("pool = \"main\"", "pool = \"mian\"");
    assert!(server.reload(&bad).contains("was not taken"));
    assert!(server.log().contains("mian"), "the finding is told");
    assert_eq!(get(server.http), "two");
}

#[test]
fn twenty_reloads_under_load_fail_no_request() {
    let mut server = says("0").start();
    let url = format!("https://localhost:{}/", server.https);
    let load = std::thread::spawn(move || {
        Tool::new("h2load")
            .args(["-n60000", "-c8", "-m4"])
            .arg(url)
            .stdout()
    });
    for round in 1..=20 {
        assert!(
            server
                .reload(&says(&round.to_string()).text())
                .contains("reloaded")
        );
    }
    let output = load.join().unwrap();
    assert!(
        output.contains("60000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{output}"
    );
    assert!(output.contains("60000 2xx"), "{output}");
}

#[test]
fn connections_and_requests_under_way_live_on() {
    let slow = |body: &str| Site {
        handler: format!("type = \"respond\"\nbody = \"{body}\"\ndelay = \"500ms\""),
        ..Site::default()
    };
    let mut server = slow("old").start();
    let mut client = raw::connect(server.http);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.reload(&slow("new").text());
    assert_eq!(raw::read_response(&mut client).1, b"old");
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(raw::read_response(&mut client).1, b"new");
}

#[test]
fn a_request_that_waits_in_a_pool_that_stays_is_served() {
    let site = |limit: &str| Site {
        head: limit.into(),
        pool: "concurrency = 1".into(),
        handler: "type = \"respond\"\ndelay = \"400ms\"".into(),
        ..Site::default()
    };
    let mut server = site("").start();
    let port = server.http;
    let requests: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(move || get(port)))
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.reload(&site("[limits]\nmax_header_fields = 50").text());
    for request in requests {
        assert_eq!(request.join().unwrap(), "Hello, World!");
    }
}

#[test]
fn sockets_come_and_go_with_their_bindings() {
    let mut server = says("x").start();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let more = format!(
        "{}\n[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = {free}\nhostname = \"*\"\nsite = \"main\"",
        says("x").text()
    );
    assert!(server.reload(&more).contains("reloaded"));
    assert_eq!(get(free), "x");
    assert!(server.reload(&says("x").text()).contains("reloaded"));
    crate::support::wait_for("the port to be free", || {
        std::net::TcpListener::bind(("127.0.0.1", free)).ok()
    });
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = more
        .replace(
            &free.to_string(),
            &holder.local_addr().unwrap().port().to_string(),
        )
        .replace("\"x\"", "\"y\"");
    assert!(server.reload(&taken).contains("was not taken"));
    assert_eq!(get(server.http), "x");
}

#[test]
fn a_renewed_certificate_is_shown_and_a_bad_one_is_not_taken() {
    let text = Site::default().text();
    let mut server = Server::start_in(folder(), &text, |_| {});
    let certs = server.path().join("certs");
    let shown = |server: &Server| {
        Tool::curl(server)
            .args(["-v", "-o", "/dev/null", "-w", "%{certs}"])
            .arg(format!("https://localhost:{}/", server.https))
            .output()
    };
    assert!(shown(&server).status.success());
    let before = std::fs::read(certs.join("localhost.pem")).unwrap();
    let made = Tool::new(env!("CARGO_BIN_EXE_portunus"))
        .args(["cert", "dev", "localhost", "--folder"])
        .arg(&certs)
        .output();
    assert!(made.status.success());
    assert_ne!(std::fs::read(certs.join("localhost.pem")).unwrap(), before);
    assert!(server.reload(&text).contains("reloaded"));
    assert!(shown(&server).status.success());
    std::fs::write(certs.join("localhost.key"), "no key").unwrap();
    assert!(server.reload(&text).contains("was not taken"));
    assert!(
        shown(&server).status.success(),
        "the good one is still shown"
    );
}
