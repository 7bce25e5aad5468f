//! Every metric, written from what each room has counted.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use super::process::Process;
use super::{Serving, Shown, health};
use crate::admin::Told;
use crate::certificate::validity;
use crate::handler::proxy::UpstreamState;
use crate::http::AltSvc;
use crate::model::{Protocol, Reason};
use crate::ocsp::Status;
use crate::pool::{Counts, Pool, PoolState};
use crate::report::Report;
use crate::report::metrics::{Accepted, Exposition, SpanLoss, list};
use crate::worker::{Failure, Tally};

/// The states of a pool, as the metric names them.
const POOL_STATES: [(PoolState, &str); 5] = [
    (PoolState::Started, "started"),
    (PoolState::Starting, "starting"),
    (PoolState::Offline, "offline"),
    (PoolState::Stopped, "stopped"),
    (PoolState::Disabled, "disabled"),
];

/// The states of an upstream, and whether it gets requests of its own accord.
const UPSTREAM_STATES: [(&str, bool); 6] = [
    ("up", true),
    ("warming", true),
    ("ejected", false),
    ("trying", false),
    ("down", false),
    ("draining", false),
];

pub(super) fn told(serving: &Serving) -> Told {
    let now = serving.now.load();
    // A little more than the last time: what is asked for again and again grows slowly.
    let before = serving.exposed.load(Relaxed);
    let mut all = Exposition::with_room(before + before / 16);
    requests(&mut all, &serving.report, &now);
    pools(&mut all, &serving.report, &now);
    workers(&mut all, &now);
    upstreams(&mut all, &now);
    handshakes(&mut all, &serving.report);
    closes(&mut all, &serving.report);
    certificates(&mut all, serving, &now);
    connections(&mut all, serving);
    server(&mut all, serving);
    process(&mut all, serving);
    let text = all.into_text();
    serving.exposed.store(text.len(), Relaxed);
    Told::text(text)
}

fn requests(all: &mut Exposition, report: &Report, now: &Shown) {
    let traffic = report.metrics().traffic();
    let mut series = all.metric(&list::REQUEST_DURATION);
    for counted in &traffic {
        for (protocol, class, sum) in &counted.durations {
            series.histogram(&[&counted.binding, &counted.pool, protocol, class], sum);
        }
    }
    for (metric, sum_of) in [
        (&list::REQUEST_SIZE, of_received as fn(&_) -> &_),
        (&list::RESPONSE_SIZE, of_sent),
    ] {
        let mut series = all.metric(metric);
        for counted in traffic.iter().filter(|it| it.responses() > 0) {
            series.histogram(&[&counted.binding, &counted.pool], sum_of(counted));
        }
    }
    let mut series = all.metric(&list::HTTP3_OFFERED);
    for bound in now.edge.bindings.iter().filter(|bound| bound.http3) {
        let offered = bound.alt_svc.as_ref().is_some_and(AltSvc::is_offered);
        series.value(&[&bound.name], u8::from(offered));
    }
    let mut series = all.metric(&list::REFUSALS);
    for &reason in Reason::ALL {
        let blame = reason.blame().as_str();
        series.value(&[reason.as_str(), blame], report.refused_count(reason));
    }
}

fn of_received(counted: &crate::report::metrics::Counted) -> &crate::report::metrics::Sum {
    &counted.received
}

fn of_sent(counted: &crate::report::metrics::Counted) -> &crate::report::metrics::Sum {
    &counted.sent
}

