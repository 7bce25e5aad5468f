//! `type = "process"`: a pool that owns its application. Names and defaults are those of WAS and of IIS' own modules where
//! they have one.

mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{FastCgiTerms, Telling, Upgrades};
pub(super) use read::read;

/// `type = "process"`
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The program and its arguments; at least the program. A program with a slash is relative to `cwd`, others are looked
    /// for in `PATH`.
    pub command: Vec<String>,
    /// The folder that it works in.
    pub cwd: PathBuf,
    /// What is in its environment beside what every worker has.
    pub env: BTreeMap<String, String>,
    /// Whom it runs as; empty: as the server does.
    pub user: String,
    /// The group that it runs as; empty: the user's own.
    pub group: String,
    /// How many there are at once: IIS' web garden.
    pub workers: usize,
    /// When the first is started.
    pub start_mode: StartMode,
    /// How it is reached.
    pub listen: WorkerListen,
    /// What is spoken to it.
    pub protocol: WorkerProtocol,
    /// Until it is ready.
    pub startup_timeout: Duration,
    /// It is ready when this path answers 2xx; none: when its socket accepts.
    pub ready_path: Option<String>,
    /// What is requested of it before it gets requests.
    pub warm_up: Vec<String>,
    /// The file that is served while no worker is ready yet; none: requests wait.
    pub splash: Option<PathBuf>,
    /// Asking it whether it still lives; none: it is not asked.
    pub ping: Option<Ping>,
    /// When failures disable the pool.
    pub rapid_fail: RapidFail,
    /// When a worker is replaced.
    pub recycle: Recycle,
    /// How long it may take to finish what it has, and to end.
    pub shutdown_timeout: Duration,
    /// After how long without a request it is put to rest; none: never.
    pub idle_timeout: Option<Duration>,
    /// How it is put to rest.
    pub idle_action: IdleAction,
    /// While this file exists, it is served and no worker runs; none: it is not looked for.
    pub offline_file: Option<PathBuf>,
    /// What it may use of the machine.
    pub limits: WorkerLimits,
    /// Until a connection to it stands.
    pub connect_timeout: Duration,
    /// Until its response's head.
    pub response_timeout: Duration,
    /// The longest gap between two pieces of its response's body.
    pub body_timeout: Duration,
    /// What it is told of clients.
    pub telling: Telling,
    /// What clients may leave HTTP for.
    pub upgrade: Upgrades,
    /// How FastCGI is spoken to it, where it is.
    pub fastcgi: FastCgiTerms,
    /// Where the private folders of its sockets are made.
    pub socket_folder: PathBuf,
}

/// When a pool's first worker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// With the first request.
    OnDemand,
    /// With the server.
    Always,
}

/// How a worker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerListen {
    /// It listens on the unix socket that `$PORTUNUS_SOCKET` names.
    Unix,
    /// It listens on the loopback port that `$PORT` names.
    Port,
    /// It is given a socket that listens already, as systemd does it (`LISTEN_FDS`).
    Fd,
}

/// What is spoken to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerProtocol {
    /// HTTP/1.1
    Http,
    /// FastCGI
    FastCgi,
}

/// Asking a worker whether it still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// How often.
    pub interval: Duration,
    /// How long it may take to answer; over it, it is ended.
    pub timeout: Duration,
    /// The path that is requested; none: a connection is enough.
    pub path: Option<String>,
}

/// When failures disable the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RapidFail {
    /// So many failures; none: never.
    pub failures: Option<u32>,
    /// Within this time.
    pub within: Duration,
    /// After how long it is tried whether a worker holds now; none: the pool stays disabled until it is started by hand.
    pub probation: Option<Duration>,
}

/// When a worker is replaced by a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recycle {
    /// After so many requests.
    pub requests: Option<u64>,
    /// After it has run for so long.
    pub time: Option<Duration>,
    /// At these times of the day, local time.
    pub schedule: Vec<TimeOfDay>,
    /// When it has more memory than this, in bytes.
    pub memory: Option<u64>,
    /// When one of these files changes.
    pub files: Vec<PathBuf>,
}

/// A time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    /// 0 to 23
    pub hour: u8,
    /// 0 to 59
    pub minute: u8,
}

/// How a worker without requests is put to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleAction {
    /// It is ended, and started with the next request.
    Stop,
    /// It is frozen, and thawed with the next request.
    Suspend,
}

/// What each worker of a pool may use, with all that it starts; none of a kind: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Processor time, in percent of one core.
    pub cpu: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub files: Option<u64>,
    /// What happens at the limit of memory.
    pub on_memory: AtLimit,
    /// What happens at the limit of processor time.
    pub on_cpu: AtLimit,
}

/// What happens to a worker at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// It is slowed down.
    Throttle,
    /// It is replaced by a new one, which loses no request.
    Recycle,
    /// It is killed.
    Kill,
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}
