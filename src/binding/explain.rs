//! Why a binding takes a host, and why every other binding in play does not.

use std::fmt;

use super::{Endpoint, Entry};
use crate::model::{HostName, HostPattern};

/// A binding in play, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index in the configuration.
    pub binding: usize,
    /// The hosts that it takes.
    pub pattern: HostPattern,
    /// Whether it is bound to the very address that the client connected to, not to every address.
    pub this_ip: bool,
    /// Whether it won, or why it lost.
    pub verdict: Verdict,
}

/// Whether a binding won, or why it lost. Written as a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the request.
    Won,
    /// It does not take the host.
    OtherHost,
    /// It takes the host, but a binding of an earlier step won.
    LaterStep,
    /// It takes the host in the same step, but the winner is on the very address and it is on every address.
    EveryIp,
    /// It is written like the winner, which stands before it in the file.
    Repeated,
}

impl Endpoint<'_> {
    /// Every binding in play, in the order in which they are tried: the winner is the first that takes the host.
    pub fn explain(&self, host: &HostName) -> Vec<Candidate> {
        let mut tried = self.in_order();
        // Equal steps keep the order of the file.
        tried.sort_by_key(|(entry, this_ip)| (step(&entry.pattern), !this_ip));
        let winner = tried
            .iter()
            .find(|(entry, _)| entry.pattern.matches(host))
            .map(|&(entry, this_ip)| (entry.clone(), this_ip));
        tried
            .into_iter()
            .map(|(entry, this_ip)| Candidate {
                binding: entry.binding,
                pattern: entry.pattern.clone(),
                this_ip,
                verdict: match &winner {
                    Some((won, on_ip)) if entry.pattern.matches(host) => {
                        verdict(won, *on_ip, entry, this_ip)
                    }
                    _ => Verdict::OtherHost,
                },
            })
            .collect()
    }

    fn in_order(&self) -> Vec<(&Entry, bool)> {
        let on_this = self.this_ip.into_iter().flat_map(|names| &names.entries);
        let on_every = self.every_ip.into_iter().flat_map(|names| &names.entries);
        on_this
            .map(|entry| (entry, true))
            .chain(on_every.map(|entry| (entry, false)))
            .collect()
    }
}

/// The place of a pattern in the order of search.
fn step(pattern: &HostPattern) -> u8 {
    match pattern {
        HostPattern::Strong => 1,
        HostPattern::Exact(_) => 2,
        HostPattern::Wildcard(_) => 3,
        HostPattern::Any => 4,
    }
}

/// Of an entry that takes the host as the winner does.
fn verdict(won: &Entry, won_on_ip: bool, entry: &Entry, this_ip: bool) -> Verdict {
    if entry.binding == won.binding {
        Verdict::Won
    } else if step(&entry.pattern) > step(&won.pattern) {
        Verdict::LaterStep
    } else if won_on_ip && !this_ip {
        Verdict::EveryIp
    } else {
        Verdict::Repeated
    }
}

/// Says why, as far as the candidate alone can tell: `*.shop.test takes exactly one label before shop.test`.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = &self.pattern;
        match (self.verdict, pattern) {
            (Verdict::Won, HostPattern::Strong) => {
                f.write_str("+ takes any host, before all others")
            }
            (Verdict::Won, HostPattern::Exact(_)) => f.write_str("its hostname is this very host"),
            (Verdict::Won, HostPattern::Any) => f.write_str("* takes any host that no other takes"),
            (Verdict::Won, HostPattern::Wildcard(parent)) => {
                write!(f, "{pattern} takes one label before {parent}")
            }
            (Verdict::OtherHost, HostPattern::Wildcard(parent)) => {
                write!(f, "{pattern} takes exactly one label before {parent}")
            }
            (Verdict::OtherHost, _) => write!(f, "it takes the host {pattern} only"),
            (Verdict::LaterStep, _) => write!(
                f,
                "{pattern} takes the host too, but comes later in the order +, exact, wildcard, *"
            ),
            (Verdict::EveryIp, _) => write!(
                f,
                "{pattern} takes the host too, but a binding on this very address comes before one on every address"
            ),
            (Verdict::Repeated, _) => {
                f.write_str("it is written like the winner, which stands before it in the file")
            }
        }
    }
}
