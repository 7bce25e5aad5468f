//! What a reload is about to do: what runs compared with what is asked for. A reload acts by this plan, and a dry run tells
//! it: there is no second opinion.

mod certificates;
mod compare;
mod keys;
mod told;
mod trial;
mod workers;

pub(super) use compare::AtStart;
pub(super) use trial::foresee;
pub(super) use workers::{Crews, crews};

use serde::Serialize;

use super::Server;
use super::ports::SocketsPlan;
use crate::certificate::{Certificates, dev};
use crate::config::Config;
use crate::http::Edge;

/// What a reload is about to do.
#[derive(Debug)]
pub(super) struct Plan {
    /// The sockets that are opened and closed.
    pub(super) sockets: SocketsPlan,
    /// For each pool of the new configuration, in its order.
    pub(super) fates: Vec<Fate>,
    /// Keys that take effect at the next start.
    pub(super) restart: Vec<&'static str>,
    changes: Vec<Change>,
    crews: Vec<CrewPlan>,
}

/// What becomes of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There was none of its name.
    New,
    /// It is made anew: its handler cannot go on with what is asked for.
    Replaced,
    /// It lives on, with its queue, its counts and its workers.
    LivesOn {
        /// Its place among the pools that run.
        old: usize,
        /// Whether its handler goes on untouched.
        same: bool,
    },
}

/// Something of the configuration that differs.
#[derive(Debug, Serialize)]
struct Change {
    kind: Kind,
    /// Which; empty where there is one of a kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    change: How,
    /// The keys that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    /// What is to be said of it beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Binding,
    Site,
    Route,
    Pool,
    Certificate,
    Server,
    Limits,
    Log,
    FailedRequests,
    Tls,
    Acme,
    Traces,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Added,
    Changed,
    Removed,
}

/// What becomes of a pool's workers.
#[derive(Debug)]
struct CrewPlan {
    pool: String,
    fate: CrewFate,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CrewFate {
    /// They go on as they are.
    Kept,
    /// New ones take their place, and lose no request.
    Recycled,
    /// They end once their requests have.
    Ended,
    /// There are none yet.
    Started,
}

impl Plan {
    /// Compares what runs with what is asked for.
    pub(super) fn of(server: &Server, config: &Config, certificates: &Certificates) -> Self {
        let old = server.config();
        let fates = fates(old, &server.edge, config);
        let mut changes = compare::all(old, config, &fates);
        changes.extend(certificates::all(
            (old, server.certificates()),
            (config, certificates),
        ));
        Self {
            sockets: server.ports.compare(config),
            restart: compare::restart(&server.at_start, config),
            crews: workers::plan(old, config, &fates),
            fates,
            changes,
        }
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.sockets.open.is_empty()
            && self.sockets.close.is_empty()
            && self.crews.iter().all(|crew| crew.fate == CrewFate::Kept)
    }

    /// How many things change.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Adds the development certificates that a reload makes where there are none.
    pub(super) fn add_missing(&mut self, config: &Config, missing: &[dev::Missing<'_>]) {
        for missing in missing {
            certificates::add_missing(&mut self.changes, config, missing);
        }
    }
}

/// What becomes of each pool of a new configuration.
fn fates(old: &Config, edge: &Edge, new: &Config) -> Vec<Fate> {
    let fate = |pool: &crate::config::Pool| {
        let Some(index) = old.pools.iter().position(|old| old.name == pool.name) else {
            return Fate::New;
        };
        let handler = edge.pools[index].handler();
        let same = old.pools[index].handler == pool.handler && !handler.is_outdated();
        match same || handler.goes_on_with(&pool.handler) {
            true => Fate::LivesOn { old: index, same },
            false => Fate::Replaced,
        }
    };
    new.pools.iter().map(fate).collect()
}

#[cfg(test)]
mod tests;
