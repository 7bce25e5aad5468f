//! Sites and their routes, and what these do around their handlers: fields, rewriting, times, error pages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use toml::de::DeValue;

use super::fields::{self, Of};
use super::raw;
use super::reader::{At, Table};
use super::settings::WAIT;
use super::wrong::{self, Wrong};
use super::{Handler, Place, keys};
use crate::model::{FieldChanges, Rewrite, RewriteHost, RouteRules, split_authority};

/// `[[site]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// On an http binding: 308 to the same host and path on https.
    pub https_redirect: bool,
    /// Strict-Transport-Security, sent on https only; none: not sent.
    pub hsts: Option<Hsts>,
    /// What it does around its handlers.
    pub keys: SiteKeys,
    /// Its routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Where it was written.
    pub place: Place,
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// `max-age`
    pub max_age: Duration,
    /// `includeSubDomains`
    pub include_subdomains: bool,
    /// `preload`
    pub preload: bool,
}

/// `[[site.route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The prefix, on whole segments, in the normal form of [`crate::model::RoutePath`] and without a trailing slash unless
    /// it is `/`.
    pub path: String,
    /// The methods that it takes; empty: all.
    pub methods: Vec<Method>,
    /// The pool, by its index in [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// A request's body, in bytes; `None`: as `[limits]` says; `Some(None)`: no limit.
    pub max_body_bytes: Option<Option<u64>>,
    /// What it does around its handler.
    pub keys: RouteKeys,
    /// Where it was written.
    pub place: Place,
}

/// What a site does around its handlers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteKeys {
    /// What becomes of the fields of all its responses.
    pub response_fields: Option<Arc<FieldChanges>>,
    /// Its own pages for statuses.
    pub error_pages: Vec<ErrorPage>,
    /// Whether handlers' responses of these statuses get those pages too.
    pub intercept_errors: bool,
}

/// What a route does around its handler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteKeys {
    /// What is said to whoever carries its requests on; none where nothing is.
    pub rules: Option<Arc<RouteRules>>,
    /// What becomes of the fields of its responses.
    pub response_fields: Option<Arc<FieldChanges>>,
    /// The longest gap between two pieces of a request's body; none: as `[limits]` says.
    pub entity_body: Option<Duration>,
    /// Whether the handler's responses get the site's error pages; none: as the site says.
    pub intercept_errors: Option<bool>,
}

/// A page for a status.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorPage {
    /// For which.
    pub statuses: ErrorStatuses,
    /// The file.
    pub file: PathBuf,
    /// Where it was written.
    pub place: Place,
}

/// The statuses that a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorStatuses {
    /// One.
    One(u16),
    /// Those of a class that no other page is for: 4 or 5.
    Class(u16),
}

