//! Which requests are recorded.

use super::{LOGS, ask, field, logged, parts, scripted, traced};
use crate::support::collector::{Collector, attribute};
use crate::support::{Site, raw, wait_for};

const THEIRS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

fn said(port: u16, path: &str, flags: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\ntraceparent: 00-{THEIRS}-{flags}\r\ntracestate: a=b\r\n\r\n"
    );
    raw::exchange(port, request)
}

#[test]
fn of_a_share_of_none_only_what_failed_or_took_long_is_kept() {
    let upstream = scripted();
    let mut collector = Collector::start();
    let keys = "sample = 0.0\nkeep_slower_than = \"200ms\"";
    let server = Site {
        head: format!("{LOGS}{}", collector.traces(keys)),
        handler: upstream.handler(),
        tail: "[[pool]]\nname = \"slow\"\nhandler = { type = \"respond\", body = \"late\", delay = \"300ms\" }\n\
               [[pool]]\nname = \"broken\"\nhandler = { type = \"respond\", status = 503 }\n\
               [[binding]]\nprotocol = \"http\"\nip = \"127.0.0.2\"\nport = 0\nhostname = \"*\"\nsite = \"other\"\n\
               [[site]]\nname = \"other\"\n[[site.route]]\npath = \"/late\"\npool = \"slow\"\n\
               [[site.route]]\npath = \"/broken\"\npool = \"broken\"\n"
            .into(),
        ..Site::default()
    };
    let mut server = server.start();
    assert_eq!(ask(&server, "http", "/plain"), "200");
    let head = upstream.head();
    let (_, _, sampled) = parts(field(&head, "traceparent").expect("a trace"));
    assert!(
        !sampled,
        "an upstream is told what was decided at the beginning"
    );
    // Whoever scans a server has nothing of it recorded.
    let bad = raw::exchange(
        server.http,
        "GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&bad), 400);
    let listening = server.log();
    let other = listening
        .lines()
        .find_map(|line| line.split_once("http://127.0.0.2:"));
    let port = other.expect("it listens there").1.trim();
    for (path, status) in [("/late", "200"), ("/broken", "503")] {
        let got = crate::support::Tool::curl(&server)
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("http://127.0.0.2:{port}{path}"))
            .stdout();
        assert_eq!(got, status);
    }
    let late = collector.server_span("/late");
    let broken = collector.server_span("/broken");
    assert_eq!(attribute(&broken, "error.type"), "503");
    assert_eq!(late["flags"].as_u64().map(|flags| flags & 1), Some(0));
    let kept = collector.wait(2, |span| span["parent"] == "");
    let paths: Vec<_> = kept
        .iter()
        .map(|span| attribute(span, "url.path"))
        .collect();
    assert_eq!(paths, ["/late", "/broken"]);
    // It is called by its trace in the logs all the same.
    let line = logged(&server, "access.log", "/plain");
    assert!(line["trace_id"].is_string() && line["span_id"].is_string());
}

#[test]
fn a_trusted_hop_decides_and_a_stranger_does_not() {
    for (keys, trusted, believed) in [
        ("sample = 0.0", "", false),
        ("sample = 0.0", "trusted_proxies = [\"127.0.0.0/8\"]", true),
        ("sample = 0.0\ntrust_parent = true", "", true),
    ] {
        let upstream = scripted();
        let mut collector = Collector::start();
        let server = traced(&collector, keys, trusted, &upstream.handler());
        assert_eq!(raw::status(&said(server.http, "/recorded", "01")), 200);
        let head = upstream.head();
        let (trace, parent, sampled) = parts(field(&head, "traceparent").expect("a trace"));
        assert_eq!(sampled, believed);
        assert_eq!(trace == &THEIRS[..32], believed);
        assert_eq!(field(&head, "tracestate"), believed.then_some("a=b"));
        assert_eq!(raw::status(&said(server.http, "/unrecorded", "00")), 200);
        if believed {
            let span = collector.server_span("/recorded");
            assert_eq!(span["trace"], THEIRS[..32]);
            assert_eq!(span["parent"], THEIRS[33..]);
            assert_eq!(span["state"], "a=b");
            let handler = &collector.below(&span)[0];
            assert_eq!(collector.below(handler)[0]["id"], parent);
        }
        // Nothing else was kept, or is sent when the server stops.
        server.signal("TERM");
        let mut server = server;
        server.wait_exit();
        let count = if believed { 3 } else { 0 };
        assert_eq!(collector.spans.len(), count, "{:#?}", collector.spans);
        assert!(collector.is_silent());
    }
}

#[test]
fn without_the_table_nothing_is_sent_and_no_field_is_added() {
    let upstream = scripted();
    let mut collector = Collector::start();
    let off = Site {
        head: LOGS.into(),
        handler: upstream.handler(),
        ..Site::default()
    };
    let on = Site {
        head: format!("{LOGS}{}", collector.traces("")),
        ..Site {
            handler: upstream.handler(),
            ..Site::default()
        }
    };
    let mut server = off.start();
    assert_eq!(ask(&server, "http", "/before"), "200");
    let head = upstream.head();
    assert_eq!(
        (field(&head, "traceparent"), field(&head, "tracestate")),
        (None, None)
    );
    let line = logged(&server, "access.log", "/before");
    assert!(line.get("trace_id").is_none() && line.get("span_id").is_none());
    assert!(!threads(server.pid()).contains("traces"));

    assert!(server.reload(&on.text()).contains("reloaded"));
    assert_eq!(ask(&server, "http", "/between"), "200");
    collector.server_span("/between");
    assert!(field(&upstream.head(), "traceparent").is_some());

    assert!(server.reload(&off.text()).contains("reloaded"));
    assert_eq!(ask(&server, "http", "/after"), "200");
    assert_eq!(field(&upstream.head(), "traceparent"), None);
    wait_for("the exporter to end", || {
        (!threads(server.pid()).contains("traces")).then_some(())
    });
    assert!(collector.is_silent());
    let paths = collector
        .spans
        .iter()
        .map(|span| attribute(span, "url.path"));
    assert!(
        paths
            .into_iter()
            .all(|path| path != "/before" && path != "/after")
    );
}

/// The names of a process' threads.
fn threads(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).collect()
}
