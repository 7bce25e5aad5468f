//! A pool that owns its application: requests to workers that Portunus starts, watches and replaces.
//!
//! ```text
//!  data threads                              upkeep thread
//!  request ─► Doorway ── route ─► worker  ◄── Supervisor ─► launch, watch, end
//! ```
//!
//! The two meet in the `Doorway`: the supervisor says there which workers take new requests, and a data thread looks there for
//! each request, without a lock. While there is none, requests wait in the pool's queue.

mod doorway;
mod forward;
mod page;
mod peer;

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;

use self::doorway::Doorway;
use self::peer::Settings;
use super::{Gate, Handler, Outlook, Reply, Upkeep};
use crate::config;
use crate::handler::proxy::goes_no_further;
use crate::model::{Body, Facts, Refusal};
use crate::worker::{Desk, Front, Parked, Supervisor};

/// A pool that owns its application.
pub struct Process {
    doorway: Arc<Doorway>,
    desk: Desk,
    /// Taken by whoever runs it.
    supervisor: Mutex<Option<Parked>>,
}

impl Process {
    /// The application of the pool `pool`, for `threads` data threads. Nothing is started before its upkeep is run.
    /// An error names the folder of FastCGI scripts.
    pub fn new(pool: &str, settings: &config::Process, threads: usize) -> io::Result<Self> {
        let doorway = Arc::new(Doorway::new(Settings::new(settings)?, threads));
        let front = Arc::clone(&doorway) as Arc<dyn Front>;
        let (supervisor, desk) = Supervisor::park(pool, settings.clone(), threads, front);
        Ok(Self {
            doorway,
            desk,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }
}

impl Handler for Process {
    fn handle<'a>(&'a self, mut request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        if let Some(outcome) = goes_no_further(&mut request) {
            return Reply::Now(outcome);
        }
        if let Some(page) = self.doorway.page() {
            return Reply::Now(Ok(page));
        }
        Reply::later(self.doorway.forward(request, facts))
    }

    fn upstream_name(&self, number: u32) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(format!("worker {number}")))
    }

    fn outlook(&self) -> Result<Outlook, Refusal> {
        let status = self.doorway.page_status();
        Ok(status.map_or(Outlook::Ready, Outlook::Page))
    }

    fn upkeep(&self) -> Option<Upkeep> {
        let mut supervisor = (self.supervisor.lock()).unwrap_or_else(PoisonError::into_inner);
        let supervisor = supervisor.take()?;
        Some(Box::pin(supervisor.run()))
    }

    fn is_outdated(&self) -> bool {
        self.doorway.settings().is_outdated()
    }

    fn attach(&self, gate: Arc<dyn Gate>) {
        self.doorway.attach(gate);
    }

    fn desk(&self) -> Option<&Desk> {
        Some(&self.desk)
    }

    fn goes_on_with(&self, settings: &config::Handler) -> bool {
        matches!(settings, config::Handler::Process(_))
    }

    fn reconfigure(&self, settings: &config::Handler) {
        if let config::Handler::Process(settings) = settings {
            self.doorway.reconfigure(settings);
            self.desk.reload(config::Process::clone(settings));
        }
    }
}