/// What a route says that only some handlers can do, and where it says so.
pub(super) type ForProxies = Vec<(&'static str, std::ops::Range<usize>)>;

/// Reads a site's.
pub(super) fn site(table: &Table<'_>) -> SiteKeys {
    let pages = error_pages(table);
    let intercept = table.boolean("intercept_errors", false);
    if intercept && pages.is_empty() && table.value("error_pages").is_none() {
        useless(table, "intercept_errors", "there are no `error_pages`");
    }
    SiteKeys {
        response_fields: fields::changes(table, Of::Responses).map(Arc::new),
        error_pages: pages,
        intercept_errors: intercept,
    }
}

fn useless(table: &Table<'_>, key: &str, why: &str) {
    if let Some(value) = table.value(key) {
        let wrong = Wrong::new("useless-key", format!("`{key}` does nothing: {why}"));
        table
            .reader
            .wrong(&value.span(), wrong.help(format!("remove `{key}`")));
    }
}

/// Reads a route's.
pub(super) fn route(table: &Table<'_>, path: &str) -> (RouteKeys, ForProxies) {
    let wait = |key: &str| {
        let read = table.read(key, |value| wrong::duration(key, value, &WAIT));
        read.map(|at| at.value)
    };
    let request_fields = fields::changes(table, Of::Requests);
    let rules = RouteRules {
        request_fields: request_fields.unwrap_or_default(),
        rewrite: rewrite(table, path),
        response_timeout: wait("response_timeout"),
        body_timeout: wait("body_timeout"),
    };
    let intercept = table.read("intercept_errors", |value| {
        wrong::boolean("intercept_errors", value)
    });
    let keys = RouteKeys {
        rules: (rules != RouteRules::default()).then(|| Arc::new(rules)),
        response_fields: fields::changes(table, Of::Responses).map(Arc::new),
        entity_body: wait("entity_body"),
        intercept_errors: intercept.map(|at| at.value),
    };
    let written = [
        "request_fields",
        "rewrite",
        "response_timeout",
        "body_timeout",
    ];
    let written = written.into_iter();
    let for_proxies = written.filter_map(|key| Some((key, table.value(key)?.span())));
    (keys, for_proxies.collect())
}

/// Reports what a route says and its handler cannot do.
pub(super) fn check(route: &raw::RawRoute<'_>, pool: &raw::RawPool<'_>) {
    let reader = pool.table.reader;
    let handler = match &pool.handler {
        Handler::Proxy(_) => return,
        // What could not be read stands for a library's, too.
        Handler::Library if reader.has_errors() => return,
        Handler::Library => "library",
        Handler::Respond(_) => "respond",
        Handler::Files(_) => "files",
        Handler::Redirect(_) => "redirect",
        Handler::FastCgi(_) => "fastcgi",
        Handler::Process(_) => "process",
    };
    for (key, span) in &route.for_proxies {
        // What handlers that a program brings get to see.
        if handler == "library" && *key == "request_fields" {
            continue;
        }
        let message = format!(
            "`{key}` is for requests that a proxy carries on, and this route's handler is \"{handler}\""
        );
        let wrong = Wrong::new("useless-key", message);
        let help = match (handler, *key) {
            ("files", "rewrite") => {
                "name the folder above: a \"files\" handler finds /docs/a in its `root` as docs/a"
                    .to_owned()
            }
            _ => format!("remove `{key}`, or name a pool whose handler is \"proxy\""),
        };
        reader.wrong(span, wrong.help(help));
    }
}

fn rewrite(route: &Table<'_>, path: &str) -> Option<Rewrite> {
    let table = route.table("rewrite", &keys::REWRITE)?;
    let prefix = |key: &str| table.read(key, |value| raw::path(wrong::text(key, value)?));
    let (strip, add) = (prefix("strip_prefix"), prefix("add_prefix"));
    if let Some(strip) = &strip
        && strip.value != "/"
        && path != strip.value
        && !path.starts_with(&format!("{}/", strip.value))
    {
        let message = format!(
            "the route takes {path:?}, and not all of that is under {:?}",
            strip.value
        );
        let wrong = Wrong::new("bad-rewrite", message);
        let help =
            "strip what the route's own `path` begins with, or give the route a longer `path`";
        table.reader.wrong(&strip.span, wrong.help(help));
    }
    let host = table.read("host", |value| host(wrong::text("host", value)?));
    let text = |at: &Option<At<String>>| at.as_ref().map_or(String::new(), |at| at.value.clone());
    let host = host.map_or(RewriteHost::Client, |at| at.value);
    let rewrite = Rewrite::new(&text(&strip), &text(&add), host);
    (rewrite != Rewrite::default()).then_some(rewrite)
}

fn host(text: &str) -> Result<RewriteHost, Wrong> {
    let wrong = || Wrong::new("bad-rewrite", format!("{text:?} cannot be a Host"));
    match text {
        "client" => return Ok(RewriteHost::Client),
        "upstream" => return Ok(RewriteHost::Upstream),
        _ => {}
    }
    let help = "write \"client\", \"upstream\", or a host and a port, as in \"app.internal:8080\"";
    if text.contains(['{', '}', '/']) || text == "*" {
        return Err(wrong().help(help));
    }
    split_authority(text).map_err(|error| wrong().help(error.to_string()))?;
    let value = HeaderValue::from_str(text).map_err(|_| wrong().help(help))?;
    Ok(RewriteHost::Named(value))
}

fn error_pages(site: &Table<'_>) -> Vec<ErrorPage> {
    let Some(entries) = site.entries("error_pages") else {
        return Vec::new();
    };
    let reader = site.reader;
    let mut pages = Vec::new();
    for (key, value) in entries.value.iter() {
        let read = statuses(key.get_ref()).map_err(|wrong| (key.span(), wrong));
        let file = |value: &DeValue<'_>| -> Result<PathBuf, Wrong> {
            let file = reader.source.resolve(wrong::text("error_pages", value)?);
            match file.extension().and_then(|it| it.to_str()) {
                Some("html" | "htm" | "json" | "txt") => Ok(file),
                _ => Err(Wrong::new(
                    "bad-error-page",
                    format!("nobody knows what {file:?} holds"),
                )
                .help("name a file that ends in .html, .htm, .json or .txt")),
            }
        };
        let read = read.and_then(|statuses| {
            let file = file(value.get_ref()).map_err(|wrong| (value.span(), wrong))?;
            Ok((statuses, file))
        });
        match read {
            Ok((statuses, file)) => pages.push(ErrorPage {
                statuses,
                file,
                place: reader.place(&value.span()),
            }),
            Err((span, wrong)) => reader.wrong(&span, wrong),
        }
    }
    pages
}

/// `503`, or `5xx`.
fn statuses(text: &str) -> Result<ErrorStatuses, Wrong> {
    match text {
        "4xx" => return Ok(ErrorStatuses::Class(4)),
        "5xx" => return Ok(ErrorStatuses::Class(5)),
        _ => {}
    }
    let status = text
        .parse::<u16>()
        .ok()
        .filter(|status| (400..=599).contains(status));
    status.map(ErrorStatuses::One).ok_or_else(|| {
        Wrong::new(
            "unknown-value",
            format!("{text:?} is no status of an error"),
        )
        .help("write one from \"400\" to \"599\", or \"4xx\" or \"5xx\" for all of a class")
    })
}
