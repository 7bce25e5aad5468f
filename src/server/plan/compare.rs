//! What differs between two configurations, table by table.

use super::keys::{self, Keys};
use super::{Change, Fate, How, Kind};
use crate::config::{self, Config, Handler, LogFormat, Pool, Route, Site};

/// Everything but the certificates.
pub(super) fn all(old: &Config, new: &Config, fates: &[Fate]) -> Vec<Change> {
    let mut changes = tables(old, new);
    changes.extend(bindings(old, new));
    for (site, change) in pair(&old.sites, &new.sites, |site| site.name.clone()) {
        let (of, to) = change;
        let how = how(of.is_some(), to.is_some());
        let keys = of.zip(to).map(|(of, to)| keys::site(of, to));
        changes.extend(Change::unless_same(
            Kind::Site,
            site,
            how,
            keys.unwrap_or_default(),
        ));
        changes.extend(routes((old, of), (new, to)));
    }
    changes.extend(pools(old, new, fates));
    changes
}

/// What the process was started with, of the tables with keys that take effect at a start alone: whatever was reloaded since, it
/// works by these.
pub(in crate::server) struct AtStart {
    server: config::Server,
    format: LogFormat,
}

impl AtStart {
    /// `config`: what the process starts with.
    pub(in crate::server) fn of(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            format: config.log.format,
        }
    }
}

/// Keys that are not what the process was started with, and take effect at the next start.
pub(super) fn restart(started: &AtStart, new: &Config) -> Vec<&'static str> {
    let (of, to) = (&started.server, &new.server);
    [
        ("server.admin", of.admin != to.admin),
        ("server.metrics", of.metrics != to.metrics),
        ("server.threads", of.threads != to.threads),
        ("server.user", of.user != to.user),
        ("server.group", of.group != to.group),
        ("log.format", started.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// The tables that there are once.
fn tables(old: &Config, new: &Config) -> Vec<Change> {
    // Every table is named, here or where it is compared: a new one does not compile before somebody has said which.
    let Config {
        file: _,
        server: _,
        limits: _,
        log: _,
        failed_requests: _,
        certificate_folder: _,
        acme: _,
        traces: _,
        trust: _,
        certificates: _,
        bindings: _,
        sites: _,
        pools: _,
    } = new;
    let once = [
        (Kind::Server, keys::server(&old.server, &new.server)),
        (Kind::Limits, keys::limits(&old.limits, &new.limits)),
        (Kind::Log, keys::log(&old.log, &new.log)),
        (Kind::FailedRequests, keys::failed_requests(old, new)),
        (Kind::Tls, keys::tls(old, new)),
    ];
    let once = once
        .into_iter()
        .filter_map(|(kind, keys)| Change::unless_same(kind, String::new(), How::Changed, keys));
    let acme = optional(Kind::Acme, &old.acme, &new.acme, keys::acme);
    let traces = optional(Kind::Traces, &old.traces, &new.traces, keys::traces);
    once.chain(acme).chain(traces).collect()
}

/// A table that may be missing.
fn optional<T>(
    kind: Kind,
    old: &Option<T>,
    new: &Option<T>,
    keys: impl FnOnce(&T, &T) -> Keys,
) -> Option<Change> {
    let (how, keys) = match (old, new) {
        (Some(of), Some(to)) => (How::Changed, keys(of, to)),
        (None, None) => return None,
        (of, to) => (how(of.is_some(), to.is_some()), Keys::new()),
    };
    Change::unless_same(kind, String::new(), how, keys)
}

fn bindings(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, (of, to)) in pair(&old.bindings, &new.bindings, |it| it.key().to_string()) {
        let how = how(of.is_some(), to.is_some());
        let keys = of
            .zip(to)
            .map(|(of, to)| keys::binding((old, of), (new, to)));
        let change = Change::unless_same(Kind::Binding, name, how, keys.unwrap_or_default());
        changes.extend(change.map(|change| match (how, to) {
            (How::Added, Some(to)) => change.saying(format!("site {}", new.sites[to.site].name)),
            _ => change,
        }));
    }
    changes
}

fn routes((old, of): (&Config, Option<&Site>), (new, to): (&Config, Option<&Site>)) -> Vec<Change> {
    let routes = |site: Option<&'_ Site>| site.map_or(&[][..], |site| &site.routes).to_vec();
    let (before, after) = (routes(of), routes(to));
    let site = of.or(to).map_or("", |site| &site.name);
    let mut changes = Vec::new();
    for (name, (of, to)) in pair(&before, &after, |route| route_name(site, route)) {
        let how = how(of.is_some(), to.is_some());
        let keys = of.zip(to).map(|(of, to)| keys::route((old, of), (new, to)));
        let change = Change::unless_same(Kind::Route, name, how, keys.unwrap_or_default());
        let pool = to.map(|to| format!("pool {}", new.pools[to.pool].name));
        changes.extend(change.map(|change| match pool {
            Some(pool) => change.saying(pool),
            None => change,
        }));
    }
    changes
}

fn route_name(site: &str, route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(|it| it.as_str()).collect();
    match methods.is_empty() {
        true => format!("{site} {}", route.path),
        false => format!("{site} {} ({})", route.path, methods.join(", ")),
    }
}

fn pools(old: &Config, new: &Config, fates: &[Fate]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, (of, to)) in pair(&old.pools, &new.pools, |pool| pool.name.clone()) {
        let how = how(of.is_some(), to.is_some());
        let fate = new
            .pools
            .iter()
            .position(|pool| pool.name == name)
            .map(|at| fates[at]);
        let handler = of
            .zip(to)
            .map(|(of, to)| keys::handler(&of.handler, &to.handler));
        let handler = handler.unwrap_or_default();
        let mut all: Vec<String> = of
            .zip(to)
            .map(|(of, to)| keys::pool(of, to))
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        all.extend(handler.iter().map(|key| format!("handler.{key}")));
        let outdated = how == How::Changed && is_outdated(fate, &handler);
        if how == How::Changed && all.is_empty() && !outdated {
            continue;
        }
        let said = match (how, to) {
            (How::Added, Some(to)) => Some(format!("handler {}", handler_type(to))),
            _ if outdated => Some(OUTDATED.to_owned()),
            _ => None,
        };
        changes.push(Change {
            kind: Kind::Pool,
            name,
            change: how,
            keys: all,
            detail: said,
        });
    }
    changes
}

