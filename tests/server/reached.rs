//! Whom a request was sent on to, and how long that took: in the access log, the error log and the metrics.

use std::fs;

use serde_json::Value;

use crate::support::{Gate, Server, Site, Upstream, free_port, raw, wait_for};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The fields that a request has that was sent on, and no other.
const FIELDS: [&str; 4] = [
    "upstream",
    "upstream_attempts",
    "upstream_connect_ms",
    "upstream_response_ms",
];

/// A server with both logs, on one data thread: turns and the order of lines are then exact.
fn logged(handler: String) -> Site {
    Site {
        head:
            "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n[server]\nthreads = 1"
                .into(),
        handler,
        ..Site::default()
    }
}

fn proxy(ports: &[u16], keys: &str) -> Server {
    let upstreams: Vec<_> = ports
        .iter()
        .map(|port| format!("\"{}\"", name(*port)))
        .collect();
    let upstreams = upstreams.join(", ");
    logged(format!(
        "type = \"proxy\"\nupstreams = [{upstreams}]\n{keys}"
    ))
    .start()
}

/// An upstream as the bindings file and `show pools` have it.
fn name(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn get(server: &Server, path: &str) -> String {
    raw::exchange(
        server.http,
        format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"),
    )
}

/// Waits for so many lines of the access log.
fn accesses(server: &Server, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines in the access log"), || {
        let text = fs::read_to_string(server.path().join("access.log")).unwrap_or_default();
        let whole = text.lines().count() >= count && text.ends_with('\n');
        whole.then(|| {
            let lines = text.lines().map(serde_json::from_str);
            lines.map(|line| line.expect("JSON")).collect()
        })
    })
}

/// Whom a line names, after how many attempts, and whether there was a new connection and a response.
fn told(line: &Value) -> (&str, u64, bool, bool) {
    let [upstream, attempts, connect, response] = FIELDS.map(|key| &line[key]);
    for took in [connect, response] {
        assert!(took.is_null() || took.as_f64() >= Some(0.0), "{line}");
    }
    (
        upstream.as_str().unwrap_or_else(|| panic!("{line}")),
        attempts.as_u64().unwrap_or_else(|| panic!("{line}")),
        !connect.is_null(),
        !response.is_null(),
    )
}

fn millis(line: &Value, key: &str) -> f64 {
    line[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key}: {line}"))
}

#[test]
fn a_new_connection_is_told_with_its_time_and_a_kept_one_without() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&[upstream.port], "");
    for _ in 0..2 {
        assert_eq!(raw::status(&get(&server, "/")), 200);
    }
    let lines = accesses(&server, 2);
    let name = name(upstream.port);
    assert_eq!(told(&lines[0]), (&*name, 1, true, true));
    assert_eq!(told(&lines[1]), (&*name, 1, false, true));
    let parts = millis(&lines[0], FIELDS[2]) + millis(&lines[0], FIELDS[3]);
    // Each is cut to a microsecond.
    assert!(
        parts <= millis(&lines[0], "handler_time_ms") + 0.003,
        "{}",
        lines[0]
    );
    let shown = crate::support::Tool::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(["show", "pools"])
        .stdout();
    assert!(shown.contains(&format!("{name}: up")), "{shown}");
}

#[test]
fn a_retry_names_the_upstream_that_answered_and_counts_two() {
    let gone = free_port();
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = proxy(&[gone, upstream.port], "");
    assert_eq!(raw::status(&get(&server, "/")), 200);
    let line = accesses(&server, 1).remove(0);
    assert_eq!(told(&line), (&*name(upstream.port), 2, true, true));
    assert_eq!(line["reason"], Value::Null);
    assert_eq!(server.errors(), Vec::<Value>::new());
}

#[test]
fn an_upstream_that_cannot_be_connected_to_is_named_in_both_logs() {
    let gone = free_port();
    let server = proxy(&[gone], "retry = { attempts = 1 }");
    assert_eq!(raw::status(&get(&server, "/")), 502);
    let line = accesses(&server, 1).remove(0);
    assert_eq!(told(&line), (&*name(gone), 1, false, false));
    assert_eq!(line["reason"], "Upstream_Connect");
    let error = server.wait_error("Upstream_Connect");
    assert_eq!(error["upstream"], name(gone));
}

