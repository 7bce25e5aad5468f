//! What would become of a request now: how its pool stands, and what follows from that. Pure: how it stands comes from outside.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Explanation, LOST_SHOWN, Refused};
use crate::config::Overflow;
use crate::handler::Outlook;
use crate::handler::proxy::{UpstreamFailure, UpstreamState};
use crate::model::{Reason, Refusal};
use crate::pool::{Foreseen, Pool, Prospect};

/// How a pool stands at one moment.
#[derive(Debug)]
pub struct Standing {
    /// As `portunus show pools` writes it.
    pub state: &'static str,
    /// How full it is, and whether its gate would let a request in.
    pub prospect: Prospect,
    /// Whether who finds the queue full sees a reset.
    pub on_overflow: Overflow,
    /// What its handler would make of a request.
    pub outlook: Result<Outlook, Refusal>,
    /// How its upstreams stand, where it has any.
    pub upstreams: Vec<UpstreamState>,
}

/// The same, to be told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Now {
    state: Cow<'static, str>,
    running: u32,
    concurrency: u32,
    waiting: u32,
    queue_length: u32,
    /// What that means for the request.
    why: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upstreams: Vec<Seen>,
}

/// An upstream.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    name: String,
    state: Cow<'static, str>,
    failing: bool,
    backup: bool,
    /// Whether the request might be sent there.
    takes: bool,
    /// How it fails, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    time: String,
    what: String,
}

/// What a request is answered with that no refusal and no application answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instead {
    pub(super) status: u16,
    pub(super) detail: Cow<'static, str>,
}

impl Standing {
    /// How it stands now. `state`: of one with workers, which know more than its gate does.
    pub fn of(pool: &Pool, state: &'static str) -> Self {
        Self {
            state,
            prospect: pool.prospect(),
            on_overflow: pool.on_overflow(),
            outlook: pool.handler().outlook(),
            upstreams: pool.handler().upstreams(),
        }
    }
}

impl Explanation {
    /// Whether it comes to a pool at all, and to which.
    pub fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// Goes on from what the configuration says to what its pool would do now.
    pub fn goes_on(&mut self, standing: &Standing) {
        let prospect = &standing.prospect;
        self.now = Some(Now {
            state: standing.state.into(),
            running: prospect.running,
            concurrency: prospect.limits.concurrency,
            waiting: prospect.waiting,
            queue_length: prospect.limits.queue_length,
            why: why(standing),
            upstreams: standing.upstreams.iter().map(seen).collect(),
        });
        match outcome(standing) {
            Outcome::Served { waits } => self.waits = waits,
            Outcome::Instead(instead) => {
                self.served = false;
                self.instead = Some(instead);
            }
            Outcome::Refused(refused) => {
                self.served = false;
                self.refused = Some(refused);
            }
        }
    }
}

enum Outcome {
    Served { waits: Option<String> },
    Instead(Instead),
    Refused(Refused),
}

/// In the order in which a request meets it: the gate, the handler, the upstreams.
fn outcome(standing: &Standing) -> Outcome {
    let in_queue = match &standing.prospect.entry {
        Foreseen::Refused(refusal) => return refused(refusal, standing.on_overflow),
        Foreseen::Waiting { place, timeout } => Some(format!(
            "in place {} of {} in its pool's queue, for up to {}",
            place.position,
            place.length,
            super::words::duration(*timeout)
        )),
        Foreseen::Admitted => None,
    };
    let waits = match (&standing.outlook, in_queue) {
        (Ok(Outlook::Page(status)), _) => {
            return Outcome::Instead(Instead {
                status: status.as_u16(),
                detail: "a page is shown in place of the application".into(),
            });
        }
        // When it has waited for a slot, the upstreams may well have room again.
        (_, Some(in_queue)) => Some(in_queue),
        (Err(refusal), None) => return refused(refusal, standing.on_overflow),
        (Ok(Outlook::Waits), None) => Some("until an upstream may work on more".to_owned()),
        (Ok(Outlook::Ready), None) => None,
    };
    match by_failures(&standing.upstreams) {
        Some(refused) => Outcome::Refused(refused),
        None => Outcome::Served { waits },
    }
}

