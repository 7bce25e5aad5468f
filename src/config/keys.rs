//! Every table of the file with every key that it may hold, and what to say of a key that it may not.

/// A kind of table, and its keys.
#[derive(Debug)]
pub(super) struct Section {
    /// As messages and the documentation name it.
    pub(super) name: &'static str,
    /// Its keys, in the order of the documentation.
    pub(super) keys: &'static [&'static str],
}

const fn section(name: &'static str, keys: &'static [&'static str]) -> Section {
    Section { name, keys }
}

/// The file itself: the tables that it is made of.
pub(super) static FILE: Section = section(
    "the file",
    &[
        "server",
        "limits",
        "log",
        "failed_requests",
        "traces",
        "tls",
        "acme",
        "certificate",
        "binding",
        "site",
        "pool",
    ],
);

pub(super) static SERVER: Section = section(
    "[server]",
    &[
        "threads",
        "admin",
        "metrics",
        "user",
        "group",
        "state_dir",
        "drain_timeout",
        "server_header",
        "verbosity",
        "trusted_proxies",
        "request_id",
        "traceparent",
    ],
);

pub(super) static LIMITS: Section = section(
    "[limits]",
    &[
        "max_connections",
        "max_connections_per_ip",
        "header_wait",
        "idle_connection",
        "entity_body",
        "min_send_rate",
        "max_request_bytes",
        "max_header_fields",
        "max_uri_bytes",
        "max_body_bytes",
        "tls_handshake",
    ],
);

pub(super) static LOG: Section = section(
    "[log]",
    &[
        "format",
        "level",
        "access",
        "access_format",
        "errors",
        "audit",
    ],
);

pub(super) static TRACES: Section = section(
    "[traces]",
    &[
        "endpoint",
        "headers",
        "ca",
        "service_name",
        "resource",
        "sample",
        "trust_parent",
        "keep_errors",
        "keep_slower_than",
    ],
);

pub(super) static FAILED_REQUESTS: Section = section(
    "[failed_requests]",
    &["folder", "max_files", "max_file_bytes", "redact", "rule"],
);

pub(super) static FAILED_REQUESTS_RULE: Section = section(
    "[[failed_requests.rule]]",
    &["site", "path", "status", "reason", "longer_than"],
);

pub(super) static TLS: Section = section(
    "[tls]",
    &[
        "min_version",
        "cipher_suites",
        "groups",
        "certificates",
        "trust",
        "ticket_rotation",
        "ticket_keys",
        "alt_svc_max_age",
        "client_certificates",
        "ocsp_stapling",
    ],
);

pub(super) static ACME: Section = section(
    "[acme]",
    &[
        "directory",
        "staging",
        "contact",
        "terms_agreed",
        "eab",
        "profile",
        "key_type",
        "challenge",
        "dns_hook",
        "dns_wait",
        "ca",
    ],
);

pub(super) static EAB: Section = section("eab", &["key_id", "key_file"]);

pub(super) static CERTIFICATE: Section = section(
    "[[certificate]]",
    &["name", "chain", "key", "password_file", "alternative"],
);

pub(super) static ALTERNATIVE: Section = section("alternative", &["chain", "key", "password_file"]);

pub(super) static BINDING: Section = section(
    "[[binding]]",
    &[
        "protocol",
        "ip",
        "port",
        "hostname",
        "certificate",
        "protocols",
        "min_version",
        "cipher_suites",
        "groups",
        "certificates",
        "ticket_rotation",
        "ticket_keys",
        "alt_svc_max_age",
        "client_certificates",
        "ocsp_stapling",
        "proxy_protocol",
        "trusted_proxies",
        "site",
    ],
);

pub(super) static CLIENT_CERTIFICATES: Section = section(
    "client_certificates",
    &["mode", "ca", "crl", "depth", "crl_missing", "crl_expired"],
);

pub(super) static SITE: Section = section(
    "[[site]]",
    &[
        "name",
        "https_redirect",
        "hsts",
        "response_fields",
        "error_pages",
        "intercept_errors",
        "route",
    ],
);

pub(super) static PROXY_PROTOCOL: Section = section("proxy_protocol", &["from"]);

pub(super) static TRUSTED_PROXIES: Section = section("trusted_proxies", &["from", "field"]);

pub(super) static HSTS: Section = section("hsts", &["max_age", "include_subdomains", "preload"]);

pub(super) static ROUTE: Section = section(
    "[[site.route]]",
    &[
        "path",
        "methods",
        "pool",
        "max_body_bytes",
        "entity_body",
        "request_fields",
        "response_fields",
        "rewrite",
        "response_timeout",
        "body_timeout",
        "intercept_errors",
    ],
);

pub(super) static FIELDS: Section =
    section("request_fields, response_fields", &["set", "add", "remove"]);

pub(super) static REWRITE: Section = section("rewrite", &["strip_prefix", "add_prefix", "host"]);

pub(super) static POOL: Section = section(
    "[[pool]]",
    &[
        "name",
        "queue_length",
        "concurrency",
        "queue_timeout",
        "on_overflow",
        "handler",
    ],
);

pub(super) static RESPOND: Section = section(
    "a respond handler",
    &["type", "status", "headers", "body", "delay"],
);

pub(super) static FILES: Section = section(
    "a files handler",
    &[
        "type",
        "root",
        "index",
        "listing",
        "cache_control",
        "precompressed",
    ],
);

pub(super) static REDIRECT: Section = section("a redirect handler", &["type", "to", "status"]);

pub(super) static PROXY: Section = section(
    "a proxy handler",
    &[
        "type",
        "upstreams",
        "connect_timeout",
        "response_timeout",
        "body_timeout",
        "idle_connections",
        "idle_timeout",
        "max_connection_age",
        "max_connection_requests",
        "tls",
        "resolvers",
        "balance",
        "sticky",
        "slow_start",
        "panic_below",
        "eject",
        "health",
        "retry",
        "hedge",
        "queue",
        "buffer_body",
        "client_certificate_fields",
        "forwarded",
        "proxy_protocol",
        "odd_field_names",
        "upgrade",
    ],
);

pub(super) static FASTCGI_HANDLER: Section = section(
    "a fastcgi handler",
    &[
        "type",
        "address",
        "root",
        "index",
        "script",
        "split",
        "params",
        "connect_timeout",
        "response_timeout",
        "body_timeout",
        "idle_connections",
        "idle_timeout",
        "buffer_body",
        "client_certificate_fields",
    ],
);

pub(super) static UPSTREAM_TLS: Section = section(
    "an upstream's tls",
    &["ca", "server_name", "verify", "client_certificate"],
);

pub(super) static CLIENT_CERTIFICATE: Section = section("client_certificate", &["chain", "key"]);

pub(super) static UPSTREAM: Section = section(
    "an upstream",
    &["url", "weight", "backup", "max_connections"],
);

pub(super) static BALANCE: Section = section("balance", &["policy", "by"]);

pub(super) static STICKY: Section = section(
    "sticky",
    &["cookie", "max_age", "path", "same_site", "key_file"],
);

pub(super) static EJECT: Section = section("eject", &["after", "errors", "time", "time_max"]);

pub(super) static HEALTH: Section = section(
    "health",
    &[
        "path",
        "host",
        "interval",
        "jitter",
        "timeout",
        "statuses",
        "body",
        "healthy_after",
        "unhealthy_after",
    ],
);

pub(super) static RETRY: Section = section(
    "retry",
    &["attempts", "on", "per_try_timeout", "budget", "wait"],
);

pub(super) static HEDGE: Section = section("hedge", &["after", "max_share"]);

pub(super) static UPSTREAM_QUEUE: Section = section("queue", &["length", "timeout"]);

pub(super) static PROCESS: Section = section(
    "a process handler",
    &[
        "type",
        "command",
        "cwd",
        "env",
        "user",
        "group",
        "workers",
        "start_mode",
        "listen",
        "protocol",
        "startup_timeout",
        "ready_path",
        "warm_up",
        "splash",
        "ping_interval",
        "ping_timeout",
        "ping_path",
        "rapid_fail",
        "recycle",
        "shutdown_timeout",
        "idle_timeout",
        "idle_action",
        "offline_file",
        "limits",
        "connect_timeout",
        "response_timeout",
        "body_timeout",
        "client_certificate_fields",
        "forwarded",
        "odd_field_names",
        "upgrade",
        "fastcgi",
    ],
);

pub(super) static FASTCGI: Section = section(
    "fastcgi",
    &["root", "index", "script", "split", "params", "buffer_body"],
);

pub(super) static RAPID_FAIL: Section = section("rapid_fail", &["failures", "within", "probation"]);

pub(super) static RECYCLE: Section = section(
    "recycle",
    &["requests", "time", "schedule", "memory", "files"],
);

pub(super) static WORKER_LIMITS: Section = section(
    "a worker's limits",
    &["memory", "cpu", "processes", "files", "on_memory", "on_cpu"],
);

pub(super) static LIBRARY: Section = section("a library handler", &["type"]);

/// Every kind of table but the file itself.
pub(super) static ALL: &[&Section] = &[
    &SERVER,
    &LIMITS,
    &LOG,
    &TRACES,
    &TLS,
    &ACME,
    &EAB,
    &CERTIFICATE,
    &ALTERNATIVE,
    &BINDING,
    &CLIENT_CERTIFICATES,
    &PROXY_PROTOCOL,
    &TRUSTED_PROXIES,
    &SITE,
    &HSTS,
    &ROUTE,
    &FIELDS,
    &REWRITE,
    &POOL,
    &RESPOND,
    &FILES,
    &REDIRECT,
    &PROXY,
    &FASTCGI_HANDLER,
    &UPSTREAM_TLS,
    &CLIENT_CERTIFICATE,
    &UPSTREAM,
    &BALANCE,
    &STICKY,
    &EJECT,
    &HEALTH,
    &RETRY,
    &HEDGE,
    &UPSTREAM_QUEUE,
    &PROCESS,
    &RAPID_FAIL,
    &RECYCLE,
    &WORKER_LIMITS,
    &FASTCGI,
    &LIBRARY,
    // Last: a key that is looked for elsewhere is another table's far more often.
    &FAILED_REQUESTS,
    &FAILED_REQUESTS_RULE,
];

/// The candidate that a misspelt word likely means; none where nothing is near.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One mistake in three letters is a slip; more is another word. Long texts are never slips of a key or name.
    let allowed = (word.len() / 3).clamp(1, 4);
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Keys that one may look for and that are not there on purpose, and what to do instead.
const NOT_THERE: [(&str, &str); 2] = [
    (
        "early_data",
        "remove it: 0-RTT is not taken here (docs/tls.md says why)",
    ),
    (
        "max_version",
        "to speak TLS 1.2 alone, name only suites of TLS 1.2 in `cipher_suites`",
    ),
];

/// What would be right in place of a key that `section` does not have.
pub(super) fn remedy(section: &Section, key: &str) -> String {
    if let Some((_, instead)) = NOT_THERE.iter().find(|(name, _)| *name == key) {
        return (*instead).to_owned();
    }
    if let Some(near) = nearest(&key.to_ascii_lowercase(), section.keys.iter().copied()) {
        return format!("write `{near}`");
    }
    if let Some(home) = ALL.iter().find(|other| other.keys.contains(&key)) {
        return format!("`{key}` is a key of {}", home.name);
    }
    let keys: Vec<_> = section.keys.iter().map(|k| format!("`{k}`")).collect();
    format!("the keys of {} are {}", section.name, keys.join(", "))
}
