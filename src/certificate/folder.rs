//! A folder of certificates named after their host: `www.shop.test.pem`, `_.shop.test.pem` for `*.shop.test`, `_default.pem`.
//! Or PKCS#12: `www.shop.test.pfx`. With `.rsa` or `.ecdsa` before its kind it is one more for the same name, with another kind of key.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::choice::Choice;
use super::error::CertificateError;
use super::files::Files;
use super::kept::{Kept, Look, News, Occasion, Scope, has_waited};
use super::pair::Certificate;
use crate::config::is_pkcs12;
use crate::model::{HostName, HostPattern};

/// What a certificate folder holds.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// By the file of the chain.
    files: BTreeMap<PathBuf, Kept>,
    /// By host, or by `_.parent`, or `_default`.
    names: HashMap<Box<str>, Name>,
    /// Whether nothing was shown before: then what each name says is taken at its word.
    is_first: bool,
    trouble: Option<Trouble>,
}

/// What the files of one name hold.
#[derive(Clone, Debug, Default)]
struct Name {
    shown: Option<Choice>,
    /// Those of which nothing can be shown.
    faults: Vec<PathBuf>,
}

/// A folder that held something and cannot be read.
#[derive(Clone, Debug)]
struct Trouble {
    why: String,
    since: SystemTime,
    told: bool,
}

