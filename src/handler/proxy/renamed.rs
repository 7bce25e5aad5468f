//! Where a route has requests called otherwise upstream: the Host that is told, and names that lead back to the client's.

use http::header::{Entry, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use crate::config::{self, UpstreamScheme};
use crate::model::{Facts, Reason, Refusal, Rewrite, RewriteHost, split_authority};

/// What the route has requests called; none where they keep their names.
pub(super) fn of(facts: &Facts) -> Option<&Rewrite> {
    facts.rules.as_ref()?.rewrite.as_ref()
}

/// The target that the upstream is asked for.
pub(super) fn target(
    rewrite: &Rewrite,
    asked: &PathAndQuery,
    facts: &Facts,
) -> Result<Uri, Refusal> {
    let mut text = rewrite.path(asked.path(), facts.path.as_str());
    if let Some(query) = asked.query() {
        text.push('?');
        text.push_str(query);
    }
    Uri::try_from(text).map_err(|error| Refusal::new(Reason::Url, error.to_string()))
}

/// The Host for an upstream; none where it is the client's.
pub(super) fn host(rewrite: &Rewrite, upstream: &config::Upstream) -> Option<HeaderValue> {
    match &rewrite.host {
        RewriteHost::Client => None,
        RewriteHost::Named(name) => Some(name.clone()),
        RewriteHost::Upstream => HeaderValue::try_from(authority(upstream)).ok(),
    }
}

/// An upstream's own authority, without the port that its scheme implies.
fn authority(upstream: &config::Upstream) -> String {
    match upstream {
        config::Upstream::Unix(_) => "localhost".to_owned(),
        config::Upstream::Service { name, .. } => name.domain().to_owned(),
        config::Upstream::Net { scheme, host, port } => {
            let implied = match scheme {
                UpstreamScheme::Https => 443,
                _ => 80,
            };
            let host = match host.contains(':') {
                true => format!("[{host}]"),
                false => host.clone(),
            };
            match *port == implied {
                true => host,
                false => format!("{host}:{port}"),
            }
        }
    }
}

/// Has a response's addresses and cookies lead to where the client knows them.
pub(super) fn back(
    rewrite: &Rewrite,
    upstream: &config::Upstream,
    facts: &Facts,
    fields: &mut HeaderMap,
) {
    let told = host(rewrite, upstream);
    let own = |said: &str| {
        let told = told.as_ref().and_then(|host| host.to_str().ok());
        told.is_some_and(|told| told.eq_ignore_ascii_case(said))
            || authority(upstream).eq_ignore_ascii_case(said)
            || is_guess(said, upstream, facts)
    };
    change(fields, &LOCATION, |location| {
        rewrite.location_back(location, own, &origin(facts))
    });
    if rewrite.changes_paths() {
        change(fields, &SET_COOKIE, |cookie| rewrite.cookie_back(cookie));
    }
}

/// Whether an authority is the client's host with the upstream's port: so nginx calls itself when it is told the client's Host.
fn is_guess(said: &str, upstream: &config::Upstream, facts: &Facts) -> bool {
    let config::Upstream::Net { port, .. } = upstream else {
        return false;
    };
    split_authority(said).is_ok_and(|(host, said)| host == facts.host && said == Some(*port))
}

/// What the client asked: `https://host:port`.
fn origin(facts: &Facts) -> String {
    let (scheme, host) = (facts.scheme(), facts.host.as_uri_host());
    match facts.host_port {
        Some(port) if port != scheme.default_port() => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
}

/// Changes the values of a field that `other` has other ones for.
fn change(fields: &mut HeaderMap, name: &HeaderName, other: impl Fn(&str) -> Option<String>) {
    let Entry::Occupied(mut values) = fields.entry(name) else {
        return;
    };
    for value in values.iter_mut() {
        let changed = value.to_str().ok().and_then(&other);
        if let Some(changed) = changed.and_then(|it| HeaderValue::try_from(it).ok()) {
            *value = changed;
        }
    }
}
