//! The admin socket: where `portunus show`, `reload` and `stop` ask a running server. HTTP and JSON, on a thread of its own.
//!
//! It knows nothing of the server: what it can be asked is [`Question`], and whoever can answer is a [`Backend`].

mod access;
mod api;
mod client;
mod listen;
mod socket;

use std::path::{Path, PathBuf};
use std::pin::Pin;

use serde_json::Value;

pub use client::{Client, ClientError, Form};
pub use listen::{Admin, start};
pub use socket::{Bound, SocketError, bind};

/// What the server can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its certificates.
    Certificates,
    /// Its pools, and the workers of those that have some.
    Pools,
    /// Something of one pool.
    Pool {
        /// Which.
        name: String,
        /// What.
        order: PoolOrder,
    },
    /// To take its configuration anew.
    Reload,
    /// To stop: once requests in flight are done, or now.
    Stop {
        /// At once.
        now: bool,
    },
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
    /// Answers, or says why not.
    fn answer(&self, question: Question) -> Answer;
}

/// An answer to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<Told, Declined>> + Send>>;

/// An answer, in two forms.
#[derive(Debug)]
pub struct Told {
    /// For a program.
    pub json: Value,
    /// For a person, ending with a line.
    pub text: String,
}

/// Why what was asked could not be done, for a person.
#[derive(Debug)]
pub struct Declined(pub String);

impl Question {
    /// Whether answering it changes anything.
    fn changes(&self) -> bool {
        match self {
            Self::Certificates | Self::Pools => false,
            Self::Pool { .. } | Self::Reload | Self::Stop { .. } => true,
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

/// Where the token lies that is asked for at a loopback address.
fn token_file(state_dir: &Path) -> PathBuf {
    state_dir.join("admin-token")
}

#[cfg(test)]
mod tests;
