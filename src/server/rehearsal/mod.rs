//! Handshakes with ourselves, after start and after every change: what clients see of each https binding, before one does.
//!
//! From a thread of its own, one after the other, to the addresses that are listened on: no name is looked up, and no data
//! thread waits. They count as nobody's failure (`Report::own`), and against no limit.

mod call;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CipherSuite, SignatureScheme};

use self::call::{Call, Ended, Over, Seen};
use super::probe::reachable;
use crate::certificate::{Certificate, Certificates, Offered, Source, Trust};
use crate::config::{AlpnProtocol, Binding, Config};
use crate::model::{BindingKey, HostName, HostPattern, LocalAddr};
use crate::report::Report;
use crate::tls::TlsTable;

/// The rehearsals of a server: one at a time, the newest.
#[derive(Default)]
pub(super) struct Rehearsals {
    newest: Arc<AtomicU64>,
}

/// What is to be rehearsed.
pub(super) struct Stage<'a> {
    /// The configuration, with the ports that the system chose.
    pub config: &'a Config,
    /// For each binding, an address that it is listened on.
    pub addresses: Vec<Option<SocketAddr>>,
    /// What clients are shown.
    pub table: &'a TlsTable,
    /// What is known of it.
    pub certificates: &'a Certificates,
    /// Where our own connections are made known.
    pub report: &'a Arc<Report>,
}

impl Rehearsals {
    /// Begins one. Another that is under way ends with the handshake that it is at.
    pub(super) fn begin(&self, stage: &Stage<'_>) {
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let calls = stage.calls();
        if calls.is_empty() {
            return;
        }
        let newest = Arc::clone(&self.newest);
        let trust = Arc::clone(stage.certificates.trust());
        let report = Arc::clone(stage.report);
        let rehearsing = move || {
            let is_newest = || newest.load(Ordering::Relaxed) == number;
            rehearse(&calls, &trust, &report, is_newest);
        };
        let thread = std::thread::Builder::new().name("rehearsal".into());
        if let Err(error) = thread.spawn(rehearsing) {
            tracing::warn!(%error, "no handshake is made with ourselves: no thread can be had");
        }
    }
}

fn rehearse(calls: &[Call], trust: &Trust, report: &Report, is_newest: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(%error, "no handshake is made with ourselves");
            return;
        }
    };
    let mut summary = Summary::default();
    // A port that drops what comes to it is waited for once.
    let mut silent: HashSet<(Over, SocketAddr)> = HashSet::new();
    for call in calls {
        if silent.contains(&(call.over, call.at)) {
            continue;
        }
        let outcome = runtime.block_on(call.make(report));
        if !is_newest() {
            return;
        }
        if matches!(outcome, Err(Ended::Silence)) {
            silent.insert((call.over, call.at));
        }
        summary.add(call, outcome, trust);
    }
    summary.tell();
}

/// What came of a rehearsal.
#[derive(Default)]
struct Summary {
    made: usize,
    sound: usize,
    /// Those of which nothing can be said: their issuer is not known here.
    unjudged: usize,
    told: usize,
    /// What was agreed on, and how often.
    agreed: BTreeMap<String, usize>,
}

impl Summary {
    fn add(&mut self, call: &Call, outcome: Result<Seen, Ended>, trust: &Trust) {
        let seen = match outcome {
            // An address that is not this machine's own is reached from elsewhere only.
            Err(Ended::Elsewhere) => return,
            Err(ended) => {
                self.made += 1;
                self.warn(call, &ended.to_string(), ended.remedy());
                return;
            }
            Ok(seen) => seen,
        };
        self.made += 1;
        *self.agreed.entry(seen.agreed()).or_default() += 1;
        let problems = seen.problems(call, trust);
        for problem in &problems.found {
            self.warn(call, &problem.what, problem.remedy);
        }
        if !problems.found.is_empty() {
            return;
        }
        if problems.is_judged {
            self.sound += 1;
        } else {
            self.unjudged += 1;
        }
    }

    fn warn(&mut self, call: &Call, problem: &str, remedy: &str) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            let name = call.name.as_ref().map_or("(none)", HostName::as_str);
            tracing::warn!(
                binding = %call.binding, name, over = call.over.as_str(), problem, remedy,
                "a client would see this"
            );
        }
    }

    fn tell(&self) {
        let agreed: Vec<_> = self
            .agreed
            .iter()
            .map(|(what, count)| format!("{what} ×{count}"))
            .collect();
        tracing::info!(
            made = self.made,
            sound = self.sound,
            unjudged = self.unjudged,
            problems = self.told,
            agreed = agreed.join(", "),
            "handshakes with ourselves"
        );
    }
}

