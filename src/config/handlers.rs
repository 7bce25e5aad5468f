//! `[pool.handler]`: one reader for each type.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::reader::{At, Table};
use super::settings::{self, WAIT};
use super::wrong::{self, Wrong, either};
use super::{Files, Handler, Proxy, Redirect, Respond, defaults, keys};
use super::{balance, fastcgi, fields, process, telling, upgrades, upstream};

const TYPES: [&str; 7] = [
    "respond", "files", "proxy", "redirect", "fastcgi", "process", "library",
];

/// Reads a pool's handler. Where it is wrong, that is reported, and what comes back is never used.
pub(super) fn read(pool: &Table<'_>) -> Handler {
    pool.require("handler", "{ type = \"files\", root = \"www\" }");
    let Some(entries) = pool.entries("handler") else {
        return Handler::Library;
    };
    let reader = pool.reader;
    let Some(written) = entries.value.get("type") else {
        let found = reader.error("missing-key", &entries.span, "[pool.handler] has no `type`");
        reader.report(found.help(format!("write `type =` and {}", either(TYPES))));
        return Handler::Library;
    };
    let open = |section| Table::open(reader, entries.value, section, entries.span.clone());
    let wrong = match wrong::text("type", written.get_ref()) {
        Ok("respond") => return Handler::Respond(respond(&open(&keys::RESPOND))),
        Ok("files") => return Handler::Files(files(&open(&keys::FILES))),
        Ok("redirect") => return Handler::Redirect(redirect(&open(&keys::REDIRECT))),
        Ok("proxy") => return Handler::Proxy(proxy(&open(&keys::PROXY))),
        Ok("fastcgi") => return Handler::FastCgi(fastcgi::read(&open(&keys::FASTCGI_HANDLER))),
        Ok("library") => {
            open(&keys::LIBRARY);
            return Handler::Library;
        }
        Ok("process") => {
            return Handler::Process(Box::new(process::read(&open(&keys::PROCESS))));
        }
        Ok(other) => {
            let near = keys::nearest(&other.to_ascii_lowercase(), TYPES);
            let wrong = Wrong::new("unknown-value", format!("there is no handler {other:?}"));
            wrong.help(match near {
                Some(near) => format!("write \"{near}\""),
                None => format!("write {}", either(TYPES)),
            })
        }
        Err(wrong) => wrong,
    };
    reader.wrong(&written.span(), wrong);
    Handler::Library
}

fn respond(table: &Table<'_>) -> Respond {
    let status = table.integer("status", 200..=599);
    let code = status
        .as_ref()
        .map_or(defaults::RESPOND_STATUS, |status| status.value as u16);
    let body = table.string("body");
    // RFC 9110, 15.3.5, 15.3.6 and 15.4.5: these responses have no content.
    if let Some(body) = &body
        && matches!(code, 204 | 205 | 304)
        && !body.value.is_empty()
    {
        let message = format!("a response of status {code} has no content, and here is a body");
        let mut found = table.reader.error("body-not-allowed", &body.span, message);
        if let Some(status) = &status {
            found = found.related(table.reader.place(&status.span), "the status");
        }
        table
            .reader
            .report(found.help("remove the body or change the status"));
    }
    // A 404 that says hello would puzzle.
    let default_body = if code == 200 {
        defaults::RESPOND_BODY
    } else {
        ""
    };
    let hour = Duration::from_secs(3600);
    Respond {
        status: StatusCode::from_u16(code).unwrap_or_default(),
        headers: headers(table),
        body: body.map_or(default_body, |body| body.value).to_owned(),
        delay: table.duration("delay", Duration::ZERO..=hour, defaults::RESPOND_DELAY),
    }
}

fn headers(table: &Table<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if table.value("headers").is_none() {
        for (name, value) in defaults::RESPOND_HEADERS {
            headers.insert(*name, HeaderValue::from_static(value));
        }
    }
    fields::each(table, "headers", fields::name, |name, value| {
        let value = wrong::field_value(name.as_str(), value)?;
        headers.append(name, value);
        Ok(())
    });
    headers
}