impl Folder {
    /// Reads every `.pem` of a folder. One that does not exist is empty: its bindings' findings say so.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut news = Vec::new();
        let on = Occasion {
            look: Look::Start,
            now: SystemTime::now(),
            arrange: &|_| {},
        };
        Self::look(path, None, on, &mut news)
    }

    /// Looks at a folder, and keeps what is good of what it held before.
    pub(super) fn look(
        path: &Path,
        old: Option<&Self>,
        on: Occasion<'_>,
        news: &mut Vec<News>,
    ) -> io::Result<Self> {
        let listed = match (list(path), old) {
            (Ok(listed), _) => listed,
            (Err(error), Some(old)) if !old.is_empty() => {
                return Ok(old.clone().in_trouble(&error, on, news));
            }
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            (Err(error), _) => return Err(error),
        };
        // Those that were there and are gone are looked at as well: what was shown of them is shown on.
        let mut all = listed;
        all.extend(old.iter().flat_map(|old| old.files.keys().cloned()));
        all.sort_unstable();
        all.dedup();
        let mut files = BTreeMap::new();
        for file in all {
            if let Some(kept) = look_at(&file, old, on, news) {
                files.insert(file, kept);
            }
        }
        Ok(Self {
            path: path.into(),
            names: by_name(&files),
            files,
            is_first: on.look == Look::Start,
            trouble: None,
        })
    }

    /// It is as it was, and somebody should know.
    fn in_trouble(
        mut self,
        error: &io::Error,
        Occasion { look, now, .. }: Occasion<'_>,
        news: &mut Vec<News>,
    ) -> Self {
        let why = error.to_string();
        let mut trouble = match self.trouble.take() {
            Some(trouble) if trouble.why == why => trouble,
            _ => Trouble {
                why,
                since: now,
                told: false,
            },
        };
        // Whoever puts another folder in the place of this one takes it away first.
        let is_due = !trouble.told && has_waited(trouble.since, now);
        if look == Look::Reload || is_due {
            trouble.told = true;
            news.push(News::FolderLost {
                folder: self.path.clone(),
                why: trouble.why.clone(),
                certificates: self.certificates().count(),
            });
        }
        self.trouble = Some(trouble);
        self
    }

    /// The certificates for a host: of its own files, or of the wildcard of its parent.
    pub fn choice(&self, host: &HostName) -> Option<&Choice> {
        self.shown(host.as_str())
            .or_else(|| self.shown(&wildcard_name(host.parent()?)))
    }

    /// The certificate for a host: its own file, or the wildcard's of its parent.
    pub fn find(&self, host: &HostName) -> Option<&Arc<Certificate>> {
        self.choice(host).map(Choice::preferred)
    }

    /// The certificates of a wildcard.
    pub fn wildcard_choice(&self, parent: &HostName) -> Option<&Choice> {
        self.shown(&wildcard_name(parent.as_str()))
    }

    /// The certificates for clients that name no host.
    pub fn default_choice(&self) -> Option<&Choice> {
        self.shown(DEFAULT)
    }

    /// What the hosts of a file of that name are shown.
    fn shown_for(&self, scope: &Scope, name: &str) -> Option<&Arc<Certificate>> {
        let choice = match scope {
            Scope::Hosts(hosts) => match &hosts[..] {
                [HostPattern::Exact(host)] => self.choice(host),
                _ => self.shown(name),
            },
            Scope::All => self.shown(name),
        };
        choice.map(Choice::preferred)
    }

    fn shown(&self, name: &str) -> Option<&Choice> {
        self.names.get(name)?.shown.as_ref()
    }

    /// Whether there is a certificate for these hosts; of every host nobody can tell.
    pub fn has(&self, hosts: &HostPattern) -> bool {
        match hosts {
            HostPattern::Exact(host) => self.choice(host).is_some(),
            HostPattern::Wildcard(parent) => self.wildcard_choice(parent).is_some(),
            HostPattern::Any | HostPattern::Strong => false,
        }
    }

    /// Why the certificate that a host would have cannot be used, if there is one: its own, or its parent's wildcard where it
    /// has none of its own. Once something is shown for it, a fault is no reason to show nothing.
    pub fn fault(&self, host: &HostName) -> Option<&CertificateError> {
        let is_shown = match self.is_first {
            true => self.shown(host.as_str()).is_some(),
            false => self.choice(host).is_some(),
        };
        if is_shown {
            return None;
        }
        self.fault_of(host.as_str())
            .or_else(|| self.fault_of(&wildcard_name(host.parent()?)))
    }

    /// Why a wildcard's certificate cannot be used, if there is one.
    pub fn wildcard_fault(&self, parent: &HostName) -> Option<&CertificateError> {
        self.fault_of(&wildcard_name(parent.as_str()))
    }

    /// Why the certificate for clients that name no host cannot be used, if there is one.
    pub fn default_fault(&self) -> Option<&CertificateError> {
        self.fault_of(DEFAULT)
    }

    /// Of a name of which nothing can be shown.
    fn fault_of(&self, name: &str) -> Option<&CertificateError> {
        let name = self.names.get(name).filter(|name| name.shown.is_none())?;
        let mut faults = name.faults.iter();
        faults.find_map(|file| self.files.get(file)?.fault())
    }

    /// Why other files for a host, or for a wildcard, cannot be used where one of its files can.
    pub fn faults_beside(&self, host: &HostPattern) -> impl Iterator<Item = &CertificateError> {
        let name = match host {
            HostPattern::Exact(host) => self.names.get(host.as_str()),
            HostPattern::Wildcard(parent) => {
                self.names.get(wildcard_name(parent.as_str()).as_str())
            }
            HostPattern::Strong | HostPattern::Any => None,
        };
        name.filter(|name| name.shown.is_some())
            .into_iter()
            .flat_map(|name| &name.faults)
            .filter_map(|file| self.files.get(file)?.fault())
    }

    /// The files of a certificate.
    pub fn files_of(&self, certificate: &Certificate) -> Option<&Files> {
        self.files
            .get(&certificate.file)
            .map(|kept| &**kept.files())
    }

    /// Every certificate that can be used with its name, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Certificate>)> {
        let mut all: Vec<_> = (self.names.iter())
            .filter_map(|(name, of)| Some((&**name, of.shown.as_ref()?)))
            .flat_map(|(name, choice)| choice.all().map(move |certificate| (name, certificate)))
            .collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter()
    }

    fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.files.values().filter_map(Kept::shown)
    }

    /// Why files cannot be used, in the order of the files.
    pub fn faults(&self) -> impl Iterator<Item = &CertificateError> {
        self.files
            .values()
            .filter(|kept| kept.shown().is_none())
            .filter_map(Kept::fault)
    }

    /// What is known of every file that may hold a certificate.
    pub fn files(&self) -> impl Iterator<Item = &Kept> {
        self.files.values()
    }

    /// Whether there is nothing at all in it.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether something was found of which nothing is told yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.files.values().any(Kept::is_waiting)
            || (self.trouble.as_ref()).is_some_and(|trouble| !trouble.told)
    }

    /// Whether nothing came of a look.
    pub(super) fn is_as(&self, old: &Self) -> bool {
        let told = |folder: &Self| (folder.trouble.as_ref()).map(|t| (t.since, t.told));
        told(self) == told(old)
            && self.files.len() == old.files.len()
            && (self.files.iter())
                .zip(&old.files)
                .all(|((file, kept), (old_file, old))| file == old_file && kept.is_as(old))
    }

    /// Whether the very same certificates are shown.
    pub(super) fn shows_as(&self, old: &Self) -> bool {
        let pointers =
            |folder: &Self| -> Vec<_> { folder.certificates().map(Arc::as_ptr).collect() };
        pointers(self) == pointers(old)
    }
}

