//! What a route does to a request beside choosing its pool: what it is called upstream, its fields, its times.

use http::HeaderName;

use super::Step;
use super::steps::step;
use super::words::duration;
use crate::config::{Route, Site};
use crate::model::{FieldChanges, FieldText, RewriteHost, RouteRules};

/// The steps of it; none where the route does nothing. `written` is the path as the client writes it, `path` as it is routed.
pub(super) fn steps(site: &Site, route: &Route, written: &str, path: &str) -> Vec<Step> {
    let line = Some(route.place.line);
    let none = RouteRules::default();
    let rules = route.keys.rules.as_deref().unwrap_or(&none);
    let mut steps = Vec::new();
    if let Some(rewrite) = &rules.rewrite {
        let host = match &rewrite.host {
            RewriteHost::Client => "the Host of the client".to_owned(),
            RewriteHost::Upstream => "the Host of the upstream".to_owned(),
            RewriteHost::Named(name) => {
                format!("Host {}", String::from_utf8_lossy(name.as_bytes()))
            }
        };
        let path = rewrite.path(written, path);
        let why = "the route has `rewrite`; what comes back leads to the client's names";
        let chosen = format!("{path} with {host}");
        steps.push(step("rewrite", Some(chosen), why.into(), line));
    }
    let fields = [
        (
            "request",
            Some(&rules.request_fields),
            "the route has `request_fields`",
            route.place,
        ),
        (
            "response",
            site.keys.response_fields.as_deref(),
            "the site has `response_fields`",
            site.place,
        ),
        (
            "response",
            route.keys.response_fields.as_deref(),
            "the route has `response_fields`",
            route.place,
        ),
    ];
    for (of, changes, why, place) in fields {
        if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
            let chosen = format!("{of}: {}", words(changes));
            steps.push(step("fields", Some(chosen), why.into(), Some(place.line)));
        }
    }
    let times = [
        ("entity_body", route.keys.entity_body),
        ("response_timeout", rules.response_timeout),
        ("body_timeout", rules.body_timeout),
    ];
    let times = times
        .iter()
        .filter_map(|(key, time)| Some(format!("{key} {}", duration((*time)?))));
    let times: Vec<_> = times.collect();
    if !times.is_empty() {
        steps.push(step(
            "times",
            Some(times.join(", ")),
            "the route has its own".into(),
            line,
        ));
    }
    steps
}

/// `remove cookie; set x-a, x-b; add x-c`
fn words(changes: &FieldChanges) -> String {
    let of = |fields: &[(HeaderName, FieldText)]| -> Vec<HeaderName> {
        fields.iter().map(|(name, _)| name.clone()).collect()
    };
    let parts = [
        ("remove", changes.remove.clone()),
        ("set", of(&changes.set)),
        ("add", of(&changes.add)),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts = parts.map(|(what, names)| {
        let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
        format!("{what} {}", names.join(", "))
    });
    parts.collect::<Vec<_>>().join("; ")
}
