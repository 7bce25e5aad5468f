//! Who asks for the steps of requests ([`Journal`]), and is given them at their end.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};

use crate::model::journal::Journal;
use crate::model::{Connection, Protocol, Provenance, Reason, RoutePath};

/// Somebody who may want the steps of requests. Asked and told on the data threads, so nothing here may wait.
pub trait Witness: Send + Sync {
    /// Whether it may want the steps of a request; asked of every request, before it is known whom that is for.
    fn asks(&self, asking: &Asking<'_>) -> bool;

    /// Whether it may still want them, now that the site is known, by its index.
    fn still_asks(&self, asking: &Asking<'_>, site: usize) -> bool {
        let _ = (asking, site);
        true
    }

    /// A request is at its end, and these are its steps. Told of every request that anybody asked for.
    fn ended(&self, ended: &Ended);
}

/// What is known of a request when a witness is asked.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The path that routes are matched with; none where there is none that could be read.
    pub path: Option<&'a RoutePath>,
    /// Its fields; none where its head could not be read.
    pub fields: Option<&'a HeaderMap>,
    /// What it brings along; none before its site is known.
    pub provenance: Option<&'a Provenance>,
}

/// A request at its end.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its steps.
    pub journal: Arc<Journal>,
    /// When it ended.
    pub at: Instant,
    /// The connection that it came on.
    pub connection: Arc<Connection>,
    /// What it was spoken in.
    pub protocol: Protocol,
    /// Whom it is from, and the names that it is known by.
    pub provenance: Provenance,
    /// The path that routes are matched with; none where there is none that could be read.
    pub path: Option<RoutePath>,
    /// The site, by its index; none where no binding was found.
    pub site: Option<usize>,
    /// The status of its response; none where there was no response.
    pub status: Option<StatusCode>,
    /// When the head of that was there; none where there was no response.
    pub answered: Option<Instant>,
    /// Whether its connection has left HTTP behind that: for a WebSocket, say.
    pub left_http: bool,
    /// Why it was refused, or its response was cut; none where all went well.
    pub reason: Option<Reason>,
}
