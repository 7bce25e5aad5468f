//! One request to one upstream, until its response's head.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::link::Link;
use crate::config::Upstream;
use crate::handler::proxy::outbound::Outbound;
use crate::handler::proxy::upstream::failure::told;
use crate::handler::proxy::upstream::tls;
use crate::model::{Body, Reason, Refusal};

/// Why there is no response.
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// The request, where nothing of it was sent.
    pub(super) unsent: Option<Request<Body>>,
}

/// Sends a request and waits for its response's head.
pub(super) async fn exchange(
    link: &mut Link,
    outbound: &mut Outbound,
    upstream: &Upstream,
    timeout: Duration,
) -> Result<Response<Incoming>, Failure> {
    let timeout = outbound.patience_of(timeout);
    let mut request = outbound.take().map_err(|refusal| Failure {
        refusal,
        unsent: None,
    })?;
    if let Some(interim) = outbound.interim.clone() {
        hyper::ext::on_informational(&mut request, move |response| {
            Outbound::hint(&interim, response.status(), response.headers());
        });
    }
    let mut answer = pin!(link.sender.try_send_request(request));
    let progress = outbound.progress.as_ref();
    link.timer.moved();
    let sent = Instant::now();
    let answered = poll_fn(|cx| {
        // How the connection ended, if it did, the answer tells.
        let _ = link.poll(cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        // A long upload is no slow upstream: the time counts from its last piece.
        let since = progress.map_or(Some(sent), |progress| progress.upstream_waited_for(sent));
        match since {
            Some(since) if link.timer.poll_until(since + timeout, Instant::now(), cx) => {
                Poll::Ready(None)
            }
            _ => Poll::Pending,
        }
    })
    .await;
    match answered {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => {
            let unsent = error.take_message();
            let refusal = progress
                .and_then(|progress| progress.take_broke())
                .unwrap_or_else(|| refusal(upstream, error.error()));
            Err(Failure { refusal, unsent })
        }
        None => {
            let detail = format!("{upstream} did not begin its response in time");
            Err(Failure {
                refusal: Refusal::new(Reason::UpstreamTimeout, detail),
                unsent: None,
            })
        }
    }
}

fn refusal(upstream: &Upstream, error: &hyper::Error) -> Refusal {
    let told = told(error);
    if error.is_parse() {
        let detail = format!("what {upstream} answered is not HTTP: {told}");
        return Refusal::new(Reason::UpstreamProtocol, detail);
    }
    if let Some(alert) = tls::alert(error) {
        // In TLS 1.3 the handshake is over for us before the upstream has looked at our certificate.
        let detail = format!("{upstream} refused the handshake with the alert {alert:?}");
        return Refusal::new(Reason::UpstreamConnect, detail);
    }
    let detail =
        format!("{upstream} closed the connection before its response's head was whole: {told}");
    Refusal::new(Reason::UpstreamReset, detail)
}
