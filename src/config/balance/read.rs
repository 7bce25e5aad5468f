//! Reading them.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use toml::de::DeValue;

use super::{
    Balance, Ejection, HashBy, Health, Hedge, Member, Policy, Queue, Retry, SameSite, Sticky,
};
use crate::config::reader::Table;
use crate::config::settings::WAIT;
use crate::config::wrong::{self, Wrong, either};
use crate::config::{defaults, keys};

/// Reads all of it; `members` were read with the upstreams.
pub(in crate::config) fn read(table: &Table<'_>, members: Vec<Member>) -> Box<Balance> {
    let policy = policy(table);
    let primaries = members.iter().any(|member| !member.backup);
    if !members.is_empty()
        && !primaries
        && let Some(written) = table.value("upstreams")
    {
        let wrong = Wrong::new("only-backups", "every upstream is a backup, and of nothing");
        let help = "remove `backup` from those that requests go to first";
        table.reader.wrong(&written.span(), wrong.help(help));
    }
    Box::new(Balance {
        policy,
        sticky: sticky(table),
        slow_start: table.duration("slow_start", NONE_OR_HOUR, defaults::SLOW_START),
        panic_below: percent(table, "panic_below", defaults::PANIC_BELOW),
        eject: eject(table),
        health: health(table),
        retry: retry(table),
        hedge: hedge(table),
        queue: queue(table),
        buffer_body: table
            .size("buffer_body", 0..=1 << 20)
            .map_or(defaults::BUFFER_BODY, |size| size.value) as usize,
        members,
    })
}

/// One table of `upstreams`: where it is, and what is particular to it.
pub(in crate::config) fn member(table: &Table<'_>) -> Member {
    let max = table.integer("max_connections", 0..=u64::from(u32::MAX));
    Member {
        weight: table.count("weight", 0..=1000, defaults::UPSTREAM_WEIGHT) as u32,
        backup: table.boolean("backup", defaults::UPSTREAM_BACKUP),
        max_connections: max
            .map(|max| u32::try_from(max.value).unwrap_or(u32::MAX))
            .filter(|max| *max > 0),
    }
}

const POLICIES: [&str; 4] = ["round_robin", "least_requests", "power_of_two", "hash"];

/// `balance = "least_requests"`, or `{ policy = "hash", by = "cookie:session" }`.
fn policy(table: &Table<'_>) -> Policy {
    let Some(value) = table.value("balance") else {
        return Policy::RoundRobin;
    };
    let (span, reader) = (value.span(), table.reader);
    let (name, name_span, by, place) = match value.get_ref() {
        DeValue::Table(_) => {
            let Some(inner) = table.table("balance", &keys::BALANCE) else {
                return Policy::RoundRobin;
            };
            let name = inner.required("policy", "\"hash\"");
            let name_span = name.as_ref().map_or(span.clone(), |name| name.span.clone());
            let by = inner.read("by", |value| by(wrong::text("by", value)?));
            let name = name.map_or("round_robin", |name| name.value);
            let by_written = inner.value("by").is_some();
            (name, name_span, by, by_written)
        }
        value => match wrong::text("balance", value) {
            Ok(name) => (name, span.clone(), None, false),
            Err(wrong) => {
                reader.wrong(&span, wrong);
                return Policy::RoundRobin;
            }
        },
    };
    let policy = match name {
        "round_robin" => Policy::RoundRobin,
        "least_requests" => Policy::LeastRequests,
        "power_of_two" => Policy::PowerOfTwo,
        "hash" => {
            if !place {
                let wrong = Wrong::new("missing-key", "a hash needs to know of what it is made");
                let help = "write balance = { policy = \"hash\", by = \"client\" }, or by = \"path\", \"cookie:NAME\", \"field:NAME\"";
                reader.wrong(&name_span, wrong.help(help));
            }
            return Policy::Hash(by.map_or(HashBy::Client, |by| by.value));
        }
        other => {
            let wrong = Wrong::new("unknown-value", format!("there is no policy {other:?}"));
            let near = keys::nearest(&other.to_ascii_lowercase(), POLICIES);
            let help = near.map_or_else(
                || format!("write {}", either(POLICIES)),
                |near| format!("write \"{near}\""),
            );
            reader.wrong(&name_span, wrong.help(help));
            return Policy::RoundRobin;
        }
    };
    if let Some(by) = by {
        let wrong = Wrong::new(
            "useless-key",
            format!("`by` is for the policy \"hash\", and this is {name:?}"),
        );
        reader.wrong(
            &by.span,
            wrong.help("remove `by`, or write policy = \"hash\""),
        );
    }
    policy
}

