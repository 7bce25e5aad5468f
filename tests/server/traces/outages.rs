//! A collector that does not take what it gets.

use super::{ask, counted, traced, wait_counted};
use crate::support::Site;
use crate::support::collector::{Collector, attribute};

const HELLO: &str = "type = \"respond\"\nbody = \"hello\"";

const EXPORTED: &str = "portunus_trace_spans_exported_total";

fn dropped(reason: &str) -> String {
    format!("portunus_trace_spans_dropped_total{{reason=\"{reason}\"}}")
}

#[test]
fn what_a_collector_cannot_take_now_is_sent_again_and_requests_do_not_wait_for_it() {
    let mut collector = Collector::start();
    collector.answer("429 1");
    let mut server = traced(&collector, "", "", HELLO);
    assert_eq!(ask(&server, "http", "/first"), "200");
    assert_eq!(collector.request()["answer"], "429");
    server
        .wait_line("takes no spans")
        .expect("it is said that it fails");
    // It says nothing at all: whoever is served is served.
    collector.answer("hold");
    collector.request_answered("hold");
    assert_eq!(ask(&server, "http", "/second"), "200");
    assert_eq!(counted(&server, EXPORTED), 0);
    collector.answer("200");
    collector.server_span("/second");
    wait_counted(&server, EXPORTED, 2);
    server
        .wait_line("takes spans again")
        .expect("it is said that it is back");
    for reason in ["queue_full", "refused", "unreachable", "stopped"] {
        assert_eq!(counted(&server, &dropped(reason)), 0, "{reason}");
    }
}

#[test]
fn a_collector_that_comes_later_gets_what_waited_for_it() {
    let mut collector = Collector::closed();
    let mut server = traced(&collector, "", "", HELLO);
    assert_eq!(ask(&server, "http", "/early"), "200");
    server
        .wait_line("takes no spans")
        .expect("it is said that it fails");
    assert_eq!(ask(&server, "http", "/later"), "200");
    collector.answer("200");
    collector.server_span("/early");
    collector.server_span("/later");
}

#[test]
fn what_is_refused_is_dropped_counted_and_told() {
    let mut collector = Collector::start();
    collector.answer("400");
    let mut server = traced(&collector, "", "", HELLO);
    assert_eq!(ask(&server, "http", "/refused"), "200");
    assert_eq!(collector.request()["answer"], "400");
    let line = server.wait_line("are dropped").expect("it is told");
    assert!(line.contains("400 Bad Request"), "{line}");
    wait_counted(&server, &dropped("refused"), 2);
    collector.answer("partly");
    assert_eq!(ask(&server, "http", "/in-part"), "200");
    let request = collector.request();
    let sent = request["spans"].as_array().expect("spans");
    assert!(
        sent.iter()
            .any(|span| attribute(span, "url.path") == "/in-part")
    );
    wait_counted(&server, &dropped("refused"), 3);
    assert_eq!(counted(&server, EXPORTED), 1);
}

#[test]
fn a_stop_sends_what_waits_and_waits_for_no_collector_that_says_nothing() {
    let mut collector = Collector::start();
    let mut server = traced(&collector, "", "", HELLO);
    assert_eq!(ask(&server, "http", "/last"), "200");
    server.signal("TERM");
    collector.server_span("/last");
    assert!(server.wait_exit().success());

    collector.answer("hold");
    let mut server = traced(&collector, "", "", HELLO);
    assert_eq!(ask(&server, "http", "/held"), "200");
    server.signal("TERM");
    assert!(server.wait_exit().success());
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_configuration_from_being_taken() {
    let collector = Collector::start();
    let keys = "headers = { authorization = { file = \"no-such-key\" } }";
    let mut server = traced(&collector, "", "", HELLO);
    let site = Site {
        head: collector.traces(keys),
        ..Site::default()
    };
    assert!(server.reload(&site.text()).contains("was not taken"));
    let log = server.log();
    assert!(log.contains("error[traces]: headers of [traces]"), "{log}");
    assert!(log.contains("no-such-key cannot be read"), "{log}");
    assert_eq!(ask(&server, "http", "/"), "200");
}
