//! Who may read a file: the user that the server will be, and everybody else.
//!
//! Asked of the mode of the file and of every folder above it. Access control lists are not looked at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, Uid, User, getgrouplist};

use crate::config;

/// A user who would read files, at one moment.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What people call the user.
    pub name: String,
    uid: u32,
    groups: Vec<u32>,
    /// Folders that were looked at: a thousand certificates lie in one or two.
    ways: RefCell<HashMap<PathBuf, Option<Way>>>,
}

/// The way to what lies in a folder.
#[derive(Clone, Debug)]
struct Way {
    /// The folder, with all links followed.
    real: PathBuf,
    /// The first folder that may not be entered.
    obstacle: Option<PathBuf>,
}

/// What a mode allows its owner, its group and everybody else to do: to read a file, to enter a folder.
#[derive(Clone, Copy)]
enum Wish {
    Read = 0o4,
    Enter = 0o1,
}

impl Reader {
    /// Whom the server becomes once its sockets are bound; none where it stays who we are, or where that user is not known,
    /// which is told at start.
    pub(super) fn after_start(server: &config::Server) -> Option<Self> {
        if !Uid::effective().is_root() || server.user.is_empty() {
            return None;
        }
        let user = User::from_name(&server.user).ok()??;
        let gid = match server.group.as_str() {
            "" => user.gid,
            group => Group::from_name(group).ok()??.gid,
        };
        if user.uid.is_root() {
            return None;
        }
        let name = CString::new(user.name.clone()).ok()?;
        let groups = getgrouplist(&name, gid).unwrap_or_else(|_| vec![gid]);
        Some(Self {
            name: user.name,
            uid: user.uid.as_raw(),
            groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
            ways: RefCell::default(),
        })
    }

    /// Anybody who owns nothing and is in no group.
    pub(super) fn anybody() -> Self {
        Self {
            name: "anybody".to_owned(),
            uid: u32::MAX,
            ..Self::default()
        }
    }

    /// Whether the user may read a file. Where the file itself says no, nothing else is looked at.
    pub(super) fn may_read(&self, file: &Path) -> bool {
        self.may(Wish::Read, file) && self.obstacle(file).is_none()
    }

    /// The first thing in the way of reading a file: a folder that may not be entered, or the file. None where there is
    /// nothing in the way, and of a file that is not there.
    pub(super) fn obstacle(&self, file: &Path) -> Option<PathBuf> {
        let written = std::path::absolute(file).ok()?;
        let mut way = self.way(written.parent()?)?;
        let mut real = way.real.join(written.file_name()?);
        if fs::symlink_metadata(&written).ok()?.is_symlink() {
            // Links are followed through the folders that they lie in as well.
            real = fs::canonicalize(&written).ok()?;
            let beyond = self.way(real.parent()?)?;
            way.obstacle = way.obstacle.or(beyond.obstacle);
        }
        way.obstacle
            .or_else(|| (!self.may(Wish::Read, &real)).then_some(real))
    }

    /// None where the folder is not there.
    fn way(&self, folder: &Path) -> Option<Way> {
        if let Some(known) = self.ways.borrow().get(folder) {
            return known.clone();
        }
        let way = fs::canonicalize(folder).ok().map(|real| {
            let mut folders = folder.ancestors().chain(real.ancestors());
            let obstacle = folders.find(|folder| !self.may(Wish::Enter, folder));
            let obstacle = obstacle.map(Path::to_owned);
            Way { real, obstacle }
        });
        self.ways.borrow_mut().insert(folder.into(), way.clone());
        way
    }

    /// What cannot be looked at is in nobody's way: we are root where it matters.
    fn may(&self, wish: Wish, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| {
            let mode = if found.uid() == self.uid {
                found.mode() >> 6
            } else if self.groups.contains(&found.gid()) {
                found.mode() >> 3
            } else {
                found.mode()
            };
            mode & wish as u32 != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_mode_counts_for_its_owner_its_group_and_others_in_this_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        fs::write(&file, "").expect("a file");
        let owner = fs::metadata(&file).expect("a file");
        let reader = |uid, groups: &[u32]| Reader {
            name: String::new(),
            uid,
            groups: groups.to_vec(),
            ..Reader::default()
        };
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode")
        };
        let (own, group) = (owner.uid(), owner.gid());
        let other = own + 1;
        set(folder.path(), 0o755);
        for (mode, reader, expected) in [
            (0o400, reader(own, &[]), None),
            (0o044, reader(own, &[group]), Some(file.clone())),
            (0o440, reader(other, &[group + 1, group]), None),
            (0o404, reader(other, &[group]), Some(file.clone())),
            (0o640, reader(other, &[]), Some(file.clone())),
            (0o644, reader(other, &[]), None),
        ] {
            set(&file, mode);
            assert_eq!(reader.obstacle(&file), expected, "{mode:o} {reader:?}");
            assert_eq!(reader.may_read(&file), expected.is_none());
        }
        set(folder.path(), 0o700);
        assert_eq!(
            Reader::anybody().obstacle(&file),
            Some(folder.path().into())
        );
        assert_eq!(
            Reader::anybody().obstacle(Path::new("/nowhere/at/all")),
            None
        );
    }

    #[test]
    fn a_link_leads_through_the_folders_that_its_file_lies_in_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode")
        };
        set(folder.path(), 0o755);
        let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
        for each in [&open, &closed] {
            fs::create_dir(each).expect("a folder");
            fs::write(each.join("key"), "").expect("a file");
            set(&each.join("key"), 0o644);
        }
        set(&closed, 0o700);
        let (file_link, folder_link) = (open.join("link"), open.join("folder"));
        std::os::unix::fs::symlink(closed.join("key"), &file_link).expect("a link");
        std::os::unix::fs::symlink(&closed, &folder_link).expect("a link");
        // One reader looks at all of them, and remembers what it saw of the folders.
        let reader = Reader::anybody();
        assert_eq!(reader.obstacle(&open.join("key")), None);
        assert_eq!(reader.obstacle(&file_link), Some(closed.clone()));
        assert_eq!(
            reader.obstacle(&folder_link.join("key")),
            Some(folder_link.clone())
        );
        assert_eq!(reader.obstacle(&open.join("key")), None);
    }
}
