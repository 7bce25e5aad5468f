//! Where a worker listens: a folder that nobody else may enter, a port, or a socket that listens already.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, fchown};

use super::error::LaunchError;
use super::{LaunchSpec, WorkerAddress};
use crate::config::WorkerListen;

/// Where a worker listens, and what must be kept for it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: WorkerAddress,
    /// The socket that it inherits.
    pub(super) listening: Option<OwnedFd>,
    /// Removed with the worker.
    pub(super) folder: Option<Folder>,
}

/// A worker's private folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let mut held = held();
        // What stays is removed with the next start.
        let _ = fs::remove_dir_all(&self.0);
        let Some(of_process) = self.0.parent() else {
            return;
        };
        let last = fs::read_dir(of_process).is_ok_and(|entries| entries.count() == 1);
        if last && fs::remove_file(of_process.join(LOCK)).is_ok() {
            let _ = fs::remove_dir(of_process);
            held.retain(|(path, _)| path != of_process);
        }
    }
}

/// What a path of a unix socket may have, its end included (unix(7)).
const PATH_MAX: usize = 108;

/// Connections that the kernel keeps while the worker boots or is busy.
const BACKLOG: i32 = 1024;

/// Makes the folder of all sockets as long as it can be made, and gives it to `owner`, as whom the server is to run.
pub(super) fn make_folder(all: &Path, owner: (u32, u32)) -> io::Result<()> {
    let state = all.parent().unwrap_or(all);
    for folder in [state, all].into_iter().filter(|it| !it.is_dir()) {
        passable().create(folder)?;
        // What is there now may be another's work already: that is not followed.
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = open(folder, flags, Mode::empty())?;
        let (user, group) = owner;
        fchown(made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

/// Others may pass through, and see nothing: a worker of another user must reach its own folder.
fn passable() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o711);
    builder
}

/// Makes a worker's place. `uid` is whom it runs as.
pub(super) fn make(spec: &LaunchSpec, uid: u32) -> Result<Place, LaunchError> {
    if spec.listen == WorkerListen::Port {
        return port(spec);
    }
    let name = format!("{}-{}", plain(&spec.pool), spec.worker);
    let folder = spec.socket_folder.join(std::process::id().to_string());
    let path = folder.join(&name).join("socket");
    let length = path.as_os_str().len();
    if length >= PATH_MAX {
        return Err(LaunchError::SocketPath {
            path,
            length,
            max: PATH_MAX - 1,
        });
    }
    let failed = |error: io::Error| LaunchError::Socket {
        place: path.display().to_string(),
        what: match error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "{error}; give {} to the user that Portunus runs as, or name another `server.state_dir`",
                spec.socket_folder.display()
            ),
            _ => error.to_string(),
        },
    };
    let folder = private(&spec.socket_folder, &folder, &name).map_err(failed)?;
    let listening = match spec.listen {
        // Ours: the worker is given the socket itself, and needs no way to its file.
        WorkerListen::Fd => Some(listen(&path).map_err(failed)?),
        _ => {
            give(&folder.0, uid).map_err(failed)?;
            None
        }
    };
    Ok(Place {
        address: WorkerAddress::Unix(path),
        listening,
        folder: Some(folder),
    })
}

/// A name as part of a path.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().take(24).map(plain).collect()
}

/// A folder that nobody but we may enter.
fn private(all: &Path, of_process: &Path, name: &str) -> io::Result<Folder> {
    let mut held = held();
    passable().create(all)?;
    if !of_process.exists() {
        sweep(all);
    }
    passable().create(of_process)?;
    hold(&mut held, of_process)?;
    let folder = of_process.join(name);
    let _ = fs::remove_dir_all(&folder);
    DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(Folder(folder))
}

/// Makes the folder the worker's, where that is somebody else; its group is ours, by which we may connect.
fn give(folder: &Path, uid: u32) -> io::Result<()> {
    if uid == Uid::effective().as_raw() {
        return Ok(());
    }
    // What is made in it gets the folder's group. First, as long as it is ours.
    fs::set_permissions(folder, Permissions::from_mode(0o2770))?;
    Ok(chown(
        folder,
        Some(Uid::from_raw(uid)),
        Some(Gid::effective()),
    )?)
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let listener = UnixListener::bind(path)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener.into())
}

/// A port of the loopback that is free now. It is the worker's to bind: between here and there another program may take it,
/// which is then the worker's failure to start, and the next attempt has another port.
fn port(spec: &LaunchSpec) -> Result<Place, LaunchError> {
    let failed = |error: io::Error| LaunchError::Socket {
        place: format!("127.0.0.1, for worker {} of {:?}", spec.worker, spec.pool),
        what: error.to_string(),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Place {
        address: WorkerAddress::Tcp(address),
        listening: None,
        folder: None,
    })
}

const LOCK: &str = "lock";

/// The folders that this process has marked as its own, each with its lock.
type Held = Vec<(PathBuf, Flock<File>)>;

/// They are the process' and nobody else's; whoever makes or removes a folder of a worker has them meanwhile.
fn held() -> MutexGuard<'static, Held> {
    static HELD: Mutex<Held> = Mutex::new(Vec::new());
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a process' folder as in use, for as long as the process lives.
fn hold(held: &mut Held, of_process: &Path) -> io::Result<()> {
    if held.iter().any(|(path, _)| path == of_process) && of_process.join(LOCK).exists() {
        return Ok(());
    }
    let file = File::create(of_process.join(LOCK))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    held.retain(|(path, _)| path != of_process);
    held.push((of_process.to_path_buf(), lock));
    Ok(())
}

/// Removes what this process has made and not removed yet: it ends, and with it whoever would.
pub(super) fn leave() {
    for (folder, _lock) in held().drain(..) {
        // What stays is removed with the next start.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Removes what processes have left behind that are gone: those whose lock nobody holds.
pub(super) fn sweep(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let number = folder
            .file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok());
        let Some(number) = number.filter(|number| *number != std::process::id()) else {
            continue;
        };
        let unlocked = match File::open(folder.join(LOCK)) {
            Ok(file) => Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok(),
            Err(error) => {
                error.kind() == io::ErrorKind::NotFound
                    && !Path::new(&format!("/proc/{number}")).exists()
            }
        };
        if unlocked && fs::remove_dir_all(&folder).is_ok() {
            tracing::info!(folder = %folder.display(), "sockets that a server before this one left behind are removed");
        }
    }
}
