//! The whole state in short, in the layout of `netsh http show servicestate`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::{Serving, Shown, bindings, health, queues};
use crate::admin::Told;
use crate::model::{Protocol, Reason};

pub(super) fn told(serving: &Serving) -> Told {
    let now = serving.now.load();
    let metrics = serving.report.metrics();
    let reloads = metrics.reloads();
    let uptime = metrics.started().elapsed().unwrap_or_default();
    let accepted = metrics.accepted_total();
    let turned_away = serving.report.refused_count(Reason::ConnLimit);
    let (done, resumed) = handshakes(serving);
    let failed = failed_handshakes(serving);
    let ready = health::is_ready(serving);
    let (open, max) = (serving.limits.open(), serving.limits.max());
    let limit = max.map_or("none".to_owned(), |max| max.to_string());
    let taken_at = humantime::format_rfc3339_seconds(reloads.taken_at);
    let mut text = format!(
        "Snapshot of HTTP service state (Request Queue View):\n\n\
         Server version: {}\n    \
             Process ID: {}\n    \
             Ready: {}\n    \
             Up for: {}\n    \
             Configuration: {}, taken {taken_at}\n    \
             Open connections: {open} (limit: {limit})\n    \
             Connections accepted: {accepted}\n    \
             Connections rejected: {turned_away}\n    \
             TLS handshakes: {done} (resumed: {resumed}), failed: {failed}\n    \
             Log lines lost: {}\n    \
             Addresses:\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        health::line(serving),
        humantime::format_duration(Duration::from_secs(uptime.as_secs())),
        now.config.file.display(),
        serving.report.lost(),
    );
    write_lists(&mut text, serving, &now);
    let json = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process_id": std::process::id(),
        "ready": ready,
        "uptime_seconds": uptime.as_secs(),
        "configuration": {
            "file": now.config.file,
            "taken_at": taken_at.to_string(),
            "reloads": reloads.taken,
            "reloads_refused": reloads.refused,
        },
        "connections": {
            "open": open,
            "limit": max,
            "accepted": accepted,
            "rejected": turned_away,
        },
        "tls": {
            "handshakes": done,
            "resumed": resumed,
            "failed": failed,
        },
        "refused_by_reason": refused(serving)
            .map(|(reason, count)| (reason.as_str().to_owned(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "log_lines_lost": serving.report.lost(),
        "addresses": now.addresses,
        "pools": queues::json(serving, &now),
        "bindings": bindings::json(serving, &now),
    });
    Told { json, text }
}

/// What there is any number of.
fn write_lists(text: &mut String, serving: &Serving, now: &Shown) {
    for address in &now.addresses {
        // Writing to memory does not fail.
        let _ = writeln!(text, "        {address}");
    }
    let mut head = "    Refused by reason:\n";
    for (reason, count) in refused(serving) {
        let _ = writeln!(text, "{head}        {reason}: {count}");
        head = "";
    }
    text.push('\n');
    queues::write(text, serving, now);
    text.push('\n');
    bindings::write(text, serving, now);
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
