//! The target of a redirect: text with `{uri}`, `{host}`, `{path}` and `{query}` in it.
//!
//! Whoever writes a request chooses what these hold, and must not choose where the redirect leads by it. What they hold
//! cannot end the authority that the template names, nor begin one where it names none, nor end the Location field.

use http::Uri;

use crate::model::HostName;
use crate::model::template::{self, Part, Placeholder, Target, next_placeholder, push_encoded};

/// A redirect's target, read once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    template: template::Template,
    /// Whether the target is on this host, and must not become an address of another one.
    local: bool,
}

impl Template {
    /// Reads a template. Braces around anything else are text.
    pub(super) fn parse(to: &str) -> Self {
        let local = !names_host(to);
        let mut parts = Vec::new();
        let mut rest = to;
        while let Some((before, placeholder, after)) = next_placeholder(rest, &KNOWN) {
            push_text(&mut parts, before);
            // Behind an authority that is still open, a query would go on with the host's name or begin another.
            let written = &to[..to.len() - rest.len() + before.len()];
            if placeholder == Placeholder::Query && !local && authority_is_open(written, &parts) {
                push_text(&mut parts, "/");
            }
            parts.push(Part::Value(placeholder));
            rest = after;
        }
        push_text(&mut parts, rest);
        Self {
            template: template::Template::of(parts),
            local,
        }
    }

    /// The target for a request. Only bytes that a URI may hold.
    pub(super) fn fill(&self, uri: &Uri, host: &HostName) -> String {
        let mut target = self.template.fill(&Target { uri, host });
        if self.local {
            keep_local(&mut target);
        }
        target
    }
}

/// What is filled in.
const KNOWN: [Placeholder; 4] = [
    Placeholder::Uri,
    Placeholder::Host,
    Placeholder::Path,
    Placeholder::Query,
];

/// Whether a template is a whole address. Without a host behind it, `https://` would take one from what follows.
fn names_host(to: &str) -> bool {
    let Some((scheme, behind)) = to.split_once("://") else {
        return false;
    };
    let begins_host = |first: char| first.is_ascii_alphanumeric() || first == '[';
    ["http", "https"].contains(&scheme)
        && (behind.starts_with("{host}") || behind.starts_with(begins_host))
}

/// Whether nothing has ended the authority of an absolute target yet.
fn authority_is_open(written: &str, parts: &[Part]) -> bool {
    let text_ends_it = written
        .split_once("://")
        .is_some_and(|(_, behind)| behind.contains(['/', '?', '#']));
    let ends_it = [Placeholder::Uri, Placeholder::Path].map(Part::Value);
    !text_ends_it && !parts.iter().any(|part| ends_it.contains(part))
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        let mut encoded = String::new();
        push_encoded(&mut encoded, text);
        parts.push(Part::Text(encoded));
    }
}

/// `//host/…` is an address of another host: a local target has one slash at its beginning. (`/\host/…` would be one, too;
/// a backslash is encoded by now.)
fn keep_local(target: &mut String) {
    let beginning = target.len() - target.trim_start_matches('/').len();
    if beginning != 1 {
        target.replace_range(..beginning, "/");
    }
}
