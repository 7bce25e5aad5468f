//! Whom clients are taken to trust, and what they make of a chain as it is sent.
//!
//! Paths are built and signatures checked by rustls' own verifier (`webpki`), from what is sent and from nothing else.

use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;

use super::details::Details;
use super::pem;
use crate::config::TrustSource;

/// The roots that chains are to end in.
#[derive(Debug)]
pub struct Trust {
    roots: RootCertStore,
    /// The certificates of the configured file: one that is shown as it stands there needs no path.
    pinned: Vec<CertificateDer<'static>>,
    /// Why there are no roots, if there are none.
    pub fault: Option<TrustFault>,
}

/// Why no chain can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustFault {
    /// This system has no roots, for this reason.
    System(String),
    /// The configured file cannot be used, for this reason.
    File(String),
}

/// What a client makes of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leads to a root.
    Trusted,
    /// It leads to a root that lies beside it: a private CA's.
    Private,
    /// The leaf vouches for itself.
    SelfSigned,
    /// The issuer of the last one is neither sent nor trusted, and is no root: clients fetch none.
    Incomplete {
        /// Who is missing.
        issuer: String,
    },
    /// The issuer of the last one is neither sent nor trusted. It may well be a private CA's root.
    Unknown {
        /// Who that is.
        issuer: String,
    },
    /// It leads nowhere, for this reason.
    Invalid(String),
    /// There is nothing to judge by.
    Unjudged,
}

impl Verdict {
    /// Whether nothing speaks against the chain.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Trusted | Self::Private)
    }
}

impl Trust {
    /// Reads the roots.
    pub fn load(source: &TrustSource) -> Self {
        match source {
            TrustSource::System => Self::of_system(),
            TrustSource::File(file) => Self::of_file(file),
        }
    }

    fn of_system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        let fault = roots.is_empty().then(|| {
            let errors = found.errors.iter().map(ToString::to_string);
            let errors = errors.collect::<Vec<_>>().join("; ");
            TrustFault::System(errors)
        });
        Self {
            roots,
            pinned: Vec::new(),
            fault,
        }
    }

    fn of_file(file: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let (pinned, fault) = match certificates_of(file) {
            Ok(certificates) => (certificates, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        roots.add_parsable_certificates(pinned.iter().cloned());
        let fault = match fault {
            None if roots.is_empty() => Some("it holds no certificate".to_owned()),
            fault => fault,
        };
        Self {
            roots,
            pinned,
            fault: fault.map(TrustFault::File),
        }
    }

    /// The roots, for whoever asks servers by them.
    pub fn into_roots(self) -> Result<RootCertStore, TrustFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.roots),
        }
    }

    /// What a client makes of a chain.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Verdict {
        let Some(leaf) = chain.first() else {
            return Verdict::Unjudged;
        };
        if self.pinned.iter().any(|pinned| pinned == leaf) {
            return Verdict::Trusted;
        }
        let details: Vec<_> = chain
            .iter()
            .map_while(|der| Details::of(der).ok())
            .collect();
        if details.len() < chain.len() {
            return Verdict::Invalid("a certificate of the chain cannot be read".to_owned());
        }
        let now = time_for(&details);
        let error = match verify(chain, &self.roots, now) {
            Ok(()) => return Verdict::Trusted,
            Err(error) => error,
        };
        if details[0].is_self_issued() {
            return Verdict::SelfSigned;
        }
        match error {
            rustls::CertificateError::UnknownIssuer if self.fault.is_some() => Verdict::Unjudged,
            rustls::CertificateError::UnknownIssuer => no_issuer(&details),
            error => Verdict::Invalid(words(&error)),
        }
    }
}

/// Where the path ends that the leaf begins.
fn no_issuer(chain: &[Details]) -> Verdict {
    let mut last = &chain[0];
    // No more steps than there are certificates: two may name each other as their issuers.
    for _ in chain {
        match chain.iter().find(|next| last.may_come_from(next)) {
            Some(next) if !std::ptr::eq(next, last) => last = next,
            _ => break,
        }
    }
    let issuer = last.issuer.clone();
    if last.says_where && !last.is_self_issued() {
        Verdict::Incomplete { issuer }
    } else {
        Verdict::Unknown { issuer }
    }
}

/// A moment at which all of a chain is valid, near now: that something has expired is said by itself, and hides nothing else.
fn time_for(chain: &[Details]) -> UnixTime {
    let begin = chain.iter().map(|details| details.not_before).max();
    let end = chain.iter().map(|details| details.not_after).min();
    let now = SystemTime::now();
    let time = match (begin, end) {
        (Some(begin), Some(end)) if begin <= end => now.clamp(begin, end),
        _ => now,
    };
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Whether a chain leads to one of these roots.
pub(super) fn leads_to(roots: &RootCertStore, chain: &[CertificateDer<'_>]) -> bool {
    let details: Vec<_> = chain
        .iter()
        .filter_map(|der| Details::of(der).ok())
        .collect();
    !roots.is_empty() && verify(chain, roots, time_for(&details)).is_ok()
}

/// Whether a path leads from the first certificate to one of these roots through the others.
fn verify(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), rustls::CertificateError> {
    let algorithms = rustls::crypto::aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all;
    let outcome = ParsedCertificate::try_from(&chain[0]).and_then(|leaf| {
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, &chain[1..], now, algorithms)
    });
    outcome.map_err(|error| match error {
        rustls::Error::InvalidCertificate(error) => error,
        _ => rustls::CertificateError::BadEncoding,
    })
}

/// Whether the last of a chain was signed by `issuer`.
pub(super) fn is_signed_by(chain: &[CertificateDer<'_>], issuer: &CertificateDer<'_>) -> bool {
    let mut roots = RootCertStore::empty();
    if roots.add(issuer.clone()).is_err() {
        return false;
    }
    let details: Vec<_> = chain
        .iter()
        .filter_map(|der| Details::of(der).ok())
        .collect();
    // What else is wrong with the chain is wrong with it whoever signed it.
    !matches!(
        verify(chain, &roots, time_for(&details)),
        Err(rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature)
    )
}

fn words(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match error {
        E::BadSignature => "a signature in it is not its issuer's".to_owned(),
        E::UnhandledCriticalExtension => {
            "it has a critical extension that clients do not know".to_owned()
        }
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed with an algorithm that clients do not take".to_owned()
        }
        error if error.to_string().contains("CaUsedAsEndEntity") => {
            "the leaf is a CA's certificate (CA:TRUE), which clients do not take from a server"
                .to_owned()
        }
        error => format!("clients say: {error}"),
    }
}

/// The certificates of a PEM file of bounded length.
pub(super) fn certificates_of(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut pem = Vec::new();
    let read = std::fs::File::open(file)?
        .take(BUNDLE_BYTES_MAX + 1)
        .read_to_end(&mut pem)?;
    if read as u64 > BUNDLE_BYTES_MAX {
        return Err(io::Error::other("it is longer than 4 MiB"));
    }
    // The error repeats the line, which may be of anything.
    rustls_pemfile::certs(&mut &*pem)
        .collect::<Result<_, _>>()
        .map_err(|_| match pem::fault(&pem) {
            Some(fault) => io::Error::other(fault.to_string()),
            None => io::Error::other("it is no PEM that can be read"),
        })
}

/// All roots of the web are 200 KiB.
const BUNDLE_BYTES_MAX: u64 = 4 << 20;
