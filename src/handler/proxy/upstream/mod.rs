//! One upstream: how it is reached, what is spoken to it, and which connections to it are kept.
//!
//! Whom a request goes to is decided elsewhere; here one exchange is made with the one that was chosen.

mod connector;
mod failure;
mod h1;
mod stream;
mod tls;

use std::time::Duration;

use http::Response;

use self::connector::Connector;
use self::h1::Shelf;
use self::stream::Stream;
use self::tls::Offer;
pub(super) use self::tls::TlsClients;
use super::outbound::Outbound;
use crate::config;
use crate::model::{Body, PerThread, Reason, Refusal};

pub use self::tls::TlsFilesError;

/// An upstream.
pub(super) struct Upstream {
    name: config::Upstream,
    waits: Waits,
    connector: Connector,
    /// Connections of HTTP/1.1 that no request has.
    links: PerThread<Shelf>,
}

/// For how long an upstream is waited for.
#[derive(Clone, Copy)]
struct Waits {
    connect: Duration,
    response: Duration,
    body: Duration,
}

/// Why an upstream gave no response.
pub(super) enum Attempt {
    /// It has seen nothing of the request: another may serve it.
    Elsewhere(Refusal),
    /// It may have.
    Final(Refusal),
}

impl Upstream {
    /// The upstream `name` of a proxy, for `threads` data threads.
    pub(super) fn new(
        name: &config::Upstream,
        proxy: &config::Proxy,
        tls: Option<&TlsClients>,
        threads: usize,
    ) -> Self {
        Self {
            name: name.clone(),
            waits: Waits {
                connect: proxy.connect_timeout,
                response: proxy.response_timeout,
                body: proxy.body_timeout,
            },
            connector: Connector::new(name, proxy, tls),
            links: PerThread::new(threads, |_| Shelf::new(&proxy.keeping)),
        }
    }

    /// Sends a request, and gives the response, whose content is still to come.
    pub(super) async fn exchange(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        self.over_http1(outbound).await
    }

    /// A new connection, on which nothing has been said but the handshake.
    async fn connect(&self, offer: Offer) -> Result<Stream, Attempt> {
        let connecting = self.connector.connect(&self.name, offer);
        match tokio::time::timeout(self.waits.connect, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(refusal)) => Err(Attempt::Elsewhere(refusal)),
            Err(_) => {
                let name = &self.name;
                let detail = format!("{name} could not be connected to within connect_timeout");
                Err(Attempt::Elsewhere(Refusal::new(
                    Reason::UpstreamTimeout,
                    detail,
                )))
            }
        }
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
