//! A proxy's `upstreams`.

use http::Uri;
use toml::de::DeValue;

use super::reader::{At, Table};
use super::wrong::{self, Wrong};
use super::{Member, Upstream, balance, keys};
use crate::model::split_authority;

/// A proxy's `upstreams`, and what is particular to each: an upstream is a string, or a table that says more of it.
pub(super) fn read(table: &Table<'_>) -> (Vec<Upstream>, Vec<Member>) {
    let reader = table.reader;
    let written = table.read("upstreams", |value| {
        value
            .as_array()
            .ok_or_else(|| wrong::kind("upstreams", "an array", value))
    });
    let Some(written) = written else {
        return (Vec::new(), Vec::new());
    };
    if written.value.is_empty() {
        let wrong = Wrong::new("empty-value", "`upstreams` must name one upstream at least");
        reader.wrong(
            &written.span,
            wrong.help("write [\"http://127.0.0.1:5000\"]"),
        );
    }
    let mut upstreams: Vec<At<Upstream>> = Vec::new();
    let mut members = Vec::new();
    for entry in written.value.iter() {
        let (text, member) = match entry.get_ref() {
            DeValue::Table(entries) => {
                let inner = Table::open(reader, entries, &keys::UPSTREAM, entry.span());
                let url = inner.required("url", "\"http://127.0.0.1:5000\"");
                (url, balance::member(&inner))
            }
            value => match wrong::text("upstreams", value) {
                Ok(value) => {
                    let span = entry.span();
                    (Some(At { value, span }), Member::default())
                }
                Err(wrong) => {
                    reader.wrong(&entry.span(), wrong);
                    continue;
                }
            },
        };
        if let Some(upstream) = text.and_then(|text| one(table, &text, &upstreams)) {
            upstreams.push(upstream);
            members.push(member);
        }
    }
    (upstreams.into_iter().map(|at| at.value).collect(), members)
}

fn one(table: &Table<'_>, text: &At<&str>, before: &[At<Upstream>]) -> Option<At<Upstream>> {
    let reader = table.reader;
    let upstream = match parse(text.value) {
        Ok(Upstream::Unix(path)) => Upstream::Unix(reader.source.resolve(path)),
        Ok(upstream) => upstream,
        Err(wrong) => {
            reader.wrong(&text.span, wrong);
            return None;
        }
    };
    if let Some(first) = before.iter().find(|first| first.value == upstream) {
        let message = format!(
            "{:?} is named twice, and gets twice the requests",
            text.value
        );
        let found = reader.warning("duplicate-value", &text.span, message);
        let place = reader.place(&first.span);
        reader.report(found.related(place, "named here first"));
    }
    Some(At {
        value: upstream,
        span: text.span.clone(),
    })
}

fn parse(text: &str) -> Result<Upstream, Wrong> {
    let bad = || Wrong::new("bad-upstream", format!("{text:?} is no upstream"));
    let forms = "write it as \"http://host:port\" or \"unix:/path.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.strip_prefix("//").unwrap_or(path) {
            "" | "/" => Err(bad().help("write the socket's path, as in \"unix:/run/app.sock\"")),
            path => Ok(Upstream::Unix(path.into())),
        };
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match split_authority(text) {
            Ok((_, Some(_))) => bad().help(format!("write \"http://{text}\"")),
            _ if text.starts_with(['/', '.']) => bad().help(format!("write \"unix:{text}\"")),
            _ => bad().help(forms),
        });
    };
    match scheme {
        "http" => {}
        "https" | "h2c" => {
            let wrong = Wrong::not_yet(&format!("an upstream of {scheme}://"));
            return Err(wrong.help(forms));
        }
        _ => return Err(bad().help(forms)),
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) || text.parse::<Uri>().is_err() {
        return Err(
            bad().help("an upstream is a host and a port alone: requests keep their own path")
        );
    }
    match split_authority(authority) {
        Ok((_, Some(0))) => Err(bad().help("a port is from 1 to 65535")),
        Ok((host, port)) => Ok(Upstream::Http {
            host: host.as_str().trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(80),
        }),
        Err(error) => Err(bad().help(error.to_string())),
    }
}
