//! `[failed_requests]`: which requests are written down step by step, and where to.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use toml::de::DeValue;

use super::raw;
use super::reader::{At, Table};
use super::settings::{DAY, WAIT};
use super::wrong::{self, Wrong};
use super::{Place, defaults, keys};
use crate::model::Reason;

/// `[failed_requests]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRequests {
    /// Where the files are written.
    pub folder: PathBuf,
    /// Files that are kept; the oldest give way.
    pub max_files: usize,
    /// The longest that a file may be, in bytes.
    pub max_file_bytes: usize,
    /// Fields and query parameters whose values are not written, beside those that never are; in lower case.
    pub redact: Vec<String>,
    /// Which requests are written; none: nothing is recorded at all.
    pub rules: Vec<FailedRule>,
}

/// `[[failed_requests.rule]]`: all that it names must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRule {
    /// The site, by its index in [`Config::sites`](super::Config::sites); none: any, and requests that found none.
    pub site: Option<usize>,
    /// The prefix of the path, on whole segments, as that of a route.
    pub path: Option<String>,
    /// The statuses of the response; empty: any, and none.
    pub status: Vec<RangeInclusive<u16>>,
    /// Why it failed; empty: for any reason, and none.
    pub reason: Vec<Reason>,
    /// It took longer than this.
    pub longer_than: Option<Duration>,
    /// Where it was written.
    pub place: Place,
}

/// As it is written, with the name of a site not resolved yet.
pub(super) struct RawFailedRequests<'t> {
    settings: FailedRequests,
    /// Of each rule.
    pub(super) sites: Vec<Option<At<&'t str>>>,
}

impl RawFailedRequests<'_> {
    /// With the sites that the rules name, by their indices.
    pub(super) fn settle(self, sites: Vec<Option<usize>>) -> FailedRequests {
        let mut settings = self.settings;
        for (rule, site) in settings.rules.iter_mut().zip(sites) {
            rule.site = site;
        }
        settings
    }
}

pub(super) fn read<'t>(file: &Table<'t>) -> RawFailedRequests<'t> {
    let resolve = |path: &str| file.reader.source.resolve(path);
    let mut settings = FailedRequests {
        folder: resolve(defaults::FAILED_REQUESTS_FOLDER),
        max_files: defaults::FAILED_REQUESTS_MAX_FILES as usize,
        max_file_bytes: defaults::FAILED_REQUESTS_MAX_FILE_BYTES as usize,
        redact: Vec::new(),
        rules: Vec::new(),
    };
    let mut sites = Vec::new();
    let Some(table) = file.table("failed_requests", &keys::FAILED_REQUESTS) else {
        return RawFailedRequests { settings, sites };
    };
    if let Some(folder) = table.text("folder") {
        settings.folder = resolve(folder.value);
    }
    // Each is looked at by name when the server starts; beyond this they are a log, and the access log is the better one.
    settings.max_files = table.count("max_files", 1..=10_000, defaults::FAILED_REQUESTS_MAX_FILES);
    // In less not even the shortest form has room.
    if let Some(bytes) = table.size("max_file_bytes", 16 << 10..=16 << 20) {
        settings.max_file_bytes = bytes.value as usize;
    }
    settings.redact = redact(&table);
    for rule in table.tables("rule", &keys::FAILED_REQUESTS_RULE) {
        let (rule, site) = read_rule(&rule);
        settings.rules.push(rule);
        sites.push(site);
    }
    if table.value("rule").is_none() && table.reader.is_whole() {
        let message = "[failed_requests] has no rule, and nothing is recorded";
        let found = (table.reader).warning("no-failed-request-rule", &table.span, message);
        let help =
            "add [[failed_requests.rule]] with what is to be recorded, as in `status = [\"5xx\"]`";
        table.reader.report(found.help(help));
    }
    RawFailedRequests { settings, sites }
}

/// Names of fields, and of query parameters, which may be any text: both are compared in lower case.
fn redact(table: &Table<'_>) -> Vec<String> {
    let names = table.strings("redact").into_iter().flat_map(|at| at.value);
    let mut read = Vec::new();
    for name in names {
        if HeaderName::from_bytes(name.value.as_bytes()).is_ok() {
            read.push(name.value.to_ascii_lowercase());
            continue;
        }
        let message = format!(
            "{:?} is no name of a field or a query parameter",
            name.value
        );
        let wrong = Wrong::new("bad-header", message);
        let help = "write names alone, as in [\"X-Session\", \"ticket\"]";
        table.reader.wrong(&name.span, wrong.help(help));
    }
    read
}