fn by(text: &str) -> Result<HashBy, Wrong> {
    let wrong = || Wrong::new("unknown-value", format!("`by` cannot be {text:?}"));
    let forms = "write \"client\", \"path\", \"cookie:NAME\" or \"field:NAME\"";
    match text.split_once(':') {
        None if text == "client" => Ok(HashBy::Client),
        None if text == "path" => Ok(HashBy::Path),
        Some(("cookie", name)) => cookie_name(name).map(HashBy::Cookie),
        Some(("field", name)) => HeaderName::from_bytes(name.as_bytes())
            .map(HashBy::Field)
            .map_err(|_| {
                wrong().help("a field name is letters, digits and hyphens, as in \"field:x-user\"")
            }),
        _ => Err(wrong().help(forms)),
    }
}

/// A token (RFC 6265 section 4.1.1).
fn cookie_name(text: &str) -> Result<String, Wrong> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        let wrong = Wrong::new("bad-cookie", format!("{text:?} cannot be a cookie's name"));
        return Err(wrong.help("write letters, digits, hyphens and underscores"));
    }
    Ok(text.to_owned())
}

fn sticky(proxy: &Table<'_>) -> Option<Sticky> {
    let table = proxy.table("sticky", &keys::STICKY)?;
    let cookie = table.read("cookie", |value| cookie_name(wrong::text("cookie", value)?));
    let path = table.read("path", |value| {
        let path = wrong::text("path", value)?;
        if path.starts_with('/')
            && !path.contains(';')
            && path.bytes().all(|b| (b' '..=b'~').contains(&b))
        {
            return Ok(path.to_owned());
        }
        Err(
            Wrong::new("bad-cookie", format!("{path:?} cannot be a cookie's path"))
                .help("write a path that begins with /, without ;"),
        )
    });
    let words = [
        ("strict", SameSite::Strict),
        ("lax", SameSite::Lax),
        ("none", SameSite::None),
    ];
    let days = Duration::ZERO..=Duration::from_secs(400 * 86_400);
    Some(Sticky {
        cookie: cookie.map_or_else(|| defaults::STICKY_COOKIE.to_owned(), |at| at.value),
        max_age: table.duration("max_age", days, defaults::STICKY_MAX_AGE),
        path: path.map_or_else(|| defaults::STICKY_PATH.to_owned(), |at| at.value),
        same_site: table
            .one_of("same_site", &words)
            .map_or(defaults::STICKY_SAME_SITE, |at| at.value),
        key_file: table
            .text("key_file")
            .map(|file| table.reader.source.resolve(file.value)),
    })
}

fn eject(proxy: &Table<'_>) -> Ejection {
    let Some(table) = proxy.table("eject", &keys::EJECT) else {
        return Ejection::default();
    };
    let time = table.duration("time", WAIT, defaults::EJECT_TIME);
    Ejection {
        after: table.count("after", 0..=1000, defaults::EJECT_AFTER) as u32,
        errors: percent(&table, "errors", defaults::EJECT_ERRORS),
        time,
        time_max: table
            .duration("time_max", WAIT, defaults::EJECT_TIME_MAX)
            .max(time),
    }
}

fn health(proxy: &Table<'_>) -> Option<Health> {
    let table = proxy.table("health", &keys::HEALTH)?;
    let path = table.read("path", |value| {
        let path = wrong::text("path", value)?;
        match path.parse::<http::uri::PathAndQuery>() {
            Ok(_) if path.starts_with('/') => Ok(path.to_owned()),
            _ => Err(
                Wrong::new("bad-path", format!("{path:?} cannot be asked for"))
                    .help("write a path that begins with /, as in \"/healthz\""),
            ),
        }
    });
    let host = table.read("host", |value| {
        wrong::field_value("host", value).map(|host| host.to_str().unwrap_or_default().to_owned())
    });
    let hour = Duration::from_millis(100)..=Duration::from_secs(3600);
    Some(Health {
        path: path.map_or_else(|| defaults::HEALTH_PATH.to_owned(), |at| at.value),
        host: host.map_or_else(String::new, |at| at.value),
        interval: table.duration("interval", hour, defaults::HEALTH_INTERVAL),
        jitter: percent(&table, "jitter", defaults::HEALTH_JITTER),
        timeout: table.duration("timeout", WAIT, defaults::HEALTH_TIMEOUT),
        statuses: statuses(&table).unwrap_or_else(|| vec![defaults::HEALTH_STATUSES]),
        body: table
            .string("body")
            .map_or("", |body| body.value)
            .to_owned(),
        healthy_after: table.count("healthy_after", 1..=1000, defaults::HEALTHY_AFTER) as u32,
        unhealthy_after: table.count("unhealthy_after", 1..=1000, defaults::UNHEALTHY_AFTER) as u32,
    })
}

