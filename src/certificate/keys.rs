//! Private keys in PEM: PKCS#8, PKCS#1 and SEC1, and PKCS#8 that a password encrypts.

use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::pkcs5::{EncryptionScheme, Error as Pkcs5Error};
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::error::CertificateError;
use super::files::Password;

/// The key in a file; none if there is none that can be read. The password is asked for where it is needed.
pub(super) fn private_key<'p>(
    file: &Path,
    pem: &[u8],
    password: impl FnOnce() -> Result<Password<'p>, CertificateError>,
) -> Result<Option<Zeroizing<PrivateKeyDer<'static>>>, CertificateError> {
    if let Some(key) = rustls_pemfile::private_key(&mut &*pem).ok().flatten() {
        return Ok(Some(Zeroizing::new(key)));
    }
    if let Some(sealed) = encrypted(pem) {
        let password = password()?;
        return match password.is_given {
            true => decrypt(file, &sealed, &password).map(Some),
            false => Err(password.wrong(file)),
        };
    }
    // The encryption of OpenSSL before PKCS#8: one round of MD5 between the password and the key.
    if memchr::memmem::find(pem, b"DEK-Info:").is_some() {
        return Err(CertificateError::Encryption {
            file: file.into(),
            what: "it is encrypted as OpenSSL did before PKCS#8 (DEK-Info)".into(),
            convert: CONVERT_KEY,
        });
    }
    Ok(None)
}

/// The DER of a section `ENCRYPTED PRIVATE KEY`.
fn encrypted(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let from = memchr::memmem::find(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let length = memchr::memmem::find(&pem[from..], END)? + END.len();
    // The reader of PEM knows no such section; but for its name it is like one that it knows.
    let section = Zeroizing::new(pem[from..from + length].to_vec());
    let mut known = Zeroizing::new(Vec::with_capacity(section.len()));
    known.extend_from_slice(b"-----BEGIN PRIVATE KEY-----");
    let content =
        &section[b"-----BEGIN ENCRYPTED PRIVATE KEY-----".len()..section.len() - END.len()];
    known.extend_from_slice(content);
    known.extend_from_slice(b"-----END PRIVATE KEY-----\n");
    let key = rustls_pemfile::private_key(&mut &known[..]).ok()??;
    let key = Zeroizing::new(key);
    Some(Zeroizing::new(key.secret_der().to_vec()))
}

fn decrypt(
    file: &Path,
    sealed: &[u8],
    password: &Password<'_>,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, CertificateError> {
    let unsupported = |what: String| CertificateError::Encryption {
        file: file.into(),
        what,
        convert: CONVERT_KEY,
    };
    let info = EncryptedPrivateKeyInfoRef::try_from(sealed)
        .map_err(|error| unsupported(format!("its encryption cannot be read: {error}")))?;
    if !is_within_bounds(&info.encryption_algorithm) {
        return Err(unsupported(
            "deriving its key from the password would take more than a million rounds or 128 MiB"
                .into(),
        ));
    }
    let document = info.decrypt(password.bytes).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            Pkcs5Error::NoPbes1CryptSupport
            | Pkcs5Error::UnsupportedAlgorithm { .. }
            | Pkcs5Error::AlgorithmParametersInvalid { .. },
        ) => unsupported(format!("its encryption is not supported: {error}")),
        // Padding or content make no sense.
        _ => password.wrong(file),
    })?;
    let key = document.as_bytes().to_vec();
    Ok(Zeroizing::new(PrivateKeyDer::Pkcs8(key.into())))
}

/// Whether a key is derived from the password in a second or two at most, and without all of the memory.
fn is_within_bounds(algorithm: &EncryptionScheme) -> bool {
    match algorithm {
        EncryptionScheme::Pbes2(parameters) => match &parameters.kdf {
            Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= ROUNDS_MAX,
            Kdf::Scrypt(scrypt) => {
                let memory = scrypt
                    .cost_parameter
                    .checked_mul(128 * u64::from(scrypt.block_size));
                scrypt.parallelization <= SCRYPT_LANES_MAX
                    && memory.is_some_and(|memory| memory <= SCRYPT_BYTES_MAX)
            }
            _ => true,
        },
        // Refused by name, without any round.
        _ => true,
    }
}

/// OpenSSL writes 2048 rounds, and OWASP recommends 600,000.
const ROUNDS_MAX: u32 = 1_000_000;

/// OWASP recommends as much.
const SCRYPT_BYTES_MAX: u64 = 128 << 20;

const SCRYPT_LANES_MAX: u16 = 4;

/// Writes a key anew, encrypted as it is read here.
const CONVERT_KEY: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW";

const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";