fn pools(all: &mut Exposition, report: &Report, now: &Shown) {
    let pools: Vec<(&Pool, Counts)> = (now.edge.pools.iter())
        .map(|pool| (&**pool, pool.counts()))
        .collect();
    let mut series = all.metric(&list::POOL_STATE);
    for (pool, _) in &pools {
        for (state, name) in POOL_STATES {
            series.value(&[pool.name(), name], u8::from(pool.state() == state));
        }
    }
    let mut each = |metric, value: &dyn Fn(&Pool, &Counts) -> f64| {
        let mut series = all.metric(metric);
        for (pool, counts) in &pools {
            series.value(&[pool.name()], value(pool, counts));
        }
    };
    each(&list::POOL_RUNNING, &|_, counts| counts.running.into());
    each(&list::POOL_CONCURRENCY, &|pool, _| {
        pool.limits().concurrency.into()
    });
    each(&list::QUEUE_REQUESTS, &|_, counts| counts.waiting.into());
    each(&list::QUEUE_LENGTH, &|pool, _| {
        pool.limits().queue_length.into()
    });
    each(&list::QUEUE_AGE, &|_, counts| {
        counts.oldest_wait.unwrap_or_default().as_secs_f64()
    });
    each(&list::QUEUE_ARRIVED, &|_, counts| counts.arrived as f64);
    each(&list::QUEUE_QUEUED, &|_, counts| counts.queued as f64);
    each(&list::QUEUE_ABANDONED, &|_, counts| counts.abandoned as f64);
    let counted = report.metrics().pools();
    let mut series = all.metric(&list::QUEUE_WAIT);
    // Most pools never have anybody wait.
    for pool in counted.iter().filter(|pool| pool.waits.count() > 0) {
        series.histogram(&[&pool.pool], &pool.waits);
    }
    let mut series = all.metric(&list::POOL_REFUSALS);
    for pool in &counted {
        for (&reason, &count) in Reason::ALL.iter().zip(&pool.refused) {
            // Those of a queue are there from the start: an alert can see the first of them.
            if count > 0 || QUEUE_REASONS.contains(&reason) {
                let labels = [&pool.pool, reason.as_str(), reason.blame().as_str()];
                series.value(&labels, count);
            }
        }
    }
}

/// For these a pool turns requests away.
pub(super) const QUEUE_REASONS: [Reason; 5] = [
    Reason::QueueFull,
    Reason::TimerReqQueue,
    Reason::AppShutdown,
    Reason::Disabled,
    Reason::AppOffline,
];

fn workers(all: &mut Exposition, now: &Shown) {
    let pools: Vec<(&str, &Tally)> = (now.edge.pools.iter())
        .filter_map(|pool| Some((pool.name(), pool.handler().desk()?.tally())))
        .collect();
    let mut series = all.metric(&list::WORKERS);
    for (pool, tally) in &pools {
        for (phase, count) in tally.phases() {
            series.value(&[pool, phase], count);
        }
    }
    let mut series = all.metric(&list::WORKER_STARTS);
    for (pool, tally) in &pools {
        series.value(&[pool], tally.started());
    }
    let mut series = all.metric(&list::WORKER_RECYCLES);
    for (pool, tally) in &pools {
        series.value(&[pool], tally.recycled());
    }
    let mut series = all.metric(&list::WORKER_FAILURES);
    for (pool, tally) in &pools {
        for kind in Failure::ALL {
            series.value(&[pool, kind.as_str()], tally.failed(kind));
        }
    }
}

fn upstreams(all: &mut Exposition, now: &Shown) {
    let upstreams: Vec<(&str, UpstreamState)> = (now.edge.pools.iter())
        .flat_map(|pool| {
            let states = once_each(pool.handler().upstreams());
            states.into_iter().map(|state| (pool.name(), state))
        })
        .collect();
    let mut series = all.metric(&list::UPSTREAM_HEALTHY);
    for (pool, upstream) in &upstreams {
        let healthy = UPSTREAM_STATES.contains(&(upstream.state, true));
        series.value(&[pool, &upstream.name], u8::from(healthy));
    }
    let mut series = all.metric(&list::UPSTREAM_STATE);
    for (pool, upstream) in &upstreams {
        for (state, _) in UPSTREAM_STATES {
            let is = u8::from(upstream.state == state);
            series.value(&[pool, &upstream.name, state], is);
        }
    }
    let mut series = all.metric(&list::UPSTREAM_RUNNING);
    for (pool, upstream) in &upstreams {
        if let Some(running) = upstream.running {
            series.value(&[pool, &upstream.name], running);
        }
    }
    let mut each = |metric, value: fn(&UpstreamState) -> u64| {
        let mut series = all.metric(metric);
        for (pool, upstream) in &upstreams {
            series.value(&[pool, &upstream.name], value(upstream));
        }
    };
    each(&list::UPSTREAM_RESPONSES, |upstream| upstream.answers);
    each(&list::UPSTREAM_ERRORS, |upstream| upstream.errors);
    each(&list::UPSTREAM_FAILURES, |upstream| upstream.failures);
    let mut series = all.metric(&list::UPSTREAM_RESPONSE);
    for (pool, upstream) in upstreams.iter().filter(|(_, it)| it.took.count() > 0) {
        series.histogram(&[pool, &upstream.name], &upstream.took);
    }
}

