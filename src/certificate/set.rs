//! Every certificate that a configuration's bindings may show.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::findings::{self, Finding};
use super::folder::Folder;
use super::pair::{Certificate, CertificateError};
use super::ticket_key::TicketKey;
use crate::config::{BindingTls, CertificateSource, Config};
use crate::model::HostName;

/// The certificates of a configuration, each read once, and what is to be said of them.
pub struct Certificates {
    named: Vec<Result<Arc<Certificate>, CertificateError>>,
    folders: HashMap<PathBuf, Arc<Folder>>,
    ticket_keys: HashMap<PathBuf, Arc<TicketKey>>,
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
            ticket_keys: HashMap::new(),
            findings: Vec::new(),
        };
        let mut refused = HashSet::new();
        for (index, binding) in config.bindings.iter().enumerate() {
            if let Some(tls) = &binding.tls {
                certificates.load_folder(tls, index);
                certificates.load_ticket_keys(tls, index, &mut refused);
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

    /// Reads the ticket keys of a binding; each file once, and what is wrong with it is told once.
    fn load_ticket_keys<'c>(
        &mut self,
        tls: &'c BindingTls,
        binding: usize,
        refused: &mut HashSet<&'c PathBuf>,
    ) {
        for file in &tls.ticket_keys {
            if self.ticket_keys.contains_key(file) || refused.contains(file) {
                continue;
            }
            match TicketKey::load(file) {
                Ok(key) => {
                    self.ticket_keys.insert(file.clone(), Arc::new(key));
                }
                Err(error) => {
                    refused.insert(file);
                    let found = Finding::error(binding, error.code(), error.to_string());
                    self.findings.push(found.with_help(error.help()));
                }
            }
        }
    }

    /// The ticket keys of a binding, in their order.
    pub fn ticket_keys(&self, tls: &BindingTls) -> Vec<Arc<TicketKey>> {
        let keys = tls.ticket_keys.iter();
        keys.filter_map(|file| self.ticket_keys.get(file).cloned())
            .collect()
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
