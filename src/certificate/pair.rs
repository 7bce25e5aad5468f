//! One certificate: read from its files, checked against its key, and what a person wants to know of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::compress::CompressionCache;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::Arranged;
use super::details::{self, Details};
use super::error::CertificateError;
use super::files::{Content, Files};
use super::keys::private_key;
use super::staple::Staple;
use super::{pem, pkcs12};
use crate::config::is_pkcs12;
use crate::model::{HostName, certificate_name_covers};

/// A certificate that can be shown.
#[derive(Debug)]
pub struct Certificate {
    /// The chain and its key, as rustls signs with them.
    pub key: Arc<CertifiedKey>,
    /// The file of the chain.
    pub file: PathBuf,
    /// The names that it covers, exact or `*.parent`, lower-cased; addresses as text.
    pub covers: Arc<[Box<str>]>,
    /// Who issued it.
    pub issuer: String,
    /// Whether it is its own issuer: nobody trusts it who was not told to.
    pub is_self_signed: bool,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends to be valid.
    pub not_after: SystemTime,
    /// What is wrong with the chain, if anything.
    pub chain_fault: Option<ChainFault>,
    /// Its chain in the forms that it was compressed to (RFC 8879): as long as the certificate is the same, each is made once.
    pub compressed: Arc<CompressionCache>,
    /// What it is shown with.
    pub(super) staple: Staple,
    pub(super) chain: Arranged,
    /// What its leaf says, once somebody wanted to know: every look at all certificates asks for it again.
    leaf: OnceLock<Option<Details>>,
    pub(super) must_staple: OnceLock<bool>,
}

/// What is wrong with a chain that can be served all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// The leaf's issuer is not there, and the leaf says where to fetch it: clients that do not fetch will fail.
    Incomplete,
    /// A certificate is not followed by its issuer.
    Order,
}

impl Certificate {
    /// Makes it of what its files hold. The key may stand in the chain's own file.
    pub fn read(files: &Files, content: &Content) -> Result<Self, CertificateError> {
        let bytes = content.chain(files)?;
        if is_pkcs12(&files.chain) {
            let (certificates, key) = pkcs12::open(&files.chain, bytes, &content.password()?)?;
            return Self::build(&files.chain, &files.chain, certificates, &key);
        }
        let certificates = chain_of(&files.chain, bytes)?;
        let password = || content.password();
        let (key_file, key) = match private_key(&files.chain, bytes, password)? {
            Some(key) => (&files.chain, key),
            None => {
                let key = private_key(&files.key, content.key(files)?, password)?;
                let key = key.ok_or_else(|| CertificateError::NoKey(files.key.clone()))?;
                (&files.key, key)
            }
        };
        Self::build(&files.chain, key_file, certificates, &key)
    }

    pub(super) fn build(
        chain: &Path,
        key_file: &Path,
        certificates: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let broken = |what: String| CertificateError::Broken {
            file: chain.into(),
            what,
        };
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).map_err(
            |error| match weakness(&certificates) {
                Some(what) => CertificateError::WeakKey {
                    file: key_file.into(),
                    what,
                },
                None => broken_key(key_file, &error),
            },
        )?;
        let certified = CertifiedKey::new(certificates, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(mismatch(chain, key_file, &certified));
            }
            Err(error) => return Err(broken(error.to_string())),
        }
        let parsed = parse_chain(&certified.cert).map_err(broken)?;
        let leaf = &parsed[0];
        Ok(Self {
            file: chain.into(),
            covers: names(leaf).into(),
            issuer: leaf.issuer().to_string(),
            is_self_signed: leaf.issuer() == leaf.subject(),
            not_before: time(leaf.validity().not_before.timestamp()),
            not_after: time(leaf.validity().not_after.timestamp()),
            chain_fault: chain_fault(&parsed),
            key: Arc::new(certified),
            staple: Staple::default(),
            compressed: Arc::new(CompressionCache::new(COMPRESSED_MAX)),
            chain: Arranged::default(),
            leaf: OnceLock::new(),
            must_staple: OnceLock::new(),
        })
    }

    /// Whether a client that asked for this host would accept the certificate's names.
    pub fn covers(&self, host: &HostName) -> bool {
        self.covers
            .iter()
            .any(|name| certificate_name_covers(name, host))
    }

    /// Whether this is the very same certificate.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// Whether it is valid at that moment.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// What its leaf says; none where that cannot be read.
    pub fn leaf(&self) -> Option<&Details> {
        let read = || Details::of(self.key.cert.first()?).ok();
        self.leaf.get_or_init(read).as_ref()
    }

    /// The SHA-256 of the leaf, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let read = self.leaf();
        read.map_or_else(
            || details::fingerprint(&[]),
            |leaf| leaf.fingerprint.clone(),
        )
    }
}

