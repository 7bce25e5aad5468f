//! A proxy's keys of which upstream a request goes to: policy, shares, ejection, checks, retries, waiting.

mod read;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::defaults;
pub(super) use read::{member, read};

/// Which upstream a request goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// How one is chosen.
    pub policy: Policy,
    /// What is particular to each upstream, in their order.
    pub members: Vec<Member>,
    /// A client stays with its upstream by a cookie.
    pub sticky: Option<Sticky>,
    /// For how long an upstream that is back gets fewer requests than its share.
    pub slow_start: Duration,
    /// With fewer usable upstreams than this share, in percent, all are used.
    pub panic_below: u8,
    /// When an upstream is left alone for a while.
    pub eject: Ejection,
    /// Asking upstreams how they are.
    pub health: Option<Health>,
    /// Sending a request a second time.
    pub retry: Retry,
    /// Asking a second one when the first is slow.
    pub hedge: Option<Hedge>,
    /// Waiting for an upstream that has as many requests as it may.
    pub queue: Queue,
    /// Content up to so many bytes is read before the request is sent, so that it can be sent again; 0: none is.
    pub buffer_body: usize,
}

/// How an upstream is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One after the other, each as often as its weight says.
    RoundRobin,
    /// The one with the fewest requests for its weight.
    LeastRequests,
    /// Of two by chance, the one with fewer requests.
    PowerOfTwo,
    /// What is alike in this goes to the same one.
    Hash(HashBy),
}

/// What a request's upstream is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address; of IPv6, the network (/64).
    Client,
    /// The path, without the query.
    Path,
    /// A field.
    Field(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// What is particular to one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its share; 0: it gets no new clients, and keeps those that stay with it by a cookie.
    pub weight: u32,
    /// Used only when no other is usable.
    pub backup: bool,
    /// Requests that it works on at once, if there is an end to it.
    pub max_connections: Option<u32>,
}

/// A client stays with its upstream by a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    /// How long it holds; zero: for as long as the browser runs.
    pub max_age: Duration,
    /// Its Path.
    pub path: String,
    /// Its SameSite.
    pub same_site: SameSite,
    /// Where the key lies that signs it, and is put when there is none; none until the whole file is known.
    pub key_file: Option<PathBuf>,
}

/// Which requests of other sites carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None of them.
    Strict,
    /// Those that lead a person here.
    Lax,
    /// All of them; over TLS only.
    None,
}

/// When an upstream is left alone for a while, because of how it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures one after the other; 0: never for that.
    pub after: u32,
    /// With this share of its answers 5xx, in percent; 0: never for that.
    pub errors: u8,
    /// For how long the first time; each time is twice the last.
    pub time: Duration,
    /// The longest.
    pub time_max: Duration,
}

/// Asking upstreams how they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The path that is asked for.
    pub path: String,
    /// The Host that is asked for; empty: the upstream's own.
    pub host: String,
    /// From one check to the next.
    pub interval: Duration,
    /// So much of the interval more or less, in percent, by chance.
    pub jitter: u8,
    /// Until the whole answer.
    pub timeout: Duration,
    /// The statuses of an upstream that is well.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// What its content must hold; empty: anything.
    pub body: String,
    /// Good checks one after the other, until it is used again.
    pub healthy_after: u32,
    /// Bad checks one after the other, until it is no longer used.
    pub unhealthy_after: u32,
}

/// Sending a request a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often it is sent, the first time counted.
    pub attempts: u32,
    /// After no connection was had.
    pub on_connect: bool,
    /// After the connection broke before a response.
    pub on_reset: bool,
    /// After a try took too long.
    pub on_timeout: bool,
    /// After a response of these statuses.
    pub on_status: Vec<StatusCode>,
    /// How long one try may take until the response's head; none: as long as all together.
    pub per_try_timeout: Option<Duration>,
    /// The share of requests that may be sent again, in percent.
    pub budget: u8,
    /// For how long after it began to fail the only upstream is tried again; zero: not at all.
    pub wait: Duration,
}

/// Asking a second upstream before the first has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// After how long.
    pub after: Duration,
    /// The share of requests of which that may be done, in percent.
    pub max_share: u8,
}

/// Waiting for an upstream that has as many requests as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait.
    pub length: usize,
    /// For how long.
    pub timeout: Duration,
}

impl Balance {
    /// So many upstreams in turn, with every default.
    pub fn plain(upstreams: usize) -> Self {
        Self {
            policy: Policy::RoundRobin,
            members: vec![Member::default(); upstreams],
            sticky: None,
            slow_start: defaults::SLOW_START,
            panic_below: defaults::PANIC_BELOW,
            eject: Ejection::default(),
            health: None,
            retry: Retry::default(),
            hedge: None,
            queue: Queue::default(),
            buffer_body: defaults::BUFFER_BODY as usize,
        }
    }
}

impl Default for Member {
    fn default() -> Self {
        Self {
            weight: defaults::UPSTREAM_WEIGHT as u32,
            backup: defaults::UPSTREAM_BACKUP,
            max_connections: None,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            after: defaults::EJECT_AFTER as u32,
            errors: defaults::EJECT_ERRORS,
            time: defaults::EJECT_TIME,
            time_max: defaults::EJECT_TIME_MAX,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: defaults::RETRY_ATTEMPTS as u32,
            on_connect: true,
            on_reset: true,
            on_timeout: false,
            on_status: Vec::new(),
            per_try_timeout: None,
            budget: defaults::RETRY_BUDGET,
            wait: defaults::RETRY_WAIT,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            length: defaults::UPSTREAM_QUEUE_LENGTH as usize,
            timeout: defaults::UPSTREAM_QUEUE_TIMEOUT,
        }
    }
}