/// Whether a pool's handler is made anew, or told to go on, while its keys say what they said.
pub(super) fn is_outdated(fate: Option<Fate>, handler: &Keys) -> bool {
    let untouched = matches!(
        fate,
        Some(Fate::LivesOn { same: true, .. }) | None | Some(Fate::New)
    );
    !untouched && handler.is_empty()
}

/// What is said of a handler that is made anew, and whose keys did not change.
pub(super) const OUTDATED: &str = "the files that its handler was made of have changed";

fn handler_type(pool: &Pool) -> &'static str {
    match pool.handler {
        Handler::Respond(_) => "respond",
        Handler::Files(_) => "files",
        Handler::Redirect(_) => "redirect",
        Handler::Proxy(_) => "proxy",
        Handler::FastCgi(_) => "fastcgi",
        Handler::Process(_) => "process",
        Handler::Library => "library",
    }
}

/// A thing as it was and as it is; none where it was, or is, not there.
type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

/// The same things in two lists, by their names: first as the new list has them, then those that are gone.
fn pair<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&T) -> String,
) -> Vec<(String, Pair<'a, T>)> {
    let before: std::collections::HashMap<String, &T> =
        old.iter().map(|it| (name(it), it)).collect();
    let now: std::collections::HashSet<String> = new.iter().map(&name).collect();
    let there = new.iter().map(|it| {
        let name = name(it);
        let before = before.get(&name).copied();
        (name, (before, Some(it)))
    });
    let gone = old.iter().filter(|it| !now.contains(&name(it)));
    let gone = gone.map(|it| (name(it), (Some(it), None)));
    there.chain(gone).collect()
}

fn how(was: bool, is: bool) -> How {
    match (was, is) {
        (false, _) => How::Added,
        (true, true) => How::Changed,
        (true, false) => How::Removed,
    }
}

impl Change {
    /// A change; none where something is there as before and no key of it differs.
    fn unless_same(kind: Kind, name: String, change: How, keys: Keys) -> Option<Self> {
        let differs = change != How::Changed || !keys.is_empty();
        differs.then(|| Self {
            kind,
            name,
            change,
            keys: keys.into_iter().map(str::to_owned).collect(),
            detail: None,
        })
    }

    fn saying(self, detail: String) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }
}
