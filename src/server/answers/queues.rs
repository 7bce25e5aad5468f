//! The request queues: what each pool holds, what it turned away and why, and how its upstreams stand.

use std::fmt::Write;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Shown;
use super::metrics::QUEUE_REASONS;
use crate::handler::proxy::UpstreamState;
use crate::model::{Reason, plain};
use crate::pool::{Pool, PoolState};
use crate::report::metrics::PoolCounted;
use crate::worker::PoolView;

/// A pool's queue, to be told.
#[derive(Serialize)]
pub(in crate::server) struct Queue<'a> {
    name: &'a str,
    state: &'static str,
    concurrency: u32,
    queue_length: u32,
    pub(super) running: u32,
    pub(super) waiting: u32,
    oldest_wait_seconds: Option<f64>,
    arrived: u64,
    queued: u64,
    abandoned: u64,
    pub(super) rejected: u64,
    #[serde(serialize_with = "by_reason")]
    refused_by_reason: Vec<(Reason, u64)>,
    #[serde(serialize_with = "serialize_upstreams")]
    upstreams: Vec<UpstreamState>,
    #[serde(flatten)]
    crew: Option<&'a PoolView>,
}

/// Every pool.
pub(super) fn all<'a>(now: &'a Shown, counted: &[PoolCounted]) -> Vec<Queue<'a>> {
    let pools = now.edge.pools.iter();
    pools.map(|pool| Queue::of(pool, counted, None)).collect()
}

/// Every pool, in the layout of `netsh http show servicestate`.
pub(super) fn text(queues: &[Queue<'_>]) -> String {
    let mut text = String::new();
    for queue in queues {
        queue.write("Request queue name", &mut text);
    }
    text
}

impl<'a> Queue<'a> {
    /// `view`: of one with workers, which knows its state better than its gate does.
    pub(in crate::server) fn of(
        pool: &'a Pool,
        counted: &[PoolCounted],
        view: Option<&'a PoolView>,
    ) -> Self {
        let (counts, limits) = (pool.counts(), pool.limits());
        let refused = refused(PoolCounted::of_pool(counted, pool.name()));
        let turned_away = refused.iter().filter(|(it, _)| QUEUE_REASONS.contains(it));
        Self {
            name: pool.name(),
            state: view.map_or_else(|| state_of(pool), |it| it.state.as_str()),
            concurrency: limits.concurrency,
            queue_length: limits.queue_length,
            running: counts.running,
            waiting: counts.waiting,
            oldest_wait_seconds: counts.oldest_wait.map(|it| it.as_secs_f64()),
            arrived: counts.arrived,
            queued: counts.queued,
            abandoned: counts.abandoned,
            rejected: turned_away.map(|(_, count)| count).sum(),
            refused_by_reason: refused,
            upstreams: pool.handler().upstreams(),
            crew: view,
        }
    }

    /// As text under a head.
    pub(in crate::server) fn write(&self, head: &str, text: &mut String) {
        let age = self.oldest_wait_seconds.unwrap_or_default();
        let age = Duration::from_millis((age * 1000.0) as u64);
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
            self.name,
            self.state,
            self.concurrency,
            self.queue_length,
            self.running,
            self.waiting,
            humantime::format_duration(age),
            self.arrived,
            self.rejected,
        );
        let mut head = "    Refused by reason:\n";
        for (reason, count) in &self.refused_by_reason {
            let _ = writeln!(text, "{head}        {reason}: {count}");
            head = "";
        }
        let mut head = "    Upstreams:\n";
        let upstreams = &self.upstreams;
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
pub(in crate::server) fn state_of(pool: &Pool) -> &'static str {
    match pool.state() {
        PoolState::Started => "Running",
        PoolState::Starting => "Starting",
        PoolState::Stopped => "Stopped",
        PoolState::Disabled | PoolState::Offline => "Disabled",
    }
}

/// Why requests of the pool failed, in its queue or behind it.
fn refused(counted: Option<&PoolCounted>) -> Vec<(Reason, u64)> {
    let counts = counted.into_iter().flat_map(|it| &it.refused);
    let by_reason = Reason::ALL.iter().zip(counts);
    by_reason
        .map(|(&reason, &count)| (reason, count))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn by_reason<S: Serializer>(refused: &[(Reason, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let refused = refused.iter();
    serializer.collect_map(refused.map(|(reason, count)| (reason.as_str(), count)))
}

fn serialize_upstreams<S: Serializer>(
    upstreams: &[UpstreamState],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(upstreams.iter().map(upstream_json))
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
        "last_failure": upstream.last_failure.as_ref().map(|failure| {
            let time = humantime::format_rfc3339_millis(failure.time).to_string();
            json!({ "time": time, "what": &*failure.what })
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
    if let Some(failure) = &upstream.last_failure {
        let time = humantime::format_rfc3339_seconds(failure.time);
        let _ = write!(line, ", last failure: {time} {}", plain(&failure.what));
    }
    line
}