/// `["200-299", "404"]`
fn statuses(table: &Table<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let written = table.strings("statuses")?;
    let mut statuses = Vec::new();
    for text in &written.value {
        let (first, last) = text
            .value
            .split_once('-')
            .unwrap_or((text.value, text.value));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => statuses.push(first..=last),
            _ => bad_status(
                table,
                &text.span,
                text.value,
                "write one as in \"204\", or from one to another as in \"200-399\"",
            ),
        }
    }
    if written.value.is_empty() {
        let wrong = Wrong::new(
            "empty-value",
            "no status at all would be that of an upstream that is well",
        );
        table
            .reader
            .wrong(&written.span, wrong.help("write [\"200-399\"]"));
    }
    Some(statuses)
}

fn status(text: &str) -> Option<u16> {
    let status: u16 = text.parse().ok()?;
    (200..=599).contains(&status).then_some(status)
}

fn bad_status(table: &Table<'_>, span: &Range<usize>, text: &str, help: &str) {
    let wrong = Wrong::new(
        "unknown-value",
        format!("{text:?} is no status of a response"),
    );
    table.reader.wrong(span, wrong.help(help));
}

fn retry(proxy: &Table<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(table) = proxy.table("retry", &keys::RETRY) else {
        return retry;
    };
    retry.attempts = table.count("attempts", 1..=10, defaults::RETRY_ATTEMPTS) as u32;
    retry.budget = percent(&table, "budget", defaults::RETRY_BUDGET);
    retry.wait = table.duration("wait", Duration::ZERO..=WAIT_MAX, defaults::RETRY_WAIT);
    let try_timeout = table.duration("per_try_timeout", NONE_OR_HOUR, Duration::ZERO);
    retry.per_try_timeout = (!try_timeout.is_zero()).then_some(try_timeout);
    if let Some(on) = table.strings("on") {
        (retry.on_connect, retry.on_reset) = (false, false);
        for word in on.value {
            match word.value {
                "connect" => retry.on_connect = true,
                "reset" => retry.on_reset = true,
                "timeout" => retry.on_timeout = true,
                text => match status(text).and_then(|status| StatusCode::from_u16(status).ok()) {
                    Some(status)
                        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS =>
                    {
                        retry.on_status.push(status);
                    }
                    _ => {
                        let help = "write \"connect\", \"reset\", \"timeout\", or a status from 500 on or 429, as in \"503\"";
                        let wrong = Wrong::new(
                            "unknown-value",
                            format!("nothing is sent again on {text:?}"),
                        );
                        table.reader.wrong(&word.span, wrong.help(help));
                    }
                },
            }
        }
    }
    retry
}

/// `hedge = { after = "50ms" }`
fn hedge(proxy: &Table<'_>) -> Option<Hedge> {
    let table = proxy.table("hedge", &keys::HEDGE)?;
    table.require("after", "\"100ms\"");
    let after = table.duration("after", WAIT, Duration::ZERO);
    let max_share = percent(&table, "max_share", defaults::HEDGE_MAX_SHARE);
    (!after.is_zero()).then_some(Hedge { after, max_share })
}

fn queue(proxy: &Table<'_>) -> Queue {
    let Some(table) = proxy.table("queue", &keys::UPSTREAM_QUEUE) else {
        return Queue::default();
    };
    Queue {
        length: table.count("length", 0..=100_000, defaults::UPSTREAM_QUEUE_LENGTH),
        timeout: table.duration("timeout", WAIT, defaults::UPSTREAM_QUEUE_TIMEOUT),
    }
}

/// `"25%"`
fn percent(table: &Table<'_>, key: &str, default: u8) -> u8 {
    let read = table.read(key, |value| {
        let wrong = || {
            Wrong::new(
                "bad-percentage",
                format!("`{key}` must be a share, from \"0%\" to \"100%\""),
            )
        };
        let Some(text) = value.as_str() else {
            return Err(match value.as_integer() {
                Some(number) => wrong().help(format!("write \"{number}%\"")),
                None => wrong().help("write it as in \"25%\""),
            });
        };
        let number = text
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<u8>().ok());
        number
            .filter(|number| *number <= 100)
            .ok_or_else(|| wrong().help(format!("write it as in \"{default}%\"")))
    });
    read.map_or(default, |at| at.value)
}

const NONE_OR_HOUR: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Whoever waits for longer has gone.
const WAIT_MAX: Duration = Duration::from_secs(60);
