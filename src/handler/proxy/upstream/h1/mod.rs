//! HTTP/1.1 to an upstream.
//!
//! A connection is moved along by whoever waits for it: the request's future until the response's head is there, then the
//! response's content (`link.rs` says why). It is kept when both messages are at their end and it has nothing more to say, and
//! closed in every other case.

mod apart;
mod download;
mod exchange;
pub mod head;
mod idle;
mod link;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::task::Poll;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use tokio::time::Instant;

use self::exchange::{Failure, exchange};
use self::head::Head;
pub(super) use self::idle::Shelf;
use self::link::Link;
use super::{Attempt, Stream, Upstream};
use crate::handler::proxy::fields;
use crate::handler::proxy::leaving::{self, Asked};
use crate::handler::proxy::outbound::Outbound;
use crate::handler::upgrade::{Rewound, Tunnel, join};
use crate::model::journal::AttemptStep;
use crate::model::{Body, Reason, Refusal};

/// A response's head, and the connection that its content comes by.
pub(super) type Answered = (Box<Link>, Head);

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
                let stream = Box::pin(self.connect(outbound.ends, &mut outbound.notes)).await?;
                self.over_new(stream, outbound).await?
            }
        };
        self.answer(head, outbound)
    }

    /// Sends the request over a kept connection; none if there is none that works.
    pub(super) async fn over_kept(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Option<Answered>, Attempt> {
        let shelf = self.links.mine();
        let now = Instant::now();
        let Some(mut link) = poll_fn(|cx| Poll::Ready(shelf.take(now, cx))).await else {
            return Ok(None);
        };
        outbound.notes.note(|| AttemptStep::Kept);
        let failure = match exchange(&mut link, outbound, self, now).await {
            Ok(head) => return Ok(Some((link, head))),
            Err(failure) => failure,
        };
        // It may have been closed under our hands: then the request goes to the same upstream once more.
        let is_closed = failure.refusal.reason == Reason::UpstreamReset;
        if failure.unsent || (is_closed && outbound.is_ready()) {
            outbound.notes.note(|| AttemptStep::Stale);
            return Ok(None);
        }
        Err(failure.into())
    }

    /// Sends the request over a new connection.
    pub(super) async fn over_new(
        &self,
        stream: Stream,
        outbound: &mut Outbound,
    ) -> Result<Answered, Attempt> {
        let mut link = Link::new(stream);
        let head = exchange(&mut link, outbound, self, Instant::now()).await?;
        Ok((link, head))
    }

    /// The response, and, where it leaves HTTP, what becomes of the connection.
    pub(super) fn answer(
        &self,
        (link, head): Answered,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let switched = self.switch(link, head, outbound.upgrade.take());
            return switched.map_err(Attempt::Final);
        }
        Ok(self.pass_on(link, head, outbound))
    }

    fn pass_on(&self, link: Box<Link>, mut head: Head, outbound: &mut Outbound) -> Response<Body> {
        if head.hops {
            let has_length = fields::tells_length(&outbound.method, head.status);
            fields::to_client(&mut head.headers, has_length);
        }
        let shelf = head.keeps.then(|| self.links.mine().clone());
        let gap = outbound.body_timeout(self.waits.body);
        let progress = outbound.progress.take();
        let mut response = Response::new(download::content(link, shelf, progress, gap));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// The upstream leaves HTTP: the client's connection and its own become one.
    fn switch(
        &self,
        link: Box<Link>,
        mut head: Head,
        asked: Option<Asked>,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(fault) = leaving::fault(asked.as_ref(), &head.headers) {
            return Err(self.protocol_broken(fault));
        }
        let protocol = head.headers.get(UPGRADE).cloned();
        fields::to_client(&mut head.headers, false);
        let connection = HeaderValue::from_static("upgrade");
        head.headers.insert(CONNECTION, connection);
        if let Some(protocol) = protocol {
            head.headers.insert(UPGRADE, protocol);
        }
        let (stream, read) = link.into_parts();
        stream.keep_alive();
        let mut theirs = Rewound::new(read, stream);
        let linger = asked.and_then(|asked| asked.linger());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
            .extensions_mut()
            .insert(Tunnel::new(move |mut ours| async move {
                // Either side may go at any time; that is how these connections end. What broke on one side breaks on the
                // other, and does not look like its end there.
                if join(&mut ours, &mut theirs, linger).await.is_err() {
                    theirs.get_ref().reset_on_close();
                }
            }));
        Ok(response)
    }
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        match failure.unsent {
            true => Attempt::Elsewhere(failure.refusal),
            false => Attempt::Final(failure.refusal),
        }
    }
}
