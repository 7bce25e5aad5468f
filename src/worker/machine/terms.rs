//! What the machine is told, what it says, and what it goes by.

use std::time::Duration;

use super::notes::{Note, Why};

/// A worker: no two of a pool ever have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// Which generation it belongs to; the first is 1.
    pub generation: u64,
    /// Which worker it is, of all that the pool ever had; the first is 1.
    pub number: u64,
}

/// What the machine goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Workers of a generation; one at least.
    pub workers: usize,
    /// Whether they run without being wanted.
    pub always: bool,
    /// How long a worker may take to become ready.
    pub startup_timeout: Duration,
    /// How long a worker that takes no more requests may take for those it has.
    pub shutdown_timeout: Duration,
    /// How long workers run that have nothing to do; none: for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether workers that have nothing to do are frozen rather than ended.
    pub suspends: bool,
    /// How many failures disable the pool; none: no number does.
    pub failures_max: Option<usize>,
    /// Within which time they do.
    pub failures_within: Duration,
    /// After which time a disabled pool tries again by itself; none: it does not.
    pub probation: Option<Duration>,
    /// How many requests a generation's worker serves before it is recycled.
    pub recycle_requests: Option<u64>,
    /// How long a generation serves before it is recycled.
    pub recycle_time: Option<Duration>,
    /// With how many bytes of memory a worker is recycled.
    pub recycle_memory: Option<u64>,
}

/// What happens to the workers of a pool.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has gone by.
    Tick,
    /// A request waits.
    Wanted,
    /// A worker is ready: it may be given requests.
    Ready(WorkerId),
    /// A worker is no more, or never came to be; and of what, as a sentence.
    Died(WorkerId, String),
    /// A worker does not answer any more.
    Unresponsive(WorkerId, String),
    /// A worker that takes no more requests has none left.
    Drained(WorkerId),
    /// How a worker does.
    Seen(WorkerId, Seen),
    /// The workers are to be replaced.
    Recycle(Why),
    /// An administrator stops the pool.
    Stop,
    /// An administrator starts the pool, which also ends what rapid-fail protection did.
    Start,
    /// Other rules, and workers that were started by what held before are to be replaced.
    Reload(Box<Rules>),
    /// The offline file is there, or no longer.
    Offline(bool),
    /// The server ends, or no longer has the pool.
    End,
}

/// How a worker does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Requests that it ever had.
    pub requests: u64,
    /// Requests that it has now.
    pub in_flight: u64,
    /// Bytes of memory; none: not known.
    pub memory: Option<u64>,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// New requests go there from now on, and nowhere else.
    Traffic(Traffic),
    /// Those who wait are let go; whoever comes waits again.
    LetGo(String),
    /// A process is to be started, and to be told of as [`Event::Ready`] or [`Event::Died`].
    Launch(WorkerId),
    /// Its last request is to be told of, as [`Event::Drained`].
    Drain(WorkerId),
    /// It is to end: SIGTERM.
    Terminate(WorkerId),
    /// It is to end now, with all that it has started: SIGKILL.
    Kill(WorkerId),
    /// It is to stand still once its last request is done.
    Freeze(WorkerId),
    /// It is to go on.
    Thaw(WorkerId),
    /// Something to tell.
    Tell(Note),
}

/// Where new requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// To these workers, all of one generation.
    To(Vec<WorkerId>),
    /// Nowhere yet: they wait.
    Hold,
    /// Nowhere: the pool is stopped.
    Stopped,
    /// Nowhere: the pool's application keeps failing, as the sentence tells.
    Disabled(String),
    /// To the offline file.
    Offline,
}

/// How a pool with workers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody wants anything: there are no workers, or they stand still.
    Idle,
    /// Requests wait for the first worker.
    Starting,
    /// Requests are served.
    Running,
    /// Requests are served, while one generation follows another.
    Recycling,
    /// The workers end.
    Stopping,
    /// There are no workers, and there will be none.
    Stopped,
    /// Its application failed too often.
    Disabled,
}

impl State {
    /// As `show pools` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Idle => "Idle",
            State::Starting => "Starting",
            State::Running => "Running",
            State::Recycling => "Recycling",
            State::Stopping => "Stopping",
            State::Stopped => "Stopped",
            State::Disabled => "Disabled",
        }
    }
}
