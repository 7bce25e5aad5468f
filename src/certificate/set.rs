//! Every certificate that a configuration's bindings may show.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::chain::Issuers;
use super::choice::Choice;
use super::clients::{ClientCas, KeptCas};
use super::error::CertificateError;
use super::files::Files;
use super::findings::{self, Finding};
use super::folder::Folder;
use super::kept::{Kept, Look, News, Occasion, Scope};
use super::pair::Certificate;
use super::placeholder;
use super::source::Source;
use super::ticket_key::{TicketKey, TicketKeys};
use super::trust::Trust;
use crate::config::{Binding, BindingTls, CertificateSource, ClientCertificates, Config};
use crate::model::HostPattern;

/// The certificates of a configuration, each read once, and what is to be said of them.
#[derive(Clone)]
pub struct Certificates {
    named: Vec<Named>,
    folders: HashMap<PathBuf, Arc<Folder>>,
    clients: HashMap<ClientCertificates, KeptCas>,
    /// For names whose certificate is still being ordered.
    placeholders: HashMap<HostPattern, Choice>,
    ticket_keys: TicketKeys,
    trust: Arc<Trust>,
    /// What was found, in the order of the bindings.
    pub findings: Vec<Finding>,
}

/// A certificate with a name, and those beside it.
#[derive(Clone)]
struct Named {
    kept: Vec<Kept>,
    shown: Option<Choice>,
    scope: Scope,
}

/// What came of a look at every file.
pub struct Looked {
    /// What is shown now, and what is known.
    pub certificates: Certificates,
    /// What is to be told once they are taken.
    pub news: Vec<News>,
}

impl Certificates {
    /// Reads every certificate that the configuration's bindings may show.
    pub fn load(config: &Config) -> Self {
        Self::look(config, None, SystemTime::now()).certificates
    }

    /// Reads every certificate that the configuration's bindings may show, and keeps what is good of what was shown before.
    pub fn look(config: &Config, old: Option<&Self>, now: SystemTime) -> Looked {
        let look = match old {
            Some(_) => Look::Reload,
            None => Look::Start,
        };
        let trust = Arc::new(Trust::load(&config.trust));
        let beside = Beside::new(&trust);
        let arrange = |certificate: &Certificate| beside.arrange(certificate);
        let on = Occasion {
            look,
            now,
            arrange: &arrange,
        };
        let mut news = Vec::new();
        let mut findings = Vec::new();
        let ticket_keys = TicketKeys::load(config, &mut findings);
        let mut certificates = Self {
            named: (0..config.certificates.len())
                .map(|index| Named::look_first(config, index, old, on, &mut news))
                .collect(),
            folders: HashMap::new(),
            clients: HashMap::new(),
            placeholders: HashMap::new(),
            trust: Arc::clone(&trust),
            ticket_keys,
            findings,
        };
        certificates.look_at_clients(config, old, on, &mut news);
        for (index, binding) in config.bindings.iter().enumerate() {
            let Some(BindingTls {
                certificate: CertificateSource::Folder(path),
                ..
            }) = &binding.tls
            else {
                continue;
            };
            if certificates.folders.contains_key(path) {
                continue;
            }
            let before = old.and_then(|old| old.folder(path));
            match Folder::look(path, before.map(|folder| &**folder), on, &mut news) {
                Ok(folder) => {
                    certificates.folders.insert(path.clone(), Arc::new(folder));
                }
                Err(source) => certificates.unreadable(index, path, source),
            }
        }
        // Those that stay as they were may have other issuers beside them by now, and others may be trusted.
        certificates.shown().for_each(arrange);
        for binding in &config.bindings {
            certificates.stand_in(binding);
        }
        certificates
            .findings
            .extend(findings::of(config, &certificates));
        Looked { certificates, news }
    }