/// Looks at one certificate of a folder; none if there is nothing that could be kept of it.
fn look_at(
    file: &Path,
    folder: Option<&Folder>,
    on: Occasion<'_>,
    news: &mut Vec<News>,
) -> Option<Kept> {
    let old = folder.and_then(|folder| folder.files.get(file));
    let files = match old {
        Some(old) => Arc::clone(old.files()),
        None => Arc::new(files_of(file)),
    };
    let name = certificate_name(file)?;
    let scope = scope(&name);
    let else_shown = folder.and_then(|folder| folder.shown_for(&scope, &name));
    let (kept, told) = Kept::look(old, else_shown, &files, &files.read(), &scope, on);
    let fault = kept.fault();
    if kept.shown().is_none() && matches!(fault, Some(CertificateError::Missing(_))) {
        return None;
    }
    // A chain that no key ever came to may be an intermediate's, which lies here for others.
    let is_of_others =
        kept.shown().is_none() && matches!(fault, Some(CertificateError::KeyMissing { .. }));
    news.extend(told.filter(|_| !is_of_others));
    Some(kept)
}

/// What is shown under each name.
fn by_name(files: &BTreeMap<PathBuf, Kept>) -> HashMap<Box<str>, Name> {
    let mut in_order: Vec<_> = files.iter().collect();
    in_order.sort_by_key(|(file, _)| rank(file));
    let mut shown: HashMap<Box<str>, Vec<Arc<Certificate>>> = HashMap::new();
    let mut names: HashMap<Box<str>, Name> = HashMap::new();
    for (file, kept) in in_order {
        let Some(name) = certificate_name(file) else {
            continue;
        };
        match kept.shown() {
            Some(certificate) => shown.entry(name).or_default().push(Arc::clone(certificate)),
            None => names.entry(name).or_default().faults.push(file.clone()),
        }
    }
    for (name, certificates) in shown {
        names.entry(name).or_default().shown = Choice::of(&certificates);
    }
    names
}

/// Of two files of one name and one kind of key the lesser is shown: that with the plain name, PEM before PKCS#12, and of two
/// whose names differ in case only, the same one every time.
fn rank(file: &Path) -> (bool, bool, std::cmp::Reverse<&Path>) {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let is_labelled = without_label(&stem.to_ascii_lowercase()).len() < stem.len();
    (is_labelled, is_pkcs12(file), std::cmp::Reverse(file))
}

fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if certificate_name(&file).is_some() {
            files.push(file);
        }
    }
    Ok(files)
}

/// The files of a certificate of the folder. A password may be of one file, of all of its name, or of the whole folder.
fn files_of(file: &Path) -> Files {
    let key = match is_pkcs12(file) {
        true => file.into(),
        false => file.with_extension("key"),
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut passwords = vec![
        file.with_extension(PASSWORD),
        file.with_file_name(format!("{}.{PASSWORD}", without_label(&stem))),
        file.with_file_name(format!("_{PASSWORD}")),
    ];
    passwords.dedup();
    Files {
        chain: file.into(),
        key,
        passwords,
    }
}

/// What a file of the folder is named after; none for files of another kind.
fn certificate_name(file: &Path) -> Option<Box<str>> {
    if file.extension()? != "pem" && !is_pkcs12(file) {
        return None;
    }
    let stem = file.file_stem()?.to_str()?.to_ascii_lowercase();
    Some(without_label(&stem).into())
}

/// Without the kind of key that a file is for.
fn without_label(stem: &str) -> &str {
    let kind = [".rsa", ".ecdsa"];
    kind.iter()
        .find_map(|kind| stem.strip_suffix(kind))
        .unwrap_or(stem)
}

/// The hosts that a file of that name is there for.
fn scope(name: &str) -> Scope {
    let host = match name.strip_prefix("_.") {
        Some(parent) => HostName::parse(parent).map(HostPattern::Wildcard),
        None => HostName::parse(name).map(HostPattern::Exact),
    };
    match host {
        Ok(host) if name != DEFAULT => Scope::Hosts(vec![host]),
        _ => Scope::All,
    }
}

fn wildcard_name(parent: &str) -> String {
    format!("_.{parent}")
}

const DEFAULT: &str = "_default";

const PASSWORD: &str = "password";

#[cfg(test)]
mod tests;
