//! PKCS#12 (RFC 7292), as Windows and its Central Certificate Store have certificates: `.pfx` and `.p12`. One file with the key,
//! its certificate and their issuers, under a password.

use std::path::Path;
use std::sync::Arc;

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use pkcs8::pkcs5;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::error::CertificateError;
use super::files::Password;

/// A chain, the leaf first, and its key.
pub(super) type Pair = (
    Vec<CertificateDer<'static>>,
    Zeroizing<PrivateKeyDer<'static>>,
);

/// Opens a file. One without a password is opened with the empty one, which Windows and openssl may write.
pub(super) fn open(
    file: &Path,
    bytes: &[u8],
    password: &Password<'_>,
) -> Result<Pair, CertificateError> {
    check_bounds(file, bytes)?;
    let text = std::str::from_utf8(password.bytes).map_err(|_| password.wrong(file))?;
    let mut archive = Pkcs12Archive::from_pkcs12(bytes, text).map_err(|error| match error {
        // What a wrong password leaves behind makes no sense, where nothing else tells of it.
        Error::MacError(_) | Error::UnpadError | Error::InvalidPrivateKey => password.wrong(file),
        Error::Pkcs5Error(what) if what == pkcs5::Error::DecryptFailed.to_string() => {
            password.wrong(file)
        }
        Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm
        | Error::InvalidParameters
        | Error::Pkcs5Error(_) => CertificateError::Encryption {
            file: file.into(),
            what: format!("its encryption is not supported ({error})"),
            convert: CONVERT,
        },
        error => CertificateError::Encryption {
            file: file.into(),
            what: format!("it is no PKCS#12 that can be read ({error})"),
            convert: CONVERT,
        },
    })?;
    let key = match archive.keys.len() {
        1 => archive.keys.remove(0),
        0 => return Err(CertificateError::NoKey(file.into())),
        keys => {
            return Err(CertificateError::Broken {
                file: file.into(),
                what: format!("it holds {keys} keys, and one is expected"),
            });
        }
    };
    let key = PrivateKeyDer::Pkcs8(key.key.as_der().to_vec().into());
    let certificates: Vec<_> = (archive.certs.iter())
        .map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()))
        .collect();
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate(file.into()));
    }
    Ok((in_order(certificates, &key), Zeroizing::new(key)))
}

/// Refuses what would take minutes to open. The crate bounds the rounds of each part to a million, and of parts there are two or
/// three; parts within encrypted parts are not seen here, and whoever makes those knows the password.
fn check_bounds(file: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let count = |oid: &[u8]| memchr::memmem::find_iter(bytes, oid).count();
    if count(PBKDF2) + count(PBES1) > PARTS_MAX || count(SCRYPT) > 0 {
        return Err(CertificateError::Encryption {
            file: file.into(),
            what: format!("it has more than {PARTS_MAX} encrypted parts, or uses scrypt"),
            convert: CONVERT,
        });
    }
    Ok(())
}

/// The leaf first, which is the key's, and each certificate followed by its issuer. A root is left out: clients have it, or do
/// not believe it.
fn in_order(
    mut left: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Vec<CertificateDer<'static>> {
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).ok();
    let is_of_key = |certificate: &CertificateDer<'static>| {
        signing.as_ref().is_some_and(|key| {
            let chain = vec![certificate.clone()];
            CertifiedKey::new(chain, Arc::clone(key))
                .keys_match()
                .is_ok()
        })
    };
    // Where none is the key's, what is made of them says so.
    let leaf = left.iter().position(is_of_key).unwrap_or(0);
    let mut chain = vec![left.remove(leaf)];
    while let Some(issuer) = chain.last().and_then(names).and_then(|(issuer, _)| {
        let of =
            |der: &CertificateDer<'_>| names(der).is_some_and(|(_, subject)| subject == issuer);
        left.iter().position(of)
    }) {
        let issuer = left.remove(issuer);
        if names(&issuer).is_some_and(|(issuer, subject)| issuer == subject) {
            break;
        }
        chain.push(issuer);
    }
    chain
}

/// Issuer and subject, as they are encoded.
fn names(der: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let issuer = certificate.issuer().as_raw().to_vec();
    Some((issuer, certificate.subject().as_raw().to_vec()))
}

/// OpenSSL and Windows write two: the certificates, and the key.
const PARTS_MAX: usize = 16;

/// 1.2.840.113549.1.5.12 (RFC 8018 appendix A.2).
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];

/// 1.2.840.113549.1.12.1 and what is below it (RFC 7292 appendix C).
const PBES1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];

/// 1.3.6.1.4.1.11591.4.11 (RFC 7914 section 7).
const SCRYPT: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];

/// Makes PEM of it, which everything reads.
const CONVERT: &str = "openssl pkcs12 -legacy -in FILE -noenc -out NEW.pem";
