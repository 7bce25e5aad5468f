//! The files that TLS to upstreams is made of.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;

/// Why TLS to upstreams cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsFilesError(String);

/// What was read, to be compared with what is there later.
pub(super) struct Files(Vec<(PathBuf, u64)>);

/// What the files hold.
pub(super) struct Read {
    /// None: the system's are asked for.
    pub(super) roots: Option<RootCertStore>,
    pub(super) certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Files {
    /// Reads what the configuration names.
    pub(super) fn read(settings: &config::UpstreamTls) -> Result<(Self, Read), TlsFilesError> {
        let mut files = Self(Vec::new());
        let roots = match &settings.ca {
            None => None,
            Some(file) => Some(roots(file, &files.take(file)?)?),
        };
        let certificate = match &settings.client_certificate {
            None => None,
            Some(pair) => {
                let chain = chain(&pair.chain, &files.take(&pair.chain)?)?;
                let pem = files.take(&pair.key)?;
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
                    let what = "holds no private key that can be read; PKCS#8, PKCS#1 or SEC1 in PEM is expected, not encrypted";
                    broken(&pair.key, what)
                })?;
                Some((chain, key))
            }
        };
        Ok((files, Read { roots, certificate }))
    }

    fn take(&mut self, file: &Path) -> Result<Vec<u8>, TlsFilesError> {
        let content = std::fs::read(file)
            .map_err(|error| broken(file, &format!("cannot be read: {error}")))?;
        self.0.push((file.to_owned(), hash(&content)));
        Ok(content)
    }

    pub(super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(file, before)| {
            // A file that is gone for a moment is most likely being replaced: what was read goes on.
            std::fs::read(file).is_ok_and(|content| hash(&content) != *before)
        })
    }

    pub(super) fn key_unusable(
        &self,
        settings: &config::UpstreamTls,
        error: &rustls::Error,
    ) -> TlsFilesError {
        match &settings.client_certificate {
            Some(pair) => {
                let chain = pair.chain.display();
                broken(
                    &pair.key,
                    &format!("cannot be used with the certificate in {chain}: {error}"),
                )
            }
            None => TlsFilesError(error.to_string()),
        }
    }
}

impl TlsFilesError {
    pub(super) fn no_system_roots(why: Option<String>) -> Self {
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        Self(format!(
            "this system names no authority that https:// upstreams could be verified by{why}; install ca-certificates, or name a \
             bundle: tls = {{ ca = \"ca.pem\" }}"
        ))
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn broken(file: &Path, what: &str) -> TlsFilesError {
    TlsFilesError(format!("{} {what}", file.display()))
}

fn chain(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            let what =
                "holds no certificate; a PEM file with -----BEGIN CERTIFICATE----- is expected";
            Err(broken(file, what))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(broken(file, &format!("is broken: {error}"))),
    }
}

fn roots(file: &Path, pem: &[u8]) -> Result<RootCertStore, TlsFilesError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file, pem)? {
        roots.add(certificate).map_err(|error| {
            broken(
                file,
                &format!("holds a certificate that cannot be trusted: {error}"),
            )
        })?;
    }
    Ok(roots)
}
