//! One upstream: how it is reached, what is spoken to it, and which connections to it are kept.
//!
//! Whom a request goes to is decided elsewhere; here one exchange is made with the one that was chosen.

mod announce;
mod connector;
mod dial;
mod failure;
mod h1;
mod h2;
mod names;
mod stream;
mod tls;

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

pub(super) use self::announce::Ends;
pub(in crate::handler) use self::connector::Connector;
use self::h1::Shelf;
use self::h2::Sessions;
pub(in crate::handler) use self::names::Origin;
pub(in crate::handler) use self::stream::Stream;
use self::tls::Offer;
pub(super) use self::tls::TlsClients;
use super::leaving;
use super::outbound::Outbound;
use crate::config::{self, UpstreamScheme};
use crate::handler::notes::Notes;
use crate::model::{Body, PerThread, Reason, Refusal};

pub use self::h1::head as response;
pub use self::names::message as dns;
pub use self::tls::TlsFilesError;

/// An upstream.
pub(in crate::handler) struct Upstream {
    name: config::Upstream,
    /// None for a unix socket.
    scheme: Option<UpstreamScheme>,
    waits: Waits,
    connector: Connector,
    /// Connections of HTTP/1.1 that no request has.
    links: PerThread<Shelf>,
    /// Connections of HTTP/2.
    sessions: PerThread<Sessions>,
    /// Whether ALPN settled on HTTP/1.1 when it was asked last.
    prefers_http1: AtomicBool,
}

/// For how long an upstream is waited for.
#[derive(Clone, Copy)]
pub(in crate::handler) struct Waits {
    pub(in crate::handler) connect: Duration,
    pub(in crate::handler) response: Duration,
    pub(in crate::handler) body: Duration,
}

/// Why an upstream gave no response.
pub(in crate::handler) enum Attempt {
    /// It has seen nothing of the request: another may serve it.
    Elsewhere(Refusal),
    /// It may have.
    Final(Refusal),
}

impl Attempt {
    /// Why there is none.
    pub(in crate::handler) fn refusal(&self) -> &Refusal {
        match self {
            Attempt::Elsewhere(refusal) | Attempt::Final(refusal) => refusal,
        }
    }

    /// Why there is none.
    pub(in crate::handler) fn into_refusal(self) -> Refusal {
        match self {
            Attempt::Elsewhere(refusal) | Attempt::Final(refusal) => refusal,
        }
    }
}

impl Upstream {
    /// The upstream `name` of a proxy, for `threads` data threads.
    pub(super) fn new(
        name: &config::Upstream,
        proxy: &config::Proxy,
        tls: Option<&TlsClients>,
        threads: usize,
    ) -> Self {
        let keeping = announce::keeping(&proxy.keeping, proxy.telling.proxy_protocol);
        Self {
            name: name.clone(),
            scheme: match name {
                config::Upstream::Net { scheme, .. } | config::Upstream::Service { scheme, .. } => {
                    Some(*scheme)
                }
                config::Upstream::Unix(_) => None,
            },
            waits: Waits {
                connect: proxy.connect_timeout,
                response: proxy.response_timeout,
                body: proxy.body_timeout,
            },
            connector: Connector::new(name, proxy, tls),
            links: PerThread::new(threads, |_| Shelf::new(&keeping)),
            sessions: PerThread::new(threads, |_| Sessions::new(&keeping)),
            prefers_http1: AtomicBool::new(false),
        }
    }

    /// A neighbour on this machine that speaks HTTP/1.1 without TLS.
    pub(in crate::handler) fn neighbour(
        name: config::Upstream,
        waits: Waits,
        keeping: &config::Keeping,
        threads: usize,
    ) -> Self {
        Self {
            connector: Connector::plain(&name),
            scheme: None,
            waits,
            links: PerThread::new(threads, |_| Shelf::new(keeping)),
            sessions: PerThread::new(threads, |_| Sessions::new(keeping)),
            prefers_http1: AtomicBool::new(true),
            name,
        }
    }

    /// Sends a request, and gives the response, whose content is still to come.
    pub(in crate::handler) async fn exchange(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        outbound.notes.begin(&self.name);
        outbound.name_attempt();
        let answered = match self.scheme {
            // Only HTTP/1.1 can be left for another protocol.
            Some(UpstreamScheme::Https) if outbound.upgrade.is_none() => {
                Box::pin(self.over_http2(outbound)).await
            }
            Some(UpstreamScheme::H2c) if outbound.is_by_connect() => {
                Err(Attempt::Final(leaving::no_http1(&self.name)))
            }
            Some(UpstreamScheme::H2c) => Box::pin(self.over_http2(outbound)).await,
            _ => self.over_http1(outbound).await,
        };
        outbound.notes.ended(&answered);
        answered
    }

    /// Whom it is, as the configuration has it.
    pub(super) fn name(&self) -> &config::Upstream {
        &self.name
    }

    /// A new connection for HTTP/1.1, on which nothing has been said but the handshake.
    async fn connect(&self, ends: Option<Ends>, notes: &mut Notes) -> Result<Stream, Attempt> {
        let began = Instant::now();
        let connecting = (self.connector).connect(&self.name, Offer::Http1, ends, notes);
        let stream = self.within_connect_timeout(connecting).await?;
        notes.connected(began.elapsed());
        Ok(stream)
    }

    async fn within_connect_timeout<T>(
        &self,
        connecting: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Attempt> {
        let connected = tokio::time::timeout(self.waits.connect, connecting).await;
        connected
            .unwrap_or_else(|_| {
                let name = &self.name;
                let detail = format!("{name} could not be connected to within connect_timeout");
                Err(Refusal::new(Reason::UpstreamTimeout, detail))
            })
            .map_err(Attempt::Elsewhere)
    }

    /// How many connections of this thread have no request.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.links.mine().len()
    }

    fn protocol_broken(&self, fault: &str) -> Refusal {
        Refusal::new(Reason::UpstreamProtocol, format!("{}: {fault}", self.name))
    }
}
