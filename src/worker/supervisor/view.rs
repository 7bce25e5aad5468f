//! What is shown of a pool's workers.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::worker::machine::State;

/// A pool's workers, and what became of those before them.
#[derive(Clone, Debug, Serialize)]
pub struct PoolView {
    /// How the pool stands, which is told of it as of every pool.
    #[serde(skip)]
    pub state: State,
    /// Those that there are, in the order of their start.
    pub workers: Vec<WorkerView>,
    /// How many failed since the server was started.
    #[serde(rename = "worker_failures")]
    pub failures: u64,
    /// How the last one failed.
    pub last_failure: Option<Event>,
    /// What happened last, the oldest first.
    pub history: VecDeque<Event>,
}

/// A worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerView {
    /// Its number in the pool.
    pub number: u64,
    /// The generation that it belongs to.
    pub generation: u64,
    /// Its process; none while it is being started.
    pub pid: Option<u32>,
    /// `starting`, `ready`, `suspended`, `draining` or `ending`.
    pub state: &'static str,
    /// How long ago it was started.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// Requests that it ever had.
    pub requests: u64,
    /// Requests that it has.
    pub in_flight: u64,
    /// The bytes of memory that it has with all that it started, where they can be known.
    pub memory_bytes: Option<u64>,
    /// The processor time that it has used with all that it started, where that can be known.
    #[serde(rename = "cpu_seconds", serialize_with = "some_seconds")]
    pub cpu: Option<Duration>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// What, in a sentence.
    pub what: String,
}

impl Event {
    pub(super) fn now(what: String) -> Self {
        Self {
            time: SystemTime::now(),
            what,
        }
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

fn some_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}
