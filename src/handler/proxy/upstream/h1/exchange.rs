//! One request to one upstream, until its response's head.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Request};
use tokio::time::Instant;

use super::head::{Head, is_interim};
use super::link::Link;
use super::receiving::Broken;
use super::sending::Stopped;
use crate::config;
use crate::handler::proxy::outbound::Outbound;
use crate::handler::proxy::upstream::failure::told;
use crate::handler::proxy::upstream::{Upstream, tls};
use crate::model::journal::AttemptStep;
use crate::model::{Reason, Refusal};

/// Why there is no response.
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// Whether nothing of the request was sent; it is where it was then, to be sent again.
    pub(super) unsent: bool,
}

/// Why an exchange ended without a head.
enum Ended {
    Receiving(Broken),
    Content,
    Unsent(io::Error),
    Late,
}

/// Sends a request and waits for its response's head.
///
/// The request stays where it is until the upstream has said something: a connection that was closed under our hands may have
/// swallowed it, and then it is there to be sent once more.
pub(super) async fn exchange(
    link: &mut Link,
    outbound: &mut Outbound,
    upstream: &Upstream,
    now: Instant,
) -> Result<Head, Failure> {
    let timeout = outbound.patience_of(upstream.waits.response);
    let begun = outbound.request_mut().map(|request| {
        link.receiving.begin();
        link.sending.begin(request);
    });
    begun.map_err(|refusal| Failure {
        refusal,
        unsent: false,
    })?;
    link.timer.moved();
    // The clock is looked at when the request has been waited for, and not before.
    let (sent, mut now) = (now, Some(now));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(head) = poll_exchange(link, outbound, cx) {
            return Poll::Ready(head);
        }
        // A long upload is no slow upstream: the time counts from its last piece.
        let progress = outbound.progress.as_ref();
        let since = progress.map_or(Some(sent), |progress| progress.upstream_waited_for(sent));
        match since {
            Some(since) => {
                let now = now.take().unwrap_or_else(Instant::now);
                match link.timer.poll_until(since + timeout, now, cx) {
                    true => Poll::Ready(Err(Ended::Late)),
                    false => Poll::Pending,
                }
            }
            None => Poll::Pending,
        }
    })
    .await;
    let request = outbound.request.take();
    let ended = match answered {
        Ok(head) => {
            outbound.notes.answered(sent.elapsed());
            return Ok(head);
        }
        Err(ended) => ended,
    };
    let untouched = link.sending.take_untouched();
    let unsent = untouched.is_some();
    if let Some(mut request) = request
        && (unsent || outbound.repeatable && !link.receiving.heard)
    {
        *request.body_mut() = untouched.unwrap_or_default();
        outbound.put_back(request);
    }
    let broke = outbound.progress.as_ref();
    let broke = broke.and_then(|progress| progress.take_broke());
    Err(Failure {
        refusal: broke.unwrap_or_else(|| refusal(&upstream.name, &ended)),
        unsent,
    })
}

/// Sends what can be sent, and reads until the response's head is there.
fn poll_exchange(
    link: &mut Link,
    outbound: &mut Outbound,
    cx: &mut Context<'_>,
) -> Poll<Result<Head, Ended>> {
    if link.sending.is_under_way() {
        match link.sending.poll(&mut link.stream, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => outbound.notes.note(|| AttemptStep::Sent),
            Poll::Ready(Err(Stopped::Content)) => return Poll::Ready(Err(Ended::Content)),
            Poll::Ready(Err(Stopped::Wire(error))) => {
                if !link.sending.has_begun() {
                    return Poll::Ready(Err(Ended::Unsent(error)));
                }
                // Why it takes no more, it may have said before.
                link.sending.stop();
            }
        }
    }
    // Nobody needs the request's fields any more once there is a head: their room is used again.
    let mut none = HeaderMap::new();
    let spare = outbound.request.as_mut().map(Request::headers_mut);
    let spare = spare.unwrap_or(&mut none);
    loop {
        let read = (link.receiving).poll_head(&mut link.stream, cx, &outbound.method, spare);
        match ready!(read) {
            Ok(head) if is_interim(head.status) => {
                if let Some(interim) = &outbound.interim {
                    Outbound::hint(interim, head.status, &head.headers);
                }
            }
            Ok(head) => return Poll::Ready(Ok(head)),
            Err(broken) => return Poll::Ready(Err(Ended::Receiving(broken))),
        }
    }
}

fn refusal(upstream: &config::Upstream, ended: &Ended) -> Refusal {
    let error = match ended {
        Ended::Late => {
            let detail = format!("{upstream} did not begin its response in time");
            return Refusal::new(Reason::UpstreamTimeout, detail);
        }
        Ended::Receiving(Broken::Malformed(fault)) => {
            return Refusal::new(Reason::UpstreamProtocol, format!("{upstream}: {fault}"));
        }
        Ended::Content => {
            let detail = "the request's content is not as long as its head says";
            return Refusal::new(Reason::Internal, detail);
        }
        Ended::Receiving(Broken::Cut(error)) => error.as_ref(),
        Ended::Unsent(error) => Some(error),
    };
    if let Some(error) = error
        && let Some(alert) = tls::alert(error)
    {
        // In TLS 1.3 the handshake is over for us before the upstream has looked at our certificate.
        let detail = format!("{upstream} refused the handshake with the alert {alert:?}");
        return Refusal::new(Reason::UpstreamConnect, detail);
    }
    let why = error.map(|error| format!(": {}", told(error)));
    let why = why.unwrap_or_default();
    let detail =
        format!("{upstream} closed the connection before its response's head was whole{why}");
    Refusal::new(Reason::UpstreamReset, detail)
}
