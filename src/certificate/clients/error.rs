//! Why the CAs of clients, or their lists, cannot be used.

use std::io;
use std::path::PathBuf;

/// Why what a binding's `client_certificates` names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
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
    /// The file is longer than any that is meant.
    #[error("{} is longer than {max} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
        /// What it may be.
        max: u64,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The file, or a certificate in it, is broken.
    #[error("{} is broken: {what}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate of the file is no CA's.
    #[error("{} holds the certificate of {subject}, which is no CA", file.display())]
    NotCa {
        /// The file.
        file: PathBuf,
        /// Whose certificate it is.
        subject: String,
    },
    /// The same of a list of revoked certificates: missing, unreadable, too long.
    #[error("{0}")]
    List(Box<ClientCaError>),
    /// The file holds no list.
    #[error("{} holds no list of revoked certificates (CRL)", .0.display())]
    NoList(PathBuf),
    /// A list is broken, or cannot be used.
    #[error("{} is broken: {what}", file.display())]
    ListBroken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl ClientCaError {
    pub(super) fn of_list(self) -> Self {
        Self::List(Box::new(self))
    }

    /// The stable code of this finding.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "client-ca-missing",
            Self::Unreadable { .. } | Self::TooLong { .. } => "client-ca-unreadable",
            Self::Empty(_) => "client-ca-empty",
            Self::Broken { .. } => "client-ca-broken",
            Self::NotCa { .. } => "client-ca-no-ca",
            Self::List(error) => match **error {
                Self::Missing(_) => "client-crl-missing",
                _ => "client-crl-unreadable",
            },
            Self::NoList(_) => "client-crl-empty",
            Self::ListBroken { .. } => "client-crl-broken",
        }
    }

    /// What would mend it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::List(_) if self.code().ends_with("missing") => {
                "name the file as it lies, relative to the bindings file"
            }
            Self::Missing(_) | Self::Unreadable { .. } | Self::TooLong { .. } | Self::List(_) => {
                "give the user that Portunus runs as permission to read the file, and name one that is meant"
            }
            Self::Empty(_) | Self::Broken { .. } => {
                "put the certificates of the CAs there, PEM with -----BEGIN CERTIFICATE-----"
            }
            Self::NotCa { .. } => {
                "take it out and put its issuer there: whoever holds the key of a certificate in this file could issue others"
            }
            Self::NoList(_) | Self::ListBroken { .. } => {
                "put the CA's own list there, PEM with -----BEGIN X509 CRL----- or DER, signed with the CA's present key"
            }
        }
    }
}
