//! Every certificate that a configuration's bindings may show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::Issuers;
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
    trust: Arc<Trust>,
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
            trust: Arc::new(Trust::load(&config.trust)),
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

    /// Puts every chain in order, and completes it with what lies beside it.
    fn arrange(&self) {
        let mut issuers: HashMap<PathBuf, Issuers> = HashMap::new();
        let named = self.named.iter().flatten();
        let folders = self.folders.values().flat_map(|folder| folder.iter());
        for certificate in named.chain(folders.map(|(_, certificate)| certificate)) {
            let folder = certificate.file.parent().unwrap_or(Path::new("."));
            let issuers = issuers
                .entry(folder.into())
                .or_insert_with(|| Issuers::of(folder));
            certificate.arrange(issuers, &self.trust);
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

    /// Whom clients are taken to trust.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
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
