//! How a worker is spoken to, and what it is sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;

use crate::config::{self, Keeping, UpstreamScheme, WorkerProtocol};
use crate::handler::fastcgi::{self, Application, Terms};
use crate::handler::notes::Notes;
use crate::handler::proxy::{Attempt, Outbound, Upstream, Waits};
use crate::model::{
    Activity, Body, ClientAddr, Connection, Facts, HostName, LocalAddr, Protocol, Provenance,
    Reached, Reason, Refusal, RoutePath,
};
use crate::worker::launch::WorkerAddress;

/// A pool's settings, and what is made of them for all of its workers.
pub(super) struct Settings {
    pub(super) process: config::Process,
    /// None where FastCGI is not spoken.
    terms: Option<Arc<Terms>>,
}

/// A worker, as it is spoken to.
pub(super) enum Peer {
    /// By HTTP/1.1.
    Http(Box<Upstream>),
    /// By FastCGI.
    FastCgi(Box<Application>, Arc<Terms>),
}

/// A request on its way to a worker.
pub(super) enum Errand {
    /// By HTTP/1.1.
    Http(Box<Outbound>),
    /// By FastCGI.
    FastCgi(Box<fastcgi::Outbound>),
}

impl Settings {
    /// An error names the folder of FastCGI scripts.
    pub(super) fn new(process: &config::Process) -> io::Result<Self> {
        let terms = match process.protocol {
            WorkerProtocol::Http => None,
            WorkerProtocol::FastCgi => Some(Arc::new(Terms::new(&process.fastcgi)?)),
        };
        Ok(Self {
            process: process.clone(),
            terms,
        })
    }

    /// Whether those made of the same configuration today would find other scripts.
    pub(super) fn is_outdated(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.is_outdated())
    }
}

impl Peer {
    pub(super) fn new(address: &WorkerAddress, settings: &Settings, threads: usize) -> Self {
        let name = match address {
            WorkerAddress::Unix(path) => config::Upstream::Unix(path.clone()),
            WorkerAddress::Tcp(address) => config::Upstream::Net {
                scheme: UpstreamScheme::Http,
                host: address.ip().to_string(),
                port: address.port(),
            },
        };
        let process = &settings.process;
        if let Some(terms) = &settings.terms {
            let application = Application::new(name, &process.fastcgi, threads);
            return Self::FastCgi(Box::new(application), Arc::clone(terms));
        }
        let waits = Waits {
            connect: process.connect_timeout,
            response: process.response_timeout,
            body: process.body_timeout,
        };
        let upstream = Upstream::neighbour(name, waits, &KEEPING, threads);
        Self::Http(Box::new(upstream))
    }

    /// Makes what the worker is sent of a client's request; or what is answered without it.
    pub(super) async fn errand(
        &self,
        request: Request<Body>,
        facts: &Facts,
        settings: &config::Process,
    ) -> Result<Result<Errand, Response<Body>>, Refusal> {
        match self {
            Self::Http(_) => {
                let outbound = Outbound::new(request, facts, &settings.telling, &settings.upgrade)?;
                Ok(Ok(Errand::Http(Box::new(outbound))))
            }
            Self::FastCgi(_, terms) => {
                let made = Box::pin(terms.outbound(request, facts)).await?;
                Ok(made.map(|outbound| Errand::FastCgi(Box::new(outbound))))
            }
        }
    }

    /// Sends a request, and gives the response, whose content is still to come.
    pub(super) async fn exchange(&self, errand: &mut Errand) -> Result<Response<Body>, Attempt> {
        match (self, errand) {
            (Self::Http(upstream), Errand::Http(outbound)) => upstream.exchange(outbound).await,
            (Self::FastCgi(application, _), Errand::FastCgi(outbound)) => {
                Box::pin(application.exchange(outbound)).await
            }
            _ => {
                let detail = "the pool's protocol was changed while the request was on its way";
                let refusal = Refusal::new(Reason::AppShutdown, detail);
                Err(Attempt::Final(refusal))
            }
        }
    }

    /// Requests a path, beside all requests of clients, and gives the status.
    pub(super) async fn ask(&self, path: &str) -> Result<u16, String> {
        let request = request(path)?;
        let mut errand = match self {
            Self::Http(_) => Errand::Http(Box::new(Outbound::ours(request))),
            Self::FastCgi(_, terms) => {
                let facts = facts(&request)?;
                match terms.outbound(request, &facts).await {
                    Ok(Ok(outbound)) => Errand::FastCgi(Box::new(outbound)),
                    Ok(Err(answer)) => return Ok(answer.status().as_u16()),
                    Err(refusal) => return Err(refusal.detail.into_owned()),
                }
            }
        };
        let answered = self.exchange(&mut errand).await;
        let response = answered.map_err(|attempt| attempt.into_refusal().detail.into_owned())?;
        let status = response.status().as_u16();
        // Some work is only done as its content is taken.
        let mut content = response.into_body();
        let mut taken = 0;
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            taken += frame.data_ref().map_or(0, |data| data.len());
            if taken > ASKED_BYTES_MAX {
                break;
            }
        }
        Ok(status)
    }
}

/// A request of our own.
fn request(path: &str) -> Result<Request<Body>, String> {
    let mut request = Request::new(Body::empty());
    let uri = Uri::try_from(path).map_err(|error| format!("{path}: {error}"));
    *request.uri_mut() = uri?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    let agent = HeaderValue::from_static("portunus (readiness)");
    headers.insert(USER_AGENT, agent);
    Ok(request)
}

/// What there is to tell of it: it comes from ourselves.
fn facts(request: &Request<Body>) -> Result<Facts, String> {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let root = PathAndQuery::from_static("/");
    let target = request.uri().path_and_query().unwrap_or(&root);
    Ok(Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(here),
            local: LocalAddr::new(here),
            tls: None,
            activity: Activity::default(),
        }),
        protocol: Protocol::Http1,
        host: HostName::parse("localhost").map_err(|error| error.to_string())?,
        host_port: None,
        path: RoutePath::parse(target).map_err(|error| error.to_string())?,
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
        rules: None,
    })
}

impl Errand {
    /// Whether carrying it out twice does no more than once, and all of it is still here.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Http(outbound) => outbound.repeatable && outbound.is_ready(),
            Self::FastCgi(outbound) => outbound.repeatable,
        }
    }

    /// Where its attempts are noted.
    pub(super) fn notes(&self) -> &Notes {
        match self {
            Self::Http(outbound) => &outbound.notes,
            Self::FastCgi(outbound) => &outbound.notes,
        }
    }
}

/// Connections to a worker are cheap, and many servers close theirs within a few seconds (gunicorn after 2, node and uvicorn
/// after 5): what is closed under our hands could cost a request that must not be sent twice.
const KEEPING: Keeping = Keeping {
    idle_connections: 64,
    idle_timeout: Duration::from_secs(1),
    max_age: None,
    max_requests: None,
};

/// How much is taken of an answer that nobody reads.
const ASKED_BYTES_MAX: usize = 16 * 1024 * 1024;
