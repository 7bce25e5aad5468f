//! `[acme]`: the certificate authority that certificates are ordered from (RFC 8555).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{Raw, RawBinding};
use super::reader::{At, Reader, Table};
use super::wrong::{self, Wrong};
use super::{Server, defaults, keys};
use crate::model::{HostPattern, Scheme};

/// `[acme]`: where certificates are ordered (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The URL of the CA's directory.
    pub directory: String,
    /// The URL of a directory to try things out with.
    pub staging: Option<String>,
    /// Contacts of the account, as URIs.
    pub contact: Vec<String>,
    /// An account that the CA knows already (RFC 8555 section 7.3.4).
    pub eab: Option<ExternalAccount>,
    /// Which of the CA's kinds of certificate.
    pub profile: Option<String>,
    /// The kind of a certificate's key.
    pub key_type: AcmeKey,
    /// How it is shown that a name is ours.
    pub challenge: AcmeChallenge,
    /// The command that sets TXT records, and its first arguments.
    pub dns_hook: Vec<String>,
    /// How long a TXT record takes to reach the CA's resolvers.
    pub dns_wait: Duration,
    /// Roots to trust for the directory itself, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Where everything of this CA is kept.
    pub folder: PathBuf,
}

impl Acme {
    /// The folder of the certificates in service.
    pub fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// The same orders at the directory to try things out with; none where none is known.
    pub fn to_staging(&self) -> Option<Self> {
        let directory = self.staging.clone()?;
        let name = self.folder.file_name()?.to_string_lossy().into_owned();
        Some(Self {
            // Apart even where the two directories are one: nothing of a rehearsal may end up in service.
            folder: self.folder.with_file_name(format!("staging-of-{name}")),
            directory,
            ..self.clone()
        })
    }
}

/// An account that the CA knows already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// What the CA calls it.
    pub key_id: String,
    /// The file of the HMAC key, in base64url.
    pub key_file: PathBuf,
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeKey {
    /// ECDSA, P-256
    P256,
    /// ECDSA, P-384
    P384,
    /// RSA, 2048 bits
    Rsa2048,
}

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A file on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record (RFC 8555 section 8.4).
    Dns01,
}

/// As RFC 8555 and RFC 8737 name it.
impl fmt::Display for AcmeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        })
    }
}

/// What `certificate` says where certificates are ordered.
pub(super) const ACME: &str = "acme";

/// `[acme]` as it is written.
pub(super) struct RawAcme<'t> {
    table: Table<'t>,
    directory: String,
    staging: Option<String>,
    contact: Vec<String>,
    terms_agreed: bool,
    eab: Option<ExternalAccount>,
    profile: Option<String>,
    key_type: AcmeKey,
    challenge: Option<At<AcmeChallenge>>,
    dns_hook: Vec<String>,
    dns_wait: Duration,
    ca: Option<PathBuf>,
}

pub(super) fn read<'t>(file: &Table<'t>) -> Option<RawAcme<'t>> {
    let table = file.table("acme", &keys::ACME)?;
    let source = table.reader.source;
    let key_types = [
        ("p256", AcmeKey::P256),
        ("p384", AcmeKey::P384),
        ("rsa2048", AcmeKey::Rsa2048),
    ];
    let challenges = [
        ("http-01", AcmeChallenge::Http01),
        ("tls-alpn-01", AcmeChallenge::TlsAlpn01),
        ("dns-01", AcmeChallenge::Dns01),
    ];
    let written = table.read("directory", |value| {
        directory("directory", wrong::text("directory", value)?)
    });
    let directory_url = written.map_or_else(|| LETS_ENCRYPT.to_owned(), |at| at.value);
    let staging = table.read("staging", |value| {
        directory("staging", wrong::text("staging", value)?)
    });
    Some(RawAcme {
        staging: match staging {
            Some(at) => Some(at.value),
            None if directory_url == LETS_ENCRYPT => Some(LETS_ENCRYPT_STAGING.to_owned()),
            None => None,
        },
        directory: directory_url,
        contact: contacts(&table),
        terms_agreed: table.boolean("terms_agreed", defaults::ACME_TERMS_AGREED),
        eab: table.table("eab", &keys::EAB).map(|table| ExternalAccount {
            key_id: text(table.required("key_id", "\"what the CA calls the account\"")),
            key_file: source.resolve(text(
                table.required("key_file", "\"../secrets/acme-eab.key\""),
            )),
        }),
        profile: table.text("profile").map(|at| at.value.to_owned()),
        key_type: table
            .one_of("key_type", &key_types)
            .map_or(AcmeKey::P256, |at| at.value),
        challenge: table.one_of("challenge", &challenges),
        dns_hook: hook(&table),
        dns_wait: table.duration("dns_wait", Duration::ZERO..=HOUR, defaults::ACME_DNS_WAIT),
        ca: table.text("ca").map(|at| source.resolve(at.value)),
        table,
    })
}

