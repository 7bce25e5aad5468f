//! The spans of one request.

use serde_json::Value;

use super::{LOGS, OK, ask, field, logged, parts, proxy, scripted, traced};
use crate::support::collector::{CLIENT, Collector, SERVER, attribute};
use crate::support::quic::{Http3, block_on};
use crate::support::{Nginx, Site, Upstream, free_port, raw, wait_for};

fn names(spans: &[Value]) -> Vec<&str> {
    let name = |span: &Value| span["name"].as_str().map(str::len);
    assert!(spans.iter().all(|span| name(span) > Some(0)));
    spans
        .iter()
        .map(|span| span["name"].as_str().unwrap_or_default())
        .collect()
}

/// No span begins before the one that it is below, but a handshake; and none ends before it began.
fn times_are_sound(parent: &Value, below: &[Value]) {
    let at = |span: &Value, key: &str| span[key].as_u64().expect("a time");
    for span in below {
        assert!(at(span, "start") <= at(span, "end"), "{span:#}");
        assert!(at(span, "end") <= at(parent, "end"), "{span:#} {parent:#}");
        let is_handshake = span["name"] == "tls handshake";
        assert_eq!(is_handshake, at(span, "start") < at(parent, "start"));
    }
}

#[test]
fn a_proxied_request_is_a_tree_of_spans_over_every_version_of_http() {
    let nginx = Nginx::start("location / { return 200 $http_traceparent; }");
    let mut collector = Collector::start();
    let server = traced(&collector, "", "", &proxy(nginx.port));
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/over/h3?secret=1").await;
        assert_eq!(answer.head.status(), 200);
        client.get("https://localhost/again/h3").await;
    });
    for (how, version) in [("http", "1.1"), ("h2", "2"), ("h3", "3")] {
        let path = format!("/over/{how}");
        if how != "h3" {
            assert_eq!(ask(&server, how, &format!("{path}?secret=1")), "200");
        }
        let span = collector.server_span(&path);
        let is = |key| attribute(&span, key);
        assert_eq!(span["name"], "GET /", "{span:#}");
        assert_eq!(is("http.request.method"), "GET");
        assert_eq!(is("http.response.status_code"), 200);
        assert_eq!(is("http.route"), "/");
        assert_eq!(is("network.protocol.version"), version);
        let scheme = if how == "http" { "http" } else { "https" };
        assert_eq!(is("url.scheme"), scheme);
        assert_eq!(is("server.address"), "localhost");
        assert_eq!(is("client.address"), "127.0.0.1");
        assert_eq!(is("portunus.pool"), "main");
        assert_eq!(is("error.type"), &Value::Null);
        assert!(!span["error"].as_bool().expect("a status"));
        assert!(!span.to_string().contains("secret"), "{span:#}");
        assert_eq!(
            (&span["parent"], &span["links"]),
            (&"".into(), &Value::Array(vec![]))
        );

        let below = collector.below(&span);
        let expected = match how {
            "http" => &["handler"][..],
            _ => &["tls handshake", "handler"],
        };
        assert_eq!(names(&below), expected);
        times_are_sound(&span, &below);
        let handler = below.last().expect("a handler");
        let attempts = collector.below(handler);
        assert_eq!(names(&attempts), ["GET"]);
        times_are_sound(handler, &attempts);
        let attempt = &attempts[0];
        assert_eq!(attempt["kind"], CLIENT);
        assert_eq!(attribute(attempt, "server.address"), "127.0.0.1");
        assert_eq!(attribute(attempt, "server.port"), nginx.port);
        let full = format!("http://127.0.0.1:{}{path}", nginx.port);
        assert_eq!(attribute(attempt, "url.full"), &Value::from(full));
        assert_eq!(attribute(attempt, "http.response.status_code"), 200);
        // What the logs say leads to the span.
        let line = logged(&server, "access.log", &path);
        assert_eq!(
            (&line["trace_id"], &line["span_id"]),
            (&span["trace"], &span["id"])
        );
    }
    let again = collector.server_span("/again/h3");
    assert_eq!(
        names(&collector.below(&again)),
        ["handler"],
        "one handshake, told once"
    );
}

#[test]
fn whose_spans_they_are_is_said_and_secrets_reach_the_collector_alone() {
    let mut collector = Collector::start();
    let folder = crate::support::folder();
    std::fs::write(folder.path().join("config/key"), "Bearer 4711\n").expect("a file");
    let keys = "headers = { authorization = { file = \"key\" }, x-team = \"edge\" }\nservice_name = \"front\"\n\
                resource = { \"deployment.environment.name\" = \"test\" }";
    let site = Site {
        head: collector.traces(keys),
        ..Site::default()
    };
    let server = crate::support::Server::start_in(folder, &site.text(), |_| {});
    assert_eq!(ask(&server, "http", "/"), "200");
    let request = collector.request();
    assert_eq!(request["path"], "/v1/traces");
    let fields = &request["fields"];
    assert_eq!(fields["content-type"], "application/x-protobuf");
    assert_eq!(fields["authorization"], "Bearer 4711");
    assert_eq!(fields["x-team"], "edge");
    let resource = &request["resources"][0];
    assert_eq!(resource["service.name"], "front");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(resource["process.pid"], server.pid());
    assert!(resource["service.instance.id"].is_string());
}

