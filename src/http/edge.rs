//! What every request is served from: the binding table, the sites and the pools of one configuration.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::{AltSvc, Drain};
use crate::acme::Challenges;
use crate::binding::{Balancers, Table};
use crate::config::{Binding, Limits, RequestIds, TlsVersion, Verbosity};
use crate::model::{BindingKey, ClientTerms, Handshake, PerThread, Scheme, TrustedProxies};
use crate::pool::Pool;
use crate::report::metrics::{RouteCounts, Tallies};
use crate::report::{Report, Witness};
use crate::site::Site;
use crate::traces::Tracer;

/// Everything that serves a request, built from one configuration and never changed after.
pub struct Edge {
    /// Which binding a host on a socket has.
    pub table: Table,
    /// From whom a socket takes the PROXY protocol.
    pub balancers: Balancers,
    /// The bindings, as the table's indices name them.
    pub bindings: Vec<BoundTo>,
    /// The sites, as bindings name them.
    pub sites: Vec<Site>,
    /// The pools, as routes name them.
    pub pools: Vec<Arc<Pool>>,
    /// Whether any http binding speaks HTTP/2 with prior knowledge.
    pub cleartext_http2: bool,
    /// Whether any handler opens WebSockets: then clients of HTTP/2 and HTTP/3 are told that they may ask for one.
    pub websockets: bool,
    /// What requests are held to.
    pub limits: Limits,
    /// What responses of our own say.
    pub verbosity: Verbosity,
    /// The Server field; a copy for each data thread, as its bytes are counted by reference.
    pub server_header: Option<PerThread<HeaderValue>>,
    /// What a CA is answered that looks whether a name is ours.
    pub challenges: Arc<Challenges>,
    /// Who is believed of whom a request is from, before its binding is known.
    pub trusted: Option<TrustedProxies>,
    /// What is done with `X-Request-Id`.
    pub request_ids: RequestIds,
    /// Whether each request has a `traceparent`.
    pub traceparent: bool,
    /// What requests are traced by; none where they are not.
    pub tracer: Option<Arc<Tracer>>,
    /// Where refusals and accesses are told.
    pub report: Arc<Report>,
    /// Who asks for the steps of requests; nobody, in most configurations.
    pub witnesses: Vec<Arc<dyn Witness>>,
    /// Where requests are counted.
    pub tallies: Tallies,
    /// Where the requests of each site's routes are counted.
    pub routed: Box<[Arc<RouteCounts>]>,
}

/// What a request needs to know of its binding.
pub struct BoundTo {
    /// What tells it from others, and is compared with the connection's own.
    pub key: Arc<BindingKey>,
    /// The same, as logs and metrics write it.
    pub name: Box<str>,
    /// The site, by its index.
    pub site: usize,
    /// Whether it speaks HTTP/3.
    pub http3: bool,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    /// Whether it speaks HTTP/1.1.
    pub http1: bool,
    /// Whether it takes TLS 1.3 only.
    pub tls13_only: bool,
    /// What it asks of the certificates of clients; none: nothing.
    pub client_terms: Option<ClientTerms>,
    /// Where `https_redirect` of an http binding leads: the port of the https binding of the same host.
    pub https_port: u16,
    /// Who is believed of whom a request is from.
    pub trusted: Option<TrustedProxies>,
    /// What responses over TCP say of HTTP/3.
    pub alt_svc: Option<AltSvc>,
}

/// Where the running edge is published, and the data threads look for it.
pub struct Published {
    edge: ArcSwap<Edge>,
    generation: AtomicU64,
}

/// One data thread's own things.
pub struct Thread {
    published: Arc<Published>,
    /// The edge behind a pointer of this thread's own: what a request counts up and down is never shared between threads.
    seen: Mutex<(u64, ThreadEdge)>,
    /// The connections of this thread.
    pub drain: Arc<Drain>,
}

/// A data thread's pointer to the running edge.
pub type ThreadEdge = Arc<Arc<Edge>>;

impl Edge {
    /// What tells it from others for as long as it is there: what was noted of a pool of this edge is only ever compared.
    pub fn mark(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Published {
    /// Publishes a first edge.
    pub fn new(edge: Arc<Edge>) -> Arc<Self> {
        Arc::new(Self {
            edge: ArcSwap::new(edge),
            generation: AtomicU64::new(1),
        })
    }

    /// Publishes another edge. Requests under way keep the one they began with.
    pub fn replace(&self, edge: Arc<Edge>) {
        self.edge.store(edge);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The running edge.
    pub fn edge(&self) -> Arc<Edge> {
        self.edge.load_full()
    }
}

impl Thread {
    /// A data thread that serves what is published.
    pub fn new(published: Arc<Published>) -> Arc<Self> {
        let generation = published.generation.load(Ordering::Acquire);
        let edge = Arc::new(published.edge());
        Arc::new(Self {
            published,
            seen: Mutex::new((generation, edge)),
            drain: Arc::default(),
        })
    }

    /// The running edge.
    pub fn edge(&self) -> ThreadEdge {
        let generation = self.published.generation.load(Ordering::Acquire);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != generation {
            *seen = (generation, Arc::new(self.published.edge()));
        }
        Arc::clone(&seen.1)
    }
}

impl Edge {
    /// The handshake of a connection that was accepted then, where anybody asks for it.
    pub fn handshake(&self, accepted: Instant) -> Option<Arc<Handshake>> {
        self.tracer
            .as_ref()
            .map(|_| Arc::new(Handshake::done(accepted)))
    }
}

impl BoundTo {
    /// What a request needs to know of `binding`; `all` are the bindings it stands among.
    pub fn new(binding: &Binding, https_port: u16) -> Self {
        use crate::config::AlpnProtocol::{H2, H3, Http1};
        let key = binding.key();
        Self {
            name: key.to_string().into(),
            key: Arc::new(key),
            site: binding.site,
            http3: binding.protocols.contains(&H3),
            http2: binding.protocols.contains(&H2),
            http1: binding.protocols.contains(&Http1),
            tls13_only: (binding.tls.as_ref())
                .is_some_and(|tls| tls.min_version == TlsVersion::V1_3),
            client_terms: (binding.tls.as_ref())
                .and_then(|tls| tls.client_certificates.as_ref())
                .map(ClientTerms::new),
            https_port,
            trusted: binding.trusted_proxies.clone(),
            alt_svc: None,
        }
    }

    /// What every binding's requests need to know. The https port of an http binding is that of the first https binding
    /// that takes the same hosts, else the first that serves the same site, else 443.
    pub fn all(bindings: &[Binding]) -> Vec<Self> {
        let (mut by_host, mut by_site) = (HashMap::new(), HashMap::new());
        for binding in bindings.iter().filter(|b| b.scheme == Scheme::Https) {
            by_host.entry(&binding.hostname).or_insert(binding.port);
            by_site.entry(binding.site).or_insert(binding.port);
        }
        bindings
            .iter()
            .map(|binding| {
                let port = match binding.scheme {
                    Scheme::Https => Some(&binding.port),
                    Scheme::Http => by_host
                        .get(&binding.hostname)
                        .or_else(|| by_site.get(&binding.site)),
                };
                Self::new(binding, port.copied().unwrap_or(443))
            })
            .collect()
    }
}
