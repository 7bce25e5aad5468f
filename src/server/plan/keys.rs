//! Which keys of a table differ. Names only, never values: some of them are secrets.

use crate::config::{
    Acme, Balance, Binding, BindingTls, CertificateSource, Config, FailedRequests, FailedRule,
    FastCgi, FastCgiTerms, Files, Handler, Keeping, Limits, Log, Pool, Process, Proxy, Redirect,
    Respond, Route, RouteKeys, Server, Site, SiteKeys, Telling, Traces,
};

/// Keys, as the file writes them.
pub(super) type Keys = Vec<&'static str>;

/// The names of the fields of two tables that differ. Every field is named, those behind `but` are passed over: a new one
/// does not compile before somebody has said which it is.
macro_rules! differing {
    ($old:expr, $new:expr, $type:ident { $($field:ident $(as $name:literal)?),* $(,)? } but { $($other:ident),* $(,)? }) => {{
        let $type { $($field: _,)* $($other: _,)* } = $new;
        let (old, new): (&$type, &$type) = ($old, $new);
        let mut keys = Keys::new();
        $(if old.$field != new.$field {
            keys.push(differing!(@name $field $($name)?));
        })*
        keys
    }};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}

pub(super) fn server(old: &Server, new: &Server) -> Keys {
    differing!(old, new, Server {
        threads, admin, metrics, user, group, state_dir, drain_timeout, server_header, verbosity, trusted_proxies,
        request_ids as "request_id", traceparent,
    } but {})
}

pub(super) fn limits(old: &Limits, new: &Limits) -> Keys {
    differing!(old, new, Limits {
        max_connections, max_connections_per_ip, header_wait, idle_connection, entity_body, min_send_rate,
        max_request_bytes, max_header_fields, max_uri_bytes, max_body_bytes, tls_handshake,
    } but {})
}

pub(super) fn log(old: &Log, new: &Log) -> Keys {
    differing!(old, new, Log { format, level, access, access_format, errors, audit } but {})
}

pub(super) fn acme(old: &Acme, new: &Acme) -> Keys {
    differing!(old, new, Acme {
        directory, staging, contact, eab, profile, key_type, challenge, dns_hook, dns_wait, ca,
    } but { folder })
}

/// The keys of `[failed_requests]`, in the two configurations that its rules name sites of.
pub(super) fn failed_requests(old: &Config, new: &Config) -> Keys {
    let mut keys = differing!(
        &old.failed_requests,
        &new.failed_requests,
        FailedRequests {
            folder,
            max_files,
            max_file_bytes,
            redact
        } but { rules }
    );
    let rules = |config: &Config| -> Vec<(Option<String>, FailedRule)> {
        let rules = config.failed_requests.rules.iter().cloned();
        let named = rules.map(|rule| {
            let site = rule.site.map(|site| config.sites[site].name.clone());
            (site, FailedRule { site: None, ..rule })
        });
        named.collect()
    };
    if rules(old) != rules(new) {
        keys.push("rule");
    }
    keys
}

pub(super) fn traces(old: &Traces, new: &Traces) -> Keys {
    differing!(old, new, Traces {
        endpoint, headers, ca, service_name, resource, sample, trust_parent, keep_errors, keep_slower_than,
    } but {})
}

/// What `[tls]` says for the whole server; what it says for bindings is theirs.
pub(super) fn tls(old: &Config, new: &Config) -> Keys {
    let mut keys = Keys::new();
    if old.certificate_folder != new.certificate_folder {
        keys.push("certificates");
    }
    if old.trust != new.trust {
        keys.push("trust");
    }
    keys
}

/// The keys of a binding, in the two configurations that it and its site stand in.
pub(super) fn binding(of: (&Config, &Binding), to: (&Config, &Binding)) -> Keys {
    let ((old_config, old), (new_config, new)) = (of, to);
    let mut keys = differing!(old, new, Binding {
        protocols, proxy_protocol, trusted_proxies,
    } but { scheme, ip, port, hostname, tls, site, place });
    if let (Some(old), Some(new)) = (&old.tls, &new.tls) {
        keys.extend(differing!(old, new, BindingTls {
            min_version, cipher_suites, groups, ticket_rotation, ticket_keys, alt_svc_max_age, client_certificates,
            ocsp_stapling,
        } but { certificate, acme }));
        let of = (&old.certificate, old.acme);
        let to = (&new.certificate, new.acme);
        if named(old_config, of) != named(new_config, to) {
            keys.push("certificate");
        }
    }
    if old_config.sites[old.site].name != new_config.sites[new.site].name {
        keys.push("site");
    }
    keys
}

/// Where a binding's certificate comes from, by names rather than by places in a list.
fn named<'a>(
    config: &'a Config,
    (source, acme): (&'a CertificateSource, bool),
) -> (&'a str, &'a std::path::Path, bool) {
    match source {
        CertificateSource::Named(index) => (&config.certificates[*index].name, "".as_ref(), acme),
        CertificateSource::Folder(path) => ("", path, acme),
    }
}