fn read_rule<'t>(table: &Table<'t>) -> (FailedRule, Option<At<&'t str>>) {
    let site = table.text("site");
    let path = table.read("path", |value| raw::path(wrong::text("path", value)?));
    let wait = *WAIT.start()..=DAY;
    let longer_than = table.read("longer_than", |value| {
        wrong::duration("longer_than", value, &wait)
    });
    let rule = FailedRule {
        site: None,
        path: path.map(|at| at.value),
        status: statuses(table),
        reason: reasons(table),
        longer_than: longer_than.map(|at| at.value),
        place: table.place(),
    };
    let names = keys::FAILED_REQUESTS_RULE.keys;
    if names.iter().all(|key| table.value(key).is_none()) && table.reader.is_whole() {
        let wrong = Wrong::new(
            "empty-rule",
            "the rule says nothing of the requests it is for",
        );
        let help = "write `status = [\"5xx\"]`, or what else is to be recorded; `path = \"/\"` is every request";
        table.reader.wrong(&table.span, wrong.help(help));
    }
    (rule, site)
}

fn statuses(table: &Table<'_>) -> Vec<RangeInclusive<u16>> {
    members(table, "status", |value| match value {
        DeValue::Integer(_) => {
            let status = wrong::integer("status", value, &(STATUS_MIN.into()..=STATUS_MAX.into()));
            status.map(|status| status as u16..=status as u16)
        }
        _ => range(wrong::text("status", value)?),
    })
}

/// `500`, `500-599`, `5xx`.
fn range(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let class = text.strip_suffix("xx").and_then(number);
    let (first, last) = match (class, text.split_once('-')) {
        (Some(class), _) => (
            class.checked_mul(100),
            class.checked_mul(100).map(|it| it + 99),
        ),
        (None, Some((first, last))) => (number(first), number(last)),
        (None, None) => (number(text), number(text)),
    };
    let known = STATUS_MIN..=STATUS_MAX;
    match (first, last) {
        (Some(first), Some(last))
            if first <= last && known.contains(&first) && known.contains(&last) =>
        {
            Ok(first..=last)
        }
        _ => {
            let message = format!("{text:?} is no status that a response can have");
            let help =
                "write a status as in 502, a range as in \"500-599\", or a class as in \"5xx\"";
            Err(Wrong::new("bad-status", message).help(help))
        }
    }
}

fn reasons(table: &Table<'_>) -> Vec<Reason> {
    members(table, "reason", |value| {
        let text = wrong::text("reason", value)?;
        let known = Reason::ALL.iter().find(|reason| reason.as_str() == text);
        match known {
            Some(reason) if is_of_requests(*reason) => Ok(*reason),
            Some(Reason::TimerMinBytesPerSecond) => {
                let message =
                    "a response that its client takes too slowly is cut, and is recorded as cut";
                Err(Wrong::new("bad-reason", message).help("write \"Connection_Dropped\""))
            }
            Some(_) => {
                let message =
                    format!("{text:?} is why connections fail, before or beside any request");
                let help =
                    "remove it: the error log and `portunus show tls-failures` tell of those";
                Err(Wrong::new("bad-reason", message).help(help))
            }
            None => {
                let wrong = Wrong::new("bad-reason", format!("there is no reason {text:?}"));
                let names = Reason::ALL.iter().map(|reason| reason.as_str());
                let near = keys::nearest(text, names);
                Err(wrong.help(match near {
                    Some(near) => format!("write \"{near}\""),
                    None => {
                        "write a reason as the error log has it, as in \"QueueFull\"".to_owned()
                    }
                }))
            }
        }
    })
}

/// Whether a request can fail for this reason. The others end connections and handshakes.
fn is_of_requests(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::ConnLimit
            | Reason::TimerConnectionIdle
            | Reason::TimerMinBytesPerSecond
            | Reason::TlsNoCertificate
            | Reason::TlsNoCommonProtocol
            | Reason::TlsNoCommonVersion
            | Reason::TlsNoCommonCipher
            | Reason::TlsClientCertificate
            | Reason::TlsNotTls
            | Reason::TlsTimeout
            | Reason::TlsPeerAlert
            | Reason::TlsOther
            | Reason::H2Abuse
            | Reason::QuicHandshake
    )
}

/// The members of an array, each read with `read`; one that is wrong is reported and left out.
fn members<'t, T>(
    table: &Table<'t>,
    key: &'static str,
    read: impl Fn(&'t DeValue<'t>) -> Result<T, Wrong>,
) -> Vec<T> {
    let array = table.read(key, |value| {
        let wrong = || wrong::kind(key, "an array", value).help(format!("write `{key} = [ … ]`"));
        value.as_array().ok_or_else(wrong)
    });
    let Some(array) = array else {
        return Vec::new();
    };
    if array.value.is_empty() {
        let wrong = Wrong::new("empty-value", format!("`{key}` must name one at least"));
        table.reader.wrong(
            &array.span,
            wrong.help("name one, or leave the key out for any"),
        );
    }
    let mut members = Vec::with_capacity(array.value.len());
    for member in array.value.iter() {
        match read(member.get_ref()) {
            Ok(value) => members.push(value),
            Err(wrong) => table.reader.wrong(&member.span(), wrong),
        }
    }
    members
}

const STATUS_MIN: u16 = 100;
const STATUS_MAX: u16 = 599;
