//! The folders in which a change may change a certificate: that of each file, and those of the links that lead to it.
//!
//! Kubernetes turns `..data` to another folder, certbot each link in `live/` to another file: none of the files that were read
//! changes. So each link on the way is watched where it lies.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::certificate::Certificates;

/// What is watched.
pub(super) struct Places {
    /// None where the system offers no watching.
    watcher: Option<RecommendedWatcher>,
    wanted: Arc<Wanted>,
    /// The folders that are watched, each with what it was then: a folder of the same name may be another by now.
    watched: HashMap<PathBuf, Option<Identity>>,
    /// Whether it was told that a folder cannot be watched.
    told: bool,
}

/// Device and number of a folder.
type Identity = (u64, u64);

/// By folder, what in it matters.
#[derive(Default)]
struct Wanted(Mutex<HashMap<PathBuf, Names>>);

/// Of the names in a folder, those that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    All,
    Some(HashSet<OsString>),
}

impl Places {
    /// Watches nothing yet. `wake` is told of every change.
    pub(super) fn new(wake: SyncSender<()>) -> Self {
        let wanted = Arc::new(Wanted::default());
        let matters = Arc::clone(&wanted);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error is an overflow, for one: something may have changed.
            if event.map_or(true, |event| matters.has(&event)) {
                // Full: it is to look already.
                let _ = wake.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "files cannot be watched; certificates are looked at every minute");
            })
            .ok();
        Self {
            watcher,
            wanted,
            watched: HashMap::new(),
            told: false,
        }
    }

    /// Watches the places of these certificates, and no others.
    pub(super) fn follow(&mut self, certificates: &Certificates) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = of(certificates);
        self.watched.retain(|folder, was| {
            let stays = wanted.contains_key(folder) && *was == identity(folder);
            if !stays {
                // A folder that is gone is watched no longer already.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for folder in wanted.keys() {
            if self.watched.contains_key(folder) || self.watched.len() >= FOLDERS_MAX {
                continue;
            }
            let is = identity(folder);
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder.clone(), is)),
                Err(error) if !self.told => {
                    self.told = true;
                    tracing::warn!(folder = %folder.display(), %error, "a folder cannot be watched; what lies in it is looked at every minute");
                }
                Err(_) => {}
            }
        }
        *self.wanted.lock() = wanted;
    }
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event may change a certificate.
    fn has(&self, event: &Event) -> bool {
        let is_change = match event.kind {
            // Reading is what we do ourselves.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        let wanted = self.lock();
        let matters = |path: &PathBuf| {
            wanted.contains_key(path)
                || (path.parent().zip(path.file_name()))
                    .is_some_and(|(folder, name)| (wanted.get(folder)).is_some_and(|n| n.has(name)))
        };
        is_change && (event.need_rescan() || event.paths.iter().any(matters))
    }
}

impl Names {
    fn has(&self, name: &OsStr) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(name),
        }
    }
}

/// The places of these certificates.
fn of(certificates: &Certificates) -> HashMap<PathBuf, Names> {
    let mut places = HashMap::new();
    for folder in certificates.folders() {
        if let Some(real) = follow_links(&folder.path, &mut places) {
            places.insert(real, Names::All);
        }
        let files = folder.files().flat_map(|kept| kept.files().all());
        for file in files.filter(|file| file.is_symlink()) {
            follow_links(file, &mut places);
        }
    }
    for file in certificates
        .named_files()
        .chain(certificates.client_files())
    {
        follow_links(file, &mut places);
    }
    places
}

/// Goes along a path as the system does, and adds each place in which it would lead elsewhere: where a link lies, where the last
/// name lies, and where a name is not there yet. Returns where it ends, if it does.
pub(super) fn follow_links(path: &Path, places: &mut HashMap<PathBuf, Names>) -> Option<PathBuf> {
    let mut add = |folder: &Path, name: &OsStr| {
        let names = places
            .entry(folder.into())
            .or_insert_with(|| Names::Some(HashSet::new()));
        if let Names::Some(names) = names {
            names.insert(name.into());
        }
    };
    let absolute = std::path::absolute(path).ok()?;
    let mut rest: VecDeque<OsString> = parts(&absolute);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let Ok(metadata) = fs::symlink_metadata(&next) else {
            add(&here, &name);
            return None;
        };
        if !metadata.is_symlink() {
            if rest.is_empty() {
                add(&here, &name);
            }
            here = next;
            continue;
        }
        add(&here, &name);
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        let target = fs::read_link(&next).ok()?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    Some(here)
}

/// The names on a path, and its `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn identity(folder: &Path) -> Option<Identity> {
    let metadata = fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// As many links on one path as Linux follows.
const LINKS_MAX: usize = 40;

/// So many folders are watched: links that lead to more are looked at every minute.
const FOLDERS_MAX: usize = 4096;
