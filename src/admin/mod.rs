//! The admin socket: where `portunus show`, `reload` and `stop` ask a running server. HTTP and JSON, on a thread of its own.
//! Beside it, if asked for, the metrics address: what watches the server may ask there how it is, and nothing else.
//!
//! It knows nothing of the server: what it can be asked is [`Question`], and whoever can answer is a [`Backend`].

mod access;
mod api;
mod client;
mod dashboard;
mod door;
mod events;
mod holder;
mod listen;
mod patience;
mod places;
mod query;
mod sessions;
mod socket;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use http::{Method, Uri};
use serde::Serialize;

use crate::report::Audited;

pub use client::{Client, ClientError};
pub use dashboard::LOGIN_PATH;
pub use listen::{Admin, start};
pub use socket::{Bound, SocketError, bind, bind_metrics};

/// What the server can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its certificates.
    Certificates,
    /// All of its state in short: what it listens on, what it works on, what it refused.
    Service,
    /// Its bindings, with their routes.
    Bindings,
    /// Its connections: those that are asked for.
    Connections(Filter),
    /// The last handshakes that failed.
    TlsFailures,
    /// What it has counted, as Prometheus reads it.
    Metrics,
    /// Whether it lives.
    Live(Probe),
    /// Whether it takes requests.
    Ready(Probe),
    /// How all of this is asked.
    OpenApi,
    /// Its pools, and the workers of those that have some.
    Pools,
    /// Something of one pool.
    Pool {
        /// Which.
        name: String,
        /// What.
        order: PoolOrder,
    },
    /// What the dashboard shows: how all of it is at this moment.
    Overview,
    /// What was counted in the last hour, by small steps.
    History,
    /// What was refused last.
    Refusals(Wanted),
    /// What would happen to a request.
    Explain(Option<Box<Explained>>),
    /// A code by which a browser may log in once.
    LoginCode,
    /// To take its configuration anew.
    Reload,
    /// What that would do.
    Plan,
    /// To stop: once requests in flight are done, or now.
    Stop {
        /// At once.
        now: bool,
    },
}

/// Which connections are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// No more than so many.
    pub limit: Option<usize>,
    /// Those of one client alone.
    pub client: Option<IpAddr>,
}

/// How one asks whether a server lives, or takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To be told each thing that must be so, also where all are.
    pub verbose: bool,
    /// Things that need not be so.
    pub exclude: Vec<String>,
}

impl Probe {
    /// Everything must be so, and is told only where it is not.
    pub const NEW: Self = Self {
        verbose: false,
        exclude: Vec::new(),
    };
}

/// Which refusals are asked for; what is none is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For this reason, by its name.
    pub reason: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// Of this pool.
    pub pool: Option<String>,
    /// So many at most.
    pub limit: Option<usize>,
}

impl Wanted {
    /// All of them.
    pub const ANY: Self = Self {
        reason: None,
        site: None,
        pool: None,
        limit: None,
    };
}

/// A request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// As a client would write it.
    pub url: Uri,
    /// The method.
    pub method: Method,
    /// The local address that the client connects to; none: one that is bound.
    pub ip: Option<IpAddr>,
    /// The server name in the TLS handshake, if it is not the URL's host; empty: none is sent.
    pub sni: Option<String>,
}

/// What a pool can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolOrder {
    /// To replace its workers.
    Recycle,
    /// To take no more requests, and end its workers.
    Stop,
    /// To take requests.
    Start,
}

/// Who can answer.
pub trait Backend: Send + Sync {
    /// Answers, in the form that is asked for where there are both, or says why not.
    fn answer(&self, question: Question, form: Form) -> Answer;

    /// Takes note of what was counted since it last did. Called every [`SAMPLE_EVERY`], by one thread.
    fn sample(&self);

    /// Writes down who changed something, or tried to.
    fn audited(&self, entry: &Audited<'_>);
}

/// An answer to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<Told, Declined>> + Send>>;

/// An answer, in the form that was asked for.
#[derive(Debug)]
pub struct Told {
    /// As it is sent: JSON, or text that ends with a line.
    content: String,
    /// What was done, in short, where something was.
    done: Option<String>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Told {
    /// Put into one of two forms; the other is never made.
    pub fn of<T: Serialize>(
        form: Form,
        json: impl FnOnce() -> T,
        text: impl FnOnce() -> String,
    ) -> Self {
        match form {
            Form::Json => Self::written(serde_json::to_string_pretty(&json())),
            Form::Text => Self::text(text()),
        }
    }

    /// Of which there is no form but a person's.
    pub fn text(content: String) -> Self {
        Self {
            content,
            done: None,
        }
    }

    /// Of which there is no form but a program's: one line.
    pub fn json(value: &impl Serialize) -> Self {
        Self::written(serde_json::to_string(value))
    }

    fn written(json: serde_json::Result<String>) -> Self {
        // No map of ours has keys that are not text, and no value fails to say what it is.
        Self::text(json.unwrap_or_default() + "\n")
    }

    /// Of something that was done, which is remembered.
    pub fn done(self, what: impl Into<String>) -> Self {
        Self {
            done: Some(what.into()),
            ..self
        }
    }
}

/// Why what was asked could not be done, for a person.
#[derive(Debug)]
pub struct Declined(pub String);

impl Question {
    /// What the audit log calls what it changes, and the pool that it is about; none where it changes nothing.
    fn action(&self) -> Option<(&'static str, Option<&str>)> {
        match self {
            Self::Certificates
            | Self::Pools
            | Self::Service
            | Self::Bindings
            | Self::Connections(_)
            | Self::TlsFailures
            | Self::Metrics
            | Self::Live(_)
            | Self::Ready(_)
            | Self::OpenApi
            | Self::Plan
            | Self::Overview
            | Self::History
            | Self::Refusals(_)
            | Self::Explain(_) => None,
            Self::LoginCode => Some(("login-code", None)),
            Self::Reload => Some(("reload", None)),
            Self::Stop { now: false } => Some(("stop", None)),
            Self::Stop { now: true } => Some(("stop-now", None)),
            Self::Pool { name, order } => {
                let action = match order {
                    PoolOrder::Recycle => "pool-recycle",
                    PoolOrder::Stop => "pool-stop",
                    PoolOrder::Start => "pool-start",
                };
                Some((action, Some(name)))
            }
        }
    }
}

impl PoolOrder {
    const ALL: [Self; 3] = [Self::Recycle, Self::Stop, Self::Start];

    /// As the command and the path name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recycle => "recycle",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }
}

impl Question {
    /// Whether anybody on this machine may ask it, where such are listened to.
    fn is_open(&self) -> bool {
        matches!(self, Self::Metrics | Self::Live(_) | Self::Ready(_))
    }
}

/// How often [`Backend::sample`] is called.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Where the token lies that is asked for at a loopback address.
fn token_file(state_dir: &Path) -> PathBuf {
    state_dir.join("admin-token")
}

#[cfg(test)]
mod tests;
