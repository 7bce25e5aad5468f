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

mod become_worker;
mod environment;
mod error;
mod follow;
mod identity;
mod keeper;
mod look;
mod orders;
mod socket;
mod spawn;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

pub(crate) use become_worker::become_worker;
pub use error::{Failed, LaunchError, Step};
pub(crate) use keeper::keep;
pub use look::{Finding, look};

use super::death::{ByUs, Death};
use super::limits::{InForce, Measure};
use super::output::Tail;
use crate::config::{self, WorkerLimits, WorkerListen, WorkerProtocol};
use orders::Letter;
pub(super) use orders::Limit;
pub(crate) use spawn::keep_privileges;

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
            // It is told to a program that works in another folder.
            socket_folder: std::path::absolute(&settings.socket_folder)
                .unwrap_or_else(|_| settings.socket_folder.clone()),
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

/// Removes the sockets that servers before this one have left behind, where they could not do so themselves.
pub fn sweep(socket_folder: &Path) {
    socket::sweep(socket_folder);
}

/// Makes the folder of the workers' sockets, where whoever is to run the server, `owner`, could not.
pub fn make_folder(socket_folder: &Path, owner: (u32, u32)) -> std::io::Result<()> {
    socket::make_folder(socket_folder, owner)
}

/// Removes the sockets of all workers, where the process ends before their ends are waited for.
pub fn leave() {
    socket::leave();
}

/// Starts a worker. It is told of once its program runs; whether it is ready is for whoever asks it.
///
/// What follows it from then on runs on the runtime that this is called on, and with that runtime it ends.
pub async fn launch(spec: &LaunchSpec) -> Result<Process, LaunchError> {
    let spawned = spawn::spawn(spec.clone()).await?;
    follow::begin(spec, spawned).await
}

/// A worker that was started. Dropping it kills it, with all that it started.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    shared: Arc<Shared>,
    /// Once it has ended.
    death: watch::Receiver<Option<Death>>,
    over_limit: watch::Receiver<Option<OverLimit>>,
}

/// What those who follow a worker have in common.
#[derive(Debug)]
struct Shared {
    address: WorkerAddress,
    /// To its keeper.
    control: UnixStream,
    tail: Tail,
    /// What we have asked of it.
    asked: Mutex<Option<ByUs>>,
    /// Whether its keeper was told to kill it, and must be done with that soon.
    kill: watch::Sender<bool>,
    frozen: AtomicBool,
    measure: Measure,
    started: Instant,
}

impl Shared {
    /// Tells the keeper, which may be gone already.
    fn write(&self, letter: Letter) {
        // A letter always finds room: the keeper reads, and there are never many.
        let _ = (&self.control).write(&[letter as u8]);
    }

    fn kill(&self) {
        self.measure.kill();
        self.write(Letter::Kill);
        self.kill.send_replace(true);
    }

    fn ask(&self, what: ByUs) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was asked to end and then killed was killed.
        if *asked != Some(ByUs::Killed) {
            *asked = Some(what);
        }
    }
}

impl Process {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens, or will.
    pub fn address(&self) -> &WorkerAddress {
        &self.shared.address
    }

    /// When its program began to run.
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Waits for its end, and that of all that it started. Any number may wait, and also afterwards.
    pub fn ended(&self) -> impl Future<Output = Death> + Send + 'static {
        said(self.death.clone())
    }

    /// Asks it to end: SIGTERM to its process group.
    pub fn terminate(&self) {
        self.shared.ask(ByUs::Terminated);
        if self.shared.frozen.load(Ordering::Relaxed) {
            // What is frozen hears nothing.
            self.thaw();
        }
        self.shared.write(Letter::Terminate);
    }

    /// Kills it, with all that it started.
    pub fn kill_group(&self) {
        self.shared.ask(ByUs::Killed);
        self.shared.kill();
    }

    /// The last 64 KiB of what it said on stdout and stderr.
    pub fn output(&self) -> Vec<u8> {
        self.shared.tail.bytes()
    }

    /// The memory that it and all that it started have, in bytes; none where that cannot be known.
    pub fn memory(&self) -> Option<u64> {
        self.shared.measure.memory()
    }

    /// The processor time that it and all that it started have used; none where that cannot be known.
    pub fn cpu(&self) -> Option<std::time::Duration> {
        self.shared.measure.cpu()
    }

    /// Stops it where it stands, with its process group.
    pub fn freeze(&self) {
        self.shared.frozen.store(true, Ordering::Relaxed);
        if !self.shared.measure.freeze(true) {
            self.shared.write(Letter::Freeze);
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.shared.frozen.store(false, Ordering::Relaxed);
        if !self.shared.measure.freeze(false) {
            self.shared.write(Letter::Thaw);
        }
    }

    /// Waits until it reaches a limit that it is to be replaced for.
    pub fn over_limit(&self) -> impl Future<Output = OverLimit> + Send + 'static {
        said(self.over_limit.clone())
    }

    /// How its limits are kept.
    pub fn limits(&self) -> InForce {
        self.shared.measure.in_force()
    }
}

/// Nobody would follow it any more.
impl Drop for Process {
    fn drop(&mut self) {
        if self.death.borrow().is_none() {
            self.kill_group();
        }
    }
}

/// Waits until something is said; where nobody is left to say it, for ever.
async fn said<T: Clone>(mut channel: watch::Receiver<Option<T>>) -> T {
    let said = channel.wait_for(Option::is_some).await.ok();
    match said.and_then(|said| said.clone()) {
        Some(said) => said,
        None => std::future::pending().await,
    }
}
