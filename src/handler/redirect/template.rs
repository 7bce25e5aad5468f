//! The target of a redirect: text with `{uri}`, `{host}`, `{path}` and `{query}` in it.
//!
//! Whoever writes a request chooses what these hold, and must not choose where the redirect leads by it. What they hold
//! cannot end the authority that the template names, nor begin one where it names none, nor end the Location field.

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::model::HostName;

/// A redirect's target, read once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// Whether the target is on this host, and must not become an address of another one.
    local: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Text as it stands, encoded already.
    Text(String),
    /// The path, and the query with its `?`, as the client sent them.
    Uri,
    /// The host, in brackets where it is an IPv6 address, without port.
    Host,
    /// The path as the client sent it.
    Path,
    /// The query as the client sent it, without its `?`.
    Query,
}

impl Template {
    /// Reads a template. Braces around anything else are text.
    pub(super) fn parse(to: &str) -> Self {
        let local = !names_host(to);
        let mut parts = Vec::new();
        let mut rest = to;
        while let Some((before, part, after)) = next_placeholder(rest) {
            push_text(&mut parts, before);
            // Behind an authority that is still open, a query would go on with the host's name or begin another.
            let written = &to[..to.len() - rest.len() + before.len()];
            if part == Part::Query && !local && authority_is_open(written, &parts) {
                push_text(&mut parts, "/");
            }
            parts.push(part);
            rest = after;
        }
        push_text(&mut parts, rest);
        Self { parts, local }
    }

    /// The target for a request. Only bytes that a URI may hold.
    pub(super) fn fill(&self, uri: &Uri, host: &HostName) -> String {
        let path = uri.path();
        let query = uri.query();
        let mut target = String::with_capacity(TARGET_CAPACITY + path.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => target.push_str(text),
                Part::Host => push_host(&mut target, host),
                Part::Path => push_path(&mut target, path),
                Part::Query => push_encoded(&mut target, query.unwrap_or_default()),
                Part::Uri => {
                    push_path(&mut target, path);
                    if let Some(query) = query {
                        target.push('?');
                        push_encoded(&mut target, query);
                    }
                }
            }
        }
        if self.local {
            keep_local(&mut target);
        }
        target
    }
}

/// Whether a template is a whole address. Without a host behind it, `https://` would take one from what follows.
fn names_host(to: &str) -> bool {
    let Some((scheme, behind)) = to.split_once("://") else {
        return false;
    };
    let begins_host = |first: char| first.is_ascii_alphanumeric() || first == '[';
    ["http", "https"].contains(&scheme)
        && (behind.starts_with("{host}") || behind.starts_with(begins_host))
}

/// The text before the first placeholder, the placeholder, and what is behind it.
fn next_placeholder(text: &str) -> Option<(&str, Part, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find('{') {
        let at = from + at;
        let known = [
            ("{uri}", Part::Uri),
            ("{host}", Part::Host),
            ("{path}", Part::Path),
            ("{query}", Part::Query),
        ];
        for (name, part) in known {
            if let Some(after) = text[at..].strip_prefix(name) {
                return Some((&text[..at], part, after));
            }
        }
        from = at + 1;
    }
    None
}

/// Whether nothing has ended the authority of an absolute target yet.
fn authority_is_open(written: &str, parts: &[Part]) -> bool {
    let text_ends_it = written
        .split_once("://")
        .is_some_and(|(_, behind)| behind.contains(['/', '?', '#']));
    let path_ends_it = parts
        .iter()
        .any(|part| matches!(part, Part::Uri | Part::Path));
    !text_ends_it && !path_ends_it
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        let mut encoded = String::new();
        push_encoded(&mut encoded, text);
        parts.push(Part::Text(encoded));
    }
}

fn push_host(target: &mut String, host: &HostName) {
    let host = host.as_str();
    if host.contains(':') {
        target.push('[');
        push_encoded(target, host);
        target.push(']');
    } else {
        push_encoded(target, host);
    }
}

/// A path begins with `/`, even that of `OPTIONS *`: it must not go on with a host's name.
fn push_path(target: &mut String, path: &str) {
    if !path.starts_with('/') {
        target.push('/');
    }
    push_encoded(target, path);
}

fn push_encoded(target: &mut String, text: &str) {
    target.extend(utf8_percent_encode(text, NOT_IN_URI));
}

/// `//host/…` is an address of another host: a local target has one slash at its beginning. (`/\host/…` would be one, too;
/// a backslash is encoded by now.)
fn keep_local(target: &mut String) {
    let beginning = target.len() - target.trim_start_matches('/').len();
    if beginning != 1 {
        target.replace_range(..beginning, "/");
    }
}

/// What a URI may not hold (RFC 3986, section 2). A backslash is among it: browsers read one as a slash. A `%` stays, as
/// what a client sends is encoded already.
const NOT_IN_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Room for most targets.
const TARGET_CAPACITY: usize = 64;
