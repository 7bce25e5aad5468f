//! Every certificate that a configuration's bindings may show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::{Chain, Chains};
use super::findings::{self, Finding};
use super::folder::Folder;
use super::pair::{Certificate, CertificateError};
use super::trust::Trust;
use crate::config::{BindingTls, CertificateSource, Config};
use crate::model::HostName;

/// The certificates of a configuration, each read once, and what is to be said of them.
pub struct Certificates {
    named: Vec<Result<Arc<Certificate>, CertificateError>>,
    folders: HashMap<PathBuf, Arc<Folder>>,
    chains: Chains,
    /// What was found, in the order of the bindings.
    pub findings: Vec<Finding>,
}

/// Where a binding's certificate comes from.
#[derive(Clone)]
pub enum Source {
    /// Always this one.
    Named(Arc<Certificate>),
    /// By name.
    Folder(Arc<Folder>),
}

impl Certificates {
    /// Reads every certificate that the configuration's bindings may show.
    pub fn load(config: &Config) -> Self {
        let named = config
            .certificates
            .iter()
            .map(|named| Certificate::load(&named.chain, &named.key).map(Arc::new))
            .collect();
        let mut certificates = Self {
            named,
            folders: HashMap::new(),
            chains: Chains::new(Trust::load(&config.trust)),
            findings: Vec::new(),
        };
        for (index, binding) in config.bindings.iter().enumerate() {
            if let Some(tls) = &binding.tls {
                certificates.load_folder(tls, index);
            }
        }
        certificates.arrange();
        certificates
            .findings
            .extend(findings::of(config, &certificates));
        certificates
    }

    /// Puts every chain in order, and completes it.
    fn arrange(&mut self) {
        for named in self.named.iter_mut().flatten() {
            let folder = named.file.parent().unwrap_or(Path::new(".")).to_owned();
            self.chains.arrange(&folder, named);
        }
        for folder in self.folders.values_mut() {
            // Nobody else has it yet.
            let Some(folder) = Arc::get_mut(folder) else {
                continue;
            };
            let path = folder.path.clone();
            for certificate in folder.certificates_mut() {
                self.chains.arrange(&path, certificate);
            }
        }
    }

    fn load_folder(&mut self, tls: &BindingTls, binding: usize) {
        let CertificateSource::Folder(path) = &tls.certificate else {
            return;
        };
        if self.folders.contains_key(path) {
            return;
        }
        match Folder::load(path) {
            Ok(folder) => {
                self.folders.insert(path.clone(), Arc::new(folder));
            }
            Err(source) => {
                let error = CertificateError::Unreadable {
                    file: path.clone(),
                    source,
                };
                self.findings
                    .push(Finding::error(binding, error.code(), error.to_string()));
            }
        }
    }

    /// A named certificate.
    pub fn named(&self, index: usize) -> Result<&Arc<Certificate>, &CertificateError> {
        self.named[index].as_ref()
    }

    /// The folder of a binding.
    pub fn folder(&self, path: &PathBuf) -> Option<&Arc<Folder>> {
        self.folders.get(path)
    }

    /// What came of a certificate's chain.
    pub fn chain(&self, certificate: &Certificate) -> &Chain {
        self.chains.of(certificate)
    }

    /// Whom clients are taken to trust.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.chains.trust
    }

    /// Every folder, in the order of their paths.
    pub fn folders(&self) -> impl Iterator<Item = &Arc<Folder>> {
        let mut all: Vec<_> = self.folders.values().collect();
        all.sort_unstable_by_key(|folder| &folder.path);
        all.into_iter()
    }

    /// Where a binding's certificate comes from; none where nothing of it can be used.
    pub fn source(&self, tls: &BindingTls) -> Option<Source> {
        match &tls.certificate {
            CertificateSource::Named(index) => self.named(*index).ok().cloned().map(Source::Named),
            CertificateSource::Folder(path) => self.folder(path).cloned().map(Source::Folder),
        }
    }
}

impl Source {
    /// The certificate for a client that asked for `name`, or for none and arrived at that address.
    pub fn find(&self, name: &HostName, named: bool) -> Option<&Arc<Certificate>> {
        match self {
            Self::Named(certificate) => Some(certificate),
            Self::Folder(folder) => folder
                .find(name)
                .or_else(|| if named { None } else { folder.default() }),
        }
    }
}