    /// Reads the CAs of clients, once for all bindings that ask the same.
    fn look_at_clients(
        &mut self,
        config: &Config,
        old: Option<&Self>,
        on: Occasion<'_>,
        news: &mut Vec<News>,
    ) {
        for (index, binding) in config.bindings.iter().enumerate() {
            let asked = binding.tls.as_ref();
            let Some(settings) = asked.and_then(|tls| tls.client_certificates.as_ref()) else {
                continue;
            };
            if self.clients.contains_key(settings) {
                continue;
            }
            let before = old.and_then(|old| old.clients.get(settings));
            let (kept, told) = KeptCas::look(settings, before, on);
            self.findings.extend(kept.findings(index, on.now));
            news.extend(told.map(News::Clients));
            self.clients.insert(settings.clone(), kept);
        }
    }

    /// The CAs of clients that a binding asks for; none where they cannot be used.
    pub fn clients(&self, settings: &ClientCertificates) -> Option<&Arc<ClientCas>> {
        self.clients.get(settings)?.in_force()
    }

    /// Every file that the CAs of clients and their lists are read from.
    pub fn client_files(&self) -> impl Iterator<Item = &Path> {
        (self.clients.keys())
            .flat_map(|asked| std::iter::once(&asked.ca).chain(&asked.crl))
            .map(PathBuf::as_path)
    }

    /// Every certificate that is shown.
    fn shown(&self) -> impl Iterator<Item = &Certificate> {
        let named = self.named.iter().flat_map(|named| &named.kept);
        let files = self.folders.values().flat_map(|folder| folder.files());
        named
            .chain(files)
            .filter_map(Kept::shown)
            .map(|shown| &**shown)
    }

    fn unreadable(&mut self, binding: usize, folder: &Path, source: std::io::Error) {
        let error = CertificateError::Unreadable {
            file: folder.into(),
            source,
        };
        self.findings
            .push(Finding::error(binding, error.code(), error.to_string()));
    }

    /// Makes a placeholder where a certificate is still being ordered.
    fn stand_in(&mut self, binding: &Binding) {
        let Some(BindingTls {
            certificate: CertificateSource::Folder(path),
            acme: true,
            ..
        }) = &binding.tls
        else {
            return;
        };
        let hosts = &binding.hostname;
        let is_there = self.folders.get(path).is_some_and(|f| f.has(hosts));
        if !is_there
            && !self.placeholders.contains_key(hosts)
            && let Some(made) = placeholder::make(&hosts.to_string())
            && let Some(choice) = Choice::of(&[Arc::new(made)])
        {
            self.placeholders.insert(hosts.clone(), choice);
        }
    }

    /// Looks at the same files again; none if nothing is different.
    pub fn look_again(&self, now: SystemTime) -> Option<Looked> {
        let beside = Beside::new(&self.trust);
        let arrange = |certificate: &Certificate| beside.arrange(certificate);
        let on = Occasion {
            look: Look::Watch,
            now,
            arrange: &arrange,
        };
        let mut news = Vec::new();
        let mut certificates = self.clone();
        for named in &mut certificates.named {
            named.look_again(on, &mut news);
        }
        for (path, folder) in &mut certificates.folders {
            // One that held something is never an error; of one that did not, nothing is lost.
            if let Ok(new) = Folder::look(path, Some(folder), on, &mut news)
                && !new.is_as(folder)
            {
                *folder = Arc::new(new);
            }
        }
        for (settings, kept) in &mut certificates.clients {
            let (new, told) = KeptCas::look(settings, Some(kept), on);
            news.extend(told.map(News::Clients));
            *kept = new;
        }
        // What is missing in a chain may have come to lie beside it. The others are not judged again: it takes a millisecond each.
        let is_wanting = |certificate: &&Certificate| !certificate.chain().verdict.is_good();
        certificates.shown().filter(is_wanting).for_each(arrange);
        (!certificates.is_as(self)).then_some(Looked { certificates, news })
    }

