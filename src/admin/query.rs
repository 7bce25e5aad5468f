//! What stands behind the question mark of a question.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Explained, Filter, Question, Wanted};

/// The question, with what its query says more. A parameter that it does not take is a mistake, which is told.
pub(super) fn of(question: Question, query: &str) -> Result<Question, String> {
    match question {
        Question::Connections(_) => filter(query).map(Question::Connections),
        Question::Refusals(_) => refusals(query).map(Question::Refusals),
        Question::Explain(_) => explained(query).map(|it| Question::Explain(Some(Box::new(it)))),
        other => Ok(other),
    }
}

/// The query that asks for some connections, with its question mark.
pub(super) fn filtered(filter: Filter) -> String {
    let limit = filter.limit.map(|limit| format!("limit={limit}"));
    let client = filter.client.map(|client| format!("client={client}"));
    let parts: Vec<String> = limit.into_iter().chain(client).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("?{}", parts.join("&")),
    }
}

/// The query that asks what would happen to a request, with its question mark.
pub(super) fn explains(asked: &Explained) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let ip = asked.ip.map(|ip| ip.to_string());
    let parts = [
        ("method", Some(asked.method.as_str())),
        ("ip", ip.as_deref()),
        ("sni", asked.sni.as_deref()),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let mut query = format!("?url={}", encode(&asked.url.to_string()));
    for (name, value) in parts {
        query += &format!("&{name}={}", encode(value));
    }
    query
}

fn filter(query: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    for (name, value) in pairs(query) {
        let wrong = |what: &str| format!("{name} cannot be {value:?}: {what}");
        match &*name {
            "limit" => filter.limit = Some(value.parse().map_err(|_| wrong("write a number"))?),
            "client" => {
                let parsed = value.parse();
                filter.client = Some(parsed.map_err(|_| wrong("write an address as 192.0.2.1"))?);
            }
            _ => return Err(unknown(&name, "limit and client")),
        }
    }
    Ok(filter)
}

fn refusals(query: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::ANY;
    for (name, value) in pairs(query) {
        let place = match &*name {
            "reason" => &mut wanted.reason,
            "site" => &mut wanted.site,
            "pool" => &mut wanted.pool,
            "limit" => {
                let limit = value
                    .parse()
                    .map_err(|_| format!("limit cannot be {value:?}: write a number"))?;
                wanted.limit = Some(limit);
                continue;
            }
            _ => return Err(unknown(&name, "reason, site, pool and limit")),
        };
        // An empty field of a form is not filled in.
        *place = Some(value.into_owned()).filter(|value| !value.is_empty());
    }
    Ok(wanted)
}

fn explained(query: &str) -> Result<Explained, String> {
    let (mut url, mut method, mut ip, mut sni) = (None, Method::GET, None, None);
    for (name, value) in pairs(query) {
        let wrong = |what: &str| format!("{name} cannot be {value:?}: {what}");
        match &*name {
            "url" => {
                let parsed = value.trim().parse::<Uri>();
                let what = "write a URL as https://www.example.com/path";
                url = Some(parsed.map_err(|_| wrong(what))?);
            }
            "method" if value.is_empty() => {}
            "method" => {
                let parsed = Method::from_bytes(value.as_bytes());
                method = parsed.map_err(|_| wrong("write a method as GET"))?;
            }
            "ip" if value.is_empty() => {}
            "ip" => {
                let parsed = value.trim().parse();
                ip = Some(parsed.map_err(|_| wrong("write an address as 192.0.2.1"))?);
            }
            "sni" => sni = Some(value.into_owned()),
            _ => return Err(unknown(&name, "url, method, ip and sni")),
        }
    }
    let url = url.ok_or("url is missing: /v1/explain?url=https://www.example.com/path")?;
    Ok(Explained {
        url,
        method,
        ip,
        sni,
    })
}

fn unknown(name: &str, known: &str) -> String {
    format!("there is no parameter {name:?}; there are {known}")
}

/// As forms are written (application/x-www-form-urlencoded); of what is not UTF-8 the rest.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
    Cow::Owned(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_asked_about_as_a_form_sends_it() {
        let query = "url=https%3A%2F%2Fa.test%2F%3Fb%3D1%262&method=PUT&ip=&sni=";
        let explained = explained(query).expect("a question");
        assert_eq!(explained.url, "https://a.test/?b=1&2");
        assert_eq!(explained.method, "PUT");
        assert_eq!((explained.ip, explained.sni), (None, Some(String::new())));
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_its_remedy() {
        for (query, word) in [
            ("", "url is missing"),
            ("url=%20%20", "write a URL"),
            ("url=/&ip=1.2.3", "write an address"),
            ("url=/&method=G%20T", "write a method"),
            ("URL=/", "there are url"),
        ] {
            let why = explained(query).expect_err(query);
            assert!(why.contains(word), "{query}: {why}");
        }
        assert!(refusals("reasons=x").is_err());
    }

    proptest! {
        #[test]
        fn any_query_can_be_read(query in ".{0,200}") {
            let _ = (refusals(&query), explained(&query));
        }

        #[test]
        fn what_a_client_asks_is_what_the_server_is_asked(
            path in "/[a-z%&=+?]{0,12}",
            method in "[A-Z]{1,8}",
            ip in proptest::option::of(any::<std::net::IpAddr>()),
            sni in proptest::option::of("\\PC{0,12}"),
        ) {
            let asked = Explained {
                url: format!("https://a.test{path}").parse().expect("a URL"),
                method: method.parse().expect("a method"),
                ip,
                sni,
            };
            let query = explains(&asked);
            let query = query.strip_prefix('?').expect("a query");
            prop_assert_eq!(explained(query), Ok(asked));
        }

        #[test]
        fn what_is_encoded_comes_back(name in "\\PC{1,20}", value in "\\PC{0,20}") {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let query = format!("{}={}", encode(&name), encode(&value));
            let all: Vec<_> = pairs(&query).collect();
            prop_assert_eq!(all, [(name.into(), value.into())]);
        }
    }
}
