//! What the file says, each value read and with its place, and no name resolved yet.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use super::acme::{self, RawAcme};
use super::failed_requests::{self, RawFailedRequests};
use super::hostname;
use super::reader::{At, Table};
use super::routes::{self, ForProxies};
use super::settings::{self, WAIT};
use super::tls::{self, TlsKeys};
use super::wrong::{self, Wrong};
use super::{
    AlpnProtocol, Handler, Hsts, Limits, Log, Overflow, Place, RouteKeys, Server, SiteKeys, Traces,
    TrustSource, defaults, handlers, keys, networks, traces, trusted,
};
use crate::model::{HostPattern, Scheme, TrustedProxies};

/// The whole file.
pub(super) struct Raw<'t> {
    pub(super) server: Server,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) traces: Option<Traces>,
    pub(super) failed_requests: RawFailedRequests<'t>,
    pub(super) tls: TlsKeys<'t>,
    pub(super) acme: Option<RawAcme<'t>>,
    pub(super) trust: TrustSource,
    pub(super) certificates: Vec<RawCertificate<'t>>,
    pub(super) bindings: Vec<RawBinding<'t>>,
    /// Whether the file has a `binding`, right or wrong.
    pub(super) any_binding: bool,
    pub(super) sites: Vec<RawSite<'t>>,
    pub(super) pools: Vec<RawPool<'t>>,
}

pub(super) struct RawCertificate<'t> {
    pub(super) table: Table<'t>,
    pub(super) name: Option<At<&'t str>>,
    pub(super) files: RawFiles<'t>,
    pub(super) alternative: Option<RawFiles<'t>>,
}

/// The files of a certificate.
pub(super) struct RawFiles<'t> {
    pub(super) chain: Option<At<&'t str>>,
    pub(super) key: Option<At<&'t str>>,
    pub(super) password: Option<At<&'t str>>,
}

pub(super) struct RawBinding<'t> {
    pub(super) table: Table<'t>,
    pub(super) scheme: Scheme,
    pub(super) ip: Option<At<Option<IpAddr>>>,
    pub(super) port: Option<At<u64>>,
    pub(super) hostname: Option<At<HostPattern>>,
    pub(super) certificate: Option<At<&'t str>>,
    pub(super) protocols: Option<At<Vec<At<AlpnProtocol>>>>,
    pub(super) tls: TlsKeys<'t>,
    pub(super) proxy_protocol: Option<At<Vec<IpNet>>>,
    pub(super) trusted_proxies: Option<At<TrustedProxies>>,
    pub(super) site: Option<At<&'t str>>,
    /// Whether protocol, ip, port and hostname are what was written: none of them was refused.
    pub(super) sound: bool,
}

pub(super) struct RawSite<'t> {
    pub(super) table: Table<'t>,
    pub(super) name: Option<At<&'t str>>,
    pub(super) https_redirect: bool,
    pub(super) hsts: Option<At<Hsts>>,
    pub(super) keys: SiteKeys,
    pub(super) routes: Vec<RawRoute<'t>>,
}

pub(super) struct RawRoute<'t> {
    pub(super) place: Place,
    /// Where its path is written, or the table where it is not.
    pub(super) path: At<String>,
    pub(super) methods: Vec<Method>,
    pub(super) pool: Option<At<&'t str>>,
    pub(super) max_body_bytes: Option<Option<u64>>,
    pub(super) keys: RouteKeys,
    pub(super) for_proxies: ForProxies,
}

pub(super) struct RawPool<'t> {
    pub(super) table: Table<'t>,
    pub(super) name: Option<At<&'t str>>,
    pub(super) queue_length: usize,
    pub(super) concurrency: usize,
    pub(super) queue_timeout: Duration,
    pub(super) on_overflow: Overflow,
    pub(super) handler: Handler,
}

pub(super) fn read<'t>(file: &Table<'t>) -> Raw<'t> {
    let tables = |key, section| file.tables(key, section).into_iter();
    let tls = file.table("tls", &keys::TLS);
    Raw {
        server: settings::server(file),
        limits: settings::limits(file),
        log: settings::log(file),
        traces: traces::read(file),
        failed_requests: failed_requests::read(file),
        acme: acme::read(file),
        trust: tls
            .as_ref()
            .and_then(tls::trust)
            .unwrap_or(TrustSource::System),
        tls: tls.map_or_else(TlsKeys::default, |table| TlsKeys::read(&table)),
        certificates: tables("certificate", &keys::CERTIFICATE)
            .map(certificate)
            .collect(),
        bindings: tables("binding", &keys::BINDING).map(binding).collect(),
        any_binding: file.value("binding").is_some(),
        sites: tables("site", &keys::SITE).map(site).collect(),
        pools: tables("pool", &keys::POOL).map(pool).collect(),
    }
}

