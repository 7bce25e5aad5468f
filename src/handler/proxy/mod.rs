//! The reverse proxy: requests to upstreams in turn, over connections that are kept.
//!
//! What reaches an upstream is a request of our own, made of what was understood of the client's; nothing of the client's
//! framing is passed on, and nothing that it says of itself is believed. The same holds for what comes back.
//!
//! A connection is moved along by whoever waits for it: the request's future until the response's head is there, then the
//! response's content (`link.rs` says why). It is kept when both messages are at their end and it has nothing more to say, and
//! closed in every other case. No connection, name or answer is shared between data threads.

mod balance;
mod download;
mod exchange;
mod fields;
mod idle;
mod link;
mod outbound;
mod socket;
mod upload;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use self::download::{Download, Keep};
use self::exchange::{Failure, exchange};
use self::idle::IdleLinks;
use self::link::Link;
use self::outbound::{Outbound, ends_here};
use super::upgrade::{Rewound, Tunnel};
use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, PerThread, Reason, Refusal};

/// A reverse proxy.
pub struct Proxy {
    config: config::Proxy,
    idle: IdleLinks,
    /// Whose turn it is; each data thread counts for itself.
    turn: PerThread<AtomicUsize>,
}

impl Proxy {
    /// A proxy as configured.
    pub fn new(config: &config::Proxy, threads: usize) -> Self {
        Self {
            config: config.clone(),
            idle: IdleLinks::new(threads, config.upstreams.len()),
            turn: PerThread::new(threads, AtomicUsize::new),
        }
    }

    /// Every request has a future of this: what few of them need is in boxes of its own.
    async fn forward(&self, mut outbound: Box<Outbound>) -> Outcome {
        let upstreams = self.config.upstreams.len();
        let first = self.turn.mine().fetch_add(1, Relaxed);
        let mut last = None;
        // Each upstream once: an upstream that cannot be connected to has seen nothing of the request.
        for step in 0..upstreams {
            let index = first.wrapping_add(step) % upstreams;
            match self.try_upstream(index, &mut outbound).await {
                Ok((link, response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    let switch = self.switch(index, link, response, outbound.upgrade.take());
                    return Box::pin(switch).await;
                }
                Ok((link, response)) => {
                    let mut come = Some((link, response));
                    return poll_fn(|cx| match come.take() {
                        Some((link, response)) => {
                            Poll::Ready(self.answer(index, link, response, &mut outbound, cx))
                        }
                        None => Poll::Pending,
                    })
                    .await;
                }
                Err(Attempt::Elsewhere(refusal)) => last = Some(refusal),
                Err(Attempt::Final(refusal)) => return Err(refusal),
            }
        }
        Err(last
            .unwrap_or_else(|| Refusal::new(Reason::UpstreamConnect, "the proxy has no upstream")))
    }

    /// Sends the request to one upstream: over a kept connection if there is one; over a new one if there is none, or if the
    /// kept one turns out to be closed and nothing can have been done twice.
    async fn try_upstream(
        &self,
        index: usize,
        outbound: &mut Outbound,
    ) -> Result<(Box<Link>, Response<Incoming>), Attempt> {
        let upstream = &self.config.upstreams[index];
        let timeout = self.config.response_timeout;
        let shelf = self.idle.shelf(index);
        if let Some(mut link) = poll_fn(|cx| Poll::Ready(shelf.take(cx))).await {
            match exchange(&mut link, outbound, upstream, timeout).await {
                Ok(response) => return Ok((link, response)),
                Err(failure) => retry(failure, link, outbound)?,
            }
        }
        let connect = Box::pin(Link::connect(upstream, self.config.connect_timeout));
        let mut link = connect.await.map_err(Attempt::Elsewhere)?;
        match exchange(&mut link, outbound, upstream, timeout).await {
            Ok(response) => Ok((link, response)),
            Err(failure) => Err(Attempt::Final(failure.refusal)),
        }
    }

    fn answer(
        &self,
        index: usize,
        link: Box<Link>,
        response: Response<Incoming>,
        outbound: &mut Outbound,
        cx: &mut Context<'_>,
    ) -> Outcome {
        let (mut parts, incoming) = response.into_parts();
        if let Some(fault) = fields::framing_fault(&parts.headers) {
            return Err(self.protocol_broken(index, fault));
        }
        let has_length =
            outbound.method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
        fields::to_client(&mut parts.headers, has_length);
        let keep = match parts.version {
            Version::HTTP_11 => Keep::OnShelf(self.idle.shelf(index).clone()),
            // hyper would speak HTTP/1.0 in the next request too, which has no way to carry content of unknown length.
            _ => Keep::Not,
        };
        parts.version = Version::HTTP_11;
        let (progress, gap) = (outbound.progress.take(), self.config.body_timeout);
        let download = Download::new(incoming, link, keep, progress, gap);
        Ok(Response::from_parts(parts, download.into_body(cx)))
    }

    /// The upstream leaves HTTP: the client's connection and its own become one.
    async fn switch(
        &self,
        index: usize,
        mut link: Box<Link>,
        response: Response<Incoming>,
        asked: Option<HeaderValue>,
    ) -> Outcome {
        if !asked.is_some_and(|asked| fields::is_asked(&asked, response.headers())) {
            let fault = "it switches to a protocol that nobody asked for";
            return Err(self.protocol_broken(index, fault));
        }
        let (mut parts, _) = response.into_parts();
        let protocol = parts.headers.get(UPGRADE).cloned();
        fields::to_client(&mut parts.headers, false);
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(UPGRADE, protocol);
        }
        parts.version = Version::HTTP_11;
        // hyper's own way to hand the socket over is not taken.
        parts.extensions.remove::<OnUpgrade>();
        // hyper's part ends here, and gives the socket and what it has read of it.
        if let Err(error) = poll_fn(|cx| link.poll(cx)).await {
            let detail = format!("{}: {error}", self.config.upstreams[index]);
            return Err(Refusal::new(Reason::UpstreamReset, detail));
        }
        let (socket, read) = link.into_socket();
        socket.keep_alive();
        let mut theirs = Rewound::new(read, socket);
        parts
            .extensions
            .insert(Tunnel::new(move |mut ours| async move {
                // Either side may go at any time; that is how these connections end.
                let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
            }));
        Ok(Response::from_parts(parts, Body::empty()))
    }

    fn protocol_broken(&self, index: usize, fault: &str) -> Refusal {
        let detail = format!("{}: {fault}", self.config.upstreams[index]);
        Refusal::new(Reason::UpstreamProtocol, detail)
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
}

/// What came of trying an upstream.
enum Attempt {
    /// It has seen nothing of the request: another may serve it.
    Elsewhere(Refusal),
    /// It may have.
    Final(Refusal),
}

/// A kept connection may have been closed under our hands. The request is made ready to be sent once more if none of it was
/// sent, or if it may be repeated and not a byte came back.
fn retry(failure: Failure, link: Box<Link>, outbound: &mut Outbound) -> Result<(), Attempt> {
    let closed = failure.refusal.reason == Reason::UpstreamReset;
    let again = failure.unsent.or_else(|| {
        let (socket, _) = link.into_socket();
        socket
            .unanswered()
            .filter(|_| closed && outbound.repeatable)
    });
    match again {
        Some(request) => {
            outbound.put_back(request);
            Ok(())
        }
        None => Err(Attempt::Final(failure.refusal)),
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
