//! What a request is called upstream, and how what an upstream answers is called to the client. Pure.
//!
//! ```text
//! client  /shop/a?b      strip "/shop", add "/v2"     upstream  /v2/a?b
//! client  /shop/login  ◄─────────────────────────────  Location: /v2/login
//! ```

use http::HeaderValue;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use super::template::NOT_IN_URI;

/// What a request is called upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Whole segments at the beginning of every path of the route, decoded, without a slash at the end; empty: none.
    strip: String,
    /// What stands before the rest, decoded; empty: nothing.
    add: String,
    /// The same, encoded.
    add_encoded: String,
    /// The Host that upstreams are told.
    pub host: RewriteHost,
}

/// The Host that upstreams are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RewriteHost {
    /// The one that the client asked for.
    #[default]
    Client,
    /// The upstream's own, with its port.
    Upstream,
    /// This one.
    Named(HeaderValue),
}

impl Rewrite {
    /// `strip` and `add`: paths as routes have them, in normal form; `/` or empty for nothing.
    pub fn new(strip: &str, add: &str, host: RewriteHost) -> Self {
        let add = add.trim_end_matches('/');
        Self {
            strip: strip.trim_end_matches('/').to_owned(),
            add: add.to_owned(),
            add_encoded: encoded(add),
            host,
        }
    }

    /// Whether paths change.
    pub fn changes_paths(&self) -> bool {
        self.strip != self.add
    }

    /// The path for the upstream, encoded. `written` is the path as the client wrote it, which means `path`, the one that was
    /// routed; what can stay as it was written does.
    pub fn path(&self, written: &str, path: &str) -> String {
        let same = written == path || percent_decode_str(written).eq(path.bytes());
        let rest = match (
            same.then(|| below(written, &self.strip)).flatten(),
            below(path, &self.strip),
        ) {
            (Some(rest), _) => rest.to_owned(),
            (None, Some(rest)) => encoded(rest),
            // No path of the route is elsewhere.
            (None, None) => encoded(path),
        };
        match format!("{}{rest}", self.add_encoded) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        }
    }

    /// What the client calls a path of the upstream; none where the client has no name for it.
    fn path_back(&self, path: &str) -> Option<String> {
        let rest = below(path, &self.add_encoded).or_else(|| below(path, &self.add))?;
        match format!("{}{rest}", encoded(&self.strip)) {
            path if path.is_empty() => Some("/".to_owned()),
            // An address of another host; browsers read a backslash as a slash.
            path if path.starts_with("//") || path.starts_with("/\\") => None,
            path => Some(path),
        }
    }

    /// What the client calls the address of a Location (RFC 9110 section 10.2.2); none where it stays as it is. `own` says
    /// whether an authority is one that the upstream was asked by, and `origin` is what the client asked: `https://host:port`.
    pub fn location_back(
        &self,
        location: &str,
        own: impl Fn(&str) -> bool,
        origin: &str,
    ) -> Option<String> {
        let (authority, target) = match location.split_once("://") {
            Some(("http" | "https", rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            _ if location.starts_with('/') && !location.starts_with("//") => (None, location),
            // Relative to what was asked for, or of another scheme.
            _ => return None,
        };
        let end = target.find(['?', '#']).unwrap_or(target.len());
        let (path, rest) = target.split_at(end);
        match authority {
            None => Some(self.path_back(path)? + rest),
            Some(authority) if own(authority) => {
                let path = if path.is_empty() { "/" } else { path };
                // The upstream's own name means nothing to the client, whatever the path.
                let path = self.path_back(path).unwrap_or_else(|| path.to_owned());
                Some(format!("{origin}{path}{rest}"))
            }
            Some(authority) => {
                let (scheme, _) = location.split_once("://")?;
                let is_asked = (origin.split_once("://")).is_some_and(|(_, it)| it == authority);
                let back = self.path_back(path).filter(|_| is_asked)?;
                Some(format!("{scheme}://{authority}{back}{rest}"))
            }
        }
    }

    /// What the client calls the Path of a cookie; none where it stays as it is.
    pub fn cookie_back(&self, cookie: &str) -> Option<String> {
        let mut changed = None;
        let parts = cookie.split(';').map(|attribute| {
            let (name, path) = attribute.split_once('=').unwrap_or((attribute, ""));
            let is_path = name.trim().eq_ignore_ascii_case("path");
            match self.path_back(path.trim()).filter(|_| is_path) {
                Some(back) => {
                    // `/shop/` would not be that of `/shop` itself (RFC 6265 section 5.1.4).
                    let back = match (path.trim(), back.as_str()) {
                        ("/", longer) if longer.len() > 1 => longer.trim_end_matches('/'),
                        (_, back) => back,
                    };
                    changed = Some(());
                    format!("{name}={back}")
                }
                None => attribute.to_owned(),
            }
        });
        let parts: Vec<String> = parts.collect();
        changed.map(|()| parts.join(";"))
    }
}

/// What stands behind a prefix of whole segments: nothing, or something that begins with `/`.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A decoded path as it is sent.
pub fn encoded(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_PATH).to_string()
}

/// What may not stand in a path as it is.
const NOT_IN_PATH: &AsciiSet = &NOT_IN_URI.add(b'#').add(b'%').add(b'?');

#[cfg(test)]
mod tests;
