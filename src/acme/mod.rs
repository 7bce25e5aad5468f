//! ACME (RFC 8555): certificates that are ordered, renewed and put in service without anybody.
//!
//! One background thread does all of it; data threads only answer [`Challenges`]. What is due when is decided by the pure
//! [`ledger`]; what is in service lies in a certificate folder, and is served as every other folder is. Nothing waits for a CA:
//! a name without a certificate is served with a placeholder until there is one.

mod base64url;
mod challenges;
mod client;
mod domain;
mod errand;
mod fault;
mod hook;
mod keeper;
pub mod ledger;
mod office;
mod renew;
mod store;

use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

pub use challenges::Challenges;
pub use renew::renew;

use crate::config::{self, Config};

/// ALPN's name of a handshake that is a challenge (RFC 8737 section 6.2).
pub const TLS_ALPN: &[u8] = b"acme-tls/1";

/// Whoever orders, on a thread of its own once there is something to be ordered.
pub struct Acme {
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    thread: Thread,
}

enum Thread {
    /// Nothing has been ordered yet: what it will be started with.
    Unneeded(Arc<Challenges>, Box<dyn Fn() -> bool + Send>),
    /// Tells its end.
    Running(mpsc::Receiver<()>),
    /// It could not be started.
    Failed,
}

/// What is ordered, and where.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    acme: config::Acme,
    /// Each once; `*.parent` for a wildcard.
    names: Vec<String>,
}

impl Acme {
    /// Begins to order what a configuration asks for. `changed` is called, on that thread, when a certificate has been put in
    /// service, and says whether it was heard; else it is called again.
    pub fn start(
        config: &Config,
        challenges: Arc<Challenges>,
        changed: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let mut acme = Self {
            wanted: watch::Sender::new(None),
            thread: Thread::Unneeded(challenges, Box::new(changed)),
        };
        acme.take(config);
        acme
    }

    /// Takes what another configuration asks for. Orders under way for the same CA go on.
    pub fn take(&mut self, config: &Config) {
        let wanted = Wanted::of(config);
        let needed = wanted.is_some();
        self.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            *before = wanted;
            changed
        });
        if !needed {
            return;
        }
        self.thread = match std::mem::replace(&mut self.thread, Thread::Failed) {
            Thread::Unneeded(challenges, changed) => {
                match spawn(self.wanted.subscribe(), challenges, changed) {
                    Ok(ended) => Thread::Running(ended),
                    Err(error) => {
                        tracing::error!(%error, "no thread can be started, and no certificate is ordered");
                        Thread::Failed
                    }
                }
            }
            other => other,
        };
    }

    /// Ends the thread: an order under way goes on with the next start.
    pub fn stop(self) {
        drop(self.wanted);
        if let Thread::Running(ended) = self.thread {
            // What it writes is written whole or not at all.
            let _ = ended.recv_timeout(STOP_WAIT_MAX);
        }
    }
}

fn spawn(
    inbox: watch::Receiver<Option<Arc<Wanted>>>,
    challenges: Arc<Challenges>,
    changed: Box<dyn Fn() -> bool + Send>,
) -> std::io::Result<mpsc::Receiver<()>> {
    let (ending, ended) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("acme".into())
        .spawn(move || {
            runtime.block_on(keeper::keep(inbox, challenges, changed));
            // A command that sets records may still run; it is not waited for.
            runtime.shutdown_background();
            drop(ending);
        })?;
    Ok(ended)
}

impl Wanted {
    fn of(config: &Config) -> Option<Arc<Self>> {
        let acme = config.acme.clone()?;
        let names = names(config);
        (!names.is_empty()).then(|| Arc::new(Self { acme, names }))
    }
}

/// The names that certificates are ordered for, each once, in the order of the file.
pub fn names(config: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for binding in &config.bindings {
        let name = binding.hostname.to_string();
        if binding.tls.as_ref().is_some_and(|tls| tls.acme) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Makes the folders that ordering needs, and gives them to `owner`, as whom the server is to run.
pub fn make_folders(config: &Config, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    match (&config.acme, names(config).is_empty()) {
        (Some(acme), false) => store::Store::at(&acme.folder).make(owner),
        _ => Ok(()),
    }
}

/// Why there is no certificate for a name yet, as far as the files of an earlier try tell.
pub fn trouble(acme: &config::Acme, name: &str) -> Option<String> {
    let ledger = store::Store::at(&acme.folder).peek()?;
    let (why, until) = ledger.trouble(name)?;
    Some(match until > now() {
        true => format!("the last try failed: {why}; the next is at {}", utc(until)),
        false => format!("the last try failed: {why}"),
    })
}

/// The time, for the ledger.
fn now() -> ledger::Seconds {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A moment as people read it.
fn utc(at: ledger::Seconds) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at))
}

/// A file is written in milliseconds.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
