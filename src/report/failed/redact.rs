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
        text.into_owned()
    }

    /// A target or URL, with the values of parameters left out that are secrets by their name.
    pub(super) fn target(&self, text: &str) -> String {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, query),
            None => return text.to_owned(),
        };
        let parts: Vec<String> = query.split('&').map(|part| self.parameter(part)).collect();
        format!("{path}?{}", parts.join("&"))
    }

    fn parameter(&self, part: &str) -> String {
        match part.split_once('=') {
            Some((name, value)) if self.is_secret(name) => format!("{name}={}", left_out(value)),
            _ => part.to_owned(),
        }
    }

    /// Compared decoded: `%74oken` is `token` to whoever reads it.
    fn is_secret(&self, name: &str) -> bool {
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let name = name.to_ascii_lowercase();
        PARAMETERS.contains(&name.as_str()) || self.more.contains(&name)
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
const FIELDS: [&str; 13] = [
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
];

/// Fields that hold URLs.
const URL_FIELDS: [&str; 5] = [
    "referer",
    "location",
    "content-location",
    "refresh",
    "x-original-url",
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
