//! HTTP/1.1 to an upstream.
//!
//! A connection is moved along by whoever waits for it: the request's future until the response's head is there, then the
//! response's content (`link.rs` says why). It is kept when both messages are at their end and it has nothing more to say, and
//! closed in every other case.

mod download;
mod exchange;
mod idle;
mod link;
mod socket;

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use self::download::{Download, Keep};
use self::exchange::{Failure, exchange};
pub(super) use self::idle::Shelf;
use self::link::Link;
use super::failure::told;
use super::{Attempt, Stream, Upstream};
use crate::handler::proxy::fields;
use crate::handler::proxy::outbound::Outbound;
use crate::handler::upgrade::{Rewound, Tunnel};
use crate::model::{Body, Reason, Refusal};

/// A response's head, and the connection that its content comes by.
pub(super) type Head = (Box<Link>, Response<Incoming>);

impl Upstream {
    /// Sends the request over a kept connection if there is one; over a new one if there is none, or if the kept one turns out
    /// to be closed and nothing can have been done twice.
    pub(super) async fn over_http1(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        let head = match self.over_kept(outbound).await? {
            Some(head) => head,
            None => {
                let stream = Box::pin(self.connect()).await?;
                self.over_new(stream, outbound).await?
            }
        };
        self.answer(head, outbound).await
    }

    /// Sends the request over a kept connection; none if there is none that works.
    pub(super) async fn over_kept(&self, outbound: &mut Outbound) -> Result<Option<Head>, Attempt> {
        let shelf = self.links.mine();
        let Some(mut link) = poll_fn(|cx| Poll::Ready(shelf.take(cx))).await else {
            return Ok(None);
        };
        match exchange(&mut link, outbound, &self.name, self.waits.response).await {
            Ok(response) => Ok(Some((link, response))),
            Err(failure) => failure.on_kept(link, outbound).map(|()| None),
        }
    }

    /// Sends the request over a new connection.
    pub(super) async fn over_new(
        &self,
        stream: Stream,
        outbound: &mut Outbound,
    ) -> Result<Head, Attempt> {
        let mut link = Box::pin(Link::new(stream)).await.map_err(|error| {
            let detail = format!("{}: {}", self.name, told(&error));
            Attempt::Elsewhere(Refusal::new(Reason::UpstreamConnect, detail))
        })?;
        match exchange(&mut link, outbound, &self.name, self.waits.response).await {
            Ok(response) => Ok((link, response)),
            Err(failure) => Err(failure.recover(link, outbound)),
        }
    }

    pub(super) async fn answer(
        &self,
        (link, response): Head,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        let answer = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            Box::pin(self.switch(link, response, outbound.upgrade.take())).await
        } else {
            let mut come = Some((link, response));
            poll_fn(|cx| match come.take() {
                Some((link, response)) => Poll::Ready(self.pass_on(link, response, outbound, cx)),
                None => Poll::Pending,
            })
            .await
        };
        answer.map_err(Attempt::Final)
    }

    fn pass_on(
        &self,
        link: Box<Link>,
        response: Response<Incoming>,
        outbound: &mut Outbound,
        cx: &mut Context<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let (mut parts, incoming) = response.into_parts();
        if let Some(fault) = fields::framing_fault(&parts.headers) {
            return Err(self.protocol_broken(fault));
        }
        let has_length =
            outbound.method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
        fields::to_client(&mut parts.headers, has_length);
        let keep = match parts.version {
            Version::HTTP_11 => Keep::OnShelf(self.links.mine().clone()),
            // hyper would speak HTTP/1.0 in the next request too, which has no way to carry content of unknown length.
            _ => Keep::Not,
        };
        parts.version = Version::HTTP_11;
        let gap = outbound.body_timeout(self.waits.body);
        let progress = outbound.progress.take();
        let download = Download::new(incoming, link, keep, progress, gap);
        Ok(Response::from_parts(parts, download.into_body(cx)))
    }

    /// The upstream leaves HTTP: the client's connection and its own become one.
    async fn switch(
        &self,
        mut link: Box<Link>,
        response: Response<Incoming>,
        asked: Option<HeaderValue>,
    ) -> Result<Response<Body>, Refusal> {
        if !asked.is_some_and(|asked| fields::is_asked(&asked, response.headers())) {
            return Err(self.protocol_broken("it switches to a protocol that nobody asked for"));
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
            let detail = format!("{}: {}", self.name, told(&error));
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
}

impl Failure {
    /// A kept connection may have been closed under our hands: then the request goes to the same upstream once more.
    fn on_kept(self, link: Box<Link>, outbound: &mut Outbound) -> Result<(), Attempt> {
        let closed = self.refusal.reason == Reason::UpstreamReset;
        match self.recover(link, outbound) {
            Attempt::Elsewhere(_) => Ok(()),
            Attempt::Final(_) if closed && outbound.is_ready() => Ok(()),
            refused => Err(refused),
        }
    }

    /// Makes the request ready to be sent once more, if none of it was sent, or if it may be repeated and not a byte came back.
    fn recover(self, link: Box<Link>, outbound: &mut Outbound) -> Attempt {
        if let Some(request) = self.unsent {
            outbound.put_back(request);
            return Attempt::Elsewhere(self.refusal);
        }
        if outbound.repeatable
            && let Some(request) = link.into_socket().0.unanswered()
        {
            outbound.put_back(request);
        }
        Attempt::Final(self.refusal)
    }
}
