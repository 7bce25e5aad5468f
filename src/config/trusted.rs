//! Whose word is believed of a request, and the names that it is known by: `trusted_proxies`, `request_id`, `traceparent`.

use super::reader::{At, Table};
use super::{keys, networks};
use crate::model::{HopField, TrustedProxies};

/// What is done with `X-Request-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestIds {
    /// It is a field as any other.
    Off,
    /// Each request has one, in the logs and for upstreams.
    Upstream,
    /// And it is given back in the response.
    Response,
}

/// Reads `trusted_proxies`: an array of networks, or a table that says which field they speak by too.
pub(super) fn proxies(table: &Table<'_>) -> Option<At<TrustedProxies>> {
    let key = "trusted_proxies";
    let written = table.value(key)?;
    let span = written.span();
    let mut field = HopField::XForwardedFor;
    let from = if written.get_ref().as_table().is_some() {
        let inner = table.table(key, &keys::TRUSTED_PROXIES)?;
        inner.require("from", "[\"10.0.0.0/8\"]");
        if let Some(at) = inner.one_of("field", &FIELDS) {
            field = at.value;
        }
        networks::read(&inner, "from")
    } else {
        networks::read(table, key)
    };
    Some(At {
        value: TrustedProxies { from, field },
        span,
    })
}

/// `server.request_id`
pub(super) fn request_ids(table: &Table<'_>) -> RequestIds {
    let words = [
        ("off", RequestIds::Off),
        ("upstream", RequestIds::Upstream),
        ("response", RequestIds::Response),
    ];
    let written = table.one_of("request_id", &words);
    written.map_or(super::defaults::REQUEST_ID, |at| at.value)
}

const FIELDS: [(&str, HopField); 2] = [
    ("x-forwarded-for", HopField::XForwardedFor),
    ("forwarded", HopField::Forwarded),
];
