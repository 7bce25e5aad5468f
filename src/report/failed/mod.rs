//! Failed-request tracing: a request that fires a rule is written down step by step, each in a file of its own (as IIS' Failed
//! Request Event Buffering does it).
//!
//! ```text
//! data thread: rules ─► steps recorded ─► end: fires? ─► queue (bounded) ─► thread "failed-requests": record ─► file
//! ```
//!
//! A data thread looks at rules and hands on what it has. What is written of it, and that secrets are not, is settled on the
//! writer's thread, which is there once there are rules.

mod folder;
mod queue;
mod record;
mod redact;
mod rules;
mod writing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Shared;
use super::witness::{Asking, Ended, Witness};
use crate::clock::Pace;
use crate::config::{Config, FailedRequests};

pub use self::folder::is_record_name;
pub(super) use self::queue::Queue;
pub use self::queue::{QUEUE_MAX, Written};
pub use self::record::{Attempt, Head, QueuePassport, Record, Rule, Step, Tls};
use self::rules::Rules;

/// The witness of failed requests, by the rules of one configuration.
pub(super) struct Watch {
    rules: Rules,
    /// How often each rule may have a request written. Whoever can make one fire at will would fill the folder with that, and what
    /// was there before would give way.
    paces: Box<[Mutex<Pace>]>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// Requests that a rule may have written at once.
pub const BURST_MAX: u32 = 50;

/// Requests a second that it may have written when these are used up.
pub const A_SECOND_MAX: f64 = 1.0;

/// What the writer has to know beside a request.
#[derive(Debug)]
struct Settings {
    config: FailedRequests,
    redaction: redact::Redaction,
}

/// A request to be written, on its way to the writer.
struct Job {
    ended: Ended,
    fired: Vec<Rule>,
    settings: Arc<Settings>,
}

impl Watch {
    /// None where the configuration has no rule.
    pub(super) fn new(config: &Config, shared: &Arc<Shared>) -> Option<Self> {
        let own = &config.failed_requests;
        if own.rules.is_empty() {
            return None;
        }
        let sites: Vec<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
        Some(Self {
            rules: Rules::new(&own.rules, &sites),
            paces: (own.rules.iter())
                .map(|_| Mutex::new(Pace::new(BURST_MAX, A_SECOND_MAX)))
                .collect(),
            settings: Arc::new(Settings {
                redaction: redact::Redaction::new(&own.redact),
                config: own.clone(),
            }),
            shared: Arc::clone(shared),
        })
    }
}

impl Witness for Watch {
    fn asks(&self, asking: &Asking<'_>) -> bool {
        self.rules.could_fire(asking.path)
    }

    fn still_asks(&self, asking: &Asking<'_>, site: usize) -> bool {
        self.rules.could_fire_at(asking.path, site)
    }

    fn ended(&self, ended: &Ended) {
        let fired = self.rules.fired(ended);
        // What the server asks itself is no client's failure.
        let is_own = || {
            let connection = &ended.connection;
            let own = &self.shared.own;
            own.has(connection.client, connection.local, ended.protocol)
        };
        if fired.is_empty() || is_own() {
            return;
        }
        let now = Instant::now();
        let mut paces = (fired.iter()).filter_map(|rule| self.paces.get(rule.number - 1));
        let may = paces.any(|pace| {
            let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(now)
        });
        if !may {
            self.shared.failed.let_go();
            return;
        }
        self.shared.failed.push(Job {
            ended: ended.clone(),
            fired,
            settings: Arc::clone(&self.settings),
        });
    }
}

#[cfg(test)]
mod tests;