/// The keys of a site; its routes are told of by themselves.
pub(super) fn site(old: &Site, new: &Site) -> Keys {
    let mut keys =
        differing!(old, new, Site { https_redirect, hsts } but { name, keys, routes, place });
    keys.extend(differing!(&old.keys, &new.keys, SiteKeys {
        response_fields, error_pages, intercept_errors,
    } but {}));
    keys
}

/// The keys of a route, in the two configurations that it and its pool stand in.
pub(super) fn route(of: (&Config, &Route), to: (&Config, &Route)) -> Keys {
    let ((old_config, old), (new_config, new)) = (of, to);
    let mut keys =
        differing!(old, new, Route { max_body_bytes } but { path, methods, pool, keys, place });
    if old_config.pools[old.pool].name != new_config.pools[new.pool].name {
        keys.push("pool");
    }
    keys.extend(differing!(&old.keys, &new.keys, RouteKeys {
        response_fields, entity_body, intercept_errors,
    } but { rules }));
    let (old, new) = (old.keys.rules.as_deref(), new.keys.rules.as_deref());
    let differs = |differs: bool, key| differs.then_some(key);
    let fields = |rules: Option<&crate::model::RouteRules>| {
        rules
            .map(|it| it.request_fields.clone())
            .unwrap_or_default()
    };
    keys.extend(differs(fields(old) != fields(new), "request_fields"));
    keys.extend(differs(
        old.and_then(|it| it.rewrite.as_ref()) != new.and_then(|it| it.rewrite.as_ref()),
        "rewrite",
    ));
    keys.extend(differs(
        old.and_then(|it| it.response_timeout) != new.and_then(|it| it.response_timeout),
        "response_timeout",
    ));
    keys.extend(differs(
        old.and_then(|it| it.body_timeout) != new.and_then(|it| it.body_timeout),
        "body_timeout",
    ));
    keys
}

/// The keys of a pool but its handler's.
pub(super) fn pool(old: &Pool, new: &Pool) -> Keys {
    differing!(old, new, Pool { queue_length, concurrency, queue_timeout, on_overflow } but { name, handler, place })
}

/// The keys of a pool's handler; `type` where it is of another.
pub(super) fn handler(old: &Handler, new: &Handler) -> Keys {
    match (old, new) {
        (Handler::Respond(old), Handler::Respond(new)) => {
            differing!(old, new, Respond { status, headers, body, delay } but {})
        }
        (Handler::Files(old), Handler::Files(new)) => {
            differing!(old, new, Files { root, index, listing, cache_control, precompressed } but {})
        }
        (Handler::Redirect(old), Handler::Redirect(new)) => {
            differing!(old, new, Redirect { to, status } but {})
        }
        (Handler::Proxy(old), Handler::Proxy(new)) => proxy(old, new),
        (Handler::FastCgi(old), Handler::FastCgi(new)) => {
            let mut keys = differing!(old, new, FastCgi { address } but { terms });
            keys.extend(fastcgi(&old.terms, &new.terms));
            keys
        }
        (Handler::Process(old), Handler::Process(new)) => process(old, new),
        (Handler::Library, Handler::Library) => Keys::new(),
        _ => vec!["type"],
    }
}

fn proxy(old: &Proxy, new: &Proxy) -> Keys {
    let mut keys = differing!(old, new, Proxy {
        upstreams, connect_timeout, response_timeout, body_timeout, tls, resolvers, upgrade,
    } but { balance, keeping, telling });
    let (balance_before, balance) = (&*old.balance, &*new.balance);
    keys.extend(differing!(balance_before, balance, Balance {
        policy as "balance", members as "upstreams", sticky, slow_start, panic_below, eject, health, retry, hedge, queue,
        buffer_body,
    } but {}));
    keys.extend(differing!(&old.keeping, &new.keeping, Keeping {
        idle_connections, idle_timeout, max_age as "max_connection_age", max_requests as "max_connection_requests",
    } but {}));
    keys.extend(telling(&old.telling, &new.telling));
    // An upstream that came changes what is said of each upstream as well.
    keys.dedup();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn telling(old: &Telling, new: &Telling) -> Keys {
    differing!(old, new, Telling {
        certificate as "client_certificate_fields", forwarded, proxy_protocol, odd_names as "odd_field_names",
    } but {})
}

fn fastcgi(old: &FastCgiTerms, new: &FastCgiTerms) -> Keys {
    differing!(old, new, FastCgiTerms {
        scripts, params, connect_timeout, response_timeout, body_timeout, idle_connections, idle_timeout, buffer_body,
        certificate as "client_certificate_fields",
    } but {})
}

fn process(old: &Process, new: &Process) -> Keys {
    let mut keys = differing!(old, new, Process {
        command, cwd, env, user, group, workers, start_mode, listen, protocol, startup_timeout, ready_path, warm_up, splash,
        ping, rapid_fail, recycle, shutdown_timeout, idle_timeout, idle_action, offline_file, limits, connect_timeout,
        response_timeout, body_timeout, upgrade, fastcgi, socket_folder as "server.state_dir",
    } but { telling });
    keys.extend(telling(&old.telling, &new.telling));
    keys
}
