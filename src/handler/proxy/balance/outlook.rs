//! How the upstreams stand, for whoever asks, and what would become of a request that came now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Balancer;
use super::field::Field;
use super::standing::Mode;
use super::tally::Tallied;
use super::turns::Choices as _;
use crate::config;
use crate::handler::Outlook;
use crate::model::{Reason, Refusal};
use crate::report::metrics::Sum;

/// How an upstream stands, and what it did so far.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamState {
    /// As the configuration writes it.
    pub name: String,
    /// `up`, `warming`, `ejected`, `trying`, `down`, `draining`.
    pub state: &'static str,
    /// Whether its latest exchange failed.
    pub failing: bool,
    /// Whether it is used only when no other is usable.
    pub backup: bool,
    /// Whether a request that came now might be sent there, well or not: where none is well, all are asked.
    pub takes: bool,
    /// Requests that it works on now, where that is counted.
    pub running: Option<u32>,
    /// Responses that it gave.
    pub answers: u64,
    /// Those of status 5xx.
    pub errors: u64,
    /// Exchanges without a response.
    pub failures: u64,
    /// How long it took until its responses' heads.
    pub took: Sum,
    /// For how long it has stood so: since the balancer was made, or its state changed.
    pub for_time: Duration,
    /// When an exchange or a check of its health failed last, and why.
    pub last_failure: Option<UpstreamFailure>,
}

/// How an exchange with an upstream, or a check of its health, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFailure {
    /// When.
    pub time: SystemTime,
    /// How, for a person.
    pub what: Arc<str>,
    /// What a request that fails so is refused for; none where it would have been answered, if badly.
    pub reason: Option<Reason>,
}

/// How a check of an upstream's health failed.
#[derive(Debug)]
pub(in crate::handler::proxy) struct Unwell {
    pub(in crate::handler::proxy) what: String,
    pub(in crate::handler::proxy) reason: Option<Reason>,
}

/// It answered, but not as one that is well.
impl From<String> for Unwell {
    fn from(what: String) -> Self {
        Self { what, reason: None }
    }
}

impl Balancer {
    /// How each upstream stands.
    pub(in crate::handler::proxy) fn state(&self) -> Vec<UpstreamState> {
        let field = Field::new(self, &[], self.board.now());
        let members = self.config.members.iter().enumerate();
        let state = |(index, member): (usize, &config::Member)| {
            let mut tallied = Tallied::default();
            for mine in self.threads.iter() {
                mine.tallies[index].add_to(&mut tallied);
            }
            UpstreamState {
                name: self.name(index).to_owned(),
                state: match self.board.mode(index) {
                    _ if member.weight == 0 => "draining",
                    Mode::Up => "up",
                    Mode::Warming(_) => "warming",
                    Mode::Ejected(_) => "ejected",
                    Mode::Trying => "trying",
                    Mode::Down => "down",
                },
                failing: self.board.is_failing(index),
                backup: member.backup,
                takes: field.is_allowed(index) || field.is_due(index),
                running: self.slots.as_ref().map(|slots| slots.running(index)),
                answers: tallied.answers,
                errors: tallied.errors,
                failures: tallied.failures,
                took: tallied.took,
                for_time: self.board.stands_for(index),
                last_failure: self.board.last_failure(index),
            }
        };
        members.map(state).collect()
    }

    /// Whether a request that came now would find an upstream with room for it, or a place in the queue for one.
    pub(in crate::handler::proxy) fn outlook(&self) -> Result<Outlook, Refusal> {
        let field = Field::new(self, &[], self.board.now());
        let mut all = 0..field.count();
        let Some(slots) = &self.slots else {
            return Ok(Outlook::Ready);
        };
        if all.clone().any(|it| field.is_open(it) || field.is_due(it)) {
            return Ok(Outlook::Ready);
        }
        let first = all.find(|it| field.is_allowed(*it)).unwrap_or(0);
        slots.may_wait(self.board.name(first))?;
        Ok(Outlook::Waits)
    }
}