#[test]
fn an_upstream_that_says_nothing_is_told_with_its_connection_and_no_response() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    });
    let server = proxy(&[upstream.port], "response_timeout = \"100ms\"");
    assert_eq!(raw::status(&get(&server, "/")), 504);
    let line = accesses(&server, 1).remove(0);
    assert_eq!(told(&line), (&*name(upstream.port), 1, true, false));
    let error = server.wait_error("Upstream_Timeout");
    assert_eq!(error["upstream"], name(upstream.port));
}

#[test]
fn an_upstream_that_breaks_off_in_its_response_is_named() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let server = proxy(&[upstream.port], "");
    assert!(get(&server, "/").ends_with("half"));
    let error = server.wait_error("Upstream_Reset");
    assert_eq!(error["upstream"], name(upstream.port));
    let line = accesses(&server, 1).remove(0);
    assert_eq!(told(&line), (&*name(upstream.port), 1, true, true));
    assert_eq!(line["complete"], false);
}

#[test]
fn the_time_of_a_slow_upstream_is_its_own() {
    let upstream = Upstream::start(|talk| {
        while talk.read_head().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(30));
            talk.send(OK);
        }
    });
    let server = proxy(&[upstream.port], "");
    assert_eq!(raw::status(&get(&server, "/")), 200);
    let line = accesses(&server, 1).remove(0);
    assert!(millis(&line, "upstream_response_ms") >= 30.0, "{line}");
}

#[test]
fn a_client_that_leaves_is_told_with_the_upstream_that_had_its_request() {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "late");
    let server = proxy(&[upstream.port], "");
    let mut client = raw::connect(server.http);
    raw::ask(&mut client, "/");
    upstream.head();
    drop(client);
    let error = server.wait_error("Connection_Dropped");
    assert_eq!(error["upstream"], name(upstream.port));
    gate.open();
}

#[test]
fn of_two_that_are_asked_side_by_side_the_faster_is_named() {
    let gate = Gate::default();
    let (slow, quick) = (
        Upstream::held(&gate, "slow"),
        Upstream::start(|talk| talk.answer_all(OK)),
    );
    let server = proxy(
        &[slow.port, quick.port],
        "hedge = { after = \"20ms\", max_share = \"100%\" }",
    );
    assert_eq!(raw::status(&get(&server, "/")), 200);
    let line = accesses(&server, 1).remove(0);
    assert_eq!(told(&line), (&*name(quick.port), 2, true, true));
    gate.open();
}

#[test]
fn a_request_that_is_not_sent_on_has_none_of_the_fields() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let mut site = logged(upstream.handler());
    site.tail = "[[pool]]\nname = \"hello\"\n[pool.handler]\ntype = \"respond\"".into();
    let route = "[[site.route]]\npath = \"/hello\"\npool = \"hello\"\n[[pool]]\nname = \"main\"";
    let text = site.text().replace("[[pool]]\nname = \"main\"", route);
    let server = Server::start(&text);
    assert_eq!(raw::status(&get(&server, "/hello")), 200);
    // A proxy's own answer (RFC 9110 section 7.6.2), and a refusal before any pool.
    let asked = "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.http, asked)), 200);
    let asked = "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.http, asked)), 405);
    let errors = server.wait_all_errors(1);
    for line in accesses(&server, 3).iter().chain(&errors) {
        for field in FIELDS {
            assert!(line.get(field).is_none(), "{field}: {line}");
        }
    }
    assert_eq!(upstream.heads_so_far(), 0);
}

#[test]
fn w3c_has_the_four_at_its_end_in_whole_milliseconds() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let mut site = logged(upstream.handler());
    site.head = site
        .head
        .replace("[server]", "access_format = \"w3c\"\n[server]");
    let server = site.start();
    assert_eq!(raw::status(&get(&server, "/")), 200);
    assert_eq!(raw::status(&get(&server, "/")), 200);
    let lines = wait_for("two lines", || {
        let text = fs::read_to_string(server.path().join("access.log")).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.len() == 2 && text.ends_with('\n')).then_some(lines)
    });
    let last = |line: &str| {
        let fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
        fields[fields.len() - 4..].to_vec()
    };
    let (first, second) = (last(&lines[0]), last(&lines[1]));
    assert_eq!(first[..2], [name(upstream.port), "1".into()]);
    for whole in &first[2..] {
        assert!(whole.parse::<u64>().is_ok(), "{first:?}");
    }
    assert_eq!(second[2], "-", "it used the connection of the first");
}
