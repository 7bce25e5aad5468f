//! A proxy's `upstreams`.

use http::Uri;

use super::Upstream;
use super::reader::{At, Table};
use super::wrong::Wrong;
use crate::model::split_authority;

pub(super) fn read(table: &Table<'_>) -> Vec<Upstream> {
    let reader = table.reader;
    let Some(written) = table.strings("upstreams") else {
        return Vec::new();
    };
    let mut upstreams: Vec<At<Upstream>> = Vec::new();
    let none = table
        .value("upstreams")
        .and_then(|value| value.get_ref().as_array())
        .is_some_and(|array| array.is_empty());
    if none {
        let wrong = Wrong::new("empty-value", "`upstreams` must name one upstream at least");
        reader.wrong(
            &written.span,
            wrong.help("write [\"http://127.0.0.1:5000\"]"),
        );
    }
    for text in written.value {
        match parse(text.value) {
            Ok(upstream) => {
                let upstream = match upstream {
                    Upstream::Unix(path) => Upstream::Unix(reader.source.resolve(path)),
                    http => http,
                };
                if let Some(first) = upstreams.iter().find(|first| first.value == upstream) {
                    let message = format!(
                        "{:?} is named twice, and gets twice the requests",
                        text.value
                    );
                    let found = reader.warning("duplicate-value", &text.span, message);
                    let place = reader.place(&first.span);
                    reader.report(found.related(place, "named here first"));
                }
                upstreams.push(At {
                    value: upstream,
                    span: text.span,
                });
            }
            Err(wrong) => reader.wrong(&text.span, wrong),
        }
    }
    upstreams.into_iter().map(|at| at.value).collect()
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
