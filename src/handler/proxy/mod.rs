//! The reverse proxy: requests to upstreams, over connections that are kept.
//!
//! What reaches an upstream is a request of our own, made of what was understood of the client's; nothing of the client's
//! framing is passed on, and nothing that it says of itself is believed. The same holds for what comes back.
//!
//! No connection, name or answer is shared between data threads.

mod balance;
mod checks;
mod fields;
mod forward;
mod hedge;
mod leaving;
mod outbound;
mod renamed;
mod telling;
mod upload;
mod upstream;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::sync::watch;

use self::balance::Balancer;
use self::checks::Checks;
pub(in crate::handler) use self::outbound::Outbound;
use self::outbound::ends_here;
use self::upstream::TlsClients;
use super::{BuildError, Handler, Outcome, Outlook, Reply, Upkeep};
use crate::config;
use crate::model::{Body, Facts, Reason, Refusal};

pub use self::balance::{Said, Sticky, UpstreamFailure, UpstreamState};
pub(in crate::handler) use self::fields::{
    one_length, strip_for_upstream, tells_length, to_client,
};
pub(in crate::handler) use self::outbound::{is_idempotent, target};
pub(in crate::handler) use self::telling::tell_beside_client;
pub(in crate::handler) use self::upload::{Progress, Upload};
pub(in crate::handler) use self::upstream::{Attempt, Connector, Origin, Stream, Upstream, Waits};
pub use self::upstream::{TlsFilesError, dns, response};

/// A reverse proxy.
pub struct Proxy {
    upstreams: Box<[Upstream]>,
    /// None where no upstream is spoken to by TLS.
    tls: Option<Arc<TlsClients>>,
    balancer: Arc<Balancer>,
    response_timeout: Duration,
    telling: config::Telling,
    upgrades: config::Upgrades,
    /// Taken by whoever runs them.
    checks: Mutex<Option<Checks>>,
    /// Dropped with the proxy, which ends them.
    _alive: watch::Sender<()>,
}

impl Proxy {
    /// A proxy as configured.
    pub fn new(config: &config::Proxy, threads: usize) -> Result<Self, BuildError> {
        let tls = config.upstreams.iter().any(config::Upstream::is_https);
        let tls = match tls {
            true => Some(Arc::new(TlsClients::new(&config.tls, threads)?)),
            false => None,
        };
        let upstreams = config.upstreams.iter();
        let names = config.upstreams.iter().map(ToString::to_string).collect();
        let balancer = Balancer::new(&config.balance, names, threads);
        let balancer = balancer.map_err(BuildError::Sticky)?;
        let balancer = Arc::new(balancer);
        let (alive, proxy) = watch::channel(());
        Ok(Self {
            checks: Mutex::new(Checks::new(config, tls.as_ref(), &balancer, proxy)),
            _alive: alive,
            upstreams: upstreams
                .map(|name| Upstream::new(name, config, tls.as_deref(), threads))
                .collect(),
            tls,
            balancer,
            response_timeout: config.response_timeout,
            telling: config.telling,
            upgrades: config.upgrade.clone(),
        })
    }
}

impl Handler for Proxy {
    fn handle<'a>(&'a self, mut request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        if let Some(outcome) = goes_no_further(&mut request) {
            return Reply::Now(outcome);
        }
        let mut wish = self.balancer.wish(request.headers(), facts);
        match Outbound::new(request, facts, &self.telling, &self.upgrades) {
            Ok(outbound) => {
                wish.repeatable = outbound.repeatable;
                self.forward(Box::new(outbound), wish, facts)
            }
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    fn upstreams(&self) -> Vec<UpstreamState> {
        self.balancer.state()
    }

    fn upstream_name(&self, number: u32) -> Option<Cow<'_, str>> {
        let known = self.upstreams.get(number as usize).is_some();
        known.then(|| Cow::Borrowed(self.balancer.name(number as usize)))
    }

    fn outlook(&self) -> Result<Outlook, Refusal> {
        self.balancer.outlook()
    }

    fn upkeep(&self) -> Option<Upkeep> {
        // So that no request waits for its key to be made.
        self.balancer.sticky();
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.take().map(Checks::run)
    }

    fn is_outdated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_outdated())
    }
}

/// The answer to a request that is not to be passed on; one that is, has one step less to go.
pub(in crate::handler) fn goes_no_further(request: &mut Request<Body>) -> Option<Outcome> {
    if *request.method() == Method::CONNECT {
        let detail = "a tunnel to elsewhere is asked for, which a gateway does not make";
        return Some(Err(Refusal::new(Reason::NotImplemented, detail)));
    }
    ends_here(request).then(|| last_recipient(request.method()))
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
