//! Every certificate that a configuration's bindings may show.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::clients::ClientCas;
use super::findings::{self, Finding};
use super::folder::Folder;
use super::pair::{Certificate, CertificateError};
use crate::config::{BindingTls, CertificateSource, ClientCertificates, Config};
use crate::model::HostName;

/// The certificates of a configuration, each read once, and what is to be said of them.
pub struct Certificates {
    named: Vec<Result<Arc<Certificate>, CertificateError>>,
    folders: HashMap<PathBuf, Arc<Folder>>,
    clients: HashMap<ClientCertificates, Arc<ClientCas>>,
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
            clients: HashMap::new(),
            findings: Vec::new(),
        };
        for (index, binding) in config.bindings.iter().enumerate() {
            if let Some(tls) = &binding.tls {
                certificates.load_folder(tls, index);
                certificates.load_clients(tls, index);
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

    /// Reads the CAs of clients, once for all bindings that ask the same.
    fn load_clients(&mut self, tls: &BindingTls, binding: usize) {
        let Some(settings) = &tls.client_certificates else {
            return;
        };
        if self.clients.contains_key(settings) {
            return;
        }
        match ClientCas::load(settings) {
            Ok(cas) => {
                self.findings
                    .extend(cas.findings(binding, SystemTime::now()));
                self.clients.insert(settings.clone(), Arc::new(cas));
            }
            Err(error) => {
                let found = Finding::error(binding, error.code(), error.to_string());
                self.findings.push(found.with_help(error.help()));
            }
        }
    }

    /// The CAs of clients that a binding asks for; none where they cannot be used.
    pub fn clients(&self, settings: &ClientCertificates) -> Option<&Arc<ClientCas>> {
        self.clients.get(settings)
    }

    /// Every file that the CAs of clients and their lists are read from.
    pub fn client_files(config: &Config) -> impl Iterator<Item = &PathBuf> {
        (config.bindings.iter())
            .filter_map(|binding| binding.tls.as_ref()?.client_certificates.as_ref())
            .flat_map(|asked| std::iter::once(&asked.ca).chain(&asked.crl))
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
