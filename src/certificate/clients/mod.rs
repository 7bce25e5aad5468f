//! The CAs that issue the certificates of clients, and what they have revoked: read from files, and looked at before a client
//! brings it to light.

mod describe;
mod distinguished;
mod error;
mod kept;
mod lists;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::findings::Finding;
use crate::config::ClientCertificates;

pub use describe::{describe, describe_chain};
pub use error::ClientCaError;
pub use kept::ClientNews;
pub(super) use kept::KeptCas;
pub use lists::RevocationList;

/// What the files held at one moment.
struct Content {
    cas: Vec<u8>,
    lists: Vec<Vec<u8>>,
    digest: [u8; 32],
}

/// The CAs that a binding takes clients' certificates of, and their lists of revoked certificates.
#[derive(Debug)]
pub struct ClientCas {
    /// The CAs.
    pub cas: Vec<ClientCa>,
    /// The lists, the newest first: of two that speak of one certificate, the first is asked.
    pub lists: Vec<RevocationList>,
    /// SHA-256 of all that was read.
    pub digest: [u8; 32],
    /// Where the CAs were read.
    pub file: PathBuf,
}

/// A CA.
#[derive(Debug)]
pub struct ClientCa {
    /// Its certificate.
    pub der: CertificateDer<'static>,
    /// Its subject as RFC 4514 writes it.
    pub subject: String,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends to be valid.
    pub not_after: SystemTime,
    /// Its subject and its key as they are in the certificate.
    name: Vec<u8>,
    key: Vec<u8>,
}

impl ClientCas {
    /// Reads what a binding's `client_certificates` names.
    pub fn load(settings: &ClientCertificates) -> Result<Self, ClientCaError> {
        Self::of(settings, &Content::read(settings)?)
    }

    /// Understands what was read.
    fn of(settings: &ClientCertificates, content: &Content) -> Result<Self, ClientCaError> {
        let cas = cas_of(&settings.ca, &content.cas)?;
        let mut lists = Vec::new();
        for (file, bytes) in settings.crl.iter().zip(&content.lists) {
            lists.extend(lists::read(file, bytes, &cas)?);
        }
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
        Ok(Self {
            cas,
            lists,
            digest: content.digest,
            file: settings.ca.clone(),
        })
    }

    /// What should be known of them though they can be used.
    pub(super) fn findings(&self, binding: usize, now: SystemTime) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ca in self.cas.iter().filter(|ca| ca.not_after < now) {
            let message = format!(
                "the CA {} in {} has expired; certificates that it issued are refused",
                ca.subject,
                self.file.display()
            );
            let found = Finding::warning(binding, "client-ca-expired", message);
            findings.push(found.with_help("take it out, or put the CA's new certificate there"));
        }
        for list in &self.lists {
            if list.next_update < now {
                let message = format!(
                    "the list of revoked certificates of {} in {} is out of date since {}",
                    list.issuer,
                    list.file.display(),
                    date(list.next_update)
                );
                let found = Finding::warning(binding, "client-crl-expired", message);
                findings.push(found.with_help(
                    "fetch the CA's current list; until then `crl_expired` decides of its certificates",
                ));
            }
            if !list.is_of_a_ca {
                let message = format!(
                    "{} has a list of {}, which is no CA of {}",
                    list.file.display(),
                    list.issuer,
                    self.file.display()
                );
                let found = Finding::warning(binding, "client-crl-foreign", message);
                findings.push(found.with_help(
                    "it counts only for clients that send that CA's certificate along; add the CA, or take the list out",
                ));
            }
        }
        findings
    }

    /// Why these must not take the place of `old`, if so: one of the lists is out of date, and `old` has a current one of
    /// the same CA.
    pub fn worse_than(&self, old: &Self, now: SystemTime) -> Option<String> {
        let current = |cas: &Self, issuer: &str| {
            let mut lists = cas.lists.iter().filter(|list| list.issuer == issuer);
            lists.any(|list| list.next_update >= now)
        };
        let expired = (self.lists.iter())
            .find(|list| !current(self, &list.issuer) && current(old, &list.issuer));
        if let Some(list) = expired {
            return Some(format!(
                "the list of revoked certificates of {} in {} is out of date since {}, and the one before is not",
                list.issuer,
                list.file.display(),
                date(list.next_update)
            ));
        }
        let valid = |cas: &Self| cas.cas.iter().any(|ca| ca.is_valid(now));
        (!valid(self) && valid(old)).then(|| {
            format!(
                "every CA in {} has expired or is not valid yet",
                self.file.display()
            )
        })
    }

    /// The name of the CA that has this subject.
    pub fn named(&self, subject: &[u8]) -> Option<&ClientCa> {
        self.cas.iter().find(|ca| ca.name == subject)
    }
}