#[test]
fn an_upstream_is_told_of_the_attempt_that_its_own_spans_are_below() {
    let upstream = scripted();
    let mut collector = Collector::start();
    let server = traced(&collector, "", "", &upstream.handler());
    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = format!(
        "GET /told HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\ntraceparent: {theirs}\r\ntracestate: a=b\r\n\r\n"
    );
    assert_eq!(raw::status(&raw::exchange(server.http, request)), 200);
    let head = upstream.head();
    let (trace, parent, sampled) = parts(field(&head, "traceparent").expect("a trace"));
    let span = collector.server_span("/told");
    let handler = &collector.below(&span)[0];
    let attempt = &collector.below(handler)[0];
    assert_eq!(
        (trace, parent),
        (
            attempt["trace"].as_str().unwrap(),
            attempt["id"].as_str().unwrap()
        )
    );
    assert!(sampled);
    // A stranger's trace is no parent of ours, and what belongs to it goes no further.
    assert_ne!(trace, parts(theirs).0);
    assert_eq!(field(&head, "tracestate"), None);
    let link = [parts(theirs).0, parts(theirs).1];
    assert_eq!(span["links"], serde_json::json!([link]));
}

#[test]
fn a_wait_in_the_queue_and_what_came_of_it_are_spans() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |talk| {
        while let Some(head) = talk.read_head() {
            if head.contains("/slow") {
                let _ = gate.lock().map(|gate| gate.recv());
            }
            talk.send(OK);
        }
    });
    let mut collector = Collector::start();
    let server = Site {
        head: format!("{LOGS}{}", collector.traces("")),
        pool: "concurrency = 1\nqueue_length = 1".into(),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    let mut slow = raw::connect(server.http);
    raw::ask(&mut slow, "/slow");
    upstream.head();
    let mut waits = raw::connect(server.http);
    raw::ask(&mut waits, "/waits");
    wait_for("somebody to wait", || {
        (super::counted(&server, "portunus_queue_requests{pool=\"main\"}") == 1).then_some(())
    });
    assert_eq!(ask(&server, "http", "/full"), "503");
    go.send(()).expect("the upstream waits");
    assert_eq!(
        raw::read_response(&mut slow).0.split(' ').nth(1),
        Some("200")
    );
    assert_eq!(
        raw::read_response(&mut waits).0.split(' ').nth(1),
        Some("200")
    );

    let waited = collector.server_span("/waits");
    let below = collector.below(&waited);
    assert_eq!(names(&below), ["queue", "handler"]);
    assert_eq!(attribute(&below[0], "portunus.queue.position"), 1);
    assert!(below[0]["end"].as_u64() <= below[1]["start"].as_u64());
    let full = collector.server_span("/full");
    assert_eq!(attribute(&full, "http.response.status_code"), 503);
    assert_eq!(attribute(&full, "error.type"), "QueueFull");
    assert_eq!(full["error"], true);
    assert!(collector.below(&full).is_empty());
}

#[test]
fn each_attempt_with_an_upstream_is_a_span_of_its_own() {
    let second = Upstream::start(|talk| talk.answer_all(OK));
    let mut collector = Collector::start();
    let gone = free_port();
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{gone}\", {{ url = \"http://127.0.0.1:{}\", backup = true }}]",
        second.port
    );
    let server = traced(&collector, "", "", &handler);
    assert_eq!(ask(&server, "http", "/twice"), "200");
    let head = second.head();
    let (_, parent, _) = parts(field(&head, "traceparent").expect("a trace"));
    let span = collector.server_span("/twice");
    let handler = &collector.below(&span)[0];
    let attempts = collector.below(handler);
    assert_eq!(names(&attempts), ["GET", "GET"]);
    assert_eq!(attribute(&attempts[0], "error.type"), "Upstream_Connect");
    assert_eq!(attempts[0]["error"], true);
    assert_eq!(attribute(&attempts[0], "server.port"), gone);
    assert_eq!(
        attribute(&attempts[0], "http.request.resend_count"),
        &Value::Null
    );
    assert_eq!(attribute(&attempts[1], "http.request.resend_count"), 1);
    assert_eq!(attribute(&attempts[1], "http.response.status_code"), 200);
    assert_eq!(attempts[1]["id"], parent);
    assert_eq!(
        (span["kind"].as_u64(), span["error"].as_bool()),
        (Some(SERVER), Some(false))
    );
}
