//! Why a certificate cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate; a PEM file with -----BEGIN CERTIFICATE----- is expected, the leaf first", .0.display())]
    NoCertificate(PathBuf),
    /// The chain has no private key in it, and there is no file of one.
    #[error("{} holds no private key, and {} does not exist", chain.display(), key.display())]
    KeyMissing {
        /// The file of the chain.
        chain: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// There is no private key.
    #[error("{} holds no private key that can be read; PKCS#8, PKCS#1 or SEC1 in PEM is expected", .0.display())]
    NoKey(PathBuf),
    /// The file is encrypted, and no password is there to open it.
    #[error("{} is encrypted, and there is no password for it in {}", file.display(), password.display())]
    PasswordMissing {
        /// The file.
        file: PathBuf,
        /// Where the password should be.
        password: PathBuf,
    },
    /// The file is encrypted with another password.
    #[error("the password in {} does not open {}", password.display(), file.display())]
    PasswordWrong {
        /// The file.
        file: PathBuf,
        /// Where the password is.
        password: PathBuf,
    },
    /// The file is encrypted in a way that is not read here.
    #[error("{}: {what}; write it anew: {convert}", file.display())]
    Encryption {
        /// The file.
        file: PathBuf,
        /// What is the matter.
        what: String,
        /// The command that makes one of it that can be read.
        convert: &'static str,
    },
    /// A PEM section or the certificate in it is broken.
    #[error("{} is broken: {}", file.display(), in_a_line(what))]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is of a kind that is not spoken.
    #[error("the key in {} cannot be used: {what}", file.display())]
    WeakKey {
        /// The file.
        file: PathBuf,
        /// What kind it is.
        what: String,
    },
    /// The file begins with another certificate than the key's.
    #[error("{} is out of order: the key belongs to certificate {place} of it, which must be the first", chain.display())]
    LeafNotFirst {
        /// The file of the chain.
        chain: PathBuf,
        /// Which certificate is the key's, counted from 1.
        place: usize,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} is not the key of the certificate in {}", key.display(), chain.display())]
    KeyMismatch {
        /// The file of the chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl CertificateError {
    /// The stable code of this finding.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "certificate-missing",
            Self::Unreadable { .. } => "certificate-unreadable",
            Self::NoCertificate(_) | Self::Broken { .. } => "certificate-broken",
            Self::NoKey(_) | Self::KeyMissing { .. } => "certificate-no-key",
            Self::LeafNotFirst { .. } => "certificate-chain-order",
            Self::WeakKey { .. } => "certificate-weak-key",
            Self::PasswordMissing { .. } | Self::PasswordWrong { .. } => "certificate-password",
            Self::Encryption { .. } => "certificate-encryption",
            Self::KeyMismatch { .. } => "certificate-key-mismatch",
        }
    }

    /// What mends it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing(_) => "put the file there (chain, leaf first), or correct the name",
            Self::Unreadable { .. } => {
                "let the user that Portunus runs as read the file and enter its folders"
            }
            Self::NoCertificate(_) | Self::Broken { .. } => {
                "write the file anew, whole, as the CA gave it"
            }
            Self::NoKey(_) | Self::KeyMissing { .. } => {
                "put the key that the certificate was requested with there"
            }
            Self::LeafNotFirst { .. } => "write the leaf first, and then each certificate's issuer",
            Self::WeakKey { .. } => {
                "make a new key, ECDSA P-256 or RSA of 2048 bits or more, and request a certificate for it"
            }
            Self::PasswordMissing { .. } | Self::PasswordWrong { .. } => {
                "write the password, and nothing else, into that file"
            }
            Self::Encryption { convert, .. } => convert,
            Self::KeyMismatch { .. } => "put chain and key of one certificate there",
        }
    }
}

/// What a library says of a broken file may quote it: as much as fits in a line.
fn in_a_line(what: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    what.chars().take(WORDS_MAX).map(printable).collect()
}

/// Characters.
const WORDS_MAX: usize = 300;
