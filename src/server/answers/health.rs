//! Whether the server lives, and whether it takes requests: for whoever restarts it, and for whoever sends it clients.

use serde_json::{Value, json};

use super::{Serving, Shown};
use crate::admin::{Declined, Probe, Told};
use crate::config::{Handler, StartMode};
use crate::model::Scheme;
use crate::pool::PoolState;

/// One thing that must be so.
struct Check {
    name: &'static str,
    /// Why it is not.
    fault: Option<String>,
}

/// Every data thread runs. A server of which one has ended serves a part of its connections, and nothing mends it but a start.
pub(super) fn live(serving: &Serving, probe: &Probe) -> Result<Told, Declined> {
    told("livez", &[threads(serving)], probe)
}

/// Clients may be sent here: it listens, has a certificate for each https binding, its pools are started, and it is not about to
/// stop.
pub(super) fn ready(serving: &Serving, probe: &Probe) -> Result<Told, Declined> {
    told("readyz", &checks(serving), probe)
}

/// Whether [`ready`] says yes.
pub(super) fn is_ready(serving: &Serving) -> bool {
    checks(serving).iter().all(|check| check.fault.is_none())
}

/// Whether [`ready`] says yes, in a line: `yes`, or `no` and why.
pub(super) fn line(serving: &Serving) -> String {
    let checks = checks(serving);
    let faults = checks.iter().filter_map(|check| {
        let fault = check.fault.as_ref()?;
        Some(format!("{}: {fault}", check.name))
    });
    let faults: Vec<String> = faults.collect();
    match faults.is_empty() {
        true => "yes".to_owned(),
        false => format!("no ({})", faults.join("; ")),
    }
}

/// Each check, and why it says no.
pub(super) fn json(serving: &Serving) -> Value {
    let checks = checks(serving);
    let all = checks.iter();
    all.map(|check| json!({ "name": check.name, "fault": check.fault }))
        .collect()
}

fn checks(serving: &Serving) -> [Check; 5] {
    let now = serving.now.load();
    [
        threads(serving),
        sockets(&now),
        certificates(&now),
        pools(&now),
        draining(serving),
    ]
}

fn threads(serving: &Serving) -> Check {
    let (alive, all) = (serving.threads().count(), serving.threads_started());
    let fault = format!("{} of {all} data threads have ended", all - alive);
    Check::new("data-threads", (alive < all).then_some(fault))
}

fn sockets(now: &Shown) -> Check {
    let none = now.addresses.is_empty() && !now.config.bindings.is_empty();
    Check::new("sockets", none.then(|| "nothing is listened on".to_owned()))
}

fn certificates(now: &Shown) -> Check {
    let unusable: Vec<String> = unusable(now).collect();
    let fault = format!("no certificate can be used for {}", unusable.join(", "));
    Check::new("certificates", (!unusable.is_empty()).then_some(fault))
}

/// The https bindings that are not served, for want of a certificate.
fn unusable(now: &Shown) -> impl Iterator<Item = String> {
    let served: std::collections::HashSet<_> =
        now.tls_table.handshakes().map(|(key, _)| key).collect();
    (now.edge.bindings.iter())
        .map(|bound| &bound.key)
        .filter(move |key| key.scheme == Scheme::Https && !served.contains(key))
        .map(ToString::to_string)
}

fn pools(now: &Shown) -> Check {
    let not: Vec<&str> = (now.edge.pools.iter().zip(&now.config.pools))
        .filter(|(pool, config)| match pool.state() {
            PoolState::Started => false,
            // Who waits for a first request would never get one from somebody who waits for it.
            PoolState::Starting => !rests(&config.handler),
            PoolState::Stopped | PoolState::Disabled | PoolState::Offline => true,
        })
        .map(|(pool, _)| pool.name())
        .collect();
    let fault = format!("not started: {}", not.join(", "));
    Check::new("pools", (!not.is_empty()).then_some(fault))
}

/// Whether a pool may be without workers, with nothing amiss.
fn rests(handler: &Handler) -> bool {
    let Handler::Process(process) = handler else {
        return false;
    };
    process.start_mode == StartMode::OnDemand || process.idle_timeout.is_some()
}

fn draining(serving: &Serving) -> Check {
    let fault = serving.is_draining().then(|| "the server stops".to_owned());
    Check::new("not-draining", fault)
}

/// As Kubernetes' own servers tell it: `ok`, or each thing by its name where one is not so, or where all are asked for.
fn told(name: &str, checks: &[Check], probe: &Probe) -> Result<Told, Declined> {
    let excluded = |check: &Check| probe.exclude.iter().any(|it| it == check.name);
    let line = |check: &Check| match &check.fault {
        _ if excluded(check) => format!("[+] {}: excluded\n", check.name),
        None => format!("[+] {}\n", check.name),
        Some(fault) => format!("[-] {}: {fault}\n", check.name),
    };
    let mut text: String = checks.iter().map(line).collect();
    let known = |name: &&String| checks.iter().any(|check| check.name == **name);
    for unknown in probe.exclude.iter().filter(|name| !known(name)) {
        text.push_str(&format!(
            "nothing is called {unknown:?} that could be excluded\n"
        ));
    }
    let holds = |check: &Check| check.fault.is_none() || excluded(check);
    if !checks.iter().all(holds) {
        text.push_str(&format!("{name} check failed\n"));
        return Err(Declined(text));
    }
    text.push_str(&format!("{name} check passed\n"));
    Ok(Told::text(
        match probe.verbose || !probe.exclude.is_empty() {
            true => text,
            false => "ok\n".to_owned(),
        },
    ))
}

impl Check {
    fn new(name: &'static str, fault: Option<String>) -> Self {
        Self { name, fault }
    }
}
