//! Opening what lies beneath a folder, and nothing else.
//!
//! The kernel keeps the walls: `openat2` with RESOLVE_BENEATH follows a symbolic link only as long as it stays beneath the
//! folder, without a race between looking and opening. Where there is no `openat2` (Linux before 5.6, or a seccomp filter
//! that does not know it), the path is walked a component at a time and no symbolic link is followed at all.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use http::StatusCode;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat, stat};

use crate::model::{Reason, Refusal};

/// A folder that is held open.
#[derive(Debug)]
pub(in crate::handler) struct Folder {
    root: OwnedFd,
    resolve: Resolve,
}

/// Who keeps a path beneath the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolve {
    /// `openat2`.
    Kernel,
    /// A walk that follows no symbolic link.
    Walk,
}

/// What a path turned out to be.
#[derive(Debug)]
pub(super) enum Opened {
    File(File),
    Folder,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct File {
    pub(super) file: fs::File,
    pub(super) stamp: Stamp,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified_secs: i64,
    pub(super) modified_nanos: i64,
    pub(super) inode: u64,
}

/// Why nothing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::handler) enum OpenError {
    /// Nothing there that may be served. What lies outside, what leads outside and what is no regular file is not told from
    /// what is not there.
    #[error("there is no such file")]
    Missing,
    #[error("the file may not be read by the user that the server runs as")]
    Denied,
    #[error("no file can be opened at the moment: {0}")]
    Exhausted(Errno),
    #[error("the file cannot be opened: {0}")]
    Broken(Errno),
}

impl Folder {
    /// Whether `path` still leads to this folder.
    pub(in crate::handler) fn is_at(&self, path: &Path) -> bool {
        match (stat(path), fstat(&self.root)) {
            (Ok(there), Ok(here)) => (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino),
            // A path that leads nowhere just now leads to nothing better.
            _ => true,
        }
    }

    /// Opens the folder itself; here, links are followed wherever they lead.
    pub(in crate::handler) fn open_root(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(path, flags, Mode::empty())?;
        // Asked once: neither the kernel nor a seccomp filter takes openat2 back later, and an EPERM of the filter must not
        // be taken for one of the file.
        let resolve = match beneath(&root, ".", flags) {
            Ok(_) => Resolve::Kernel,
            Err(error) => {
                tracing::warn!(
                    folder = %path.display(), %error,
                    "openat2 cannot be used here: symbolic links in this folder are not followed"
                );
                Resolve::Walk
            }
        };
        Ok(Self { root, resolve })
    }

    /// The same folder, with its paths resolved in the other way.
    #[cfg(test)]
    pub(super) fn resolving_by(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// Opens a regular file, or says that the path is a folder's.
    ///
    /// What a path is can only be known once it is open, so a FIFO or a device is opened too, and closed at once:
    /// O_NONBLOCK keeps that from waiting for somebody at the other end, O_NOCTTY from taking a terminal over.
    pub(super) fn open(&self, relative: &str) -> Result<Opened, OpenError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = fs::File::from(self.open_beneath(relative, flags)?);
        let metadata = file.metadata().map_err(OpenError::of)?;
        if metadata.is_file() {
            let stamp = Stamp::of(&metadata);
            Ok(Opened::File(File { file, stamp }))
        } else if metadata.is_dir() {
            Ok(Opened::Folder)
        } else {
            Err(OpenError::Missing)
        }
    }

    /// Opens a folder to read its entries.
    pub(super) fn open_folder(&self, relative: &str) -> Result<OwnedFd, OpenError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(self.open_beneath(relative, flags)?)
    }

    /// Looks at what a path leads to, without opening it for reading.
    pub(in crate::handler) fn look(&self, relative: &str) -> Result<fs::Metadata, OpenError> {
        let file = fs::File::from(self.open_beneath(relative, OFlag::O_PATH | OFlag::O_CLOEXEC)?);
        file.metadata().map_err(OpenError::of)
    }

    fn open_beneath(&self, relative: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let relative = if relative.is_empty() { "." } else { relative };
        match self.resolve {
            Resolve::Kernel => beneath(&self.root, relative, flags),
            Resolve::Walk => walk(&self.root, relative, flags),
        }
    }
}

fn beneath(root: &OwnedFd, relative: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut tries = 0;
    loop {
        match openat2(root, relative, how) {
            // A link held `..` while something was renamed, and the kernel could not tell whether it led outside.
            Err(Errno::EAGAIN | Errno::EINTR) if tries < RESOLVE_TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn walk(root: &OwnedFd, relative: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let (parents, name) = match relative.trim_end_matches('/').rsplit_once('/') {
        Some((parents, name)) => (parents, name),
        None => ("", relative.trim_end_matches('/')),
    };
    let flags = if relative.ends_with('/') {
        flags | OFlag::O_DIRECTORY
    } else {
        flags
    };
    let mut folder: Option<OwnedFd> = None;
    for segment in parents.split('/') {
        match segment {
            "" | "." => continue,
            ".." => return Err(Errno::EXDEV),
            _ => {}
        }
        let through = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let at = folder.as_ref().unwrap_or(root).as_fd();
        folder = Some(openat(at, segment, through, Mode::empty())?);
    }
    if name == ".." {
        return Err(Errno::EXDEV);
    }
    let at = folder.as_ref().unwrap_or(root).as_fd();
    openat(at, name, flags | OFlag::O_NOFOLLOW, Mode::empty())
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
        }
    }

    /// When the file's content was last changed, to compare with another file's.
    pub(super) fn modified(&self) -> (i64, i64) {
        (self.modified_secs, self.modified_nanos)
    }
}

impl OpenError {
    fn of(error: io::Error) -> Self {
        Errno::from_raw(error.raw_os_error().unwrap_or(0)).into()
    }
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            // ELOOP and EXDEV are the walls; ENXIO and ENODEV are sockets and devices with nothing behind them; EINVAL and
            // ENAMETOOLONG are names that no file can have.
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::EINVAL
            | Errno::ENAMETOOLONG => Self::Missing,
            Errno::EACCES | Errno::EPERM => Self::Denied,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN | Errno::EINTR => {
                Self::Exhausted(errno)
            }
            _ => Self::Broken(errno),
        }
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            // A fixed text: what is asked for in vain is asked for often.
            OpenError::Missing => Refusal::new(Reason::NoRoute, "there is no such file"),
            OpenError::Denied => {
                Refusal::new(Reason::Filtered, error.to_string()).with_status(StatusCode::FORBIDDEN)
            }
            OpenError::Exhausted(_) => Refusal::new(Reason::Internal, error.to_string())
                .with_status(StatusCode::SERVICE_UNAVAILABLE),
            OpenError::Broken(_) => Refusal::new(Reason::Internal, error.to_string()),
        }
    }
}

/// How often a path is resolved anew when something was renamed meanwhile. Each time needs another rename at that very
/// moment.
const RESOLVE_TRIES: usize = 8;
