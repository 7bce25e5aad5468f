//! Starting a worker, and everything about one worker while it lives.
//!
//! ```text
//! portunus ── control ──► keeper (this very program, `keep-worker`)
//!                           └─ fork ─► session, limits, identity … exec ─► the worker
//! ```
//!
//! The keeper stands between, one for each worker, because what has to be done between fork and exec cannot be done safely
//! in a process of many threads, and because nobody else can promise that nothing is left behind: it is the reaper of all
//! that the worker starts, and ends all of it when the worker ends, and when Portunus does, however that came.

mod error;
mod orders;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use error::{Failed, LaunchError, Step};

use super::death::Death;
use crate::config::{self, WorkerLimits, WorkerListen, WorkerProtocol};

/// What is to be started.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// The pool that it is for, as logs name it.
    pub pool: String,
    /// Its number among the pool's workers, never used twice while the server runs.
    pub worker: u64,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder that it works in.
    pub cwd: PathBuf,
    /// Variables beside those that every worker has.
    pub env: BTreeMap<String, String>,
    /// Whom it runs as; empty: as we do.
    pub user: String,
    /// The group that it runs as; empty: the user's own.
    pub group: String,
    /// How it is reached.
    pub listen: WorkerListen,
    /// What is spoken to it: with FastCGI, an inherited socket is its stdin too.
    pub protocol: WorkerProtocol,
    /// Where the private folder of its socket is made.
    pub socket_folder: PathBuf,
    /// What it may use.
    pub limits: WorkerLimits,
    /// The program that keeps it: this one, unless a test or a program that has Portunus as a library says otherwise.
    pub keeper: PathBuf,
}

impl LaunchSpec {
    /// As a pool's settings say.
    pub fn new(pool: &str, worker: u64, settings: &config::Process) -> Self {
        Self {
            pool: pool.to_owned(),
            worker,
            command: settings.command.clone(),
            cwd: settings.cwd.clone(),
            env: settings.env.clone(),
            user: settings.user.clone(),
            group: settings.group.clone(),
            listen: settings.listen,
            protocol: settings.protocol,
            socket_folder: settings.socket_folder.clone(),
            limits: settings.limits,
            keeper: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// Where a worker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A loopback port.
    Tcp(SocketAddr),
}

/// Which limit a worker has reached that is to be replaced for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// It has more memory than these bytes.
    Memory(u64),
    /// It has used more than this percentage of a core for a minute.
    Cpu(u32),
}

/// Starts a worker. It is told of once its program runs; whether it is ready is for whoever asks it.
pub async fn launch(spec: &LaunchSpec) -> Result<Process, LaunchError> {
    let _ = spec;
    Err(LaunchError::Keeper("not built yet".to_owned()))
}

/// A worker that was started. Dropping it kills it, with all that it started.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    address: WorkerAddress,
}

impl Process {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens, or will.
    pub fn address(&self) -> &WorkerAddress {
        &self.address
    }

    /// Waits for its end, and that of all that it started. Any number may wait, and also afterwards.
    pub fn ended(&self) -> impl Future<Output = Death> + Send + 'static {
        std::future::pending()
    }

    /// Asks it to end: SIGTERM to its process group.
    pub fn terminate(&self) {}

    /// Kills it, with all that it started.
    pub fn kill_group(&self) {}

    /// The last 64 KiB of what it said on stdout and stderr.
    pub fn output(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The memory that it and all that it started have, in bytes; none where that cannot be known.
    pub fn memory(&self) -> Option<u64> {
        None
    }

    /// Stops it where it stands, with all that it started.
    pub fn freeze(&self) {}

    /// Lets it go on.
    pub fn thaw(&self) {}

    /// Waits until it reaches a limit that it is to be replaced for.
    pub fn over_limit(&self) -> impl Future<Output = OverLimit> + Send + 'static {
        std::future::pending()
    }
}