fn files(table: &Table<'_>) -> Files {
    let root = table.required("root", "\"www\"");
    let index = table.strings("index").map(|index| {
        let names = index.value.iter().filter(|name| is_file_name(table, name));
        names.map(|name| name.value.to_owned()).collect()
    });
    let default_index = || {
        defaults::FILES_INDEX
            .iter()
            .map(|&name| name.to_owned())
            .collect()
    };
    Files {
        root: table
            .reader
            .source
            .resolve(root.map_or("", |root| root.value)),
        index: index.unwrap_or_else(default_index),
        listing: table.boolean("listing", defaults::FILES_LISTING),
        cache_control: settings::field_value(table, "cache_control")
            .unwrap_or_else(|| defaults::FILES_CACHE_CONTROL.to_owned()),
        precompressed: table.boolean("precompressed", defaults::FILES_PRECOMPRESSED),
    }
}

fn is_file_name(table: &Table<'_>, name: &At<&str>) -> bool {
    let good = !name.value.contains('/') && !name.value.starts_with('.');
    if !good {
        let message = format!("{:?} is no file's plain name", name.value);
        let wrong = Wrong::new("bad-index", message)
            .help("an index file stands in the folder itself and does not begin with a dot");
        table.reader.wrong(&name.span, wrong);
    }
    good
}

fn redirect(table: &Table<'_>) -> Redirect {
    table.require("to", "\"https://www.example.com{uri}\"");
    let to = table.read("to", |value| target(wrong::text("to", value)?));
    let status = table.read("status", |value| {
        let status = wrong::integer("status", value, &(0..=u64::MAX))?;
        match status {
            301 | 302 | 303 | 307 | 308 => Ok(status as u16),
            _ => Err(Wrong::new("unknown-value", format!("{status} is no redirect"))
                .help("write 301 or 308 for good, 302, 303 or 307 for now; 307 and 308 keep the method")),
        }
    });
    let status = status.map_or(defaults::REDIRECT_STATUS, |status| status.value);
    Redirect {
        to: to.map_or_else(String::new, |to| to.value),
        status: StatusCode::from_u16(status).unwrap_or_default(),
    }
}

/// What a placeholder stands for, in a form that a whole target can be tried out with.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("uri", "/path?query"),
    ("host", "host.test"),
    ("path", "/path"),
    ("query", "query"),
];

/// A redirect's target. It is tried out with sample values, so that a target that no client could follow is found here.
fn target(text: &str) -> Result<String, Wrong> {
    let wrong = |message: String| Wrong::new("bad-redirect", message);
    let mut tried = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, after)) = behind.split_once('}') else {
            return Err(wrong("a { is not closed".to_owned())
                .help("write {uri}, {host}, {path} or {query}; a brace itself is %7B"));
        };
        let Some((_, sample)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
            let names = PLACEHOLDERS.iter().map(|(known, _)| *known);
            let help = match keys::nearest(name, names) {
                Some(near) => format!("write {{{near}}}"),
                None => "there are {uri}, {host}, {path} and {query}".to_owned(),
            };
            return Err(wrong(format!("there is no placeholder {{{name}}}")).help(help));
        };
        tried.push_str(before);
        if tried.ends_with('/') && sample.starts_with('/') {
            // `//host/…` in a Location is another site's address: whoever writes the request would choose where to.
            return Err(wrong(format!("{{{name}}} begins with / itself"))
                .help(format!("write {{{name}}} without the / before it")));
        }
        tried.push_str(sample);
        rest = after;
    }
    tried.push_str(rest);
    let absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let local = text.starts_with('/') && !text.starts_with("//");
    let known_host = tried
        .parse::<Uri>()
        .is_ok_and(|uri| local || uri.host().is_some());
    if (absolute || local) && known_host && text.is_ascii() {
        return Ok(text.to_owned());
    }
    Err(wrong(format!("{text:?} is no target that a client could follow"))
        .help("write a whole address, as in \"https://www.example.com{uri}\", or a path, as in \"/new\""))
}

fn proxy(table: &Table<'_>) -> Proxy {
    table.require("upstreams", "[\"http://127.0.0.1:5000\"]");
    let (upstreams, members) = upstream::read(table);
    Proxy {
        upstreams,
        balance: balance::read(table, members),
        connect_timeout: table.duration("connect_timeout", WAIT, defaults::CONNECT_TIMEOUT),
        response_timeout: table.duration("response_timeout", WAIT, defaults::RESPONSE_TIMEOUT),
        body_timeout: table.duration("body_timeout", WAIT, defaults::BODY_TIMEOUT),
        keeping: upstream::keeping(table),
        tls: upstream::tls(table),
        resolvers: upstream::resolvers(table),
        telling: telling::read(table),
        upgrade: upgrades::read(table),
    }
}