fn certificate(table: Table<'_>) -> RawCertificate<'_> {
    RawCertificate {
        name: table.required("name", "\"shop\""),
        files: certificate_files(&table),
        alternative: (table.table("alternative", &keys::ALTERNATIVE))
            .map(|table| certificate_files(&table)),
        table,
    }
}

fn certificate_files<'t>(table: &Table<'t>) -> RawFiles<'t> {
    RawFiles {
        chain: table.required("chain", "\"../certs/shop.pem\""),
        key: table.text("key"),
        password: table.text("password_file"),
    }
}

fn binding(table: Table<'_>) -> RawBinding<'_> {
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
    let scheme = table.one_of("protocol", &schemes);
    table.require(
        "hostname",
        "\"*\"` for any host, or `hostname = \"www.example.com\"",
    );
    let ip = table.read("ip", |value| ip(wrong::text("ip", value)?));
    // 0: one that the system chooses, for tests.
    let port = table.integer("port", 0..=65_535);
    let hostname = table.read("hostname", |value| {
        hostname::read(wrong::text("hostname", value)?)
    });
    let refused = |key, read: bool| table.value(key).is_some() && !read;
    RawBinding {
        sound: hostname.is_some()
            && !refused("protocol", scheme.is_some())
            && !refused("ip", ip.is_some())
            && !refused("port", port.is_some()),
        scheme: scheme.map_or(Scheme::Https, |scheme| scheme.value),
        ip,
        port,
        hostname,
        certificate: table.text("certificate"),
        protocols: protocols(&table),
        tls: TlsKeys::read(&table),
        proxy_protocol: networks::proxy_protocol(&table),
        trusted_proxies: trusted::proxies(&table),
        site: table.required("site", "\"the name of a [[site]]\""),
        table,
    }
}

/// `*`, or one address of this machine. An address that means every address is spelled `*`, so that there is one way to
/// say it and two such bindings are seen to be alike.
fn ip(text: &str) -> Result<Option<IpAddr>, Wrong> {
    if text == "*" {
        return Ok(None);
    }
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let Ok(ip) = inner.unwrap_or(text).parse::<IpAddr>() else {
        let wrong = Wrong::new("bad-ip", format!("{text:?} is no IP address"));
        return Err(wrong.help(
            "write one address of this machine, as in \"192.0.2.1\" or \"2001:db8::1\", or \"*\" for all; names go to \
             `hostname` and the port to `port`",
        ));
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() {
        let wrong = Wrong::new("bad-ip", format!("{text:?} is no single address"));
        return Err(wrong.help("write \"*\", which is every IPv4 and IPv6 address"));
    }
    if ip.is_multicast() {
        let message = format!("{text:?} is a multicast address, which takes no connection");
        return Err(Wrong::new("bad-ip", message));
    }
    Ok(Some(ip))
}

fn protocols(table: &Table<'_>) -> Option<At<Vec<At<AlpnProtocol>>>> {
    let known = [
        ("h3", AlpnProtocol::H3),
        ("h2", AlpnProtocol::H2),
        ("http/1.1", AlpnProtocol::Http1),
    ];
    let written = table.strings("protocols")?;
    let reader = table.reader;
    if written.value.is_empty()
        && table
            .value("protocols")
            .is_some_and(|v| is_empty(v.get_ref()))
    {
        let wrong = Wrong::new("empty-value", "`protocols` must name one protocol at least");
        reader.wrong(
            &written.span,
            wrong.help("write [\"h3\", \"h2\", \"http/1.1\"]"),
        );
    }
    let mut protocols: Vec<At<AlpnProtocol>> = Vec::new();
    for name in written.value {
        let Some((_, protocol)) = known.iter().find(|(known, _)| *known == name.value) else {
            reader.wrong(&name.span, unknown_protocol(name.value));
            continue;
        };
        if let Some(first) = protocols.iter().find(|first| first.value == *protocol) {
            let message = format!("\"{}\" is named twice", name.value);
            let found = reader.error("duplicate-value", &name.span, message);
            let found = found.help("remove one of the two");
            reader.report(found.related(reader.place(&first.span), "named here first"));
            continue;
        }
        protocols.push(At {
            value: *protocol,
            span: name.span,
        });
    }
    Some(At {
        value: protocols,
        span: written.span,
    })
}

fn is_empty(value: &toml::de::DeValue<'_>) -> bool {
    value.as_array().is_some_and(|array| array.is_empty())
}

fn unknown_protocol(name: &str) -> Wrong {
    let near = match name.to_ascii_lowercase().as_str() {
        "http/3" | "http3" | "http/3.0" | "quic" => Some("h3"),
        "http/2" | "http2" | "http/2.0" | "h2c" => Some("h2"),
        "h1" | "http1" | "http1.1" | "http/1" => Some("http/1.1"),
        other => keys::nearest(other, ["h3", "h2", "http/1.1"]),
    };
    Wrong::new("unknown-value", format!("{name:?} is no protocol")).help(match near {
        Some(near) => format!("write \"{near}\""),
        None => "write \"h3\", \"h2\" or \"http/1.1\"".to_owned(),
    })
}

fn site(table: Table<'_>) -> RawSite<'_> {
    RawSite {
        name: table.required("name", "\"www\""),
        https_redirect: table.boolean("https_redirect", false),
        hsts: table.table("hsts", &keys::HSTS).map(|table| At {
            value: hsts(&table),
            span: table.span,
        }),
        keys: routes::site(&table),
        routes: table
            .tables("route", &keys::ROUTE)
            .iter()
            .map(route)
            .collect(),
        table,
    }
}

fn hsts(table: &Table<'_>) -> Hsts {
    let ten_years = Duration::from_secs(3650 * 86_400);
    Hsts {
        max_age: table.duration(
            "max_age",
            Duration::ZERO..=ten_years,
            defaults::HSTS_MAX_AGE,
        ),
        include_subdomains: table.boolean("include_subdomains", false),
        preload: table.boolean("preload", false),
    }
}

fn route<'t>(table: &Table<'t>) -> RawRoute<'t> {
    let path = table.read("path", |value| path(wrong::text("path", value)?));
    let path = path.unwrap_or_else(|| At {
        value: defaults::ROUTE_PATH.to_owned(),
        span: table.span.clone(),
    });
    let (keys, for_proxies) = routes::route(table, &path.value);
    RawRoute {
        place: table.place(),
        keys,
        for_proxies,
        path,
        methods: methods(table),
        pool: table.required("pool", "\"the name of a [[pool]]\""),
        max_body_bytes: settings::max_body(table),
    }
}

/// A route's path in the form that request paths are brought into before they are matched. What could never match after
/// that is refused.
pub(super) fn path(text: &str) -> Result<String, Wrong> {
    let wrong = |message: &str| Wrong::new("bad-path", message);
    if text.contains('\\') {
        return Err(wrong("a route's path has no backslash").help("write / between segments"));
    }
    if !text.starts_with('/') {
        return Err(wrong("a route's path begins with /").help(format!("write \"/{text}\"")));
    }
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() {
        return Ok("/".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err(wrong("a route's path has no query and no fragment")
            .help("end the path before it: requests are matched by path alone"));
    }
    if trimmed[1..]
        .split('/')
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        return Err(wrong("a route's path has no empty, . or .. segment")
            .help("write the path as it is once they are resolved"));
    }
    if text.contains('*') {
        return Err(wrong("a route's path is a prefix and has no wildcard")
            .help("\"/api\" takes /api and everything below it"));
    }
    let escape = |part: &str| {
        part.len() >= 2 && part.is_char_boundary(2) && u8::from_str_radix(&part[..2], 16).is_ok()
    };
    if trimmed.split('%').skip(1).any(escape) {
        return Err(
            wrong("a route's path is written decoded, and this one has a % escape")
                .help("write the character itself, as in \"/a b\" for /a%20b"),
        );
    }
    Ok(trimmed.to_owned())
}

fn methods(table: &Table<'_>) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for name in table.strings("methods").into_iter().flat_map(|at| at.value) {
        let known = [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
        ];
        let upper = name.value.to_ascii_uppercase();
        let wrong = match Method::from_bytes(name.value.as_bytes()) {
            Ok(_) if upper != name.value && known.contains(&upper.as_str()) => {
                let message = format!(
                    "methods are case-sensitive, and {:?} is not one that clients send",
                    name.value
                );
                Wrong::new("bad-method", message).help(format!("write \"{upper}\""))
            }
            Ok(method) if methods.contains(&method) => {
                Wrong::new("duplicate-value", format!("{method} is named twice"))
                    .help("remove one of the two")
            }
            Ok(method) => {
                methods.push(method);
                continue;
            }
            Err(_) => Wrong::new("bad-method", format!("{:?} is no method", name.value))
                .help("write a method as in \"GET\", or leave `methods` out for all"),
        };
        table.reader.wrong(&name.span, wrong);
    }
    methods
}

fn pool(table: Table<'_>) -> RawPool<'_> {
    let overflows = [("503", Overflow::Respond503), ("reset", Overflow::Reset)];
    let overflow = table.one_of("on_overflow", &overflows);
    // Beyond a million the queue is no bound any more: nobody waits for what stands before them.
    RawPool {
        name: table.required("name", "\"app\""),
        queue_length: table.count("queue_length", 0..=1_000_000, defaults::QUEUE_LENGTH),
        concurrency: table.count("concurrency", 1..=1_000_000, defaults::CONCURRENCY),
        queue_timeout: table.duration("queue_timeout", WAIT, defaults::QUEUE_TIMEOUT),
        on_overflow: overflow.map_or(Overflow::Respond503, |overflow| overflow.value),
        handler: handlers::read(&table),
        table,
    }
}