fn text(at: Option<At<&str>>) -> String {
    at.map_or(String::new(), |at| at.value.to_owned())
}

/// One of the words, or an https URL: an account's key must not be shown to whoever stands in the middle.
fn directory(key: &str, text: &str) -> Result<String, Wrong> {
    match text {
        "letsencrypt" => return Ok(LETS_ENCRYPT.to_owned()),
        "letsencrypt-staging" => return Ok(LETS_ENCRYPT_STAGING.to_owned()),
        _ => {}
    }
    let sound = text.parse::<http::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
    });
    if sound {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::new(
        "unknown-value",
        format!("`{key}` cannot be {text:?}: it is no https URL"),
    );
    Err(wrong.help(
        "write \"letsencrypt\", \"letsencrypt-staging\", or the URL of the CA's ACME directory, as in \
         \"https://ca.example.com/acme/directory\"",
    ))
}

/// Contacts are URIs (RFC 8555 section 7.1.2); a bare address means `mailto:`.
fn contacts(table: &Table<'_>) -> Vec<String> {
    let written = table.strings("contact").into_iter().flat_map(|at| at.value);
    let mut contacts = Vec::new();
    for at in written {
        if !at.value.contains('@') || at.value.contains([' ', ',', '?']) {
            let message = format!("`contact` cannot be {:?}", at.value);
            let wrong = Wrong::new("unknown-value", message);
            let help = "write one address for each, as in [\"admin@example.com\"]";
            table.reader.wrong(&at.span, wrong.help(help));
        } else if at.value.starts_with("mailto:") {
            contacts.push(at.value.to_owned());
        } else {
            contacts.push(format!("mailto:{}", at.value));
        }
    }
    contacts
}

/// A program and its first arguments. With a slash in it the program is a file like every other of the configuration; without,
/// it is looked for in the PATH.
fn hook(table: &Table<'_>) -> Vec<String> {
    let written = table
        .strings("dns_hook")
        .into_iter()
        .flat_map(|at| at.value);
    let mut argv: Vec<String> = written.map(|at| at.value.to_owned()).collect();
    if let Some(program) = argv.first_mut()
        && program.contains('/')
    {
        let file = table.reader.source.resolve(&*program);
        *program = file.to_string_lossy().into_owned();
    }
    argv
}

/// Settles `[acme]` with what the bindings want of it.
pub(super) fn check(raw: &Raw<'_>, reader: &Reader<'_>) -> Option<Acme> {
    for name in raw.certificates.iter().filter_map(|c| c.name.as_ref()) {
        refuse_name(name, reader);
    }
    let users: Vec<_> = raw.bindings.iter().filter(|b| uses_acme(b)).collect();
    let Some(acme) = &raw.acme else {
        if let Some(first) = users.first().and_then(|b| b.certificate.as_ref()) {
            let message = "`certificate = \"acme\"` orders certificates, and there is no [acme]";
            let found = reader.error("acme-missing", &first.span, message);
            reader.report(found.help(
                "add [acme] with `terms_agreed = true` and `contact = [\"you@example.com\"]`; docs/acme.md begins with it",
            ));
        }
        return None;
    };
    if users.is_empty() && reader.is_whole() {
        let message = "no binding has `certificate = \"acme\"`, and nothing is ordered";
        reader.report(reader.warning("unused-acme", &acme.table.span, message));
    }
    if !acme.terms_agreed && !users.is_empty() {
        let message = "a CA issues certificates only to those who agree to its terms of service";
        let found = reader.error("acme-terms", &acme.table.span, message);
        reader.report(found.help("read the CA's terms, and write `terms_agreed = true` in [acme]"));
    }
    let challenge = acme
        .challenge
        .as_ref()
        .map_or_else(|| fitting(acme, raw), |at| at.value);
    if challenge == AcmeChallenge::Dns01 && acme.dns_hook.is_empty() {
        let span = acme
            .challenge
            .as_ref()
            .map_or(&acme.table.span, |at| &at.span);
        let found = reader.error(
            "acme-dns-hook",
            span,
            "dns-01 needs a command that sets TXT records",
        );
        reader.report(found.help(
            "write `dns_hook = [\"/etc/portunus/dns-hook\"]`; docs/acme.md says how it is called",
        ));
    }
    let any_http = raw.bindings.iter().any(|b| b.scheme == Scheme::Http);
    if challenge == AcmeChallenge::Http01 && !any_http && reader.is_whole() {
        let span = (acme.challenge.as_ref()).map_or(&acme.table.span, |at| &at.span);
        let message = "http-01 is asked on port 80, and no binding is http";
        let found = reader.warning("acme-no-http", span, message);
        reader.report(found.help(
            "add a binding with `protocol = \"http\"` and `hostname = \"*\"`, or write `challenge = \"tls-alpn-01\"`",
        ));
    }
    for binding in &users {
        check_name(binding, challenge, reader);
    }
    Some(Acme {
        directory: acme.directory.clone(),
        staging: acme.staging.clone(),
        contact: acme.contact.clone(),
        eab: acme.eab.clone(),
        profile: acme.profile.clone(),
        key_type: acme.key_type,
        challenge,
        dns_hook: acme.dns_hook.clone(),
        dns_wait: acme.dns_wait,
        ca: acme.ca.clone(),
        folder: folder(&raw.server, &acme.directory),
    })
}

