//! The tables that are there once: `[server]`, `[limits]` and `[log]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::reader::Table;
use super::wrong::{Wrong, either};
use super::{
    AccessFormat, Audit, Limits, Log, LogFormat, LogTarget, Server, Verbosity, admin, defaults,
    keys, trusted, wrong,
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A wait that there must be; longer than a day is no limit any more.
pub(super) const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;

/// A wait that may be none.
pub(super) const WAIT_OR_NONE: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// No limit of this kind: `max_body_bytes = 0` and its like.
fn limit(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn limit_count(value: usize) -> Option<usize> {
    (value != 0).then_some(value)
}

pub(super) fn server(file: &Table<'_>) -> Server {
    let mut server = Server {
        threads: defaults::THREADS,
        admin: admin::default(file.reader.source),
        metrics: None,
        user: defaults::USER.to_owned(),
        group: defaults::GROUP.to_owned(),
        state_dir: file.reader.source.resolve(defaults::STATE_DIR),
        drain_timeout: defaults::DRAIN_TIMEOUT,
        server_header: defaults::SERVER_HEADER.to_owned(),
        verbosity: Verbosity::Limited,
        trusted_proxies: None,
        request_ids: defaults::REQUEST_ID,
        traceparent: defaults::TRACEPARENT,
    };
    let Some(table) = file.table("server", &keys::SERVER) else {
        return server;
    };
    // More threads than this are a slip of the pen: each has its own sockets and its own upstream connections.
    server.threads = table.count("threads", 0..=1024, defaults::THREADS as u64);
    let admin = table.read("admin", |value| admin::read(value, file.reader.source));
    if let Some(admin) = admin {
        server.admin = admin.value;
    }
    if let Some(metrics) = table.read("metrics", admin::metrics) {
        server.metrics = metrics.value;
    }
    if let Some(user) = table.string("user") {
        server.user = user.value.to_owned();
    }
    if let Some(group) = table.string("group") {
        server.group = group.value.to_owned();
    }
    if let Some(folder) = table.text("state_dir") {
        server.state_dir = file.reader.source.resolve(folder.value);
    }
    server.drain_timeout = table.duration("drain_timeout", WAIT_OR_NONE, defaults::DRAIN_TIMEOUT);
    if let Some(header) = field_value(&table, "server_header") {
        server.server_header = header;
    }
    let verbosity = table.one_of(
        "verbosity",
        &[("limited", Verbosity::Limited), ("full", Verbosity::Full)],
    );
    server.verbosity = verbosity.map_or(server.verbosity, |at| at.value);
    server.trusted_proxies = trusted::proxies(&table).map(|at| at.value);
    server.request_ids = trusted::request_ids(&table);
    server.traceparent = table.boolean("traceparent", defaults::TRACEPARENT);
    server
}

/// A string that is sent as a field's value.
pub(super) fn field_value(table: &Table<'_>, key: &str) -> Option<String> {
    let value = table.read(key, |value| {
        wrong::field_value(key, value)?;
        wrong::string(key, value)
    });
    value.map(|at| at.value.to_owned())
}

pub(super) fn limits(file: &Table<'_>) -> Limits {
    let mut limits = Limits {
        max_connections: limit(defaults::MAX_CONNECTIONS).map(|count| count as usize),
        max_connections_per_ip: limit(defaults::MAX_CONNECTIONS_PER_IP).map(|count| count as usize),
        header_wait: defaults::HEADER_WAIT,
        idle_connection: defaults::IDLE_CONNECTION,
        entity_body: defaults::ENTITY_BODY,
        min_send_rate: limit(defaults::MIN_SEND_RATE),
        max_request_bytes: defaults::MAX_REQUEST_BYTES as usize,
        max_header_fields: defaults::MAX_HEADER_FIELDS as usize,
        max_uri_bytes: defaults::MAX_URI_BYTES as usize,
        max_body_bytes: limit(defaults::MAX_BODY_BYTES),
        tls_handshake: defaults::TLS_HANDSHAKE,
    };
    let Some(table) = file.table("limits", &keys::LIMITS) else {
        return limits;
    };
    let connections = 0..=u64::from(u32::MAX);
    let max = table.count(
        "max_connections",
        connections.clone(),
        defaults::MAX_CONNECTIONS,
    );
    limits.max_connections = limit_count(max);
    let max = table.count(
        "max_connections_per_ip",
        connections,
        defaults::MAX_CONNECTIONS_PER_IP,
    );
    limits.max_connections_per_ip = limit_count(max);
    limits.header_wait = table.duration("header_wait", WAIT, defaults::HEADER_WAIT);
    limits.idle_connection = table.duration("idle_connection", WAIT, defaults::IDLE_CONNECTION);
    limits.entity_body = table.duration("entity_body", WAIT, defaults::ENTITY_BODY);
    limits.tls_handshake = table.duration("tls_handshake", WAIT, defaults::TLS_HANDSHAKE);
    if let Some(rate) = table.size("min_send_rate", 0..=1 << 30) {
        limits.min_send_rate = limit(rate.value);
    }
    // http's HeaderMap takes 32,768 fields and no more.
    limits.max_header_fields =
        table.count("max_header_fields", 1..=10_000, defaults::MAX_HEADER_FIELDS);
    if let Some(body) = table.size("max_body_bytes", 0..=u64::MAX) {
        limits.max_body_bytes = limit(body.value);
    }
    head_sizes(&table, &mut limits);
    limits
}

/// The sizes of a request's head. Below 1 KiB no browser is served; above 1 MiB a head is no head (HTTP.sys stops at 16).
fn head_sizes(table: &Table<'_>, limits: &mut Limits) {
    if let Some(bytes) = table.size("max_request_bytes", 1 << 10..=1 << 20) {
        limits.max_request_bytes = bytes.value as usize;
    }
    // What the http crate takes for a URI ends a little below 64 KiB.
    match table.size("max_uri_bytes", 64..=60 << 10) {
        Some(bytes) => {
            limits.max_uri_bytes = bytes.value as usize;
            if limits.max_uri_bytes > limits.max_request_bytes {
                let message =
                    "`max_uri_bytes` is more than `max_request_bytes`, and is never reached";
                let found = table
                    .reader
                    .warning("limit-unreachable", &bytes.span, message);
                table
                    .reader
                    .report(found.help("raise `max_request_bytes` or lower `max_uri_bytes`"));
            }
        }
        // A default gives way to what was written.
        None => limits.max_uri_bytes = limits.max_uri_bytes.min(limits.max_request_bytes),
    }
}

pub(super) fn max_body(table: &Table<'_>) -> Option<Option<u64>> {
    table
        .size("max_body_bytes", 0..=u64::MAX)
        .map(|bytes| limit(bytes.value))
}

pub(super) fn log(file: &Table<'_>) -> Log {
    let mut log = Log {
        format: LogFormat::Text,
        level: defaults::LOG_LEVEL.to_owned(),
        access: LogTarget::Off,
        access_format: AccessFormat::Json,
        errors: LogTarget::Stderr,
        audit: Audit::OwnLog,
    };
    let Some(table) = file.table("log", &keys::LOG) else {
        return log;
    };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some(format) = table.one_of("format", &formats) {
        log.format = format.value;
    }
    if let Some(level) = table.read("level", |value| level(wrong::text("level", value)?)) {
        log.level = level.value;
    }
    if let Some(target) = target(&table, "access", ("stdout", LogTarget::Stdout)) {
        log.access = target;
    }
    let formats = [
        ("json", AccessFormat::Json),
        ("w3c", AccessFormat::W3c),
        ("common", AccessFormat::Common),
    ];
    if let Some(format) = table.one_of("access_format", &formats) {
        log.access_format = format.value;
    }
    if let Some(target) = target(&table, "errors", ("stderr", LogTarget::Stderr)) {
        log.errors = target;
    }
    let audits = [
        ("own-log", Audit::OwnLog),
        ("off", Audit::Off),
        ("stderr", Audit::To(LogTarget::Stderr)),
    ];
    let file = |file| Audit::To(LogTarget::File(file));
    if let Some(audit) = target_of(&table, "audit", &audits, file) {
        log.audit = audit;
    }
    log
}

/// A level, or levels for parts of the program as `tracing` spells them. A bare word that is no level is a slip: as a
/// directive it would switch on one module that nobody has.
fn level(text: &str) -> Result<String, Wrong> {
    let levels = ["error", "warn", "info", "debug", "trace"];
    let word = !text.contains(['=', ',', ':']);
    if (word && levels.contains(&text)) || (!word && text.parse::<Targets>().is_ok()) {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::new("unknown-value", format!("`level` cannot be {text:?}"));
    Err(wrong.help(match keys::nearest(&text.to_ascii_lowercase(), levels) {
        Some(near) => format!("write \"{near}\""),
        None => format!(
            "write {}, or a level for a part of the program, as in \"info,portunus::tls=debug\"",
            either(levels)
        ),
    }))
}

/// `off`, the one stream that this log may go to, or a file.
fn target(table: &Table<'_>, key: &str, stream: (&'static str, LogTarget)) -> Option<LogTarget> {
    target_of(
        table,
        key,
        &[("off", LogTarget::Off), stream],
        LogTarget::File,
    )
}

/// One of some words, or a file. A bare word that is none of them is refused: it is misspelt far more often than a file.
fn target_of<T: Clone>(
    table: &Table<'_>,
    key: &str,
    words: &[(&'static str, T)],
    to_file: impl Fn(PathBuf) -> T,
) -> Option<T> {
    let target = table.read(key, |value| {
        let text = wrong::text(key, value)?;
        if let Some((_, target)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(target.clone());
        }
        if text.contains(['/', '.']) {
            return Ok(to_file(table.reader.source.resolve(text)));
        }
        let wrong = Wrong::new("unknown-value", format!("`{key}` cannot be {text:?}"));
        let known = words.iter().map(|(word, _)| *word);
        let near = keys::nearest(&text.to_ascii_lowercase(), known.clone());
        Err(wrong.help(match near {
            Some(near) => format!("write \"{near}\""),
            None => {
                let words: Vec<String> = known.map(|word| format!("\"{word}\"")).collect();
                let words = words.join(", ");
                format!("write {words}, or a file with its folder, as in \"./{key}.log\"")
            }
        }))
    });
    target.map(|at| at.value)
}
