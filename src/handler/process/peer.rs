//! How a worker is spoken to, and what it is sent.

use std::time::Duration;

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;

use crate::config::{self, Keeping, UpstreamScheme};
use crate::handler::proxy::{Attempt, Outbound, Upstream, Waits};
use crate::model::{Body, Facts, Refusal};
use crate::worker::launch::WorkerAddress;

/// A worker, as it is spoken to.
pub(super) enum Peer {
    /// By HTTP/1.1.
    Http(Box<Upstream>),
}

/// A request on its way to a worker.
pub(super) enum Errand {
    /// By HTTP/1.1.
    Http(Box<Outbound>),
}

impl Peer {
    pub(super) fn new(address: &WorkerAddress, settings: &config::Process, threads: usize) -> Self {
        let name = match address {
            WorkerAddress::Unix(path) => config::Upstream::Unix(path.clone()),
            WorkerAddress::Tcp(address) => config::Upstream::Net {
                scheme: UpstreamScheme::Http,
                host: address.ip().to_string(),
                port: address.port(),
            },
        };
        let waits = Waits {
            connect: settings.connect_timeout,
            response: settings.response_timeout,
            body: settings.body_timeout,
        };
        Self::Http(Box::new(Upstream::neighbour(
            name, waits, &KEEPING, threads,
        )))
    }

    /// Sends a request, and gives the response, whose content is still to come.
    pub(super) async fn exchange(&self, errand: &mut Errand) -> Result<Response<Body>, Attempt> {
        match (self, errand) {
            (Self::Http(upstream), Errand::Http(outbound)) => upstream.exchange(outbound).await,
        }
    }

    /// Requests a path, beside all requests of clients, and gives the status.
    pub(super) async fn ask(&self, path: &str) -> Result<u16, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("it cannot be asked: {error}");
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::try_from(path).map_err(|error| wrong(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(USER_AGENT, HeaderValue::from_static("portunus (warm-up)"));
        let mut errand = match self {
            Self::Http(_) => Errand::Http(Box::new(Outbound::ours(request))),
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

impl Errand {
    pub(super) fn new(
        request: Request<Body>,
        facts: &Facts,
        settings: &config::Process,
    ) -> Result<Self, Refusal> {
        let told = settings.client_certificate_fields;
        Ok(Self::Http(Box::new(Outbound::new(request, facts, told)?)))
    }

    pub(super) fn method(&self) -> &Method {
        match self {
            Self::Http(outbound) => &outbound.method,
        }
    }

    /// Whether carrying it out twice does no more than once, and all of it is still here.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Http(outbound) => outbound.repeatable && outbound.is_ready(),
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