/// Who is named twice gets twice the requests, and is one series all the same.
fn once_each(upstreams: Vec<UpstreamState>) -> Vec<UpstreamState> {
    let mut each: Vec<UpstreamState> = Vec::new();
    for upstream in upstreams {
        let Some(same) = each.iter_mut().find(|it| it.name == upstream.name) else {
            each.push(upstream);
            continue;
        };
        same.answers += upstream.answers;
        same.errors += upstream.errors;
        same.failures += upstream.failures;
        same.took.add(&upstream.took);
        same.running = same.running.zip(upstream.running).map(|(a, b)| a + b);
    }
    each
}

fn handshakes(all: &mut Exposition, report: &Report) {
    let mut done: Vec<_> = (report.metrics().handshakes().into_iter())
        .map(|(kind, count)| {
            let binding = kind.binding.as_ref().map(ToString::to_string);
            (binding.unwrap_or_default(), kind, count)
        })
        .collect();
    done.sort_by(|(a, of_a, _), (b, of_b, _)| {
        let rest = |it: &crate::report::metrics::HandshakeKind| {
            (it.transport, it.version, it.cipher, it.resumed)
        };
        a.cmp(b).then_with(|| rest(of_a).cmp(&rest(of_b)))
    });
    let mut series = all.metric(&list::HANDSHAKES);
    for (binding, kind, count) in &done {
        let labels = [
            binding,
            kind.transport,
            kind.version,
            kind.cipher,
            yes(kind.resumed),
        ];
        series.value(&labels, *count);
    }
    let mut series = all.metric(&list::HANDSHAKE_DURATION);
    for (transport, resumed, sum) in report.metrics().handshake_durations() {
        if sum.count() > 0 {
            series.histogram(&[transport, yes(resumed)], &sum);
        }
    }
    let mut series = all.metric(&list::HANDSHAKE_FAILURES);
    for (transport, protocol) in [("tcp", Protocol::Tls), ("quic", Protocol::Quic)] {
        for &reason in Reason::ALL {
            let count = report.refused_count_in(protocol, reason);
            if count > 0 || reason.as_str().starts_with("Tls_") {
                series.value(&[transport, reason.as_str()], count);
            }
        }
    }
}

