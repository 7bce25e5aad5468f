//! The list is what is documented, and what is written is what was counted.

use std::time::Duration;

use super::list::{ALL, Kind, Metric};
use super::*;
use crate::model::{Protocol, Reason};

/// A line of the table in docs/metrics.md.
fn documented(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    let Metric { name, help, .. } = metric;
    format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
}

#[test]
fn the_documented_metrics_are_those_that_there_are() {
    let page = include_str!("../../../docs/metrics.md");
    let there: Vec<&str> = (page.lines())
        .filter(|line| line.starts_with("| `portunus_") || line.starts_with("| `process_"))
        .collect();
    let wanted: Vec<String> = ALL.iter().map(|metric| documented(metric)).collect();
    assert_eq!(
        there,
        wanted,
        "docs/metrics.md should have\n{}",
        wanted.join("\n")
    );
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
    for metric in ALL {
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
        let lower = |text: &str| {
            text.bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        assert!(lower(metric.name), "{}", metric.name);
        assert!(
            metric
                .labels
                .iter()
                .all(|label| lower(label) && *label != "le")
        );
        assert!(!metric.help.contains(['\n', '\\']), "{}", metric.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn responses_are_written_by_binding_pool_protocol_and_class() {
    let metrics = Metrics::new(2);
    let bindings = [("https://*:443 a\"b".to_owned(), vec![1, 0, 1])];
    let tallies = metrics.tallies(bindings.into_iter(), ["one", "two"].into_iter());
    let answered = Answered {
        protocol: Protocol::Http2,
        status: 204,
        duration: Duration::from_millis(3),
        received: 5,
        sent: 0,
    };
    tallies.traffic(Some(0), Some(1)).count(&answered);
    tallies.traffic(Some(0), Some(1)).count(&answered);
    tallies.traffic(None, None).count(&answered);
    // An index that nobody has is no reason to fail.
    tallies.traffic(Some(7), Some(7)).count(&answered);
    let mut all = Exposition::default();
    let mut series = all.metric(&list::REQUEST_DURATION);
    for counted in metrics.traffic() {
        for (protocol, class, sum) in &counted.durations {
            series.histogram(&[&counted.binding, &counted.pool, protocol, class], sum);
        }
    }
    let text = all.into_text();
    let name = "portunus_http_server_request_duration_seconds";
    let labels = r#"binding="https://*:443 a\"b",pool="two",protocol="h2",status="2xx""#;
    for line in [
        format!("# TYPE {name} histogram"),
        format!("{name}_bucket{{{labels},le=\"0.0025\"}} 0"),
        format!("{name}_bucket{{{labels},le=\"0.005\"}} 2"),
        format!("{name}_bucket{{{labels},le=\"+Inf\"}} 2"),
        format!("{name}_sum{{{labels}}} 0.006"),
        format!("{name}_count{{{labels}}} 2"),
        format!("{name}_count{{binding=\"\",pool=\"\",protocol=\"h2\",status=\"2xx\"}} 2"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
}

#[test]
fn what_is_gone_for_two_configurations_is_forgotten() {
    let metrics = Metrics::new(1);
    let open = |pool: &'static str| {
        let bindings = [("http://*:80 *".to_owned(), vec![0])];
        metrics.tallies(bindings.into_iter(), [pool].into_iter())
    };
    let first = open("old");
    first.pool(0).expect("a pool").refused(Reason::QueueFull);
    let second = open("new");
    drop(first);
    let names = || {
        metrics
            .pools()
            .into_iter()
            .map(|it| it.pool)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["new", "old"]);
    let third = open("new");
    assert_eq!(names(), ["new"]);
    drop((second, third));
}

#[test]
fn no_more_failures_are_remembered_than_there_is_room_for() {
    let metrics = Metrics::new(1);
    let at = |port| std::net::SocketAddr::from(([192, 0, 2, 1], port));
    for port in 0..2 * HANDSHAKES_MAX as u16 {
        let (client, local) = (
            crate::model::ClientAddr::new(at(port)),
            crate::model::LocalAddr::new(at(443)),
        );
        metrics.refused(&Refused {
            sni: Some(&"ä".repeat(4000)),
            ..Refused::new(Reason::TlsOther, client, local, Protocol::Tls)
        });
        metrics.refused(&Refused::new(Reason::Url, client, local, Protocol::Http1));
    }
    let failures = metrics.handshake_failures();
    assert_eq!(failures.len(), HANDSHAKES_MAX);
    assert!(failures.iter().all(|it| it.reason == Reason::TlsOther));
    assert!(failures.iter().all(|it| it.sni.len() == 256));
    assert!(failures.is_sorted_by(|a, b| a.time >= b.time));
}
