//! The reverse proxy: requests to upstreams in turn, over connections that are kept.
//!
//! What reaches an upstream is a request of our own, made of what was understood of the client's; nothing of the client's
//! framing is passed on.

mod download;
mod exchange;
mod fields;
mod idle;
mod link;
mod upload;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use self::download::{Download, Home};
use self::exchange::{Failure, exchange};
use self::idle::IdleLinks;
use self::link::Link;
use self::upload::{Progress, Upload};
use super::upgrade::{Rewound, Tunnel};
use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, PerThread, Protocol, Reason, Refusal};

/// A reverse proxy.
pub struct Proxy {
    config: config::Proxy,
    idle: Arc<IdleLinks>,
    /// Whose turn it is; each data thread counts for itself.
    turn: PerThread<AtomicUsize>,
}

impl Proxy {
    /// A proxy as configured.
    pub fn new(config: &config::Proxy, threads: usize) -> Self {
        Self {
            config: config.clone(),
            idle: Arc::new(IdleLinks::new(threads, config.upstreams.len())),
            turn: PerThread::new(threads, AtomicUsize::new),
        }
    }

    async fn forward(&self, request: Request<Body>, facts: &Facts) -> Outcome {
        let mut outbound = Outbound::new(request, facts)?;
        let first = self.turn.mine().fetch_add(1, Relaxed);
        let mut last = None;
        // Each upstream once: an upstream that cannot be connected to has seen nothing of the request.
        for step in 0..self.config.upstreams.len() {
            let index = (first + step) % self.config.upstreams.len();
            match self.try_upstream(index, &mut outbound).await {
                Ok((link, response)) => {
                    return self.answer(index, link, response, outbound.upgrade).await;
                }
                Err(Attempt::Elsewhere(refusal)) => last = Some(refusal),
                Err(Attempt::Final(refusal)) => return Err(refusal),
            }
        }
        Err(last
            .unwrap_or_else(|| Refusal::new(Reason::UpstreamConnect, "the proxy has no upstream")))
    }

    /// Sends the request to one upstream: over a kept connection if there is one, and over a new one if that turns out to be
    /// closed.
    async fn try_upstream(
        &self,
        index: usize,
        outbound: &mut Outbound,
    ) -> Result<(Link, Response<Incoming>), Attempt> {
        let upstream = &self.config.upstreams[index];
        loop {
            let mut link = match self.kept(index).await {
                Some(link) => link,
                None => Link::connect(upstream, self.config.connect_timeout)
                    .await
                    .map_err(Attempt::Elsewhere)?,
            };
            let reused = link.reused;
            let request = outbound
                .request(reused)
                .ok_or_else(|| Attempt::Final(outbound.spent()))?;
            let timeout = self.config.response_timeout;
            match exchange(
                &mut link,
                request,
                upstream,
                timeout,
                outbound.progress.as_ref(),
            )
            .await
            {
                Ok(response) => return Ok((link, response)),
                Err(Failure { refusal, unsent }) => {
                    outbound.give_back(unsent);
                    // A kept connection may have been closed under our hands; a new one has no such excuse.
                    let excused =
                        reused && refusal.reason == Reason::UpstreamReset && outbound.can_repeat();
                    if !excused {
                        return Err(Attempt::Final(refusal));
                    }
                }
            }
        }
    }

    /// A kept connection that still stands.
    async fn kept(&self, index: usize) -> Option<Link> {
        loop {
            let mut link = self.idle.take(index)?;
            if poll_fn(|cx| Poll::Ready(link.is_free(cx))).await {
                return Some(link);
            }
        }
    }