fn closes(all: &mut Exposition, report: &Report) {
    let mut series = all.metric(&list::TLS_CLOSES);
    for said in [true, false] {
        series.value(&[yes(said)], report.metrics().closed_count(said));
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn certificates(all: &mut Exposition, serving: &Serving, now: &Shown) {
    let used = validity(&now.config, &now.certificates);
    let mut series = all.metric(&list::CERTIFICATE_EXPIRY);
    for it in &used {
        if let Some(end) = it.not_after {
            series.value(&[&it.name, &it.file], seconds(end));
        }
    }
    let mut series = all.metric(&list::CERTIFICATE_USABLE);
    for it in &used {
        series.value(&[&it.name, &it.file], u8::from(it.not_after.is_some()));
    }
    let mut staples: Vec<_> = (serving.stapler.report().into_iter())
        .filter(|staple| staple.responder.is_some() || staple.requires_staple)
        .map(|staple| (staple.file.display().to_string(), staple))
        .collect();
    staples.sort_by(|(a, _), (b, _)| a.cmp(b));
    staples.dedup_by(|(a, _), (b, _)| a == b);
    let mut series = all.metric(&list::STAPLED);
    for (file, staple) in &staples {
        let good = u8::from(staple.status == Status::Good);
        series.value(&[file, yes(staple.requires_staple)], good);
    }
    let mut series = all.metric(&list::STAPLE_EXPIRY);
    for (file, staple) in &staples {
        if let Some(until) = staple.next_update {
            series.value(&[file], seconds(until));
        }
    }
    let mut series = all.metric(&list::STAPLE_FAILURES);
    for (file, staple) in &staples {
        series.value(&[file], staple.failures);
    }
    let (answered, failed) = serving.stapler.fetched();
    let mut series = all.metric(&list::OCSP_FETCHES);
    series.value(&["answered"], answered);
    series.value(&["failed"], failed);
}

fn connections(all: &mut Exposition, serving: &Serving) {
    all.single(&list::CONNECTIONS_OPEN, serving.limits.open());
    let mut series = all.metric(&list::CONNECTIONS_LIMIT);
    if let Some(max) = serving.limits.max() {
        series.value(&[], max);
    }
    let mut series = all.metric(&list::CONNECTIONS_ACCEPTED);
    for (transport, accepted) in [
        ("tcp", Accepted::Cleartext),
        ("tls", Accepted::Tls),
        ("quic", Accepted::Quic),
    ] {
        let count = serving.report.metrics().accepted_count(accepted);
        series.value(&[transport], count);
    }
}

fn server(all: &mut Exposition, serving: &Serving) {
    all.single(&list::LINES_DROPPED, serving.report.lost());
    let failed = serving.report.failed_requests();
    let mut series = all.metric(&list::FAILED_REQUESTS);
    series.value(&["written"], failed.written);
    series.value(&["dropped"], failed.dropped);
    series.value(&["failed"], failed.failed);
    let spans = serving.report.metrics().spans();
    all.single(&list::SPANS_EXPORTED, spans.exported());
    let mut series = all.metric(&list::SPANS_DROPPED);
    for why in SpanLoss::ALL {
        series.value(&[why.as_str()], spans.dropped(why));
    }
    let reloads = serving.report.metrics().reloads();
    let mut series = all.metric(&list::RELOADS);
    series.value(&["taken"], reloads.taken);
    series.value(&["refused"], reloads.refused);
    all.single(&list::RELOAD_SUCCESSFUL, u8::from(reloads.last_taken));
    all.single(&list::RELOAD_TIME, seconds(reloads.taken_at));
    all.single(&list::READY, u8::from(health::is_ready(serving)));
    all.single(&list::DATA_THREADS, serving.threads().count());
    let version = env!("CARGO_PKG_VERSION");
    all.metric(&list::BUILD_INFO).value(&[version], 1_u8);
}

fn process(all: &mut Exposition, serving: &Serving) {
    let process = Process::now();
    all.single(&list::PROCESS_CPU, process.cpu.as_secs_f64());
    all.single(&list::PROCESS_FILES, process.open_files);
    all.single(&list::PROCESS_FILES_MAX, process.open_files_max);
    all.single(&list::PROCESS_RESIDENT, process.resident_bytes);
    all.single(&list::PROCESS_VIRTUAL, process.virtual_bytes);
    let started = serving.report.metrics().started();
    all.single(&list::PROCESS_START, seconds(started));
}

/// Since 1970, as Prometheus tells times.
fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_metric_names_every_value_that_is_told_apart() {
        let says = |metric: &list::Metric, word: &str| {
            let mut words = metric
                .help
                .split(|c: char| !c.is_alphanumeric() && c != '_');
            assert!(words.any(|it| it == word), "{}: {word}", metric.name);
        };
        for reason in QUEUE_REASONS {
            says(&list::POOL_REFUSALS, reason.as_str());
        }
        for loss in SpanLoss::ALL {
            says(&list::SPANS_DROPPED, loss.as_str());
        }
        // Whatever state refuses requests, the queue rejects for it.
        for (state, _) in POOL_STATES {
            let refuses = state.refuses();
            assert!(refuses.is_none_or(|reason| QUEUE_REASONS.contains(&reason)));
        }
    }
}
