//! `type = "fastcgi"`: an application that speaks FastCGI, and which of its scripts a path is for.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::Table;
use super::settings::WAIT;
use super::wrong::{self, Wrong};
use super::{Upstream, UpstreamScheme, defaults};
use crate::model::split_authority;

/// `type = "fastcgi"`
#[derive(Clone, Debug, PartialEq)]
pub struct FastCgi {
    /// Where the application listens.
    pub address: Upstream,
    /// How it is spoken to.
    pub terms: FastCgiTerms,
}

/// How a FastCGI application is spoken to, wherever it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct FastCgiTerms {
    /// Its scripts; none: it has all paths itself.
    pub scripts: Option<Scripts>,
    /// What it is told with every request, beside what FastCGI says.
    pub params: Vec<(String, String)>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until the response's head.
    pub response_timeout: Duration,
    /// The longest gap between two pieces of the response's body.
    pub body_timeout: Duration,
    /// Idle connections that a data thread keeps at most; 0 keeps none.
    pub idle_connections: usize,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// What is read at most of content whose length the client does not say.
    pub buffer_body: usize,
}

/// Which script a path is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripts {
    /// The folder of the scripts.
    pub root: PathBuf,
    /// The script that stands for its folder.
    pub index: String,
    /// The script that takes what no other does, by its path beneath the root.
    pub script: Option<String>,
    /// What the name of a script ends with.
    pub split: String,
}

pub(super) fn read(table: &Table<'_>) -> FastCgi {
    table.require("address", "\"unix:/run/php/php-fpm.sock\"");
    let address = table.read("address", |value| address(wrong::text("address", value)?));
    let address = match address.map(|at| at.value) {
        Some(Upstream::Unix(path)) => Upstream::Unix(table.reader.source.resolve(path)),
        Some(address) => address,
        None => Upstream::Unix(PathBuf::new()),
    };
    let source = table.reader.source;
    let mut terms = told(table, |root| source.resolve(root), waits(table));
    terms.idle_connections = table.count(
        "idle_connections",
        0..=65_536,
        defaults::FASTCGI_IDLE_CONNECTIONS,
    );
    terms.idle_timeout = table.duration("idle_timeout", WAIT, defaults::IDLE_TIMEOUT);
    FastCgi { address, terms }
}

/// For how long an application is waited for.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    connect: Duration,
    response: Duration,
    body: Duration,
}

pub(super) fn waits(table: &Table<'_>) -> Waits {
    Waits {
        connect: table.duration("connect_timeout", WAIT, defaults::CONNECT_TIMEOUT),
        response: table.duration("response_timeout", WAIT, defaults::RESPONSE_TIMEOUT),
        body: table.duration("body_timeout", WAIT, defaults::BODY_TIMEOUT),
    }
}

/// The keys that say what an application is told, wherever it listens. `resolve`: what `root` is relative to.
pub(super) fn told(
    table: &Table<'_>,
    resolve: impl Fn(&str) -> PathBuf,
    waits: Waits,
) -> FastCgiTerms {
    FastCgiTerms {
        scripts: scripts(table, resolve),
        params: params(table),
        buffer_body: table
            .size("buffer_body", 0..=BUFFER_BODY_MAX)
            .map_or(defaults::FASTCGI_BUFFER_BODY, |size| size.value) as usize,
        ..FastCgiTerms::plain(waits)
    }
}

impl FastCgiTerms {
    /// Of an application that has all paths, and over connections that are not kept.
    pub(super) fn plain(waits: Waits) -> Self {
        Self {
            scripts: None,
            params: Vec::new(),
            connect_timeout: waits.connect,
            response_timeout: waits.response,
            body_timeout: waits.body,
            idle_connections: 0,
            idle_timeout: defaults::IDLE_TIMEOUT,
            buffer_body: defaults::FASTCGI_BUFFER_BODY as usize,
        }
    }
}