    /// Whether nothing came of a look.
    fn is_as(&self, old: &Self) -> bool {
        let named = |(new, old): (&Named, &Named)| {
            (new.kept.iter())
                .zip(&old.kept)
                .all(|(new, old)| new.is_as(old))
        };
        self.named.iter().zip(&old.named).all(named)
            && (self.folders.iter()).all(|(path, folder)| {
                (old.folder(path)).is_some_and(|old| Arc::ptr_eq(folder, old))
            })
            && (self.clients.iter())
                .all(|(asked, kept)| (old.clients.get(asked)).is_some_and(|old| kept.is_as(old)))
    }

    /// Whether the very same certificates are shown as before, of the same configuration.
    pub fn show_as(&self, old: &Self) -> bool {
        let named = |(new, old): (&Named, &Named)| {
            (new.kept.iter())
                .zip(&old.kept)
                .all(|(new, old)| new.shows_as(old))
        };
        self.named.iter().zip(&old.named).all(named)
            && (self.folders.iter())
                .all(|(path, folder)| (old.folder(path)).is_some_and(|old| folder.shows_as(old)))
            && (self.clients.iter()).all(|(asked, kept)| {
                (old.clients.get(asked)).is_some_and(|old| kept.in_force_as(old))
            })
    }

    /// Whether something was found of which nothing is told yet, because it may be half written: it is looked at again soon.
    pub fn is_waiting(&self) -> bool {
        self.named
            .iter()
            .flat_map(|named| &named.kept)
            .any(Kept::is_waiting)
            || self.folders.values().any(|folder| folder.is_waiting())
            || self.clients.values().any(KeptCas::is_waiting)
    }

    /// Every file of a named certificate.
    pub fn named_files(&self) -> impl Iterator<Item = &Path> {
        (self.named.iter())
            .flat_map(|named| &named.kept)
            .flat_map(|kept| kept.files().all())
    }

    /// Every folder.
    pub fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.folders.values().map(|folder| &**folder)
    }

    /// A named certificate: the preferred one, where there are several kinds.
    pub fn named(&self, index: usize) -> Result<&Arc<Certificate>, &CertificateError> {
        let named = &self.named[index];
        match &named.shown {
            Some(choice) => Ok(choice.preferred()),
            None => Err(named.fault()),
        }
    }

    /// All kinds of a named certificate, the preferred one first; none where nothing of it can be used.
    pub fn kinds(&self, index: usize) -> impl Iterator<Item = &Arc<Certificate>> {
        self.named[index].shown.iter().flat_map(Choice::all)
    }

    /// Why other files of a named certificate cannot be used where one can.
    pub fn faults_beside(&self, index: usize) -> impl Iterator<Item = &CertificateError> {
        let kept = self.named[index].kept.iter();
        kept.filter(|kept| kept.shown().is_none())
            .filter_map(Kept::fault)
    }

    /// The files of a certificate that a binding shows.
    pub fn files_of(
        &self,
        source: &CertificateSource,
        certificate: &Certificate,
    ) -> Option<&Files> {
        match source {
            CertificateSource::Folder(path) => self.folder(path)?.files_of(certificate),
            CertificateSource::Named(index) => {
                let mut files = self.named[*index].kept.iter().map(Kept::files);
                files
                    .find(|files| files.chain == certificate.file)
                    .map(|files| &**files)
            }
        }
    }

    /// The folder of a binding.
    pub fn folder(&self, path: &PathBuf) -> Option<&Arc<Folder>> {
        self.folders.get(path)
    }

    /// Whom clients are taken to trust.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The ticket keys of a binding, in their order. They stay as they were read first: a reload reads them again.
    pub fn ticket_keys(&self, tls: &BindingTls) -> Vec<Arc<TicketKey>> {
        self.ticket_keys.of(tls)
    }

    /// Where a binding's certificate comes from; none where nothing of it can be used.
    pub fn source(&self, binding: &Binding) -> Option<Source> {
        let tls = binding.tls.as_ref()?;
        let path = match &tls.certificate {
            CertificateSource::Named(index) => {
                return self.named[*index].shown.clone().map(Source::Named);
            }
            CertificateSource::Folder(path) => path,
        };
        let folder = self.folder(path).cloned()?;
        let placeholder = self.placeholders.get(&binding.hostname);
        Some(match placeholder.filter(|_| tls.acme) {
            Some(placeholder) => Source::Ordered(folder, placeholder.clone()),
            None => Source::Folder(folder),
        })
    }
}

