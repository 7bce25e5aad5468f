//! The request queues: what each pool holds, what it turned away and why, and how its upstreams stand.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::metrics::QUEUE_REASONS;
use super::{Serving, Shown};
use crate::handler::proxy::UpstreamState;
use crate::model::Reason;
use crate::pool::{Pool, PoolState};
use crate::report::metrics::PoolCounted;

/// The last column of what is said of a pool in text.
const AGE_SHOWN: Duration = Duration::from_millis(1);

/// Every pool, as JSON.
pub(super) fn json(serving: &Serving, now: &Shown) -> Vec<Value> {
    let counted = serving.report.metrics().pools();
    let one =
        |pool: &std::sync::Arc<crate::pool::Pool>| Value::Object(json_of(pool, of(&counted, pool)));
    now.edge.pools.iter().map(one).collect()
}

/// Every pool, in the layout of `netsh http show servicestate`.
pub(super) fn write(text: &mut String, serving: &Serving, now: &Shown) {
    let counted = serving.report.metrics().pools();
    for pool in &now.edge.pools {
        write_one(text, pool, of(&counted, pool));
    }
}

fn of<'a>(counted: &'a [PoolCounted], pool: &Pool) -> Option<&'a PoolCounted> {
    counted.iter().find(|it| it.pool == pool.name())
}

fn json_of(pool: &Pool, counted: Option<&PoolCounted>) -> Map<String, Value> {
    let (counts, limits) = (pool.counts(), pool.limits());
    let refused: Map<String, Value> = (refused(counted))
        .map(|(reason, count)| (reason.as_str().to_owned(), json!(count)))
        .collect();
    let upstreams = pool.handler().upstreams();
    let all = [
        ("name", json!(pool.name())),
        ("state", json!(state(pool))),
        ("concurrency", json!(limits.concurrency)),
        ("queue_length", json!(limits.queue_length)),
        ("running", json!(counts.running)),
        ("waiting", json!(counts.waiting)),
        (
            "oldest_wait_seconds",
            json!(counts.oldest_wait.map(|it| it.as_secs_f64())),
        ),
        ("arrived", json!(counts.arrived)),
        ("queued", json!(counts.queued)),
        ("abandoned", json!(counts.abandoned)),
        ("rejected", json!(rejected(counted))),
        ("refused_by_reason", Value::Object(refused)),
        ("upstreams", upstreams.iter().map(upstream_json).collect()),
    ];
    let all = all.into_iter();
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn write_one(text: &mut String, pool: &Pool, counted: Option<&PoolCounted>) {
    let (counts, limits) = (pool.counts(), pool.limits());
    let age = counts.oldest_wait.unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write!(
        text,
        "Request queue name: {}\n    \
             State: {}\n    \
             Max active requests: {}\n    \
             Max requests: {}\n    \
             Active requests: {}\n    \
             Queued requests: {}\n    \
             Max queued request age: {}\n    \
             Requests arrived: {}\n    \
             Requests rejected: {}\n",
        pool.name(),
        state(pool),
        limits.concurrency,
        limits.queue_length,
        counts.running,
        counts.waiting,
        humantime::format_duration(Duration::from_millis(age.div_duration_f64(AGE_SHOWN) as u64)),
        counts.arrived,
        rejected(counted),
    );
    let mut head = "    Refused by reason:\n";
    for (reason, count) in refused(counted) {
        let _ = writeln!(text, "{head}        {reason}: {count}");
        head = "";
    }
    let mut head = "    Upstreams:\n";
    for upstream in pool.handler().upstreams() {
        let _ = writeln!(text, "{head}        {}", upstream_line(&upstream));
        head = "";
    }
}

/// As IIS names them.
fn state(pool: &Pool) -> &'static str {
    match pool.state() {
        PoolState::Started => "Active",
        PoolState::Stopped => "Stopped",
        PoolState::Disabled => "Disabled",
    }
}

/// What the pool turned away, in all.
fn rejected(counted: Option<&PoolCounted>) -> u64 {
    let turned_away = |(reason, _): &(Reason, u64)| QUEUE_REASONS.contains(reason);
    let of_queue = refused(counted).filter(turned_away);
    of_queue.map(|(_, count)| count).sum()
}

/// Why requests of the pool failed, in its queue or behind it.
fn refused(counted: Option<&PoolCounted>) -> impl Iterator<Item = (Reason, u64)> {
    let counts = counted.into_iter().flat_map(|it| &it.refused);
    let by_reason = Reason::ALL.iter().zip(counts);
    by_reason
        .map(|(&reason, &count)| (reason, count))
        .filter(|(_, count)| *count > 0)
}

fn upstream_json(upstream: &UpstreamState) -> Value {
    json!({
        "name": upstream.name,
        "state": upstream.state,
        "backup": upstream.backup,
        "running": upstream.running,
        "responses": upstream.answers,
        "errors": upstream.errors,
        "failures": upstream.failures,
    })
}

fn upstream_line(upstream: &UpstreamState) -> String {
    let mut line = format!("{}: {}", upstream.name, upstream.state);
    if upstream.backup {
        line.push_str(", backup");
    }
    if let Some(running) = upstream.running {
        let _ = write!(line, ", active requests: {running}");
    }
    let UpstreamState {
        answers,
        errors,
        failures,
        ..
    } = upstream;
    let _ = write!(
        line,
        ", responses: {answers} ({errors} of 5xx), failures: {failures}"
    );
    line
}
