//! What there is to tell of a pool's workers, as sentences.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::WorkerId;
use crate::worker::death::Bytes;

/// Why workers are started or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A request waits.
    Demand,
    /// They are to run always.
    Always,
    /// An administrator asked for it.
    Command,
    /// The pool's settings are others.
    Configuration,
    /// So many requests were served.
    Requests(u64),
    /// It has served for as long as `recycle.time` allows.
    Time(Duration),
    /// It is the time that the schedule names.
    Schedule(String),
    /// A worker has more memory than it may.
    Memory {
        /// What it has.
        memory: u64,
        /// What it may have.
        limit: u64,
    },
    /// A worker has used more than so many percent of a core.
    Cpu(u32),
    /// A watched file has changed.
    File(PathBuf),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Demand => f.write_str("a request waits"),
            Why::Always => f.write_str("the pool is to run always"),
            Why::Command => f.write_str("an administrator asked for it"),
            Why::Configuration => f.write_str("the pool's settings are others"),
            Why::Requests(limit) => write!(f, "a worker has served {limit} requests"),
            Why::Time(time) => {
                write!(
                    f,
                    "the workers served for {}",
                    humantime::format_duration(*time)
                )
            }
            Why::Schedule(time) => write!(f, "it is {time}, as the schedule says"),
            Why::Memory { memory, limit } => {
                write!(
                    f,
                    "a worker has {} of memory, and may have {}",
                    Bytes(*memory),
                    Bytes(*limit)
                )
            }
            Why::Cpu(percent) => write!(f, "a worker uses more than {percent}% of a core"),
            Why::File(file) => write!(f, "{} has changed", file.display()),
        }
    }
}

/// Something to tell of a pool's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A generation is begun.
    Begins(u64, Why),
    /// A generation takes the requests from now on.
    Serves(u64),
    /// A generation is begun to follow another.
    Recycles(u64, Why),
    /// A generation that was to follow another did not come up.
    Kept(u64, String),
    /// A worker failed, as the sentence says.
    Failed(WorkerId, String),
    /// A worker that failed is replaced after a while.
    Again(Duration),
    /// The pool is disabled: so many failures in such a time.
    Disabled(usize, Duration),
    /// A disabled pool tries a worker.
    Tries,
    /// A pool that was disabled is no longer.
    Recovered,
    /// A worker was told to end and did not.
    Killed(WorkerId),
    /// A worker still had requests when its time was over.
    Cut(WorkerId),
    /// Nobody wanted anything for so long: the workers end, or stand still.
    Idle(Duration, bool),
    /// The offline file is there, or no longer.
    Offline(bool),
    /// An administrator stopped the pool.
    Stop,
    /// An administrator started the pool.
    Start,
}

impl Note {
    /// Whether somebody should look.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Note::Kept(..) | Note::Failed(..) | Note::Disabled(..) | Note::Killed(_) | Note::Cut(_)
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Duration| humantime::format_duration(*time);
        match self {
            Note::Begins(number, why) => write!(f, "generation {number} is started: {why}"),
            Note::Serves(number) => write!(f, "generation {number} takes the requests"),
            Note::Recycles(number, why) => {
                write!(f, "generation {number} is started to follow: {why}")
            }
            Note::Kept(number, why) => write!(
                f,
                "generation {number} did not come up, and the one before it stays: {why}"
            ),
            Note::Failed(_, why) => f.write_str(why),
            Note::Again(after) => write!(f, "a worker is started again after {}", time(after)),
            Note::Disabled(failures, within) => write!(
                f,
                "the pool is disabled: {failures} failures within {}",
                time(within)
            ),
            Note::Tries => f.write_str("the disabled pool tries a worker"),
            Note::Recovered => f.write_str("the pool is no longer disabled: its worker is ready"),
            Note::Killed(id) => {
                write!(
                    f,
                    "worker {} did not end when told to and is killed",
                    id.number
                )
            }
            Note::Cut(id) => write!(
                f,
                "worker {} still had requests when shutdown_timeout was over",
                id.number
            ),
            Note::Idle(after, false) => {
                write!(f, "no requests for {}: the workers end", time(after))
            }
            Note::Idle(after, true) => {
                write!(
                    f,
                    "no requests for {}: the workers stand still",
                    time(after)
                )
            }
            Note::Offline(true) => f.write_str("the offline file is there: the workers end"),
            Note::Offline(false) => f.write_str("the offline file is gone"),
            Note::Stop => f.write_str("an administrator stopped the pool"),
            Note::Start => f.write_str("an administrator started the pool"),
        }
    }
}
