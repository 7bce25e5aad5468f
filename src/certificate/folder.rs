//! A folder of certificates named after their host: `www.shop.test.pem`, `_.shop.test.pem` for `*.shop.test`, `_default.pem`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pair::{Certificate, CertificateError};
use crate::model::{HostName, HostPattern};

/// What a certificate folder holds.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// By host, or by `_.parent`, or `_default`.
    certificates: HashMap<Box<str>, Arc<Certificate>>,
    /// Files that hold no certificate that can be used, by the same names.
    faults: HashMap<Box<str>, CertificateError>,
}

impl Folder {
    /// Reads every `.pem` of a folder. One that does not exist is empty: its bindings' findings say so.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut folder = Self {
            path: path.into(),
            certificates: HashMap::new(),
            faults: HashMap::new(),
        };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder),
            Err(error) => return Err(error),
        };
        let mut files = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        // Of two whose names differ in case only, the same one is taken every time.
        files.sort_unstable();
        for file in files {
            let Some(name) = certificate_name(&file) else {
                continue;
            };
            match Certificate::load(&file, &file.with_extension("key")) {
                Ok(certificate) => {
                    folder.certificates.insert(name, Arc::new(certificate));
                }
                Err(error) => {
                    folder.faults.insert(name, error);
                }
            }
        }
        Ok(folder)
    }

    /// The certificate for a host: its own file, or the wildcard's of its parent.
    pub fn find(&self, host: &HostName) -> Option<&Arc<Certificate>> {
        self.certificates.get(host.as_str()).or_else(|| {
            let parent = host.parent()?;
            self.certificates.get(wildcard_name(parent).as_str())
        })
    }

    /// The certificate of a wildcard.
    pub fn find_wildcard(&self, parent: &HostName) -> Option<&Arc<Certificate>> {
        self.certificates
            .get(wildcard_name(parent.as_str()).as_str())
    }

    /// The certificate for clients that name no host.
    pub fn default(&self) -> Option<&Arc<Certificate>> {
        self.certificates.get(DEFAULT)
    }

    /// Whether there is a certificate for these hosts; of every host nobody can tell.
    pub fn has(&self, hosts: &HostPattern) -> bool {
        match hosts {
            HostPattern::Exact(host) => self.find(host).is_some(),
            HostPattern::Wildcard(parent) => self.find_wildcard(parent).is_some(),
            HostPattern::Any | HostPattern::Strong => false,
        }
    }

    /// Why the certificate that a host would have cannot be used, if there is one: its own, or its parent's wildcard where it
    /// has none of its own.
    pub fn fault(&self, host: &HostName) -> Option<&CertificateError> {
        if self.certificates.contains_key(host.as_str()) {
            return None;
        }
        self.faults
            .get(host.as_str())
            .or_else(|| self.faults.get(wildcard_name(host.parent()?).as_str()))
    }

    /// Why a wildcard's certificate cannot be used, if there is one.
    pub fn wildcard_fault(&self, parent: &HostName) -> Option<&CertificateError> {
        self.faults.get(wildcard_name(parent.as_str()).as_str())
    }

    /// Why the certificate for clients that name no host cannot be used, if there is one.
    pub fn default_fault(&self) -> Option<&CertificateError> {
        self.faults.get(DEFAULT)
    }

    /// Every certificate that can be used, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Certificate>)> {
        let mut all: Vec<_> = self
            .certificates
            .iter()
            .map(|(name, certificate)| (&**name, certificate))
            .collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.into_iter()
    }

    /// Why certificates cannot be used, in the order of their names.
    pub fn faults(&self) -> impl Iterator<Item = &CertificateError> {
        let mut all: Vec<_> = self.faults.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.into_iter().map(|(_, fault)| fault)
    }

    /// Whether there is nothing at all in it.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.faults.is_empty()
    }
}

/// What a file of the folder is named after; none for files of another kind.
fn certificate_name(file: &Path) -> Option<Box<str>> {
    if file.extension()? != "pem" {
        return None;
    }
    Some(file.file_stem()?.to_str()?.to_ascii_lowercase().into())
}

fn wildcard_name(parent: &str) -> String {
    format!("_.{parent}")
}

const DEFAULT: &str = "_default";
