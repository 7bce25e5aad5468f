//! `type = "fastcgi"`: applications that speak FastCGI, php-fpm before all others.
//!
//! ```text
//! path ─► script ─► params ─► records ─► application
//!                             records ◄─
//!            response ◄─ head ◄─┘
//! ```
//!
//! Of the crates that speak it as a client, those that may be used write all of a request before they read of its response, and
//! neither gives content back piece by piece as a client takes it nor bounds what it gathers. The protocol is small.

mod application;
mod connection;
mod content;
mod exchange;
pub mod head;
mod inbound;
mod outbound;
mod params;
pub mod record;
mod script;
mod shelf;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use http::Request;

pub(super) use self::application::Application;
pub(super) use self::outbound::{Outbound, Terms};
use super::proxy::Attempt;
use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts};

/// An application that listens somewhere.
pub struct FastCgi {
    application: Application,
    terms: Arc<Terms>,
}

impl FastCgi {
    /// As configured, for `threads` data threads. An error names the folder of the scripts.
    pub fn new(config: &config::FastCgi, threads: usize) -> io::Result<Self> {
        Ok(Self {
            application: Application::new(config.address.clone(), &config.terms, threads),
            terms: Arc::new(Terms::new(&config.terms)?),
        })
    }

    async fn serve(&self, request: Request<Body>, facts: &Facts) -> Outcome {
        let mut outbound = match self.terms.outbound(request, facts).await? {
            Ok(outbound) => outbound,
            Err(answer) => return Ok(answer),
        };
        facts.reached.begin(THE_ONE);
        let answered = self.application.exchange(&mut outbound).await;
        facts.reached.settle(THE_ONE, outbound.notes.took());
        answered.map_err(Attempt::into_refusal)
    }
}

impl Handler for FastCgi {
    fn handle<'a>(&'a self, request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        Reply::later(self.serve(request, facts))
    }

    fn is_outdated(&self) -> bool {
        self.terms.is_outdated()
    }

    fn upstream_name(&self, _: u32) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.application.name.to_string()))
    }
}

/// It has no other application.
const THE_ONE: u32 = 0;

#[cfg(test)]
mod tests;
