//! Why a worker could not be started: the step that failed, and the remedy.

use std::fmt;
use std::path::PathBuf;

/// Why a worker could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// There is no such user.
    #[error("`user`: there is no user {0:?} on this system; make it, as in `useradd --system {0}`")]
    NoUser(String),
    /// There is no such group.
    #[error(
        "`group`: there is no group {0:?} on this system; make it, as in `groupadd --system {0}`"
    )]
    NoGroup(String),
    /// The server may not become somebody else.
    #[error(
        "`user`: a worker cannot become {0:?}: that takes root, or the capabilities that docs/workers.md names; start \
         Portunus as root, or leave `user` and `group` empty. (With `server.user` it keeps what it takes only where a pool \
         asks for it at the start: after a reload that brings the first, restart it.)"
    )]
    NoRight(String),
    /// The path of its socket is too long for the system.
    #[error(
        "the path of its socket has {length} bytes, and the system takes {max}: {path}; give `server.state_dir` a \
         shorter path, or write listen = \"port\""
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
        /// What the system takes.
        max: usize,
    },
    /// Its socket cannot be made.
    #[error("its socket at {place} cannot be made: {what}")]
    Socket {
        /// The path or address.
        place: String,
        /// What the system said.
        what: String,
    },
    /// The command and the environment are too long together.
    #[error("`command` and `env` have {0} bytes together, and may have {max}", max = super::orders::ORDER_MAX)]
    TooLong(usize),
    /// One of the steps between fork and exec failed.
    #[error("{0}")]
    Step(#[from] Failed),
    /// Its keeper, which is this very program, could not be started or did not answer.
    #[error("the process that keeps it cannot be started: {0}")]
    Keeper(String),
}

/// A step between fork and exec that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub struct Failed {
    /// Which.
    pub step: Step,
    /// What it was to work with.
    pub with: String,
    /// What the system said.
    pub errno: i32,
}

/// A step between fork and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Step {
    /// A process of its own for it.
    Fork,
    /// A session of its own, and with it a process group.
    Session,
    /// Joining its cgroup.
    Group,
    /// Limits.
    Limits,
    /// The listening socket's descriptor.
    Descriptors,
    /// The change of group and user.
    Identity,
    /// No new privileges, and none of ours.
    Privileges,
    /// The folder.
    Folder,
    /// That it ends with its keeper.
    Bond,
    /// The program itself.
    Program,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        let (not_found, denied) = (self.errno == libc_enoent(), self.errno == libc_eacces());
        let with = &self.with;
        match self.step {
            Step::Folder if not_found => {
                write!(
                    f,
                    "`cwd`: there is no folder {with}; make it, or correct the path"
                )
            }
            Step::Folder => write!(
                f,
                "`cwd`: {with} cannot be worked in: {error}; the worker's user must be able to enter it"
            ),
            Step::Program if not_found => write!(
                f,
                "`command`: there is no program {with:?}; write its whole path, install it, or add its folder to PATH \
                 in `env`. (A script is not found either where the interpreter in its first line is missing.)"
            ),
            Step::Program if denied => write!(
                f,
                "`command`: {with:?} may not be executed by the worker's user: {error}; see `namei -l` of its path"
            ),
            Step::Program => write!(f, "`command`: {with:?} cannot be executed: {error}"),
            Step::Identity => write!(
                f,
                "`user`: {with} failed: {error}; the server must have been started as root, or have the capabilities \
                 that docs/workers.md names"
            ),
            Step::Group => write!(f, "its cgroup {with} cannot be joined: {error}"),
            Step::Limits => write!(f, "`limits`: {with} cannot be set: {error}"),
            step => write!(f, "{with} failed ({step:?}): {error}"),
        }
    }
}

fn libc_enoent() -> i32 {
    nix::errno::Errno::ENOENT as i32
}

fn libc_eacces() -> i32 {
    nix::errno::Errno::EACCES as i32
}
