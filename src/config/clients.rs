//! `client_certificates`: what an https binding asks of the certificates of its clients.

use std::fmt;
use std::path::PathBuf;

use toml::de::DeValue;

use super::reader::{At, Table};
use super::{defaults, keys};

/// What an https binding asks of the certificates of its clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificates {
    /// Whether a client may do without.
    pub mode: ClientMode,
    /// The CAs whose certificates are taken: PEM, or DER of one.
    pub ca: PathBuf,
    /// What these CAs have revoked: PEM or DER, of several lists each.
    pub crl: Vec<PathBuf>,
    /// Certificates between the client's own and one of the CAs.
    pub depth: usize,
    /// What becomes of a certificate of which no list says anything, where there are lists.
    pub crl_missing: Doubt,
    /// What becomes of a certificate whose list is out of date.
    pub crl_expired: Doubt,
}

/// Whether a client may do without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientMode {
    /// It may; one that it shows must be good.
    Request,
    /// It may not.
    Require,
}

/// What is done in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The certificate is refused.
    Refuse,
    /// The certificate is taken.
    Accept,
}

/// What of a client's certificate a proxy tells its upstreams (RFC 9440).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFields {
    /// Nothing.
    None,
    /// The certificate, in `Client-Cert`.
    Leaf,
    /// The certificates that came with it too, in `Client-Cert-Chain`.
    Chain,
}

/// One sentence, which two bindings have in common only where they ask for the same.
impl fmt::Display for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ClientMode::Request => "requested",
            ClientMode::Require => "required",
        };
        write!(f, "{mode}: issued by a CA of {:?}", self.ca)?;
        write!(f, " by way of {} others at most", self.depth)?;
        for (index, crl) in self.crl.iter().enumerate() {
            let link = if index == 0 {
                ", not revoked by"
            } else {
                " or"
            };
            write!(f, "{link} {crl:?}")?;
        }
        if self.crl.is_empty() {
            return Ok(());
        }
        let taken = |doubt| match doubt {
            Doubt::Refuse => "refused",
            Doubt::Accept => "taken",
        };
        write!(
            f,
            "; without a list {}, with one out of date {}",
            taken(self.crl_missing),
            taken(self.crl_expired)
        )
    }
}

/// Reads the table `client_certificates` of `[tls]` or of a binding; inner none: nothing is asked. Where it is wrong, that is
/// reported.
pub(super) fn read(table: &Table<'_>) -> Option<At<Option<ClientCertificates>>> {
    let table = table.table("client_certificates", &keys::CLIENT_CERTIFICATES)?;
    let modes = [
        ("off", None),
        ("request", Some(ClientMode::Request)),
        ("require", Some(ClientMode::Require)),
    ];
    table.require("mode", "\"require\"");
    let mode = table.one_of("mode", &modes).and_then(|mode| mode.value);
    if mode.is_some() {
        table.require("ca", "\"../clients-ca.pem\"");
    }
    let resolve = |at: &At<&str>| table.reader.source.resolve(at.value);
    let ca = table.text("ca");
    let crl = crl(&table);
    let doubts = [("refuse", Doubt::Refuse), ("accept", Doubt::Accept)];
    let doubt =
        |key, default| (table.one_of(key, &doubts)).map_or(default, |doubt: At<Doubt>| doubt.value);
    let asked = mode.map(|mode| ClientCertificates {
        mode,
        ca: ca.as_ref().map(resolve).unwrap_or_default(),
        crl: crl.iter().map(resolve).collect(),
        depth: table.count("depth", 0..=DEPTH_MAX, defaults::CLIENT_DEPTH),
        crl_missing: doubt("crl_missing", defaults::CRL_MISSING),
        crl_expired: doubt("crl_expired", defaults::CRL_EXPIRED),
    });
    Some(At {
        value: asked,
        span: table.span,
    })
}

/// One file, or several.
fn crl<'t>(table: &Table<'t>) -> Vec<At<&'t str>> {
    match table.value("crl").map(|value| value.get_ref()) {
        None => Vec::new(),
        Some(DeValue::Array(_)) => table.strings("crl").map_or(Vec::new(), |at| at.value),
        Some(_) => table.text("crl").into_iter().collect(),
    }
}

/// Path building goes no further (webpki's own bound).
const DEPTH_MAX: u64 = 6;
