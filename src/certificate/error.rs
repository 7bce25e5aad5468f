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
    #[error("{} holds no private key that can be read; PKCS#8, PKCS#1 or SEC1 in PEM is expected, not encrypted", .0.display())]
    NoKey(PathBuf),
    /// A PEM section or the certificate in it is broken.
    #[error("{} is broken: {what}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
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
            Self::KeyMismatch { .. } => "certificate-key-mismatch",
        }
    }

    /// What mends it, where a server that runs goes on showing what it had before.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing(_) => "put the file back, or restart to do without it",
            Self::Unreadable { .. } => "let the user that Portunus runs as read the file",
            Self::NoCertificate(_) | Self::Broken { .. } => "write the file anew, whole",
            Self::NoKey(_) | Self::KeyMissing { .. } => "put the key of this certificate there",
            Self::KeyMismatch { .. } => "write the chain and the key of one certificate",
        }
    }
}
