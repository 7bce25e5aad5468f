//! Whoever does the work: the trait, and one folder a handler.
//!
//! A handler returns a response or a [`Refusal`]; it never builds an error response itself.

mod build;
pub mod fastcgi;
pub mod files;
mod notes;
mod own_fields;
pub mod process;
pub mod proxy;
pub mod redirect;
pub mod respond;
pub mod tower;
pub mod upgrade;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use tokio::sync::Notify;

use crate::config;
use crate::model::{Body, Facts, Refusal};
use crate::worker::Desk;

pub use build::{BuildError, build};
pub use own_fields::Unforged;

/// What a pool hands its requests to.
pub trait Handler: Send + Sync {
    /// Answers one request.
    ///
    /// This is `async fn handle(&self, request, facts) -> Result<Response<Body>, Refusal>`, spelled so that it can stand
    /// behind an `Arc<dyn Handler>`.
    fn handle<'a>(&'a self, request: Request<Body>, facts: &'a Facts) -> Reply<'a>;

    /// Answers one request at once, or leaves it to [`Handler::handle`].
    ///
    /// For handlers that know their answer from a request's head: it saves the future and all that is kept for it.
    fn handle_now(&self, request: &Request<Body>, facts: &Facts) -> Option<Outcome> {
        let _ = (request, facts);
        None
    }

    /// Whether another one, made of the same configuration today, would find something else. Asked by a reload, which then
    /// makes that other one.
    fn is_outdated(&self) -> bool {
        false
    }

    /// How the upstreams stand that it sends requests to.
    fn upstreams(&self) -> Vec<proxy::UpstreamState> {
        Vec::new()
    }

    /// What an upstream, or a worker, is called that requests are sent to; by the number that
    /// [`Reached`](crate::model::Reached) has of it.
    fn upstream_name(&self, number: u32) -> Option<Cow<'_, str>> {
        let _ = number;
        None
    }

    /// What would become of a request that came now, as far as that is known before it is sent anywhere. Asked by whoever explains.
    fn outlook(&self) -> Result<Outlook, Refusal> {
        Ok(Outlook::Ready)
    }

    /// What is to run beside the requests for as long as the handler is there, off the data threads; handed out once. It ends
    /// by itself when the handler is gone.
    fn upkeep(&self) -> Option<Upkeep> {
        None
    }

    /// The handler's pool is there, and this is its gate, open. Told before any request comes.
    fn attach(&self, gate: Arc<dyn Gate>) {
        let _ = gate;
    }

    /// Who looks after the processes that do the work, where there are any.
    fn desk(&self) -> Option<&Desk> {
        None
    }

    /// Whether it can go on by other settings, which are handed to [`Handler::reconfigure`] then: what it has under way lives on.
    fn goes_on_with(&self, settings: &config::Handler) -> bool {
        let _ = settings;
        false
    }

    /// Goes on by other settings.
    fn reconfigure(&self, settings: &config::Handler) {
        let _ = settings;
    }
}

/// The gate of a handler's pool, for a handler that is not always ready to work.
pub trait Gate: Send + Sync {
    /// Requests come in.
    fn open(&self);

    /// Requests wait in the pool's queue, by its bounds.
    fn hold(&self);

    /// Requests are refused, and those that wait let go: the pool is stopped.
    fn stop(&self);

    /// Requests are refused, and those that wait let go: the application keeps failing, and why.
    fn offline(&self, why: String);

    /// Those that wait are let go, and why; those that come wait again.
    fn let_go(&self, why: String);

    /// Told when a request comes that has to wait for [`Gate::open`].
    fn wanted(&self) -> Arc<Notify>;
}

/// What a handler would make of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It would work for it at once.
    Ready,
    /// It would wait until an upstream has room for it.
    Waits,
    /// It would answer with a page of this status, in place of the application.
    Page(StatusCode),
}

/// Work that a handler has beside its requests.
pub type Upkeep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a handler gives back: its answer, or the future of it.
pub enum Reply<'a> {
    /// The answer is known already.
    Now(Outcome),
    /// The answer comes later. Dropping the future gives the work up.
    Later(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>),
}

/// A response, or why there is none.
pub type Outcome = Result<Response<Body>, Refusal>;

impl<'a> Reply<'a> {
    /// The answer comes later.
    pub fn later(future: impl Future<Output = Outcome> + Send + 'a) -> Self {
        Reply::Later(Box::pin(future))
    }

    /// Waits for the answer.
    pub async fn wait(self) -> Outcome {
        match self {
            Reply::Now(outcome) => outcome,
            Reply::Later(future) => future.await,
        }
    }
}

#[cfg(test)]
mod tests;
