//! One application: where it listens, how long it is waited for, and which connections to it are kept.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use super::connection::Connection;
use super::exchange;
use super::outbound::Outbound;
use super::shelf::Shelf;
use crate::config;
use crate::handler::notes::Notes;
use crate::handler::proxy::{Attempt, Connector, Stream};
use crate::model::journal::AttemptStep;
use crate::model::{Body, PerThread, Reason, Refusal};

/// An application.
pub(in crate::handler) struct Application {
    pub(super) name: config::Upstream,
    connector: Connector,
    connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) body_timeout: Duration,
    shelves: PerThread<Shelf>,
}

impl Application {
    /// The application that listens at `name`, for `threads` data threads.
    pub(in crate::handler) fn new(
        name: config::Upstream,
        terms: &config::FastCgiTerms,
        threads: usize,
    ) -> Self {
        Self {
            connector: Connector::plain(&name),
            name,
            connect_timeout: terms.connect_timeout,
            response_timeout: terms.response_timeout,
            body_timeout: terms.body_timeout,
            shelves: PerThread::new(threads, |_| {
                Shelf::new(terms.idle_connections, terms.idle_timeout)
            }),
        }
    }

    /// Sends a request, and gives the response, whose content is still to come.
    pub(in crate::handler) async fn exchange(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        outbound.notes.begin(&self.name);
        let answered = self.answer(outbound).await;
        outbound.notes.ended(&answered);
        answered
    }

    async fn answer(&self, outbound: &mut Outbound) -> Result<Response<Body>, Attempt> {
        if let Some(kept) = poll_fn(|cx| Poll::Ready(self.shelf().take(cx))).await {
            outbound.notes.note(|| AttemptStep::Kept);
            match exchange::run(self, kept, outbound).await {
                // It was closed under our hands, and nothing can have been done twice.
                Err(failure) if !failure.heard && outbound.repeatable => {
                    outbound.notes.note(|| AttemptStep::Stale);
                }
                answered => return answered.map_err(|failure| failure.attempt),
            }
        }
        let connection = Connection::new(self.connect(&mut outbound.notes).await?);
        let answered = exchange::run(self, connection, outbound).await;
        answered.map_err(|failure| failure.attempt)
    }

    /// This thread's idle connections.
    pub(super) fn shelf(&self) -> &Shelf {
        self.shelves.mine()
    }

    async fn connect(&self, notes: &mut Notes) -> Result<Stream, Attempt> {
        let began = Instant::now();
        let connecting = self.connector.connect_plain(&self.name, notes);
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        let connected = connected.unwrap_or_else(|_| {
            let name = &self.name;
            let detail = format!("{name} could not be connected to within connect_timeout");
            Err(Refusal::new(Reason::UpstreamTimeout, detail))
        });
        let stream = connected.map_err(Attempt::Elsewhere)?;
        notes.connected(began.elapsed());
        Ok(stream)
    }
}
