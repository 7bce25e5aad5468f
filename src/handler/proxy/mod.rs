//! The reverse proxy: requests to upstreams in turn, over connections that are kept.
//!
//! What reaches an upstream is a request of our own, made of what was understood of the client's; nothing of the client's
//! framing is passed on, and nothing that it says of itself is believed. The same holds for what comes back.
//!
//! No connection, name or answer is shared between data threads.

mod fields;
mod outbound;
mod upload;
mod upstream;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{Method, Request, Response};

use self::outbound::{Outbound, ends_here};
use self::upstream::{Attempt, TlsClients, Upstream};
use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, PerThread, Reason, Refusal};

pub use self::upstream::{TlsFilesError, dns};

/// A reverse proxy.
pub struct Proxy {
    upstreams: Box<[Upstream]>,
    /// None where no upstream is spoken to by TLS.
    tls: Option<TlsClients>,
    /// Whose turn it is; each data thread counts for itself.
    turn: PerThread<AtomicUsize>,
}

impl Proxy {
    /// A proxy as configured.
    pub fn new(config: &config::Proxy, threads: usize) -> Result<Self, TlsFilesError> {
        let tls = config.upstreams.iter().any(config::Upstream::is_https);
        let tls = match tls {
            true => Some(TlsClients::new(&config.tls, threads)?),
            false => None,
        };
        let upstreams = config.upstreams.iter();
        Ok(Self {
            upstreams: upstreams
                .map(|name| Upstream::new(name, config, tls.as_ref(), threads))
                .collect(),
            tls,
            turn: PerThread::new(threads, AtomicUsize::new),
        })
    }

    /// Every request has a future of this: what few of them need is in boxes of its own.
    async fn forward(&self, mut outbound: Box<Outbound>) -> Outcome {
        let upstreams = self.upstreams.len();
        let first = self.turn.mine().fetch_add(1, Relaxed);
        let mut last = None;
        // Each upstream once: an upstream that cannot be connected to has seen nothing of the request.
        for step in 0..upstreams {
            let index = first.wrapping_add(step) % upstreams;
            match self.upstreams[index].exchange(&mut outbound).await {
                Ok(response) => return Ok(response),
                Err(Attempt::Elsewhere(refusal)) => last = Some(refusal),
                Err(Attempt::Final(refusal)) => return Err(refusal),
            }
        }
        Err(last
            .unwrap_or_else(|| Refusal::new(Reason::UpstreamConnect, "the proxy has no upstream")))
    }
}

impl Handler for Proxy {
    fn handle<'a>(&'a self, mut request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        if *request.method() == Method::CONNECT {
            let detail = "a tunnel to elsewhere is asked for, which a gateway does not make";
            return Reply::Now(Err(Refusal::new(Reason::NotImplemented, detail)));
        }
        if ends_here(&mut request) {
            return Reply::Now(last_recipient(request.method()));
        }
        match Outbound::new(request, facts) {
            Ok(outbound) => Reply::later(self.forward(Box::new(outbound))),
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    fn is_outdated(&self) -> bool {
        self.tls.as_ref().is_some_and(TlsClients::is_outdated)
    }
}

/// The answer to a request that may go no further (RFC 9110 section 7.6.2).
fn last_recipient(method: &Method) -> Outcome {
    if *method == Method::OPTIONS {
        return Ok(Response::new(Body::empty()));
    }
    // TRACE gives a request's fields back, those too that a page's scripts must not see.
    let detail = "a request is to be traced up to here, which is not done";
    Err(Refusal::new(Reason::NotImplemented, detail))
}

#[cfg(test)]
mod tests;
