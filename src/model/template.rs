//! Text with placeholders in it: `https://{host}{uri}`.
//!
//! Whoever writes a request chooses what many of these hold. They are filled in with nothing but visible ASCII that a URI may
//! hold, so that no value ends a field, begins another one, or closes a quoted text.

use std::fmt::Write as _;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{ClientAddr, Facts, HostName, Protocol, Scheme};

/// Text with placeholders, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// What the request or its answer says.
    Value(Placeholder),
}

macro_rules! placeholders {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// What a template is filled in with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Placeholder { $($(#[doc = $doc])* $name,)* }

        impl Placeholder {
            /// Every placeholder, in the order of this file.
            pub const ALL: &'static [Placeholder] = &[$(Placeholder::$name,)*];

            /// Its name, without the braces.
            pub fn as_str(self) -> &'static str {
                match self { $(Placeholder::$name => $text,)* }
            }
        }
    };
}

placeholders! {
    /// The client's address.
    Client = "client";
    /// The host asked for, without port; an IPv6 address in brackets.
    Host = "host";
    /// The method.
    Method = "method";
    /// The path as the client sent it.
    Path = "path";
    /// The port asked for: as the client named it, or its scheme's own.
    Port = "port";
    /// The version of HTTP: `http/1.1`, `h2`, `h3`.
    Protocol = "protocol";
    /// The query as the client sent it, without its `?`.
    Query = "query";
    /// What `X-Request-Id` says; empty where there is none.
    RequestId = "request_id";
    /// `http` or `https`.
    Scheme = "scheme";
    /// The server name of the TLS handshake; empty without.
    Sni = "sni";
    /// The path, and the query with its `?`, as the client sent them.
    Uri = "uri";
    /// The response's status; for error pages.
    Status = "status";
    /// The status' name; for error pages.
    Reason = "reason";
}

impl Placeholder {
    /// Those that a request fills in.
    pub fn of_requests() -> impl Iterator<Item = Self> {
        let of_answers = |it: &Self| matches!(it, Self::Status | Self::Reason);
        Self::ALL.iter().copied().filter(move |it| !of_answers(it))
    }
}

/// What placeholders stand for.
pub trait Values {
    /// Writes what a placeholder stands for, encoded.
    fn write(&self, placeholder: Placeholder, text: &mut String);
}

impl Template {
    /// Reads text in which these are placeholders. Braces around anything else are text.
    pub fn parse(text: &str, known: &[Placeholder]) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, placeholder, after)) = next_placeholder(rest, known) {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Value(placeholder));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Self { parts }
    }

    /// A template of these parts.
    pub fn of(parts: Vec<Part>) -> Self {
        Self { parts }
    }

    /// Whether there is nothing to fill in.
    pub fn is_fixed(&self) -> bool {
        (self.parts.iter()).all(|part| matches!(part, Part::Text(_)))
    }

    /// The text, filled in.
    pub fn fill(&self, values: &impl Values) -> String {
        let mut text = String::with_capacity(FILLED_CAPACITY);
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Value(placeholder) => values.write(*placeholder, &mut text),
            }
        }
        text
    }
}

/// The text before the first placeholder, the placeholder, and what is behind it.
pub fn next_placeholder<'t>(
    text: &'t str,
    known: &[Placeholder],
) -> Option<(&'t str, Placeholder, &'t str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find('{') {
        let at = from + at;
        let found = known.iter().find_map(|placeholder| {
            let after = text[at + 1..].strip_prefix(placeholder.as_str())?;
            Some((*placeholder, after.strip_prefix('}')?))
        });
        if let Some((placeholder, after)) = found {
            return Some((&text[..at], placeholder, after));
        }
        from = at + 1;
    }
    None
}

/// What a request says, as far as it is known, and its answer where there is one.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Where the client is.
    pub client: ClientAddr,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The server name of the handshake.
    pub sni: Option<&'a str>,
    /// What `X-Request-Id` says.
    pub request_id: Option<&'a str>,
    /// What it was spoken in.
    pub protocol: Protocol,
    /// The host asked for.
    pub host: Option<&'a HostName>,
    /// The port that the client named.
    pub host_port: Option<u16>,
    /// The target as the client sent it.
    pub target: Option<&'a PathAndQuery>,
    /// The method.
    pub method: Option<&'a Method>,
    /// The answer's status.
    pub status: Option<StatusCode>,
}

