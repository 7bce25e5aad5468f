//! The tracer, and spans as bytes.

use std::time::{Duration, SystemTime};

use super::protobuf::{Value, read_field};
use super::span::{Kind, Span, Spans};
use super::*;

/// Of a collector that nobody asks before something is kept.
pub(super) fn settings(sample: f64) -> config::Traces {
    config::Traces {
        endpoint: http::Uri::from_static("http://127.0.0.1:4318/v1/traces"),
        headers: Vec::new(),
        ca: None,
        service_name: "test".into(),
        resource: Vec::new(),
        sample,
        trust_parent: false,
        keep_errors: true,
        keep_slower_than: Some(Duration::from_secs(1)),
    }
}

#[test]
fn an_exporter_goes_on_where_only_the_choice_of_requests_changes() {
    let counts = Arc::default();
    let start = |settings: &config::Traces, running| {
        Tracer::new(settings, running, &counts).expect("nothing needs to be read")
    };
    let first = start(&settings(0.5), None);
    assert!(Arc::ptr_eq(&start(&settings(0.5), Some(&first)), &first));
    let other_share = start(&settings(0.1), Some(&first));
    assert!(Arc::ptr_eq(&other_share.exporter, &first.exporter));
    assert_ne!(other_share.sampling, first.sampling);
    let elsewhere = config::Traces {
        endpoint: http::Uri::from_static("http://127.0.0.1:4319/v1/traces"),
        ..settings(0.5)
    };
    let elsewhere = start(&elsewhere, Some(&first));
    assert!(!Arc::ptr_eq(&elsewhere.exporter, &first.exporter));
}

#[test]
fn a_text_is_cut_where_a_sign_ends() {
    let long = "ä".repeat(40_000);
    let span = Span {
        trace: 1,
        id: 2,
        parent: Some((3, true)),
        state: None,
        sampled: true,
        name: "GET /",
        kind: Kind::Server,
        began: SystemTime::UNIX_EPOCH + Duration::from_secs(2),
        // A clock that is set back in between ends no span before it began.
        ended: SystemTime::UNIX_EPOCH,
        error: Some(&long),
    };
    let spans = Spans::written(|writer| {
        writer.span(&span, |details| details.say("url.path", &*long));
        writer.span(&span, |_| {});
    });
    assert_eq!(spans.count(), 2);
    assert!(spans.bytes().len() < 4000, "{}", spans.bytes().len());
    let (field, value, rest) = read_field(spans.bytes()).expect("a span");
    assert!(field == 2 && !rest.is_empty());
    let Value::Bytes(mut rest) = value else {
        panic!("{value:?}")
    };
    let mut attribute = None;
    while let Some((field, value, after)) = read_field(rest) {
        if let (9, Value::Bytes(bytes)) = (field, value) {
            attribute = Some(bytes);
        }
        rest = after;
    }
    let attribute = attribute.expect("an attribute");
    assert!(std::str::from_utf8(&attribute[attribute.len() - 1024..]).is_ok());
}
