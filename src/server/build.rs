//! Config → what serves: handlers, pools, sites, table.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderValue;

use super::plan::Fate;
use crate::acme::Challenges;
use crate::binding::{Balancers, Table};
use crate::config::{self, AlpnProtocol, Config};
use crate::handler::{self, Handler, Unforged, Upkeep};
use crate::http::{AltSvc, BoundTo, Edge};
use crate::model::{BindingKey, PerThread, Scheme};
use crate::pool::Pool;
use crate::report::metrics::{RouteCounts, Tallies};
use crate::report::{Report, Witness};
use crate::site::{PageError, Site};
use crate::traces::{Tracer, TracesError};

/// Handlers that the program brings that Portunus is a library of, by the name of their pool.
pub type LibraryHandlers = HashMap<String, Arc<dyn Handler>>;

/// Why a configuration that was read cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A pool's handler cannot be made.
    #[error("pool {pool:?}: {source}")]
    Handler {
        /// The pool.
        pool: String,
        /// Where it was written.
        place: config::Place,
        /// What is wrong.
        source: handler::BuildError,
    },
    /// A pool's handler is to come from the program, which brings none.
    #[error(
        "pool {pool:?} has the handler type \"library\", and this program brings no handler for it"
    )]
    NoLibraryHandler {
        /// The pool.
        pool: String,
        /// Where it was written.
        place: config::Place,
    },
    /// Nothing can be sent to the collector.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// An error page of a site cannot be read.
    #[error(transparent)]
    ErrorPage(#[from] PageError),
}

/// What a configuration is built with and beside.
pub(super) struct Context<'a> {
    /// Data threads.
    pub threads: usize,
    /// Handlers of the program's own.
    pub library: &'a LibraryHandlers,
    /// Where refusals are told.
    pub report: &'a Arc<Report>,
    /// What a CA is answered.
    pub challenges: &'a Arc<Challenges>,
    /// For each binding, whether its UDP port answers; none where it has none.
    pub answers: Vec<Option<Arc<AtomicBool>>>,
    /// What is running, and what becomes of it.
    pub running: Option<Running<'a>>,
}

/// What runs while a configuration is built that is to take its place.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    /// What serves requests.
    pub edge: &'a Edge,
    /// What becomes of each pool of the new configuration, in its order.
    pub fates: &'a [Fate],
}

/// Pools that live on with something new; they get it when everything else has succeeded.
pub(super) struct Built {
    /// What serves requests.
    pub edge: Arc<Edge>,
    kept: Vec<Kept>,
    /// Pools whose handlers are new.
    new: Vec<Arc<Pool>>,
}

impl Built {
    /// What the new handlers have to do beside their requests, to be run once they serve. Asked for only then, as the user that
    /// serves: handlers may make files of their own.
    pub(super) fn take_upkeep(&mut self) -> Vec<Upkeep> {
        let new = std::mem::take(&mut self.new);
        new.iter()
            .filter_map(|pool| pool.handler().upkeep())
            .collect()
    }

    /// Gives the pools that live on what is new for them.
    pub(super) fn settle(&self) {
        for kept in &self.kept {
            kept.pool.reconfigure(&kept.config);
            if !kept.same {
                kept.pool.handler().reconfigure(&kept.config.handler);
            }
        }
    }
}

/// A pool that lives on.
struct Kept {
    pool: Arc<Pool>,
    config: config::Pool,
    /// Whether its handler goes on as it is.
    same: bool,
}

