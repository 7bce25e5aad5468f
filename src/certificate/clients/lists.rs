//! Lists of revoked certificates (RFC 5280 section 5).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::{ClientCa, ClientCaError, acceptable, distinguished, is_pem};
use crate::certificate::pair::time;

/// A list of revoked certificates.
#[derive(Debug)]
pub struct RevocationList {
    /// As it was read.
    pub der: CertificateRevocationListDer<'static>,
    /// Where it was read.
    pub file: PathBuf,
    /// The CA that it is of, as RFC 4514 writes it.
    pub issuer: String,
    /// When it was made.
    pub this_update: SystemTime,
    /// When the next one is due.
    pub next_update: SystemTime,
    /// Whether its CA is one of the binding's. The list of another is signed by nobody that is known here.
    pub is_of_a_ca: bool,
}

/// Reads the lists of a file, and checks the signatures of those whose CA is known: a list that would make a verifier refuse
/// every certificate is not taken.
pub(super) fn read(
    file: &Path,
    bytes: &[u8],
    cas: &[ClientCa],
) -> Result<Vec<RevocationList>, ClientCaError> {
    let broken = |what: String| ClientCaError::ListBroken {
        file: file.into(),
        what,
    };
    let ders = if is_pem(bytes) {
        rustls_pemfile::crls(&mut &*bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(error.to_string()))?
    } else {
        split(bytes).map_err(|error| broken(format!("it is neither PEM nor DER: {error}")))?
    };
    if ders.is_empty() {
        return Err(ClientCaError::NoList(file.into()));
    }
    ders.into_iter()
        .map(|der| list(file, der, cas).map_err(broken))
        .collect()
}

/// Lists in DER, one behind the other.
fn split(mut bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let mut lists = Vec::new();
    while !bytes.is_empty() {
        let (rest, _) = Any::from_der(bytes).map_err(|error| error.to_string())?;
        let whole = &bytes[..bytes.len() - rest.len()];
        lists.push(CertificateRevocationListDer::from(whole.to_vec()));
        bytes = rest;
    }
    Ok(lists)
}

fn list(
    file: &Path,
    der: CertificateRevocationListDer<'static>,
    cas: &[ClientCa],
) -> Result<RevocationList, String> {
    let (_, parsed) = CertificateRevocationList::from_der(&der)
        .map_err(|error| format!("a list in it cannot be read: {error}"))?;
    let issuer = distinguished::text(parsed.issuer());
    let next_update = (parsed.next_update())
        .ok_or_else(|| format!("the list of {issuer} does not say when the next one is due"))?;
    acceptable(cas, &der).map_err(|why| format!("the list of {issuer} cannot be used: {why}"))?;
    let name = parsed.tbs_cert_list.issuer.as_raw();
    // One name may have had several keys.
    let mut keys = cas.iter().filter(|ca| ca.name == name).peekable();
    let is_of_a_ca = keys.peek().is_some();
    if is_of_a_ca && !keys.any(|ca| is_signed(&der, &ca.key).unwrap_or(false)) {
        return Err(format!("the list of {issuer} is not signed by that CA"));
    }
    Ok(RevocationList {
        file: file.into(),
        issuer,
        this_update: time(parsed.last_update().timestamp()),
        next_update: time(next_update.timestamp()),
        is_of_a_ca,
        der,
    })
}

/// Whether a list is signed with the key of this SubjectPublicKeyInfo; none where one of the two is not what it should be.
fn is_signed(list: &[u8], key: &[u8]) -> Option<bool> {
    let (signed, rest) = element(contents(list)?)?;
    let (algorithm, rest) = element(rest)?;
    let (signature, _) = element(rest)?;
    let (key_algorithm, rest) = element(contents(key)?)?;
    let (key, _) = element(rest)?;
    let (algorithm, key_algorithm) = (contents(algorithm)?, contents(key_algorithm)?);
    // The first byte of a BIT STRING counts the bits that its last byte does not use: none, in a signature or a key.
    let signature = contents(signature)?.strip_prefix(&[0])?;
    let key = contents(key)?.strip_prefix(&[0])?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let known = provider.signature_verification_algorithms.all;
    Some(known.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm
            && known.public_key_alg_id().as_ref() == key_algorithm
            && known.verify_signature(key, signed, signature).is_ok()
    }))
}

/// The first element of some DER, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, _) = Any::from_der(der).ok()?;
    Some(der.split_at(der.len() - rest.len()))
}

/// What is in an element.
fn contents(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, any)| any.data)
}