/// What lies beside certificates, by their folder, and whom clients trust.
struct Beside<'a> {
    trust: &'a Trust,
    issuers: RefCell<HashMap<PathBuf, Issuers>>,
}

impl<'a> Beside<'a> {
    fn new(trust: &'a Trust) -> Self {
        Self {
            trust,
            issuers: RefCell::default(),
        }
    }

    /// Puts a chain in order, and completes it with what lies beside it.
    fn arrange(&self, certificate: &Certificate) {
        let folder = certificate.file.parent().unwrap_or(Path::new("."));
        let mut all = self.issuers.borrow_mut();
        let issuers = all
            .entry(folder.into())
            .or_insert_with(|| Issuers::of(folder));
        certificate.arrange(issuers, self.trust);
    }
}

impl Named {
    fn look_first(
        config: &Config,
        index: usize,
        old: Option<&Certificates>,
        on: Occasion<'_>,
        news: &mut Vec<News>,
    ) -> Self {
        let scope = scope(config, index);
        let named = &config.certificates[index];
        let files: Vec<_> = std::iter::once(&named.files)
            .chain(&named.alternative)
            .map(|files| {
                Arc::new(Files {
                    chain: files.chain.clone(),
                    key: files.key.clone(),
                    passwords: files.password.iter().cloned().collect(),
                })
            })
            .collect();
        let before = |files: &Files| {
            let named = old.iter().flat_map(|old| &old.named);
            let mut kept = named.flat_map(|named| &named.kept);
            kept.find(|kept| **kept.files() == *files)
        };
        let old: Vec<_> = files.iter().map(|files| before(files)).collect();
        Self::look(files.iter().zip(old), scope, on, news)
    }

    fn look_again(&mut self, on: Occasion<'_>, news: &mut Vec<News>) {
        let files = self.kept.iter().map(|kept| (kept.files(), Some(kept)));
        *self = Self::look(files, self.scope.clone(), on, news);
    }

    fn look<'a>(
        files: impl Iterator<Item = (&'a Arc<Files>, Option<&'a Kept>)> + Clone,
        scope: Scope,
        on: Occasion<'_>,
        news: &mut Vec<News>,
    ) -> Self {
        let else_shown = files.clone().find_map(|(_, old)| old?.shown());
        let look = |(files, old): (&Arc<Files>, Option<&Kept>)| {
            let content = files.read();
            let (kept, told) = Kept::look(old, else_shown, files, &content, &scope, on);
            news.extend(told);
            kept
        };
        let kept = files.map(look).collect();
        Self::of(kept, scope)
    }

    fn of(kept: Vec<Kept>, scope: Scope) -> Self {
        let shown: Vec<_> = kept.iter().filter_map(Kept::shown).cloned().collect();
        Self {
            shown: Choice::of(&shown),
            kept,
            scope,
        }
    }

    /// Why nothing of it can be shown.
    fn fault(&self) -> &CertificateError {
        let mut faults = self.kept.iter().filter_map(Kept::fault);
        faults
            .next()
            .expect("what is not shown has a fault: anything is shown rather than nothing")
    }
}

/// The hosts that a named certificate is there for.
fn scope(config: &Config, index: usize) -> Scope {
    let shows = |source: &CertificateSource| matches!(source, CertificateSource::Named(named) if *named == index);
    let bindings = config.bindings.iter();
    let hosts = bindings
        .filter(|binding| (binding.tls.as_ref()).is_some_and(|tls| shows(&tls.certificate)))
        .map(|binding| binding.hostname.clone())
        .collect();
    Scope::Hosts(hosts)
}