/// Builds what serves requests. All that cannot be built is told of, not only the first.
pub(super) fn edge(config: &Config, context: &Context<'_>) -> Result<Built, Vec<BuildError>> {
    let mut kept = Vec::new();
    let mut errors = Vec::new();
    let mut pools = Vec::new();
    for (index, pool) in config.pools.iter().enumerate() {
        match build_pool(index, pool, context, &mut kept) {
            Ok(pool) => pools.push(pool),
            Err(error) => errors.push(error),
        }
    }
    let mut sites = Vec::new();
    for site in &config.sites {
        match Site::load(site) {
            Ok(site) => sites.push(site),
            Err(error) => errors.push(error.into()),
        }
    }
    let tracer = tracer(config, context).unwrap_or_else(|error| {
        errors.push(error.into());
        None
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    let bindings = bindings(config, context);
    let edge = Edge {
        table: Table::build(&config.bindings),
        balancers: Balancers::build(&config.bindings),
        routed: routed(&sites, context.report),
        tallies: tallies(&bindings, &sites, &pools, context.report),
        bindings,
        sites,
        pools,
        cleartext_http2: config
            .bindings
            .iter()
            .any(|b| b.scheme == Scheme::Http && b.protocols.contains(&AlpnProtocol::H2)),
        websockets: config.pools.iter().any(|pool| match &pool.handler {
            config::Handler::Proxy(proxy) => proxy.upgrade.allow("websocket"),
            config::Handler::Process(process) => process.upgrade.allow("websocket"),
            _ => false,
        }),
        limits: config.limits.clone(),
        verbosity: config.server.verbosity,
        server_header: server_header(&config.server.server_header, context.threads),
        trusted: config.server.trusted_proxies.clone(),
        request_ids: config.server.request_ids,
        traceparent: config.server.traceparent,
        challenges: Arc::clone(context.challenges),
        report: Arc::clone(context.report),
        witnesses: witnesses(config, context, tracer.as_ref()),
        tracer,
    };
    let is_new = |pool: &&Arc<Pool>| !kept.iter().any(|kept| Arc::ptr_eq(&kept.pool, pool));
    let new = edge.pools.iter().filter(is_new).cloned().collect();
    Ok(Built {
        edge: Arc::new(edge),
        kept,
        new,
    })
}

/// What requests are traced by: what runs, where that can do.
fn tracer(config: &Config, context: &Context<'_>) -> Result<Option<Arc<Tracer>>, TracesError> {
    let Some(settings) = &config.traces else {
        return Ok(None);
    };
    let running = context
        .running
        .and_then(|running| running.edge.tracer.as_ref());
    Tracer::new(settings, running, context.report.metrics().spans()).map(Some)
}

/// Who asks for the steps of requests.
fn witnesses(
    config: &Config,
    context: &Context<'_>,
    tracer: Option<&Arc<Tracer>>,
) -> Vec<Arc<dyn Witness>> {
    let mut witnesses = context.report.witnesses(config);
    witnesses.extend(tracer.map(|tracer| Arc::clone(tracer) as Arc<dyn Witness>));
    witnesses
}

/// Where the requests of each binding and pool are counted: a binding's requests may be for all pools of its site.
fn tallies(bindings: &[BoundTo], sites: &[Site], pools: &[Arc<Pool>], report: &Report) -> Tallies {
    let bindings = bindings.iter().map(|bound| {
        let routes = sites[bound.site].routes().iter();
        (
            bound.name.to_string(),
            routes.map(|route| route.pool).collect(),
        )
    });
    report
        .metrics()
        .tallies(bindings, pools.iter().map(|pool| pool.name()))
}

/// Where the requests of each site's routes are counted.
fn routed(sites: &[Site], report: &Report) -> Box<[Arc<RouteCounts>]> {
    let sites = sites.iter().map(|site| {
        let routes = site.routes().iter().map(ToString::to_string);
        (site.name.to_string(), routes.collect())
    });
    report.metrics().routes(sites)
}

/// The bindings, with what each says of HTTP/3.
fn bindings(config: &Config, context: &Context<'_>) -> Vec<BoundTo> {
    let mut bindings = BoundTo::all(&config.bindings);
    let before: HashMap<&BindingKey, &BoundTo> = context
        .running
        .iter()
        .flat_map(|running| &running.edge.bindings)
        .map(|bound| (&*bound.key, bound))
        .collect();
    for (index, bound) in bindings.iter_mut().enumerate() {
        let offered = context.answers.get(index).and_then(Option::as_ref);
        let max_age = (config.bindings[index].tls.as_ref()).map(|tls| tls.alt_svc_max_age);
        bound.alt_svc = match (offered, max_age) {
            (Some(answers), Some(max_age)) if !max_age.is_zero() => Some(AltSvc::offer(
                bound.key.port,
                max_age,
                Arc::clone(answers),
                context.threads,
            )),
            // Clients may remember what was said before, whether or not there is a port still.
            _ => (before.get(&*bound.key))
                .and_then(|before| before.alt_svc.as_ref())
                .map(|_| AltSvc::Withdrawn),
        };
    }
    bindings
}

/// The keys of the bindings, in their order.
pub(super) fn keys(edge: &Edge) -> Vec<Arc<BindingKey>> {
    edge.bindings
        .iter()
        .map(|bound| Arc::clone(&bound.key))
        .collect()
}

fn build_pool(
    index: usize,
    pool: &config::Pool,
    context: &Context<'_>,
    kept: &mut Vec<Kept>,
) -> Result<Arc<Pool>, BuildError> {
    if let Some(running) = context.running
        && let Fate::LivesOn { old, same } = running.fates[index]
    {
        let old = &running.edge.pools[old];
        kept.push(Kept {
            pool: Arc::clone(old),
            config: pool.clone(),
            same,
        });
        return Ok(Arc::clone(old));
    }
    let handler = match (context.library.get(&pool.name), &pool.handler) {
        (Some(handler), _) => Arc::new(Unforged::new(Arc::clone(handler))),
        (None, config::Handler::Library) => {
            return Err(BuildError::NoLibraryHandler {
                pool: pool.name.clone(),
                place: pool.place,
            });
        }
        (None, settings) => {
            handler::build(&pool.name, settings, context.threads).map_err(|source| {
                BuildError::Handler {
                    pool: pool.name.clone(),
                    place: pool.place,
                    source,
                }
            })?
        }
    };
    Ok(Arc::new(Pool::new(pool, handler, context.threads)))
}

fn server_header(text: &str, threads: usize) -> Option<PerThread<HeaderValue>> {
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|value| !value.is_empty())?;
    // Made from its bytes again and again: a clone would share them, and their count, between threads.
    Some(PerThread::new(threads, |_| {
        HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
    }))
}
