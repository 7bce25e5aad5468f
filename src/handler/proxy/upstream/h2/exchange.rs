//! One request on one stream, until its response's head.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Method, Request, Response, StatusCode, Version, request};
use tokio::time::Instant;

use super::download::Download;
use super::head;
use super::pump::Pump;
use super::session::Place;
use crate::clock::LazyTimer;
use crate::handler::notes::Notes;
use crate::handler::proxy::fields;
use crate::handler::proxy::outbound::Outbound;
use crate::handler::proxy::upload::Progress;
use crate::handler::proxy::upstream::Upstream;
use crate::handler::proxy::upstream::failure::told;
use crate::model::journal::AttemptStep;
use crate::model::{Body, Interim, Reason, Refusal};

/// Why there is no response.
pub(super) enum Failed {
    /// The upstream has done nothing with the request, which is back in its place.
    Again(Refusal),
    /// It may have.
    Final(Refusal),
}

/// Sends a request and waits for its response's head.
pub(super) async fn exchange(
    place: Place,
    outbound: &mut Outbound,
    upstream: &Upstream,
) -> Result<Response<Body>, Failed> {
    let (parts, body) = outbound.take().map_err(Failed::Final)?.into_parts();
    let head = head::made(parts.clone(), &body, upstream.name.is_https()).map_err(Failed::Final)?;
    let ends = http_body::Body::is_end_stream(&body);
    let sent = place.sender().map(|mut s| s.send_request(head, ends));
    let (answer, stream) = match sent {
        Some(Ok(sent)) => sent,
        // Nothing was sent: the session is at its end.
        failed => {
            place.retire();
            outbound.put_back(Request::from_parts(parts, body));
            let error = failed.and_then(Result::err);
            return Err(Failed::Again(ended(upstream, &place, error.as_ref())));
        }
    };
    let mut waiting = Waiting {
        answer,
        pump: Pump::new((!ends).then_some(stream), body),
        timer: LazyTimer::default(),
        sent: Instant::now(),
        patience: outbound.patience_of(upstream.waits.response),
    };
    if ends {
        outbound.notes.note(|| AttemptStep::Sent);
    }
    let progress = outbound.progress.clone();
    let interim = outbound.interim.clone();
    let polled = poll_fn(|cx| {
        if let Some(interim) = &interim {
            waiting.hints(interim, cx);
        }
        waiting.poll(progress.as_deref(), &outbound.notes, cx)
    });
    match polled.await {
        Some(Ok(response)) => {
            outbound.notes.answered(waiting.sent.elapsed());
            Ok(pass_on(waiting.pump, place, response, outbound, upstream))
        }
        Some(Err(error)) => Err(waiting.failed(&error, parts, &place, outbound, upstream)),
        None => {
            if outbound.repeatable {
                outbound.put_back(Request::from_parts(parts, Body::empty()));
            }
            let name = &upstream.name;
            let detail = format!("{name} did not begin its response in time");
            Err(Failed::Final(Refusal::new(Reason::UpstreamTimeout, detail)))
        }
    }
}

struct Waiting {
    answer: ResponseFuture,
    pump: Pump,
    timer: LazyTimer,
    sent: Instant,
    patience: Duration,
}

impl Waiting {
    fn hints(&mut self, interim: &Interim, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(head))) = self.answer.poll_informational(cx) {
            Outbound::hint(interim, head.status(), head.headers());
        }
    }

    /// Ready with the answer, or with none when it is too late.
    fn poll(
        &mut self,
        progress: Option<&Progress>,
        notes: &Notes,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Response<RecvStream>, h2::Error>>> {
        let sending = !self.pump.is_done();
        if self.pump.poll(cx).is_ready() && sending {
            notes.note(|| AttemptStep::Sent);
        }
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            return Poll::Ready(Some(answer));
        }
        // A long upload is no slow upstream: the time counts from its last piece.
        let since = progress.map_or(Some(self.sent), |progress| {
            progress.upstream_waited_for(self.sent)
        });
        match since.map(|since| since + self.patience) {
            Some(until) if self.timer.poll_until(until, Instant::now(), cx) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }

    fn failed(
        self,
        error: &h2::Error,
        parts: request::Parts,
        place: &Place,
        outbound: &mut Outbound,
        upstream: &Upstream,
    ) -> Failed {
        if let Some(refusal) = (outbound.progress.as_ref()).and_then(|p| p.take_broke()) {
            return Failed::Final(refusal);
        }
        let lost = error.is_io() || error.is_go_away();
        if lost {
            place.retire();
        }
        // RFC 9113 section 8.7: nothing was done with such a request.
        let unprocessed = error.is_remote()
            && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        // As over HTTP/1.1: a session that was kept may have ended under our hands.
        let repeatable = outbound.repeatable && place.used && lost;
        let refusal = ended(upstream, place, Some(error));
        if outbound.repeatable && !(unprocessed || repeatable) {
            // Not here, but another upstream may be asked.
            outbound.put_back(Request::from_parts(parts, Body::empty()));
            return Failed::Final(refusal);
        }
        if (unprocessed || repeatable)
            && let Some(body) = self.pump.into_untouched()
        {
            outbound.put_back(Request::from_parts(parts, body));
            return Failed::Again(refusal);
        }
        Failed::Final(refusal)
    }
}

fn pass_on(
    pump: Pump,
    place: Place,
    response: Response<RecvStream>,
    outbound: &mut Outbound,
    upstream: &Upstream,
) -> Response<Body> {
    let (mut parts, stream) = response.into_parts();
    let has_none = outbound.method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
    let length = fields::one_length(&parts.headers).filter(|_| !has_none);
    let has_length = fields::tells_length(&outbound.method, parts.status);
    fields::to_client(&mut parts.headers, has_length);
    parts.version = Version::HTTP_11;
    let apart = (!pump.is_done()).then(|| pump.part());
    let progress: Option<Arc<Progress>> = outbound.progress.take();
    let gap = outbound.body_timeout(upstream.waits.body);
    let download = Download::new(stream, length, place, gap);
    let body = download.uploading(apart, progress).into_body();
    Response::from_parts(parts, body)
}

/// What the end of a stream or of its session is told as.
fn ended(upstream: &Upstream, place: &Place, error: Option<&h2::Error>) -> Refusal {
    let name = &upstream.name;
    let detail = match (error, place.fate()) {
        (Some(error), _) if reason(error) == Reason::UpstreamProtocol => {
            let detail = format!("{name} broke the rules of HTTP/2: {}", told(error));
            return Refusal::new(Reason::UpstreamProtocol, detail);
        }
        (_, Some(fate)) => format!("{name}: the connection ended: {fate}"),
        (Some(error), None) => format!("{name}: {}", told(error)),
        (None, None) => format!("{name} ended the connection before the request was sent"),
    };
    Refusal::new(Reason::UpstreamReset, detail)
}

/// Who broke what: an error that h2 found by itself is a rule of HTTP that the upstream broke.
pub(super) fn reason(error: &h2::Error) -> Reason {
    if error.is_library() && !error.is_io() {
        return Reason::UpstreamProtocol;
    }
    Reason::UpstreamReset
}