fn chain_of(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = rustls_pemfile::certs(&mut &*pem)
        .collect::<Result<_, _>>()
        // The error repeats the line, which may be of a key.
        .map_err(|_| CertificateError::Broken {
            file: file.into(),
            what: pem::fault(pem).map_or_else(
                || "it is no PEM that can be read".to_owned(),
                |fault| fault.to_string(),
            ),
        })?;
    if chain.is_empty() {
        return Err(no_certificate(file, pem));
    }
    for (number, der) in chain.iter().enumerate() {
        if let Err(error) = Details::of(der) {
            let line = pem::line_of_certificate(pem, number).unwrap_or_default();
            return Err(CertificateError::Broken {
                file: file.into(),
                what: format!("the certificate that begins on line {line} cannot be read: {error}"),
            });
        }
    }
    Ok(chain)
}

/// What is said of a file without a certificate: what it holds instead is mostly another file by mistake.
fn no_certificate(file: &Path, pem: &[u8]) -> CertificateError {
    let what = match (pem::fault(pem), &*pem::labels(pem)) {
        (Some(fault), _) => fault.to_string(),
        (None, []) => return CertificateError::NoCertificate(file.into()),
        (None, labels) => format!("it holds no certificate but {}", labels.join(", ")),
    };
    CertificateError::Broken {
        file: file.into(),
        what,
    }
}

/// The key is not the first certificate's: is it that of another one in the file?
fn mismatch(chain: &Path, key: &Path, pair: &CertifiedKey) -> CertificateError {
    let is_of = |der: &CertificateDer<'static>| {
        let one = CertifiedKey::new(vec![der.clone()], Arc::clone(&pair.key));
        one.keys_match().is_ok()
    };
    let (chain, key) = (chain.into(), key.into());
    match pair.cert.iter().position(is_of) {
        Some(place) => CertificateError::LeafNotFirst {
            chain,
            place: place + 1,
        },
        None => CertificateError::KeyMismatch { chain, key },
    }
}

/// What is odd in the key of the first certificate.
fn weakness(chain: &[CertificateDer<'_>]) -> Option<String> {
    let leaf = Details::of(chain.first()?).ok()?;
    let fault = leaf.key.fault()?;
    Some(format!("it is {}, and {fault}", leaf.key))
}

fn broken_key(file: &Path, error: &rustls::Error) -> CertificateError {
    CertificateError::Broken {
        file: file.into(),
        what: format!("the private key in it cannot be read: {error}"),
    }
}

fn parse_chain<'a>(
    chain: &'a [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'a>>, String> {
    chain
        .iter()
        .enumerate()
        .map(|(index, der)| {
            X509Certificate::from_der(der)
                .map(|(_, certificate)| certificate)
                .map_err(|error| {
                    format!(
                        "certificate {} of the file cannot be read: {error}",
                        index + 1
                    )
                })
        })
        .collect()
}

/// The names in the subject alternative name extension; clients have long ignored the common name (RFC 9525).
fn names(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect()
}

/// An address as a certificate holds it: 4 or 16 bytes (RFC 5280 section 4.2.1.6).
fn address(bytes: &[u8]) -> Option<Box<str>> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(ip.to_string().into())
}

fn chain_fault(chain: &[X509Certificate<'_>]) -> Option<ChainFault> {
    if chain
        .windows(2)
        .any(|pair| pair[0].issuer() != pair[1].subject())
    {
        return Some(ChainFault::Order);
    }
    let leaf = &chain[0];
    // A private CA may well issue leaves from its root; one whose leaves say where their issuer is fetched does not.
    let says_where = leaf.extensions().iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(access)
            if access.accessdescs.iter().any(|d| d.access_method.to_id_string() == CA_ISSUERS))
    });
    (chain.len() == 1 && leaf.issuer() != leaf.subject() && says_where)
        .then_some(ChainFault::Incomplete)
}

pub(super) fn time(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// id-ad-caIssuers (RFC 5280 section 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// brotli and zlib, with a staple and without.
const COMPRESSED_MAX: usize = 4;
