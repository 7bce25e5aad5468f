//! Where a certificate lies, as a bindings file says it.

use std::path::{Path, PathBuf};

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, leaf first, or PKCS#12.
    pub chain: PathBuf,
    /// PEM; the file of the chain, where none is named.
    pub key: PathBuf,
    /// What the key is encrypted with.
    pub password: Option<PathBuf>,
}

/// Whether a file of that name is PKCS#12, which holds chain and key.
pub fn is_pkcs12(file: &Path) -> bool {
    file.extension()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("pfx") || kind.eq_ignore_ascii_case("p12"))
}
