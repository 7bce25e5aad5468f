//! What the dashboard shows: the state of all, in an answer whose size is bounded, since it is made again and again.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::bindings::{self, Row};
use super::queues::Queue;
use super::{Serving, health};
use crate::admin::{Declined, Form, Told, Wanted};
use crate::model::Reason;
use crate::report::metrics::PastRefusal;
use crate::server::history::Look;
use crate::server::pools::Crewed;

pub(super) fn told(serving: &Serving, crewed: &Crewed) -> Told {
    let now = serving.now.load();
    let metrics = serving.report.metrics();
    let reloads = metrics.reloads();
    let uptime = metrics.started().elapsed().unwrap_or_default();
    let accepted = metrics.accepted_total();
    let counted = metrics.pools();
    let (pools_all, pools) = fullest(crewed.queues(&counted));
    let counted = metrics.traffic();
    let (bindings_all, bindings, rates) = busiest(serving, bindings::rows(&now, &counted));
    let seconds = |time| humantime::format_rfc3339_seconds(time).to_string();
    let json = json!({
        "time": seconds(SystemTime::now()),
        "version": env!("CARGO_PKG_VERSION"),
        "process_id": std::process::id(),
        "uptime_seconds": uptime.as_secs(),
        "ready": health::is_ready(serving),
        "checks": health::json(serving),
        "configuration": {
            "file": now.config.file,
            "taken_at": seconds(reloads.taken_at),
            "reloads": reloads.taken,
            "reloads_refused": reloads.refused,
            "last_reload_taken": reloads.last_taken,
        },
        "addresses": now.addresses,
        "connections": {
            "open": serving.limits.open(),
            "limit": serving.limits.max(),
            "accepted": accepted,
            "rejected": serving.report.refused_count(Reason::ConnLimit),
        },
        "log_lines_lost": serving.report.lost(),
        "pools_in_all": pools_all,
        "pools": pools,
        "bindings_in_all": bindings_all,
        "bindings": bindings,
        "responses_per_second": rates,
        "last": serving.history().last(),
    });
    Told::json(&json)
}

pub(super) fn history(serving: &Serving) -> Told {
    let json = serving.history().json();
    Told::json(&json)
}

/// How many pools there are, and those in which most wait and most were refused, where not all can be shown.
fn fullest(mut all: Vec<Queue<'_>>) -> (usize, Vec<Queue<'_>>) {
    let count = all.len();
    if count > ROWS_MAX {
        all.sort_by_key(|pool| std::cmp::Reverse((pool.waiting, pool.rejected, pool.running)));
        all.truncate(ROWS_MAX);
    }
    (count, all)
}

/// The same of bindings, by what comes to them; and how many responses each has a second.
fn busiest<'a>(
    serving: &Serving,
    mut all: Vec<Row<'a>>,
) -> (usize, Vec<Row<'a>>, Map<String, Value>) {
    let history = serving.history();
    let count = all.len();
    if count > ROWS_MAX {
        all.sort_by_cached_key(|row| {
            // No rate is negative, and such numbers are in the order of their bits.
            let rate = history.rate(row.binding).to_bits();
            std::cmp::Reverse((rate, row.responses))
        });
        all.truncate(ROWS_MAX);
    }
    let rates = all.iter().map(|row| {
        let rate = history.rate(row.binding);
        (row.binding.to_owned(), json!(rate))
    });
    let rates = rates.collect();
    (count, all, rates)
}

/// What was counted until now.
pub(super) fn look(serving: &Serving) -> Look {
    let metrics = serving.report.metrics();
    let pools = serving.now.load();
    let pools = pools.edge.pools.iter().map(|pool| {
        let counts = pool.counts();
        (pool.name().to_owned(), counts.running, counts.waiting)
    });
    Look {
        traffic: metrics.traffic(),
        refused: (Reason::ALL.iter())
            .map(|reason| serving.report.refused_count(*reason))
            .collect(),
        handshakes: metrics.handshakes().values().sum(),
        connections: serving.limits.open(),
        pools: pools.collect(),
    }
}

/// What was refused last.
pub(super) fn refusals(serving: &Serving, wanted: &Wanted, form: Form) -> Result<Told, Declined> {
    let reason = match &wanted.reason {
        None => None,
        Some(name) => {
            let known = Reason::ALL.iter().find(|it| it.as_str() == name);
            Some(*known.ok_or_else(|| {
                Declined(format!(
                    "there is no reason {name:?}; docs/metrics.md and GET /v1/history have them all"
                ))
            })?)
        }
    };
    let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
    let found = serving.report.metrics().refusals(|it| {
        reason.is_none_or(|reason| it.reason == reason)
            && is(&wanted.site, &it.site)
            && is(&wanted.pool, &it.pool)
    });
    let limit = wanted
        .limit
        .map_or(REFUSALS_MAX, |limit| limit.min(REFUSALS_MAX));
    let shown: Vec<Value> = found.iter().take(limit).map(json_of).collect();
    Ok(Told::of(
        form,
        || json!({ "remembered": found.len(), "refusals": shown }),
        // One line each, as the error log has them.
        || shown.iter().map(|refusal| format!("{refusal}\n")).collect(),
    ))
}

fn json_of(it: &PastRefusal) -> Value {
    let known = |text: &str| match text {
        "" => Value::Null,
        text => json!(text),
    };
    json!({
        "time": humantime::format_rfc3339_millis(it.time).to_string(),
        "reason": it.reason.as_str(),
        "blame": it.reason.blame().as_str(),
        "protocol": it.protocol.to_string(),
        "client": it.client,
        "local": it.local,
        "scheme": if it.over_tls { "https" } else { "http" },
        "host": known(&it.host),
        "sni": known(&it.sni),
        "method": known(&it.method),
        "path": known(&it.path),
        "status": it.status,
        "site": known(&it.site),
        "pool": known(&it.pool),
        "detail": known(&it.detail),
        "request_id": known(&it.request_id),
        "trace_id": known(&it.trace_id),
    })
}

/// Pools, and bindings, that one answer has.
const ROWS_MAX: usize = 200;
/// Refusals that one answer has.
const REFUSALS_MAX: usize = 1000;