impl Stage<'_> {
    /// Every handshake that is to be made, within bounds.
    fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for (binding, address) in self.config.bindings.iter().zip(&self.addresses) {
            let (Some(_), Some(address)) = (&binding.tls, address) else {
                continue;
            };
            let Some(source) = self.certificates.source(binding) else {
                continue;
            };
            let mut names = names(&binding.hostname, &source);
            names.dedup();
            for name in names.into_iter().take(NAMES_OF_A_BINDING_MAX) {
                calls.extend(self.calls_for(binding, *address, name));
            }
        }
        calls.truncate(CALLS_MAX);
        calls
    }

    /// Those for one name of a binding: over TCP, over QUIC, or both.
    fn calls_for(
        &self,
        binding: &Binding,
        address: SocketAddr,
        name: Option<HostName>,
    ) -> Vec<Call> {
        let literal = name.as_ref().and_then(HostName::ip);
        let ip = match (binding.ip, literal) {
            (Some(ip), _) | (None, Some(ip)) => ip,
            (None, None) => reachable(address.ip()),
        };
        let at = SocketAddr::new(ip, binding.port);
        let sni = match literal {
            None => name.as_ref().map(HostName::as_str),
            Some(_) => None,
        };
        let key = binding.key();
        let shown = self.shown(&key, LocalAddr::new(at), sni);
        let tcp: Vec<_> = [AlpnProtocol::H2, AlpnProtocol::Http1]
            .into_iter()
            .filter(|protocol| binding.protocols.contains(protocol))
            .collect();
        let over = [
            (Over::Tcp, !tcp.is_empty()),
            (Over::Quic, binding.protocols.contains(&AlpnProtocol::H3)),
        ];
        let staples = binding.tls.as_ref().is_some_and(|tls| tls.ocsp_stapling);
        let mut calls = Vec::new();
        for (certificate, signatures) in shown {
            for (over, _) in over.into_iter().filter(|(_, wanted)| *wanted) {
                calls.push(Call {
                    binding: key.to_string(),
                    at,
                    name: name.clone(),
                    over,
                    protocols: tcp.clone(),
                    signatures,
                    must_staple: !staples && certificate.requires_staple(),
                    verdict: certificate.chain().verdict,
                    expected: Arc::clone(&certificate),
                });
            }
        }
        calls
    }

    /// What a binding shows for a name, one for each kind of key; nothing where it is another binding's name.
    fn shown(&self, key: &BindingKey, at: LocalAddr, sni: Option<&str>) -> Vec<ShownFor> {
        let mut shown: Vec<ShownFor> = Vec::new();
        for signatures in [call::OF_ECDSA, call::OF_RSA] {
            let offered = Offered {
                signatures,
                suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
            };
            let Ok(chosen) = self.table.choose(at, sni, Some(&offered)) else {
                return Vec::new();
            };
            if chosen.binding.is_some_and(|chosen| **chosen != *key) {
                return Vec::new();
            }
            let is_known = |(known, _): &ShownFor| Arc::ptr_eq(known, chosen.certificate);
            if !shown.iter().any(is_known) {
                shown.push((Arc::clone(chosen.certificate), signatures));
            }
        }
        if let [(_, signatures)] = &mut *shown {
            *signatures = &[];
        }
        shown
    }
}

/// A certificate, and the signatures that a client says it checks so that it is shown; none: whatever it can.
type ShownFor = (Arc<Certificate>, &'static [SignatureScheme]);

/// The names that a binding is asked for, one for each of its certificates; none stands for a client that names no host.
fn names(hostname: &HostPattern, source: &Source) -> Vec<Option<HostName>> {
    let invented = |parent: &str| HostName::parse(&format!("{INVENTED}.{parent}")).ok();
    match (hostname, source) {
        (HostPattern::Exact(host), _) => vec![Some(host.clone())],
        (HostPattern::Wildcard(parent), Source::Named(_) | Source::Ordered(..)) => {
            invented(parent.as_str()).into_iter().map(Some).collect()
        }
        (HostPattern::Wildcard(parent), Source::Folder(folder)) => {
            let below = folder.iter().filter_map(|(name, _)| {
                let (_, above) = name.split_once('.')?;
                let is_below = above == parent.as_str() && !name.starts_with("_.");
                HostName::parse(name).ok().filter(|_| is_below)
            });
            let wildcard = folder
                .wildcard_choice(parent)
                .and_then(|_| invented(parent.as_str()));
            wildcard.into_iter().chain(below).map(Some).collect()
        }
        (HostPattern::Any | HostPattern::Strong, Source::Named(choice)) => {
            let covered = choice
                .preferred()
                .covers
                .iter()
                .find_map(|name| of_certificate(name));
            vec![covered]
        }
        (
            HostPattern::Any | HostPattern::Strong,
            Source::Folder(folder) | Source::Ordered(folder, _),
        ) => folder
            .iter()
            .filter_map(|(name, _)| match name.strip_prefix("_.") {
                Some(parent) => invented(parent).map(Some),
                None if name.starts_with('_') => Some(None),
                None => HostName::parse(name).ok().map(Some),
            })
            .collect(),
    }
}

/// A host that a certificate's name covers.
fn of_certificate(name: &str) -> Option<HostName> {
    match name.strip_prefix("*.") {
        Some(parent) => HostName::parse(&format!("{INVENTED}.{parent}")).ok(),
        None => HostName::parse(name).ok(),
    }
}

/// The label of a host under a wildcard that nobody else has named.
const INVENTED: &str = "portunus-rehearsal";

/// A thousand names of a folder are served alike; a few dozen show it.
const NAMES_OF_A_BINDING_MAX: usize = 32;
const CALLS_MAX: usize = 256;

/// More warnings would hide those that are there.
const TOLD_MAX: usize = 20;
