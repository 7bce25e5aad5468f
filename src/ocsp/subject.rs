//! A certificate as OCSP sees it: who issued it, its number, and where to ask for it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use http::Uri;
use http::uri::{Authority, Scheme};
use rasn::types::{Integer, ObjectIdentifier, Oid};
use rasn_ocsp::{CertId, OcspRequest, Request, TbsRequest};
use rasn_pkix::AlgorithmIdentifier;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::response::time;

/// The SHA-256 of a certificate: its name here and on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Fingerprint([u8; 32]);

/// A certificate that can be asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(super) fingerprint: Fingerprint,
    pub(super) responder: Responder,
    pub(super) not_after: SystemTime,
    /// Its issuer's certificate.
    pub(super) issuer: CertificateDer<'static>,
    serial: Integer,
    /// Issuer and number under each hash that a responder may use.
    ids: [CertId; 2],
}

/// Where to ask, by plain http: what it says is signed, and https would need a certificate that somebody vouches for in turn
/// (RFC 6960 appendix A.1, RFC 5280 section 4.2.2.1).
#[derive(Clone, Debug)]
pub(super) struct Responder {
    pub(super) uri: Uri,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

/// Why nobody can be asked for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// It names no responder; many CAs have none any more.
    #[error("the certificate names no OCSP responder")]
    NoResponder,
    /// What it names cannot be asked.
    #[error("the certificate's OCSP responder {0:?} is no http:// address")]
    Responder(String),
    /// Issuer and signatures cannot be known without the issuer's certificate.
    #[error(
        "the certificate of its issuer ({0}) is not in the chain's file; append it, and its OCSP responses can be stapled"
    )]
    NoIssuer(String),
    /// Nobody is to be asked for a binding that shows it.
    #[error(
        "ocsp_stapling is false for a binding that shows it; leave it out there, or write true"
    )]
    Off,
    /// Something of it cannot be read.
    #[error("the certificate's {0} cannot be read")]
    Unreadable(&'static str),
}

impl Subject {
    /// What is to be known of the first certificate of a chain.
    pub fn of(chain: &[CertificateDer<'static>]) -> Result<Self, Unable> {
        let [first, issuers @ ..] = chain else {
            return Err(Unable::Unreadable("chain"));
        };
        let (_, leaf) =
            X509Certificate::from_der(first.as_ref()).map_err(|_| Unable::Unreadable("content"))?;
        let responder = responder(&leaf)?;
        // Chains in disorder are served as they are, and warned of elsewhere.
        let issuer = issuers
            .iter()
            .find(|der| is_subject(der, leaf.issuer().as_raw()))
            .ok_or_else(|| Unable::NoIssuer(leaf.issuer().to_string()))?;
        let (_, issued_by) =
            X509Certificate::from_der(issuer.as_ref()).map_err(|_| Unable::Unreadable("issuer"))?;
        let serial = serial(&leaf)?;
        let key = issued_by.public_key().subject_public_key.data.as_ref();
        let id = |oid: &'static Oid, hash: &'static digest::Algorithm| CertId {
            hash_algorithm: AlgorithmIdentifier {
                algorithm: ObjectIdentifier::from(oid),
                // NULL, as RFC 5754 section 2 and every responder writes it.
                parameters: Some(rasn::types::Any::new(vec![5, 0])),
            },
            issuer_name_hash: hashed(hash, leaf.issuer().as_raw()),
            issuer_key_hash: hashed(hash, key),
            serial_number: serial.clone(),
        };
        Ok(Self {
            fingerprint: Fingerprint::of(first),
            responder,
            not_after: time(leaf.validity().not_after.timestamp()),
            ids: [
                id(SHA1, &digest::SHA1_FOR_LEGACY_USE_ONLY),
                id(SHA256, &digest::SHA256),
            ],
            issuer: issuer.clone(),
            serial,
        })
    }

    /// The request for it. SHA-1 names the issuer, as RFC 5019 section 2.1.1 has it and every responder knows: nothing is
    /// proven by it. There is no nonce: responders make their answers beforehand.
    pub(super) fn request(&self) -> Result<Vec<u8>, rasn::error::EncodeError> {
        rasn::der::encode(&OcspRequest {
            tbs_request: TbsRequest {
                version: Integer::ZERO,
                requestor_name: None,
                request_list: vec![Request {
                    req_cert: self.ids[0].clone(),
                    single_request_extensions: None,
                }],
                request_extensions: None,
            },
            optional_signature: None,
        })
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> &[CertId; 2] {
        &self.ids
    }

    /// Whether an answer is about this certificate.
    pub(super) fn is(&self, id: &CertId) -> bool {
        // The parameters may be NULL or left out, and say nothing.
        self.ids.iter().any(|own| {
            own.hash_algorithm.algorithm == id.hash_algorithm.algorithm
                && own.issuer_name_hash == id.issuer_name_hash
                && own.issuer_key_hash == id.issuer_key_hash
        }) && self.serial == id.serial_number
    }
}

/// The responder that a certificate names: the first whose address can be asked.
fn responder(leaf: &X509Certificate<'_>) -> Result<Responder, Unable> {
    let mut named = None;
    for extension in leaf.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            continue;
        };
        for description in &access.accessdescs {
            if description.access_method.to_id_string() != OCSP {
                continue;
            }
            let GeneralName::URI(text) = &description.access_location else {
                continue;
            };
            match Responder::parse(text) {
                Some(responder) => return Ok(responder),
                None => named = named.or(Some(*text)),
            }
        }
    }
    Err(named.map_or(Unable::NoResponder, |text| {
        Unable::Responder(text.chars().take(NAMED_MAX).collect())
    }))
}

impl Responder {
    /// None for what is no http:// address of a host.
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_http = uri.scheme() == Some(&Scheme::HTTP);
        let has_user = uri.authority().map(Authority::as_str)?.contains('@');
        if !is_http || has_user {
            return None;
        }
        let host = uri.host()?.trim_matches(['[', ']']);
        Some(Self {
            host: host.into(),
            port: uri.port_u16().unwrap_or(80),
            uri,
        })
    }
}

fn is_subject(der: &CertificateDer<'_>, name: &[u8]) -> bool {
    X509Certificate::from_der(der.as_ref())
        .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == name)
}

fn serial(leaf: &X509Certificate<'_>) -> Result<Integer, Unable> {
    let bytes = leaf.raw_serial();
    let unreadable = Unable::Unreadable("serial number");
    // RFC 5280 section 4.1.2.2 allows 20 bytes; what fits one byte of length is read.
    let Ok(length @ 1..=0x7f) = u8::try_from(bytes.len()) else {
        return Err(unreadable);
    };
    rasn::der::decode(&[&[2, length], bytes].concat()).map_err(|_| unreadable)
}

pub(super) fn hashed(
    algorithm: &'static digest::Algorithm,
    bytes: &[u8],
) -> rasn::types::OctetString {
    digest::digest(algorithm, bytes).as_ref().to_vec().into()
}

impl Fingerprint {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// id-ad-ocsp (RFC 5280 section 4.2.2.1).
const OCSP: &str = "1.3.6.1.5.5.7.48.1";

const SHA1: &Oid = Oid::const_new(&[1, 3, 14, 3, 2, 26]);
const SHA256: &Oid = Oid::const_new(&[2, 16, 840, 1, 101, 3, 4, 2, 1]);

/// So much of an address is quoted.
const NAMED_MAX: usize = 200;