impl Content {
    fn read(settings: &ClientCertificates) -> Result<Self, ClientCaError> {
        let cas = read(&settings.ca, CA_BYTES_MAX)?;
        let list = |file: &PathBuf| read(file, CRL_BYTES_MAX).map_err(ClientCaError::of_list);
        let lists: Vec<_> = settings.crl.iter().map(list).collect::<Result<_, _>>()?;
        let mut whole = digest::Context::new(&digest::SHA256);
        for bytes in std::iter::once(&cas).chain(&lists) {
            // Between two files there is a border.
            whole.update(&(bytes.len() as u64).to_be_bytes());
            whole.update(bytes);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(whole.finish().as_ref());
        Ok(Self { cas, lists, digest })
    }
}

impl ClientCa {
    /// Whether it is valid at a time. RFC 5280 leaves that to whoever trusts a CA; OpenSSL asks for it, and people expect it.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    fn read(file: &Path, der: CertificateDer<'static>) -> Result<Self, ClientCaError> {
        let broken = |what: String| ClientCaError::Broken {
            file: file.into(),
            what,
        };
        let (_, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| broken(format!("a certificate in it cannot be read: {error}")))?;
        let subject = distinguished::text(parsed.subject());
        let issues = matches!(parsed.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca)
            && match parsed.key_usage() {
                Ok(Some(usage)) => usage.value.key_cert_sign(),
                Ok(None) => true,
                Err(_) => false,
            };
        if !issues {
            return Err(ClientCaError::NotCa {
                file: file.into(),
                subject,
            });
        }
        let mut roots = RootCertStore::empty();
        (roots.add(der.clone()))
            .map_err(|error| broken(format!("the CA {subject} cannot be used: {error}")))?;
        Ok(Self {
            subject,
            not_before: super::pair::time(parsed.validity().not_before.timestamp()),
            not_after: super::pair::time(parsed.validity().not_after.timestamp()),
            name: parsed.subject().as_raw().to_vec(),
            key: parsed.public_key().raw.to_vec(),
            der,
        })
    }
}

fn cas_of(file: &Path, bytes: &[u8]) -> Result<Vec<ClientCa>, ClientCaError> {
    let ders = if is_pem(bytes) {
        rustls_pemfile::certs(&mut &*bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ClientCaError::Broken {
                file: file.into(),
                what: error.to_string(),
            })?
    } else if bytes.first() == Some(&DER_SEQUENCE) {
        vec![CertificateDer::from(bytes.to_vec())]
    } else {
        Vec::new()
    };
    if ders.is_empty() {
        return Err(ClientCaError::Empty(file.into()));
    }
    ders.into_iter()
        .map(|der| ClientCa::read(file, der))
        .collect()
}

/// Whether a verifier takes these lists: it asks for more than that they can be read.
fn acceptable(
    cas: &[ClientCa],
    list: &CertificateRevocationListDer<'static>,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = cas.first() {
        roots
            .add(ca.der.clone())
            .map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls([list.clone()])
        .build()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn is_pem(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"-----BEGIN ").is_some()
}

fn read(file: &Path, max: u64) -> Result<Vec<u8>, ClientCaError> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > max => Err(ClientCaError::TooLong {
            file: file.into(),
            max,
        }),
        Ok(_) => Ok(bytes),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(ClientCaError::Missing(file.into()))
        }
        Err(source) => Err(ClientCaError::Unreadable {
            file: file.into(),
            source,
        }),
    }
}

/// A date as people read it, to the second.
pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The first byte of a DER certificate or list.
const DER_SEQUENCE: u8 = 0x30;

/// Every CA of the web makes about 250 kB.
const CA_BYTES_MAX: u64 = 4 << 20;

/// The longest lists in use are of some 10 MB.
const CRL_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests;
