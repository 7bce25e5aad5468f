//! The whole state in short, in the layout of `netsh http show servicestate`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::{Serving, bindings, health, queues};
use crate::admin::Told;
use crate::model::Reason;
use crate::report::metrics::Accepted;

pub(super) fn told(serving: &Serving) -> Told {
    let now = serving.now.load();
    let metrics = serving.report.metrics();
    let reloads = metrics.reloads();
    let uptime = metrics.started().elapsed().unwrap_or_default();
    let accepted = [Accepted::Cleartext, Accepted::Tls, Accepted::Quic];
    let accepted: u64 = accepted.iter().map(|it| metrics.accepted_count(*it)).sum();
    let turned_away = serving.report.refused_count(Reason::ConnLimit);
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
             Log lines lost: {}\n    \
             Addresses:\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        if ready { "yes" } else { "no" },
        humantime::format_duration(Duration::from_secs(uptime.as_secs())),
        now.config.file.display(),
        serving.report.lost(),
    );
    for address in &now.addresses {
        // Writing to memory does not fail.
        let _ = writeln!(text, "        {address}");
    }
    text.push('\n');
    queues::write(&mut text, serving, &now);
    text.push('\n');
    bindings::write(&mut text, serving, &now);
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
        "log_lines_lost": serving.report.lost(),
        "addresses": now.addresses,
        "pools": queues::json(serving, &now),
        "bindings": bindings::json(serving, &now),
    });
    Told { json, text }
}
