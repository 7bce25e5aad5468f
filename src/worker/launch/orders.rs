//! What Portunus, the keeper and the worker-to-be say to each other: a line of JSON each way, and then single letters.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Failed;

/// What a worker's order may have in all, in bytes: it goes through one variable of an environment, for which the kernel has
/// room of 128 KiB.
pub(super) const ORDER_MAX: usize = 96 << 10;

/// From Portunus to the keeper, once; a listening socket may come with its first byte.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The program, its arguments, and all of its environment.
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: PathBuf,
    /// Whom to become; none: stay.
    pub(super) identity: Option<Identity>,
    pub(super) umask: u32,
    /// The file of its cgroup that processes join by.
    pub(super) join: Option<PathBuf>,
    pub(super) limits: Vec<(Limit, u64)>,
    pub(super) inherits: Inherits,
}

/// Whom a worker becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// All groups, the own one among them.
    pub(super) groups: Vec<u32>,
}

/// What the kernel counts for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::worker) enum Limit {
    /// What it could write: RLIMIT_DATA.
    Data,
    /// Processes and threads of its user: RLIMIT_NPROC.
    Processes,
    /// Open files: RLIMIT_NOFILE.
    Files,
}

/// Whether a listening socket is handed on, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Inherits {
    /// None is.
    Nothing,
    /// As descriptor 3, with LISTEN_FDS.
    Third,
    /// As descriptor 3, and as stdin, where FastCGI looks for it.
    ThirdAndStdin,
}

/// From the keeper to the worker-to-be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    pub(super) order: Order,
    /// The keeper's process: if another one is the parent, the keeper has died.
    pub(super) keeper: i32,
    /// The descriptor that a failure is told through; its end without a word means that the program runs.
    pub(super) status: i32,
}

/// The variable that an errand comes in.
pub(super) const ERRAND: &str = "PORTUNUS_ERRAND";

/// From the keeper to Portunus.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs, as this process.
    Started(u32),
    /// It does not.
    Failed(Failed),
    /// It has ended, and so has all that it started.
    Ended {
        /// Its status, where it ended by itself.
        status: Option<i32>,
        /// The signal that ended it otherwise.
        signal: Option<i32>,
        /// Whether it left a core.
        core: bool,
        /// Processes that it left behind, and that were killed.
        left: u32,
    },
}

/// From Portunus to the keeper while the worker lives: a letter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Letter {
    Terminate = b'T',
    Kill = b'K',
    Freeze = b'S',
    Thaw = b'C',
}

impl Letter {
    pub(super) fn read(byte: u8) -> Option<Self> {
        [Self::Terminate, Self::Kill, Self::Freeze, Self::Thaw]
            .into_iter()
            .find(|letter| *letter as u8 == byte)
    }
}