fn scripts(table: &Table<'_>, resolve: impl Fn(&str) -> PathBuf) -> Option<Scripts> {
    let root = table.text("root");
    let index = table.read("index", |value| path_beneath("index", value));
    let script = table.read("script", |value| path_beneath("script", value));
    let split = table.read("split", split);
    let Some(root) = root else {
        for (key, at) in [("index", &index), ("script", &script), ("split", &split)] {
            if let Some(at) = at {
                let message =
                    format!("`{key}` is a script's, and there is no `root` that scripts are in");
                let found = table.reader.error("missing-key", &at.span, message);
                table
                    .reader
                    .report(found.help("write `root = \"/var/www/site\"`, or remove the key"));
            }
        }
        return None;
    };
    Some(Scripts {
        root: resolve(root.value),
        index: index.map_or_else(|| defaults::FASTCGI_INDEX.to_owned(), |at| at.value),
        script: script.map(|at| at.value),
        split: split.map_or_else(|| defaults::FASTCGI_SPLIT.to_owned(), |at| at.value),
    })
}

/// A script's path beneath the root.
fn path_beneath(key: &str, value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = wrong::text(key, value)?;
    let plain = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
    match text.split('/').all(plain) {
        true => Ok(text.to_owned()),
        false => {
            let message = format!("{text:?} is no script beneath `root`");
            let wrong = Wrong::new("bad-script", message);
            Err(wrong
                .help("write its path from there, without a slash before it, as in \"index.php\""))
        }
    }
}

fn split(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = wrong::text("split", value)?;
    match text.strip_prefix('.') {
        Some(rest) if !rest.is_empty() && !rest.contains('/') => Ok(text.to_owned()),
        _ => {
            let message = format!("{text:?} is not what the name of a script ends with");
            Err(Wrong::new("bad-script", message).help("write a dot and letters, as in \".php\""))
        }
    }
}

fn params(table: &Table<'_>) -> Vec<(String, String)> {
    let Some(entries) = table.entries("params") else {
        return Vec::new();
    };
    let mut params = Vec::new();
    for (key, value) in entries.value.iter() {
        let name: &str = key.get_ref();
        let wrong = param_fault(name);
        match (wrong, wrong::string(name, value.get_ref())) {
            (Some(wrong), _) => table.reader.wrong(&key.span(), wrong),
            (None, Err(wrong)) => table.reader.wrong(&value.span(), wrong),
            (None, Ok(text)) => params.push((name.to_owned(), text.to_owned())),
        }
    }
    params
}

/// What a request says of itself is no setting: two values of one parameter are two readings.
fn param_fault(name: &str) -> Option<Wrong> {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        let wrong = Wrong::new("bad-param", format!("{name:?} is no name of a parameter"));
        return Some(wrong.help("write capital letters, digits and _, as in APP_ENV"));
    }
    if OURS.contains(&name) || name.starts_with("HTTP_") {
        let wrong = Wrong::new(
            "bad-param",
            format!("`{name}` is told of each request by Portunus itself"),
        );
        return Some(wrong.help("choose another name, or remove it"));
    }
    None
}

/// What `handler/fastcgi/params.rs` says.
pub(crate) const OURS: [&str; 21] = [
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "GATEWAY_INTERFACE",
    "HTTPS",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REDIRECT_STATUS",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
];

/// `unix:/path.sock`, or a host and a port.
fn address(text: &str) -> Result<Upstream, Wrong> {
    let bad = || {
        Wrong::new(
            "bad-upstream",
            format!("{text:?} is no address of an application"),
        )
    };
    let forms = "write a socket, as in \"unix:/run/php/php-fpm.sock\", or a host and a port, as in \"127.0.0.1:9000\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.strip_prefix("//").unwrap_or(path) {
            "" | "/" => Err(bad().help(forms)),
            path => Ok(Upstream::Unix(path.into())),
        };
    }
    if text.starts_with(['/', '.']) {
        return Err(bad().help(format!("write \"unix:{text}\"")));
    }
    match split_authority(text.strip_prefix("fastcgi://").unwrap_or(text)) {
        Ok((host, Some(port @ 1..))) => Ok(Upstream::Net {
            scheme: UpstreamScheme::FastCgi,
            host: host.as_str().trim_matches(['[', ']']).to_owned(),
            port,
        }),
        _ => Err(bad().help(forms)),
    }
}

/// It is held for each request that runs.
const BUFFER_BODY_MAX: u64 = 64 * 1024 * 1024;
