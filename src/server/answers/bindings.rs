//! The bindings, each with its routes and what was counted of it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Serving, Shown};
use crate::admin::Told;
use crate::http::{BoundTo, Edge};
use crate::report::metrics::{CLASSES, Counted};

pub(super) fn told(serving: &Serving) -> Told {
    let now = serving.now.load();
    let mut text = String::new();
    write(&mut text, serving, &now);
    Told {
        json: json!({ "bindings": json(serving, &now) }),
        text,
    }
}

/// Every binding, as JSON.
pub(super) fn json(serving: &Serving, now: &Shown) -> Vec<Value> {
    let counted = serving.report.metrics().traffic();
    let edge = &now.edge;
    let bindings = edge.bindings.iter();
    bindings
        .map(|bound| json_of(bound, edge, &counted))
        .collect()
}

/// Every binding, as text.
pub(super) fn write(text: &mut String, serving: &Serving, now: &Shown) {
    let counted = serving.report.metrics().traffic();
    for bound in &now.edge.bindings {
        write_one(text, bound, &now.edge, &counted);
    }
}

/// What came of a binding's requests, its pools' and those that were for none.
#[derive(Default)]
struct Total {
    responses: u64,
    by_class: [u64; CLASSES.len()],
    received: f64,
    sent: f64,
}

impl Total {
    fn of<'a>(counted: impl Iterator<Item = &'a Counted>) -> Self {
        let mut total = Self::default();
        for one in counted {
            total.responses += one.responses();
            for (all, class) in total.by_class.iter_mut().zip(CLASSES) {
                *all += one.of_class(class);
            }
            total.received += one.received.sum;
            total.sent += one.sent.sum;
        }
        total
    }
}

fn json_of(bound: &BoundTo, edge: &Edge, counted: &[Counted]) -> Value {
    let name = bound.key.to_string();
    let mine = Counted::of_binding(counted, &name);
    let total = Total::of(mine.iter());
    let classes = CLASSES.iter().zip(total.by_class);
    let classes: serde_json::Map<String, Value> = classes
        .map(|(class, count)| ((*class).to_owned(), json!(count)))
        .collect();
    let site = &edge.sites[bound.site];
    let route = |route: &crate::site::Route| {
        json!({
            "path": route.path,
            "methods": route.methods.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
            "pool": edge.pools[route.pool].name(),
            "requests": edge.routed[bound.site].of(route.index),
        })
    };
    let pools = mine.iter().filter(|it| !it.pool.is_empty());
    let pools: serde_json::Map<String, Value> = pools
        .map(|it| (it.pool.clone(), json!(it.responses())))
        .collect();
    json!({
        "binding": name,
        "site": site.name,
        "protocols": protocols(bound),
        "responses": total.responses,
        "responses_by_class": classes,
        "responses_by_pool": pools,
        "bytes_received": total.received as u64,
        "bytes_sent": total.sent as u64,
        "routes": site.routes().iter().map(route).collect::<Vec<_>>(),
    })
}

fn write_one(text: &mut String, bound: &BoundTo, edge: &Edge, counted: &[Counted]) {
    let name = bound.key.to_string();
    let mine = Counted::of_binding(counted, &name);
    let total = Total::of(mine.iter());
    let site = &edge.sites[bound.site];
    let classes: Vec<String> = (CLASSES.iter().zip(total.by_class))
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
        "Binding: {name}\n    \
             Site: {}\n    \
             Protocols: {}\n    \
             Responses: {}{of_classes}\n    \
             Bytes received: {}\n    \
             Bytes sent: {}\n    \
             Routes of site {}, with the requests of all its bindings:\n",
        site.name,
        protocols(bound).join(", "),
        total.responses,
        total.received as u64,
        total.sent as u64,
        site.name,
    );
    for route in site.routes() {
        let pool = edge.pools[route.pool].name();
        let requests = edge.routed[bound.site].of(route.index);
        let _ = writeln!(text, "        {route} -> {pool}, requests: {requests}");
    }
    let mut head = "    Responses by pool:\n";
    for one in mine.iter().filter(|it| !it.pool.is_empty()) {
        let _ = writeln!(text, "{head}        {}: {}", one.pool, one.responses());
        head = "";
    }
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