fn refused(refusal: &Refusal, on_overflow: Overflow) -> Outcome {
    let resets = refusal.reason == Reason::QueueFull && on_overflow == Overflow::Reset;
    let mut refused = Refused::of(refusal);
    if resets {
        refused.status = None;
        refused.detail += "; the client sees a reset, as on_overflow says";
    }
    Outcome::Refused(refused)
}

/// Where every upstream that a request might be sent to failed the last time: the request is sent there all the same, and
/// would most likely end as the latest one did.
fn by_failures(upstreams: &[UpstreamState]) -> Option<Refused> {
    let asked = upstreams.iter().filter(|it| it.takes);
    let failures = asked.map(|upstream| {
        let failure = failure(upstream)?;
        Some((failure, upstream, failure.reason?))
    });
    let failures: Option<Vec<_>> = failures.collect();
    let latest = failures?.into_iter().max_by_key(|(it, ..)| it.time);
    let (failure, upstream, reason) = latest?;
    let detail = format!(
        "every upstream that it might be sent to fails; the last was {} at {}: {}",
        upstream.name,
        humantime::format_rfc3339_seconds(failure.time),
        failure.what
    );
    Some(Refused {
        likely: true,
        ..Refused::of(&Refusal::new(reason, detail))
    })
}

/// How it fails, if it does: one that is well again has failed before, too.
fn failure(upstream: &UpstreamState) -> Option<&UpstreamFailure> {
    let failure = upstream.last_failure.as_ref();
    failure.filter(|_| upstream.failing || upstream.state == "down")
}

/// What the state of the pool means for the request.
fn why(standing: &Standing) -> String {
    match &standing.prospect.entry {
        Foreseen::Refused(refusal) => refusal.detail.clone().into_owned(),
        Foreseen::Waiting { place, .. } if place.running < standing.prospect.limits.concurrency => {
            "nobody is ready to work yet: whoever comes waits".into()
        }
        Foreseen::Waiting { .. } => "every slot is taken: whoever comes waits".into(),
        Foreseen::Admitted => "a slot is free".into(),
    }
}

fn seen(upstream: &UpstreamState) -> Seen {
    Seen {
        name: upstream.name.clone(),
        state: upstream.state.into(),
        failing: upstream.failing,
        backup: upstream.backup,
        takes: upstream.takes,
        last_failure: failure(upstream).map(|failure| Failure {
            time: humantime::format_rfc3339_millis(failure.time).to_string(),
            what: failure.what.to_string(),
        }),
    }
}

impl Now {
    /// For a person.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "  {:<12} {}: {} of {} run, {} of {} wait",
                "now", self.state, self.running, self.concurrency, self.waiting, self.queue_length
            ),
            format!("  {:<12}   because {}", "", self.why),
        ];
        let shown = self.upstreams.iter().take(LOST_SHOWN);
        lines.extend(shown.map(|upstream| format!("  {:<12}   {}", "", line(upstream))));
        if self.upstreams.len() > LOST_SHOWN {
            let more = self.upstreams.len() - LOST_SHOWN;
            lines.push(format!("  {:<12}   and {more} more (--json has all)", ""));
        }
        lines
    }
}

fn line(upstream: &Seen) -> String {
    let mut line = format!("upstream {} is {}", upstream.name, upstream.state);
    let facts = [
        (upstream.backup, ", a backup"),
        (upstream.failing, ", and fails"),
        (!upstream.takes, ", and would not be asked"),
    ];
    line.extend(facts.iter().filter(|(is, _)| *is).map(|(_, what)| *what));
    if let Some(failure) = &upstream.last_failure {
        // Writing to memory does not fail.
        let _ = write!(line, "; last at {}: {}", failure.time, failure.what);
    }
    line
}

#[cfg(test)]
mod tests;
