//! Which bindings show which certificate: worked out once for all of a configuration, as each of a thousand certificates may be
//! that of any of a thousand bindings.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::folder::Folder;
use super::inventory::written;
use super::pair::Certificate;
use super::set::Certificates;
use crate::config::{CertificateSource, Config};
use crate::model::HostPattern;

/// The bindings, by their index, that show each certificate.
pub(super) struct Usage<'a> {
    named: HashMap<usize, Vec<usize>>,
    folders: HashMap<&'a Path, OfFolder<'a>>,
}

/// Those of one folder.
#[derive(Default)]
struct OfFolder<'a> {
    /// By the certificate that is found for a binding's host.
    found: HashMap<*const Certificate, Vec<usize>>,
    /// By the parent of a wildcard: hosts below it may each have a certificate of their own.
    below: HashMap<&'a str, Vec<usize>>,
    /// Those that take every host.
    every: Vec<usize>,
}

/// How long a certificate is valid that a binding shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// What it is called, as in the [inventory](super::Inventory).
    pub name: String,
    /// The file of its chain.
    pub file: String,
    /// When it ends to be valid; none where its file cannot be used.
    pub not_after: Option<SystemTime>,
}

impl<'a> Usage<'a> {
    pub(super) fn of(config: &'a Config, certificates: &Certificates) -> Self {
        let mut usage = Self {
            named: HashMap::new(),
            folders: HashMap::new(),
        };
        for (index, binding) in config.bindings.iter().enumerate() {
            let Some(tls) = &binding.tls else { continue };
            match &tls.certificate {
                CertificateSource::Named(named) => {
                    usage.named.entry(*named).or_default().push(index);
                }
                CertificateSource::Folder(path) => {
                    let Some(folder) = certificates.folder(path) else {
                        continue;
                    };
                    let of = usage.folders.entry(path).or_default();
                    of.add(index, &binding.hostname, folder);
                }
            }
        }
        usage
    }

    /// Those that show a certificate with a name, by its index.
    pub(super) fn of_named(&self, index: usize) -> &[usize] {
        self.named.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Those that show a certificate of a folder, whose file is named so.
    pub(super) fn of_folder(
        &self,
        folder: &Path,
        name: &str,
        certificate: &Arc<Certificate>,
    ) -> Vec<usize> {
        let Some(of) = self.folders.get(folder) else {
            return Vec::new();
        };
        let found = of.found.get(&Arc::as_ptr(certificate));
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let below = parent.and_then(|parent| of.below.get(parent));
        let mut all: Vec<usize> = [found, below, Some(&of.every)]
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl<'a> OfFolder<'a> {
    fn add(&mut self, binding: usize, hostname: &'a HostPattern, folder: &Folder) {
        let choice = match hostname {
            HostPattern::Exact(host) => {
                let default = host.ip().and_then(|_| folder.default_choice());
                folder.choice(host).or(default)
            }
            HostPattern::Wildcard(parent) => {
                self.below.entry(parent.as_str()).or_default().push(binding);
                folder.wildcard_choice(parent)
            }
            HostPattern::Strong | HostPattern::Any => {
                return self.every.push(binding);
            }
        };
        for shown in choice.into_iter().flat_map(|choice| choice.all()) {
            self.found
                .entry(Arc::as_ptr(shown))
                .or_default()
                .push(binding);
        }
    }
}

/// Every certificate that a binding shows, in the order of names and files; what is known without reading it again.
pub fn validity(config: &Config, certificates: &Certificates) -> Vec<Validity> {
    let usage = Usage::of(config, certificates);
    let told = |name: String, file: &Path, not_after| Validity {
        name,
        file: file.display().to_string(),
        not_after,
    };
    let mut all = Vec::new();
    for (index, named) in config.certificates.iter().enumerate() {
        if usage.of_named(index).is_empty() {
            continue;
        }
        if let Err(error) = certificates.named(index) {
            let file = super::findings::file_of_error(error);
            all.push(told(named.name.clone(), file, None));
        }
        for shown in certificates.kinds(index) {
            all.push(told(named.name.clone(), &shown.file, Some(shown.not_after)));
        }
    }
    for folder in certificates.folders() {
        for (name, shown) in folder.iter() {
            if !usage.of_folder(&folder.path, name, shown).is_empty() {
                all.push(told(written(name), &shown.file, Some(shown.not_after)));
            }
        }
    }
    all.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
    // No series is there twice, whatever a file holds.
    all.dedup_by(|a, b| (&a.name, &a.file) == (&b.name, &b.file));
    all
}
