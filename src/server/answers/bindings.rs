//! The bindings, each with its routes and what was counted of it.

use std::fmt::Write;

use http::Method;
use serde::{Serialize, Serializer};

use super::{Serving, Shown};
use crate::admin::{Form, Told};
use crate::http::{BoundTo, Edge};
use crate::report::metrics::{CLASSES, Counted};
use crate::site::Route;

pub(super) fn told(serving: &Serving, form: Form) -> Told {
    let now = serving.now.load();
    let counted = serving.report.metrics().traffic();
    let rows = rows(&now, &counted);
    Told::of(form, || All { bindings: &rows }, || text(&rows))
}

#[derive(Serialize)]
struct All<'a> {
    bindings: &'a [Row<'a>],
}

/// A binding, and what came of its requests: its pools' and those that were for none.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    /// As logs write it.
    pub(super) binding: &'a str,
    site: &'a str,
    protocols: Vec<&'static str>,
    /// How many requests were answered.
    pub(super) responses: u64,
    #[serde(serialize_with = "by_class")]
    responses_by_class: [u64; CLASSES.len()],
    #[serde(serialize_with = "by_pool")]
    responses_by_pool: &'a [Counted],
    bytes_received: u64,
    bytes_sent: u64,
    routes: Vec<Routed<'a>>,
}

/// A route of a binding's site.
#[derive(Serialize)]
struct Routed<'a> {
    path: &'a str,
    #[serde(serialize_with = "names")]
    methods: &'a [Method],
    pool: &'a str,
    requests: u64,
    /// As text has path and methods.
    #[serde(skip)]
    route: &'a Route,
}

/// Every binding. `counted`: what [`Metrics::traffic`](crate::report::metrics::Metrics::traffic) gives.
pub(super) fn rows<'a>(now: &'a Shown, counted: &'a [Counted]) -> Vec<Row<'a>> {
    let bindings = now.edge.bindings.iter();
    bindings
        .map(|bound| Row::of(bound, &now.edge, counted))
        .collect()
}

/// Every binding, as text.
pub(super) fn text(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    for row in rows {
        row.write(&mut text);
    }
    text
}

impl<'a> Row<'a> {
    fn of(bound: &'a BoundTo, edge: &'a Edge, counted: &'a [Counted]) -> Self {
        let mine = Counted::of_binding(counted, &bound.name);
        let site = &edge.sites[bound.site];
        let routes = site.routes().iter().map(|route| Routed {
            path: &route.path,
            methods: &route.methods,
            route,
            pool: edge.pools[route.pool].name(),
            requests: edge.routed[bound.site].of(route.index),
        });
        let mut row = Self {
            binding: &bound.name,
            site: &site.name,
            protocols: protocols(bound),
            responses: 0,
            responses_by_class: [0; CLASSES.len()],
            responses_by_pool: mine,
            bytes_received: 0,
            bytes_sent: 0,
            routes: routes.collect(),
        };
        for one in mine {
            row.responses += one.responses();
            for (all, class) in row.responses_by_class.iter_mut().zip(CLASSES) {
                *all += one.of_class(class);
            }
            row.bytes_received += one.received.sum as u64;
            row.bytes_sent += one.sent.sum as u64;
        }
        row
    }

    fn write(&self, text: &mut String) {
        let classes: Vec<String> = (CLASSES.iter().zip(self.responses_by_class))
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| format!("{class}: {count}"))
            .collect();
        let of_classes = match classes.is_empty() {
            true => String::new(),
            false => format!(" ({})", classes.join(", ")),
        };
        // Writing to memory does not fail.
        let _ = write!(
            text,
            "Binding: {}\n    \
                 Site: {}\n    \
                 Protocols: {}\n    \
                 Responses: {}{of_classes}\n    \
                 Bytes received: {}\n    \
                 Bytes sent: {}\n    \
                 Routes of site {}, with the requests of all its bindings:\n",
            self.binding,
            self.site,
            self.protocols.join(", "),
            self.responses,
            self.bytes_received,
            self.bytes_sent,
            self.site,
        );
        for it in &self.routes {
            let (route, pool, requests) = (it.route, it.pool, it.requests);
            let _ = writeln!(text, "        {route} -> {pool}, requests: {requests}");
        }
        let mut head = "    Responses by pool:\n";
        for (pool, responses) in of_pools(self.responses_by_pool) {
            let _ = writeln!(text, "{head}        {pool}: {responses}");
            head = "";
        }
    }
}

fn by_class<S: Serializer>(
    counts: &[u64; CLASSES.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(CLASSES.iter().zip(counts))
}

fn by_pool<S: Serializer>(counted: &[Counted], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(of_pools(counted))
}

/// How many responses each pool had.
fn of_pools(counted: &[Counted]) -> impl Iterator<Item = (&str, u64)> {
    let pools = counted.iter().filter(|it| !it.pool.is_empty());
    pools.map(|it| (it.pool.as_str(), it.responses()))
}

fn names<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(methods.iter().map(Method::as_str))
}

fn protocols(bound: &BoundTo) -> Vec<&'static str> {
    [
        (bound.http1, "http/1.1"),
        (bound.http2, "h2"),
        (bound.http3, "h3"),
    ]
    .into_iter()
    .filter_map(|(speaks, name)| speaks.then_some(name))
    .collect()
}