/// Where ordered certificates are served from.
pub(super) fn certificates(raw: &Raw<'_>) -> PathBuf {
    let directory = raw.acme.as_ref().map_or("", |acme| &acme.directory);
    folder(&raw.server, directory).join("certificates")
}

/// Whether a binding's certificate is ordered.
pub(super) fn uses_acme(binding: &RawBinding<'_>) -> bool {
    binding.scheme == Scheme::Https
        && (binding.certificate.as_ref()).is_some_and(|at| at.value == ACME)
}

/// The challenge that can be met with what is there: a hook is configured for its use, port 80 is where http-01 is asked.
fn fitting(acme: &RawAcme<'_>, raw: &Raw<'_>) -> AcmeChallenge {
    let port = |binding: &RawBinding<'_>| {
        (binding.port.as_ref()).map_or(u64::from(binding.scheme.default_port()), |at| at.value)
    };
    if !acme.dns_hook.is_empty() {
        AcmeChallenge::Dns01
    } else if (raw.bindings.iter()).any(|b| b.scheme == Scheme::Http && port(b) == 80) {
        AcmeChallenge::Http01
    } else {
        AcmeChallenge::TlsAlpn01
    }
}

/// What a CA can be asked for: one name that stands in the public tree, or a wildcard whose parent's zone we may write to.
fn check_name(binding: &RawBinding<'_>, challenge: AcmeChallenge, reader: &Reader<'_>) {
    let Some(host) = &binding.hostname else {
        return;
    };
    let refuse = |code: &'static str, message: String, help: &'static str| {
        let found = reader.error(code, &host.span, message);
        reader.report(found.help(help));
    };
    match &host.value {
        HostPattern::Exact(name) if name.ip().is_some() => refuse(
            "acme-name",
            format!("no certificate can be ordered for {name}, which is an address"),
            "write the binding's host name, or give it a certificate of its own",
        ),
        HostPattern::Exact(name) if is_local(name.as_str()) => refuse(
            "acme-name",
            format!("no CA issues certificates for {name}, which is each machine's own name"),
            "leave `certificate` out: `portunus run` makes a development certificate",
        ),
        HostPattern::Exact(_) => {}
        HostPattern::Wildcard(_) if challenge == AcmeChallenge::Dns01 => {}
        HostPattern::Wildcard(parent) => refuse(
            "acme-wildcard",
            format!(
                "a certificate for *.{parent} can be had by dns-01 alone, and `challenge` is another"
            ),
            "write `challenge = \"dns-01\"` and a `dns_hook` in [acme], or a binding for each name",
        ),
        HostPattern::Any | HostPattern::Strong => refuse(
            "acme-name",
            "a certificate is ordered for names, and this binding takes every host".to_owned(),
            "write a binding for each name, and leave this one its own certificate",
        ),
    }
}

fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Where everything of one CA is kept: accounts and limits of one are nothing to another.
pub(super) fn folder(server: &Server, directory: &str) -> PathBuf {
    let place = directory.strip_prefix("https://").unwrap_or(directory);
    let name: String = (place.chars())
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
            _ => '_',
        })
        .collect();
    server.state_dir.join("acme").join(name)
}

/// `[[certificate]]` may not take the word.
fn refuse_name(name: &At<&str>, reader: &Reader<'_>) {
    if name.value == ACME {
        let message =
            "no certificate may have the name \"acme\", which stands for those that are ordered";
        let found = reader.error("reserved-name", &name.span, message);
        reader.report(found.help("give it another name"));
    }
}

/// <https://letsencrypt.org/docs/acme-protocol-updates/>, <https://letsencrypt.org/docs/staging-environment/>
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

const HOUR: Duration = Duration::from_secs(3600);
