//! Handshakes that fail: each has a trace of its own, of as many as there is room for beside requests.

use std::time::Instant;

use serde_json::Value;

use super::{LOGS, ask, counted, scripted, traced, wait_counted};
use crate::support::collector::{Collector, SERVER, attribute};
use crate::support::quic::{block_on, handshake};
use crate::support::{Server, Site, Tool, raw, wait_for};

const RESPOND: &str = "type = \"respond\"\nbody = \"ok\"";
const DROPPED: &str = "portunus_trace_spans_dropped_total{reason=\"handshakes\"}";

/// A client over TCP that asks for a name that nobody has.
fn asks_for_nobody(server: &Server) {
    let elsewhere = format!("elsewhere.test:{}:127.0.0.1", server.https);
    let failed = Tool::curl(server)
        .args(["--resolve", &elsewhere])
        .arg(format!("https://elsewhere.test:{}/", server.https))
        .output();
    assert!(!failed.status.success());
}

fn is_handshake(span: &Value) -> bool {
    span["name"] == "tls handshake" && span["parent"] == ""
}

#[test]
fn a_handshake_that_fails_has_a_span_that_says_why_over_tcp_and_over_quic() {
    let mut collector = Collector::start();
    let server = traced(&collector, "", "", RESPOND);
    asks_for_nobody(&server);
    let failed = block_on(handshake(&server, "elsewhere.test", b"h3"));
    assert!(failed.is_err());
    let spans = collector.wait(2, is_handshake);
    let lines = server.wait_errors("Tls_NoCertificate", 2);
    for (transport, protocol) in [("tcp", "tls"), ("quic", "quic")] {
        let span = spans
            .iter()
            .find(|span| attribute(span, "network.transport") == transport)
            .unwrap_or_else(|| panic!("no span over {transport}: {spans:#?}"));
        let is = |key| attribute(span, key);
        assert_eq!(span["kind"], SERVER, "{span:#}");
        assert_eq!(span["error"], true);
        assert_eq!(is("error.type"), "Tls_NoCertificate");
        assert_eq!(is("tls.client.server_name"), "elsewhere.test");
        assert_eq!(is("client.address"), "127.0.0.1");
        assert_eq!(is("server.port"), server.https);
        let took = (span["start"].as_u64(), span["end"].as_u64());
        assert!(took.0 <= took.1, "{span:#}");
        // The error log names it, and says the same.
        let line = lines.iter().find(|line| line["protocol"] == protocol);
        let line = line.unwrap_or_else(|| panic!("no line of {protocol}: {lines:?}"));
        assert_eq!(
            (&line["trace_id"], &line["span_id"]),
            (&span["trace"], &span["id"])
        );
        assert_eq!(line["detail"], span["message"]);
    }
    // One that is done is below the request that it was made for, and has no trace of its own.
    assert_eq!(ask(&server, "h2", "/done"), "200");
    let request = collector.server_span("/done");
    let names: Vec<_> = collector.below(&request);
    assert!(names.iter().any(|span| span["name"] == "tls handshake"));
    assert_eq!(collector.wait(2, is_handshake).len(), 2);
}

#[test]
fn of_a_share_of_none_no_handshake_that_a_client_lets_fail_is_kept_unless_it_took_long() {
    let upstream = scripted();
    let mut collector = Collector::start();
    let keys = "sample = 0.0\nkeep_slower_than = \"200ms\"";
    let server = Site {
        head: format!(
            "{LOGS}{}[limits]\ntls_handshake = \"1s\"\n",
            collector.traces(keys)
        ),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    raw::exchange(server.https, "GET / HTTP/1.1\r\n\r\n");
    let line = server.wait_error("Tls_NotTls");
    // It has no name where it is not recorded, or what is recorded could be told from it.
    assert_eq!(line["trace_id"], Value::Null, "{line}");
    let mut silent = raw::connect(server.https);
    raw::read_to_end(&mut silent);
    let kept = collector.wait(1, is_handshake);
    assert_eq!(attribute(&kept[0], "error.type"), "Tls_Timeout");
    assert_eq!(kept.len(), 1);
}

#[test]
fn a_flood_of_bad_handshakes_leaves_the_collector_to_requests_and_is_counted() {
    let mut collector = Collector::start();
    let server = traced(&collector, "", "", RESPOND);
    let began = Instant::now();
    let flood = 300;
    for _ in 0..flood {
        raw::exchange(server.https, "GET / HTTP/1.1\r\n\r\n");
    }
    wait_for("all to be told", || {
        (server.errors().len() >= flood).then_some(())
    });
    let seconds = began.elapsed().as_secs() + 1;
    wait_counted(&server, DROPPED, 1);
    let dropped = counted(&server, DROPPED);
    let recorded = flood as u64 - dropped;
    assert!(recorded >= 50, "{recorded} are recorded");
    assert!(
        recorded <= 50 + 10 * seconds,
        "{recorded} are recorded in {seconds} s"
    );
    assert_eq!(ask(&server, "h2", "/served"), "200");
    collector.server_span("/served");
    let full = "portunus_trace_spans_dropped_total{reason=\"queue_full\"}";
    assert_eq!(counted(&server, full), 0);
}