impl<'a> Said<'a> {
    /// What a request says that was placed.
    pub fn by(facts: &'a Facts, method: &'a Method) -> Self {
        Self {
            client: facts.client(),
            scheme: facts.scheme(),
            sni: facts.connection.sni(),
            request_id: facts.request_id(),
            protocol: facts.protocol,
            host: Some(&facts.host),
            host_port: facts.host_port,
            target: Some(facts.path.target()),
            method: Some(method),
            status: None,
        }
    }

    fn write_target(&self, placeholder: Placeholder, text: &mut String) {
        let Some(target) = self.target else { return };
        match placeholder {
            Placeholder::Path => push_path(text, target.path()),
            Placeholder::Query => push_encoded(text, target.query().unwrap_or_default()),
            _ => push_uri(text, target.path(), target.query()),
        }
    }
}

impl Values for Said<'_> {
    fn write(&self, placeholder: Placeholder, text: &mut String) {
        match placeholder {
            Placeholder::Client => say(text, self.client.ip()),
            Placeholder::Host => {
                if let Some(host) = self.host {
                    push_host(text, host);
                }
            }
            Placeholder::Method => {
                push_encoded(text, self.method.map_or("", Method::as_str));
            }
            Placeholder::Port => {
                let port = self.host_port;
                say(text, port.unwrap_or(self.scheme.default_port()));
            }
            Placeholder::Protocol => text.push_str(self.protocol.as_str()),
            Placeholder::Scheme => text.push_str(self.scheme.as_str()),
            Placeholder::RequestId => push_encoded(text, self.request_id.unwrap_or("")),
            Placeholder::Sni => push_encoded(text, self.sni.unwrap_or("")),
            Placeholder::Path | Placeholder::Query | Placeholder::Uri => {
                self.write_target(placeholder, text);
            }
            Placeholder::Status => {
                text.push_str(self.status.as_ref().map_or("", StatusCode::as_str))
            }
            Placeholder::Reason => {
                text.push_str(
                    self.status
                        .and_then(|it| it.canonical_reason())
                        .unwrap_or(""),
                );
            }
        }
    }
}

/// A target, and the host that it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The target.
    pub uri: &'a Uri,
    /// The host.
    pub host: &'a HostName,
}

impl Values for Target<'_> {
    fn write(&self, placeholder: Placeholder, text: &mut String) {
        match placeholder {
            Placeholder::Host => push_host(text, self.host),
            Placeholder::Path => push_path(text, self.uri.path()),
            Placeholder::Query => push_encoded(text, self.uri.query().unwrap_or_default()),
            Placeholder::Uri => push_uri(text, self.uri.path(), self.uri.query()),
            _ => {}
        }
    }
}

fn say(text: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{value}");
}

fn push_host(text: &mut String, host: &HostName) {
    let host = host.as_str();
    if host.contains(':') {
        text.push('[');
        push_encoded(text, host);
        text.push(']');
    } else {
        push_encoded(text, host);
    }
}

/// A path begins with `/`, even that of `OPTIONS *`: it must not go on with a host's name.
fn push_path(text: &mut String, path: &str) {
    if !path.starts_with('/') {
        text.push('/');
    }
    push_encoded(text, path);
}

fn push_uri(text: &mut String, path: &str, query: Option<&str>) {
    push_path(text, path);
    if let Some(query) = query {
        text.push('?');
        push_encoded(text, query);
    }
}

/// Writes text in which nothing stands that a URI may not hold.
pub fn push_encoded(text: &mut String, plain: &str) {
    text.extend(utf8_percent_encode(plain, NOT_IN_URI));
}

/// What a URI may not hold (RFC 3986, section 2). A backslash is among it: browsers read one as a slash. A `%` stays, as
/// what a client sends is encoded already.
pub(super) const NOT_IN_URI: &AsciiSet = &CONTROLS
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

/// Most filled texts fit.
const FILLED_CAPACITY: usize = 64;
