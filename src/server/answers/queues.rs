//! The request queues: what each pool holds, what it turned away and why, and how its upstreams stand.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::metrics::QUEUE_REASONS;
use super::{Serving, Shown};
use crate::handler::proxy::UpstreamState;
use crate::model::{Reason, plain};
use crate::pool::{Pool, PoolState};
use crate::report::metrics::PoolCounted;

/// A pool's queue, to be told.
pub(in crate::server) struct Queue<'a> {
    pool: &'a Pool,
    counted: Option<&'a PoolCounted>,
    state: &'static str,
}

/// Every pool, as JSON.
pub(super) fn json(serving: &Serving, now: &Shown) -> Vec<Value> {
    let counted = serving.report.metrics().pools();
    let pools = now.edge.pools.iter();
    let queues = pools.map(|pool| Queue::of(pool, &counted, None));
    queues.map(|queue| Value::Object(queue.json())).collect()
}

/// Every pool, in the layout of `netsh http show servicestate`.
pub(super) fn write(text: &mut String, serving: &Serving, now: &Shown) {
    let counted = serving.report.metrics().pools();
    for pool in &now.edge.pools {
        Queue::of(pool, &counted, None).write("Request queue name", text);
    }
}

impl<'a> Queue<'a> {
    /// `state`: where the pool's handler knows it better than its gate.
    pub(in crate::server) fn of(
        pool: &'a Pool,
        counted: &'a [PoolCounted],
        state: Option<&'static str>,
    ) -> Self {
        Self {
            pool,
            counted: PoolCounted::of_pool(counted, pool.name()),
            state: state.unwrap_or_else(|| state_of(pool)),
        }
    }

    /// As JSON.
    pub(in crate::server) fn json(&self) -> Map<String, Value> {
        let (counts, limits) = (self.pool.counts(), self.pool.limits());
        let refused: Map<String, Value> = refused(self.counted)
            .map(|(reason, count)| (reason.as_str().to_owned(), json!(count)))
            .collect();
        let upstreams = self.pool.handler().upstreams();
        let oldest = counts.oldest_wait.map(|it| it.as_secs_f64());
        let all = [
            ("name", json!(self.pool.name())),
            ("state", json!(self.state)),
            ("concurrency", json!(limits.concurrency)),
            ("queue_length", json!(limits.queue_length)),
            ("running", json!(counts.running)),
            ("waiting", json!(counts.waiting)),
            ("oldest_wait_seconds", json!(oldest)),
            ("arrived", json!(counts.arrived)),
            ("queued", json!(counts.queued)),
            ("abandoned", json!(counts.abandoned)),
            ("rejected", json!(rejected(self.counted))),
            ("refused_by_reason", Value::Object(refused)),
            ("upstreams", upstreams.iter().map(upstream_json).collect()),
        ];
        let all = all.into_iter();
        all.map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// As text under a head.
    pub(in crate::server) fn write(&self, head: &str, text: &mut String) {
        let (counts, limits) = (self.pool.counts(), self.pool.limits());
        let age = counts.oldest_wait.unwrap_or_default().as_millis() as u64;
        // Writing to memory does not fail.
        let _ = write!(
            text,
            "{head}: {}\n    \
             State: {}\n    \
             Max active requests: {}\n    \
             Max requests: {}\n    \
             Active requests: {}\n    \
             Queued requests: {}\n    \
             Max queued request age: {}\n    \
             Requests arrived: {}\n    \
             Requests rejected: {}\n",
            self.pool.name(),
            self.state,
            limits.concurrency,
            limits.queue_length,
            counts.running,
            counts.waiting,
            humantime::format_duration(Duration::from_millis(age)),
            counts.arrived,
            rejected(self.counted),
        );
        let mut head = "    Refused by reason:\n";
        for (reason, count) in refused(self.counted) {
            let _ = writeln!(text, "{head}        {reason}: {count}");
            head = "";
        }
        let mut head = "    Upstreams:\n";
        let upstreams = self.pool.handler().upstreams();
        for (index, upstream) in upstreams.iter().enumerate() {
            let mut others = upstreams.iter().enumerate();
            let has_other = others.any(|(other, it)| other != index && takes_requests(it));
            let line = upstream_line(upstream, has_other);
            let _ = writeln!(text, "{head}        {line}");
            head = "";
        }
    }
}

/// By its gate; of one with workers, these know more.
fn state_of(pool: &Pool) -> &'static str {
    match pool.state() {
        PoolState::Started => "Running",
        PoolState::Starting => "Starting",
        PoolState::Stopped => "Stopped",
        PoolState::Disabled | PoolState::Offline => "Disabled",
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
        "failing": upstream.failing,
        "backup": upstream.backup,
        "running": upstream.running,
        "responses": upstream.answers,
        "errors": upstream.errors,
        "failures": upstream.failures,
        "state_for_seconds": upstream.for_time.as_secs_f64(),
        "last_failure": upstream.last_failure.as_ref().map(|(time, why)| {
            json!({ "time": humantime::format_rfc3339_millis(*time).to_string(), "what": &**why })
        }),
    })
}

/// Whether requests go to it, well or not.
fn takes_requests(upstream: &UpstreamState) -> bool {
    matches!(upstream.state, "up" | "warming")
}

/// `has_other`: whether requests may go to another one of its pool.
fn upstream_line(upstream: &UpstreamState, has_other: bool) -> String {
    let since = humantime::format_duration(Duration::from_secs(upstream.for_time.as_secs()));
    // One that is out says so by its state; one that gets requests and fails them would read as if it were well.
    let fails = match (takes_requests(upstream) && upstream.failing, has_other) {
        (false, _) => "",
        (true, true) => " (fails)",
        (true, false) => " (fails; the pool has no other)",
    };
    let UpstreamState { name, state, .. } = upstream;
    let mut line = format!("{name}: {state}{fails} for {since}");
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
    if let Some((time, why)) = &upstream.last_failure {
        let time = humantime::format_rfc3339_seconds(*time);
        let _ = write!(line, ", last failure: {time} {}", plain(why));
    }
    line
}
