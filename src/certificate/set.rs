//! Every certificate that a configuration's bindings may show.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::findings::{self, Finding};
use super::folder::Folder;
use super::pair::{Certificate, CertificateError};
use super::placeholder;
use crate::config::{Binding, BindingTls, CertificateSource, Config};
use crate::model::{HostName, HostPattern};

/// The certificates of a configuration, each read once, and what is to be said of them.
pub struct Certificates {
    named: Vec<Result<Arc<Certificate>, CertificateError>>,
    folders: HashMap<PathBuf, Arc<Folder>>,
    /// For names whose certificate is still being ordered.
    placeholders: HashMap<HostPattern, Arc<Certificate>>,
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
    /// By name, else this placeholder: it is still being ordered.
    Ordered(Arc<Folder>, Arc<Certificate>),
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
            placeholders: HashMap::new(),
            findings: Vec::new(),
        };
        for (index, binding) in config.bindings.iter().enumerate() {
            if let Some(tls) = &binding.tls {
                certificates.load_folder(tls, index);
                certificates.stand_in(tls, &binding.hostname);
            }
        }
        certificates
            .findings
            .extend(findings::of(config, &certificates));
        certificates
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

    /// Makes a placeholder where a certificate is still being ordered.
    fn stand_in(&mut self, tls: &BindingTls, hostname: &HostPattern) {
        let CertificateSource::Folder(path) = &tls.certificate else {
            return;
        };
        let is_there = self.folders.get(path).is_some_and(|f| f.has(hostname));
        if tls.acme
            && !is_there
            && !self.placeholders.contains_key(hostname)
            && let Some(made) = placeholder::make(&hostname.to_string())
        {
            self.placeholders.insert(hostname.clone(), Arc::new(made));
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

    /// Where a binding's certificate comes from; none where nothing of it can be used.
    pub fn source(&self, binding: &Binding) -> Option<Source> {
        let tls = binding.tls.as_ref()?;
        let path = match &tls.certificate {
            CertificateSource::Named(index) => {
                return self.named(*index).ok().cloned().map(Source::Named);
            }
            CertificateSource::Folder(path) => path,
        };
        let folder = self.folder(path).cloned()?;
        let placeholder = self.placeholders.get(&binding.hostname);
        Some(match placeholder.filter(|_| tls.acme) {
            Some(placeholder) => Source::Ordered(folder, Arc::clone(placeholder)),
            None => Source::Folder(folder),
        })
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
            Self::Ordered(folder, placeholder) => {
                folder.find(name).or_else(|| named.then_some(placeholder))
            }
        }
    }
}
