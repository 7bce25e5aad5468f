//! The whole state in short, in the layout of `netsh http show servicestate`.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bindings::{self, Row};
use super::queues::{self, Queue};
use super::{Serving, Shown, health};
use crate::admin::{Form, Told};
use crate::model::{Protocol, Reason};

/// The state.
struct State<'a> {
    serving: &'a Serving,
    now: &'a Shown,
    /// Handshakes that were done, of those the ones that resumed a session, and those that failed.
    handshakes: (u64, u64, u64),
    pools: Vec<Queue<'a>>,
    bindings: Vec<Row<'a>>,
}

pub(super) fn told(serving: &Serving, form: Form) -> Told {
    let now = serving.now.load();
    let metrics = serving.report.metrics();
    let (of_pools, of_bindings) = (metrics.pools(), metrics.traffic());
    let (done, resumed) = handshakes(serving);
    let state = State {
        serving,
        now: &now,
        handshakes: (done, resumed, failed_handshakes(serving)),
        pools: queues::all(&now, &of_pools),
        bindings: bindings::rows(&now, &of_bindings),
    };
    Told::of(form, || state.json(), || state.text())
}

/// As JSON: what there is one of, and what there is any number of.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    about: Value,
    pools: &'a [Queue<'a>],
    bindings: &'a [Row<'a>],
}

impl State<'_> {
    fn json(&self) -> Json<'_> {
        let serving = self.serving;
        let metrics = serving.report.metrics();
        let reloads = metrics.reloads();
        let (done, resumed, failed) = self.handshakes;
        let refused: Map<String, Value> = refused(serving)
            .map(|(reason, count)| (reason.as_str().to_owned(), json!(count)))
            .collect();
        let about = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process_id": std::process::id(),
            "ready": health::is_ready(serving),
            "uptime_seconds": self.uptime().as_secs(),
            "configuration": {
                "file": self.now.config.file,
                "taken_at": humantime::format_rfc3339_seconds(reloads.taken_at).to_string(),
                "reloads": reloads.taken,
                "reloads_refused": reloads.refused,
            },
            "connections": {
                "open": serving.limits.open(),
                "limit": serving.limits.max(),
                "accepted": metrics.accepted_total(),
                "rejected": serving.report.refused_count(Reason::ConnLimit),
            },
            "tls": {
                "handshakes": done,
                "resumed": resumed,
                "failed": failed,
            },
            "refused_by_reason": refused,
            "log_lines_lost": serving.report.lost(),
            "addresses": self.now.addresses,
        });
        Json {
            about,
            pools: &self.pools,
            bindings: &self.bindings,
        }
    }

    fn text(&self) -> String {
        let serving = self.serving;
        let metrics = serving.report.metrics();
        let limit = serving.limits.max();
        let (done, resumed, failed) = self.handshakes;
        let mut text = format!(
            "Snapshot of HTTP service state (Request Queue View):\n\n\
             Server version: {}\n    \
                 Process ID: {}\n    \
                 Ready: {}\n    \
                 Up for: {}\n    \
                 Configuration: {}, taken {}\n    \
                 Open connections: {} (limit: {})\n    \
                 Connections accepted: {}\n    \
                 Connections rejected: {}\n    \
                 TLS handshakes: {done} (resumed: {resumed}), failed: {failed}\n    \
                 Log lines lost: {}\n    \
                 Addresses:\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            health::line(serving),
            humantime::format_duration(self.uptime()),
            self.now.config.file.display(),
            humantime::format_rfc3339_seconds(metrics.reloads().taken_at),
            serving.limits.open(),
            limit.map_or("none".to_owned(), |max| max.to_string()),
            metrics.accepted_total(),
            serving.report.refused_count(Reason::ConnLimit),
            serving.report.lost(),
        );
        for address in &self.now.addresses {
            // Writing to memory does not fail.
            let _ = writeln!(text, "        {address}");
        }
        let mut head = "    Refused by reason:\n";
        for (reason, count) in refused(serving) {
            let _ = writeln!(text, "{head}        {reason}: {count}");
            head = "";
        }
        text.push('\n');
        text.push_str(&queues::text(&self.pools));
        text.push('\n');
        text.push_str(&bindings::text(&self.bindings));
        text
    }

    /// In whole seconds.
    fn uptime(&self) -> Duration {
        let started = self.serving.report.metrics().started();
        Duration::from_secs(started.elapsed().unwrap_or_default().as_secs())
    }
}

/// Why something was refused, and how often, of what ever was.
fn refused(serving: &Serving) -> impl Iterator<Item = (Reason, u64)> {
    (Reason::ALL.iter())
        .map(|&reason| (reason, serving.report.refused_count(reason)))
        .filter(|(_, count)| *count > 0)
}

/// Handshakes that were done, and of those the ones that resumed a session.
fn handshakes(serving: &Serving) -> (u64, u64) {
    let kinds = serving.report.metrics().handshakes();
    let resumed = kinds.iter().filter(|(kind, _)| kind.resumed);
    (kinds.values().sum(), resumed.map(|(_, count)| count).sum())
}

fn failed_handshakes(serving: &Serving) -> u64 {
    let of = |protocol| {
        let reasons = Reason::ALL.iter();
        reasons.map(move |&reason| serving.report.refused_count_in(protocol, reason))
    };
    of(Protocol::Tls).chain(of(Protocol::Quic)).sum()
}
