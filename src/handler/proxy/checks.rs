//! Asking upstreams how they are, off the data threads: one loop for each, which ends with the proxy.
//!
//! Each check makes a connection of its own: one that is kept would go on working when nobody listens any more. And none is made
//! by what the data threads have, whose connections are moved along by their own runtimes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::balance::{Balancer, Unwell};
use super::outbound::Outbound;
use super::upstream::{TlsClients, Upstream};
use crate::config::{self, Health};
use crate::handler::Upkeep;
use crate::model::{Body, Reason};

/// What checks the upstreams of one proxy.
pub(super) struct Checks {
    config: config::Proxy,
    health: Health,
    tls: Option<Arc<TlsClients>>,
    balancer: Arc<Balancer>,
    /// Closed when the proxy is gone.
    proxy: watch::Receiver<()>,
}

impl Checks {
    /// None where the configuration asks for none.
    pub(super) fn new(
        config: &config::Proxy,
        tls: Option<&Arc<TlsClients>>,
        balancer: &Arc<Balancer>,
        proxy: watch::Receiver<()>,
    ) -> Option<Self> {
        let mut own = config.clone();
        own.keeping.idle_connections = 0;
        own.keeping.max_requests = Some(1);
        Some(Self {
            health: config.balance.health.clone()?,
            config: own,
            tls: tls.cloned(),
            balancer: Arc::clone(balancer),
            proxy,
        })
    }

    /// Runs until the proxy is gone.
    pub(super) fn run(self) -> Upkeep {
        Box::pin(async move {
            let mut proxy = self.proxy.clone();
            let upstreams = 0..self.config.upstreams.len();
            let all = join_all(upstreams.map(|index| self.watch(index)));
            tokio::select! {
                _ = all => {}
                // Nothing is ever sent: the wait ends when the proxy is dropped.
                _ = proxy.changed() => {}
            }
        })
    }

    async fn watch(&self, index: usize) {
        let name = &self.config.upstreams[index];
        let upstream = Upstream::new(name, &self.config, self.tls.as_deref(), 1);
        loop {
            let outcome = self.check(name, &upstream).await;
            self.balancer
                .checked(index, outcome.as_ref().copied(), &self.health);
            tokio::time::sleep(pause(&self.health, self.balancer.random())).await;
        }
    }

    async fn check(&self, name: &config::Upstream, upstream: &Upstream) -> Result<(), Unwell> {
        let timeout = self.health.timeout;
        let asked = tokio::time::timeout(timeout, self.ask(name, upstream)).await;
        asked.unwrap_or_else(|_| {
            Err(Unwell {
                reason: Some(Reason::UpstreamTimeout),
                what: format!("no whole answer within {timeout:?}"),
            })
        })
    }

    async fn ask(&self, name: &config::Upstream, upstream: &Upstream) -> Result<(), Unwell> {
        let mut outbound = Outbound::ours(self.request(name)?);
        let response = upstream.exchange(&mut outbound).await;
        let response = response.map_err(|attempt| {
            let refusal = attempt.into_refusal();
            Unwell {
                reason: Some(refusal.reason),
                what: refusal.detail.into_owned(),
            }
        })?;
        Ok(self.judge(response).await?)
    }

    fn request(&self, name: &config::Upstream) -> Result<Request<Body>, String> {
        let host = match self.health.host.as_str() {
            "" => own_host(name),
            host => host.to_owned(),
        };
        let mut request = Request::new(Body::empty());
        let wrong = |error: &dyn std::fmt::Display| format!("it cannot be asked: {error}");
        *request.uri_mut() = Uri::try_from(&self.health.path).map_err(|error| wrong(&error))?;
        let host = HeaderValue::from_str(&host).map_err(|error| wrong(&error))?;
        request.headers_mut().insert(HOST, host);
        let agent = HeaderValue::from_static("portunus (health check)");
        request.headers_mut().insert(USER_AGENT, agent);
        Ok(request)
    }

    async fn judge(&self, response: Response<Body>) -> Result<(), String> {
        let status = response.status().as_u16();
        if !self
            .health
            .statuses
            .iter()
            .any(|good| good.contains(&status))
        {
            return Err(format!("its status is {status}"));
        }
        let wanted = self.health.body.as_bytes();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut content = response.into_body();
        let mut read = Vec::new();
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let room = CONTENT_BYTES_MAX - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if memchr::memmem::find(&read, wanted).is_some() {
                return Ok(());
            }
            if read.len() == CONTENT_BYTES_MAX {
                break;
            }
        }
        Err(format!("its content does not hold {:?}", self.health.body))
    }
}

/// Host and port of an upstream, as a client would name them.
fn own_host(name: &config::Upstream) -> String {
    match name {
        config::Upstream::Unix(_) => "localhost".to_owned(),
        config::Upstream::Service { name, .. } => name.domain().to_owned(),
        name => {
            let url = name.to_string();
            url.split_once("://")
                .map_or(url.as_str(), |(_, host)| host)
                .to_owned()
        }
    }
}

/// The interval, by chance somewhat longer or shorter.
fn pause(health: &Health, random: u64) -> Duration {
    let share = (random >> 32) as f64 / f64::from(u32::MAX) * 2.0 - 1.0;
    let jitter = f64::from(health.jitter) / 100.0 * share;
    health.interval.mul_f64((1.0 + jitter).max(0.0))
}

/// What is read of an answer to find in it what is looked for.
const CONTENT_BYTES_MAX: usize = 64 * 1024;