    async fn answer(
        &self,
        index: usize,
        link: Link,
        response: Response<Incoming>,
        asked_upgrade: Option<HeaderValue>,
    ) -> Outcome {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self
                .switch(index, link, response, asked_upgrade.is_some())
                .await;
        }
        let (mut parts, incoming) = response.into_parts();
        parts.version = Version::HTTP_11;
        fields::to_client(&mut parts.headers, parts.status);
        let home = Home {
            idle: Arc::clone(&self.idle),
            upstream: index,
        };
        let body = if incoming.is_end_stream() {
            let mut link = Some(link);
            poll_fn(|cx| {
                if let Some(link) = link.take() {
                    home.take_back(link, cx);
                }
                Poll::Ready(())
            })
            .await;
            Body::empty()
        } else {
            Body::stream(Download::new(
                incoming,
                link,
                home,
                self.config.body_timeout,
            ))
        };
        Ok(Response::from_parts(parts, body))
    }

    /// The upstream leaves HTTP: the client's connection and its own become one.
    async fn switch(
        &self,
        index: usize,
        mut link: Link,
        response: Response<Incoming>,
        asked: bool,
    ) -> Outcome {
        let upstream = &self.config.upstreams[index];
        if !asked {
            let detail = format!("{upstream} switches protocols, which nobody asked for");
            return Err(Refusal::new(Reason::UpstreamProtocol, detail));
        }
        let (mut parts, _) = response.into_parts();
        let protocol = parts.headers.get(UPGRADE).cloned();
        fields::to_client(&mut parts.headers, parts.status);
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(UPGRADE, protocol);
        }
        // hyper's part ends here, and gives the socket and what it has read of it.
        let ended = poll_fn(|cx| link.poll(cx)).await;
        ended
            .map_err(|error| Refusal::new(Reason::UpstreamReset, format!("{upstream}: {error}")))?;
        let left = link.conn.into_parts();
        let mut theirs = Rewound::new(left.read_buf, left.io.into_inner());
        parts
            .extensions
            .insert(Tunnel::new(move |mut ours| async move {
                // Either side may go at any time; that is how these connections end.
                let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
            }));
        Ok(Response::from_parts(parts, Body::empty()))
    }
}

impl Handler for Proxy {
    fn handle<'a>(&'a self, request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        Reply::later(self.forward(request, facts))
    }
}

/// What came of trying an upstream.
enum Attempt {
    /// It has seen nothing of the request: another may serve it.
    Elsewhere(Refusal),
    /// It may have.
    Final(Refusal),
}

/// A request on its way to an upstream, and what is needed to send it once more.
struct Outbound {
    request: Option<Request<Body>>,
    /// The head once more, where the request may be repeated and the connection is a kept one.
    spare: Option<Parts>,
    /// Of content that is not in memory.
    progress: Option<Arc<Progress>>,
    repeatable: bool,
    /// The protocol that the client asks to change to.
    upgrade: Option<HeaderValue>,
}

impl Outbound {
    fn new(request: Request<Body>, facts: &Facts) -> Result<Self, Refusal> {
        let (mut parts, mut body) = request.into_parts();
        let upgrade = match facts.protocol {
            Protocol::Http1 => fields::upgrade(&parts.headers),
            _ => None,
        };
        fields::to_upstream(&mut parts.headers, facts);
        if let Some(protocol) = &upgrade {
            parts
                .headers
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol.clone());
        }
        parts.uri = target(&parts.uri, facts)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let progress = (!body.is_end_stream()).then(Arc::<Progress>::default);
        if let Some(progress) = &progress {
            body = Body::stream(Upload::new(body, Arc::clone(progress)));
        }
        let repeatable = progress.is_none() && upgrade.is_none() && is_idempotent(&parts.method);
        Ok(Self {
            request: Some(Request::from_parts(parts, body)),
            spare: None,
            progress,
            repeatable,
            upgrade,
        })
    }

    /// The request; with a spare head kept back if it goes out on a connection that may turn out to be closed.
    fn request(&mut self, reused: bool) -> Option<Request<Body>> {
        let request = match self.request.take() {
            Some(request) => request,
            None => Request::from_parts(self.spare.take()?, Body::empty()),
        };
        if !(reused && self.repeatable) {
            return Some(request);
        }
        let (parts, body) = request.into_parts();
        self.spare = Some(parts.clone());
        Some(Request::from_parts(parts, body))
    }

    fn give_back(&mut self, unsent: Option<Request<Body>>) {
        self.request = unsent;
    }

    /// Whether the request can be sent once more without being carried out twice.
    fn can_repeat(&self) -> bool {
        let untouched = self
            .progress
            .as_ref()
            .is_none_or(|progress| !progress.is_touched());
        self.request.is_some() && untouched || self.spare.is_some()
    }

    fn spent(&self) -> Refusal {
        Refusal::new(
            Reason::Internal,
            "the request was sent already and is not to be sent again",
        )
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

/// The target as the upstream gets it: as the client wrote it, unless resolving it changed more than its encoding. A path
/// that was routed as one thing must not be read as another behind us.
fn target(uri: &Uri, facts: &Facts) -> Result<Uri, Refusal> {
    let asked = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = facts.path.as_str();
    let same = asked.path() == path || percent_decode_str(asked.path()).eq(path.bytes());
    if same {
        return Ok(Uri::from(asked));
    }
    let mut text = utf8_percent_encode(path, ENCODED).to_string();
    if let Some(query) = asked.query() {
        text.push('?');
        text.push_str(query);
    }
    Uri::try_from(text).map_err(|error| Refusal::new(Reason::Url, error.to_string()))
}

/// What may not stand in a path as it is.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests;
