//! What is not written of what requests hold. Pure.
//!
//! A value that is left out is told by its length, so that what is empty, cut or far too long is seen all the same.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};

/// Whose values are not written.
#[derive(Debug)]
pub(super) struct Redaction {
    /// Fields and query parameters of the configuration, in lower case.
    more: HashSet<String>,
}

impl Redaction {
    pub(super) fn new(more: &[String]) -> Self {
        Self {
            more: more.iter().cloned().collect(),
        }
    }

    /// A field's value, as it may be written.
    pub(super) fn field(&self, name: &HeaderName, value: &HeaderValue) -> String {
        let text = String::from_utf8_lossy(value.as_bytes());
        let name = name.as_str();
        if value.is_sensitive() || FIELDS.contains(&name) || self.more.contains(name) {
            return credentials(&text);
        }
        if URL_FIELDS.contains(&name) {
            return self.target(&text);
        }
        if let ("host", Some((user, host))) = (name, text.rsplit_once('@')) {
            return format!("{}@{host}", left_out(user));
        }
        text.into_owned()
    }

    /// A target or URL, with the values of parameters left out that are secrets by their name, in the query and in the fragment
    /// (where OAuth 2 has its tokens), and user and password before a host.
    pub(super) fn target(&self, text: &str) -> String {
        let (path, parameters) = text.split_at(text.find(BEFORE_PARAMETERS).unwrap_or(text.len()));
        let mut told = without_user(path);
        for part in parameters.split_inclusive(BEFORE_PARAMETERS) {
            let body = part.trim_end_matches(BEFORE_PARAMETERS);
            told += &self.parameter(body);
            told += &part[body.len()..];
        }
        told
    }

    fn parameter(&self, part: &str) -> String {
        match part.split_once('=') {
            Some((name, value)) if self.is_secret(name) => format!("{name}={}", left_out(value)),
            _ => part.to_owned(),
        }
    }

    /// Compared as whoever reads it does: `%74oken`, `+token` and `user[token]` are `token`.
    fn is_secret(&self, name: &str) -> bool {
        let name = name.replace('+', " ");
        let name = percent_encoding::percent_decode_str(&name).decode_utf8_lossy();
        let name = name.to_ascii_lowercase();
        let is = |name: &str| PARAMETERS.contains(&name) || self.more.contains(name);
        is(name.trim()) || name.split(['[', ']']).any(|part| is(part.trim()))
    }
}

/// What stands before a parameter.
const BEFORE_PARAMETERS: [char; 4] = ['?', '#', '&', ';'];

/// `https://user:password@host/` without what stands before the host.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else {
        return url.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}//{}{}", left_out(user), &rest[user.len()..]),
        None => url.to_owned(),
    }
}

/// The scheme of credentials is none of the secret, and often what is wrong.
fn credentials(text: &str) -> String {
    match text.split_once(' ') {
        Some((scheme, rest)) if SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(scheme)) => {
            format!("{scheme} {}", left_out(rest))
        }
        _ => left_out(text),
    }
}

fn left_out(text: &str) -> String {
    format!("[redacted, {} bytes]", text.len())
}

/// Fields whose values are never written.
const FIELDS: [&str; 15] = [
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "cookie",
    "set-cookie",
    "cookie2",
    "set-cookie2",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
];

/// Fields that hold URLs.
const URL_FIELDS: [&str; 8] = [
    "referer",
    "location",
    "content-location",
    "refresh",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "link",
];

/// Query parameters whose values are never written.
const PARAMETERS: [&str; 21] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "client_secret",
    "code",
    "id_token",
    "jwt",
    "key",
    "pass",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "session",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
];

/// Schemes of credentials (IANA's registry, the common ones).
const SCHEMES: [&str; 5] = ["Basic", "Bearer", "Digest", "Negotiate", "NTLM"];
