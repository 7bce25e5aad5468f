//! One request, until a worker has answered it or none will.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::time::{Instant, sleep, timeout};

use super::doorway::{Doorway, Seated};
use super::peer::Errand;
use crate::handler::Outcome;
use crate::handler::proxy::Attempt;
use crate::handler::upgrade::Tunnel;
use crate::model::{Body, BodyError, BodyWatch, Facts, Reason, Refusal};
use crate::worker::Work;
use crate::worker::machine::WorkerId;

impl Doorway {
    /// Sends a request to a worker, and to another where that cannot have done anything twice.
    pub(super) async fn forward(&self, request: Request<Body>, facts: &Facts) -> Outcome {
        let method = request.method().clone();
        let path = facts.path.as_str();
        let seated = self.find(&method, path, &[]).await?;
        // The settings are let go before anything is waited for.
        let settings = Arc::clone(&self.settings());
        let errand = seated.seat.peer.errand(request, facts, &settings.process);
        let mut errand = match errand.await? {
            Ok(errand) => errand,
            Err(answer) => return Ok(answer),
        };
        match send(&seated, &mut errand, facts).await {
            Ok(response) => Ok(deliver(response, seated.work)),
            Err(attempt) => {
                let again = Again {
                    doorway: self,
                    errand,
                    facts,
                    method: &method,
                    path,
                    failing_since: None,
                    died: None,
                };
                Box::pin(again.after(seated, attempt)).await
            }
        }
    }
}

/// A request that was sent once, to no good.
struct Again<'a> {
    doorway: &'a Doorway,
    errand: Errand,
    facts: &'a Facts,
    method: &'a Method,
    path: &'a str,
    /// Since when no worker takes a connection for it.
    failing_since: Option<Instant>,
    /// The worker that died with it.
    died: Option<WorkerId>,
}

impl Again<'_> {
    async fn after(mut self, mut seated: Seated, mut attempt: Attempt) -> Outcome {
        let mut pause = PAUSE_MIN;
        loop {
            match attempt {
                Attempt::Elsewhere(refusal) if is_connecting(&refusal) => {
                    // It is about to die, or has more connections waiting than its socket's queue takes.
                    let since = *self.failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.doorway.settings().process.connect_timeout {
                        return Err(refusal);
                    }
                    seated.work.not_sent();
                    self.errand.notes().pauses();
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Attempt::Final(refusal) if refusal.reason == Reason::UpstreamReset => {
                    let death = timeout(DEATH_WAIT, seated.work.member().death()).await;
                    let lives = death.is_err();
                    let abandoned = abandoned(&refusal, death.ok().as_deref());
                    // Whoever kills two workers by one request would kill the next.
                    if lives || self.died.is_some() || !self.errand.may_be_repeated() {
                        return Err(abandoned);
                    }
                    self.died = Some(seated.work.member().id());
                    drop(seated);
                }
                refused => return Err(refused.into_refusal()),
            }
            let but: Vec<WorkerId> = self.died.into_iter().collect();
            seated = self.doorway.find(self.method, self.path, &but).await?;
            attempt = match send(&seated, &mut self.errand, self.facts).await {
                Ok(response) => return Ok(deliver(response, seated.work)),
                Err(attempt) => attempt,
            };
        }
    }
}

/// Sends a request to a worker, and leaves word of it.
async fn send(
    seated: &Seated,
    errand: &mut Errand,
    facts: &Facts,
) -> Result<Response<Body>, Attempt> {
    let number = u32::try_from(seated.work.member().id().number).unwrap_or(u32::MAX);
    facts.reached.begin(number);
    let sent = seated.seat.peer.exchange(errand).await;
    facts.reached.settle(number, errand.notes().took());
    sent
}

/// Whether a worker could not be connected to, which a moment later may be otherwise.
fn is_connecting(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason,
        Reason::UpstreamConnect | Reason::UpstreamReset
    )
}

/// A worker closed its connection with the request in hand: as HTTP.sys tells of it.
fn abandoned(refusal: &Refusal, death: Option<&str>) -> Refusal {
    let detail = death.map_or_else(|| refusal.detail.clone().into_owned(), str::to_owned);
    Refusal::new(Reason::ConnectionAbandonedByReqQueue, detail)
}

/// Passes a response on; the worker has its request until the end of it.
fn deliver(mut response: Response<Body>, work: Work) -> Response<Body> {
    let tunnel = response.extensions().get::<Tunnel>();
    if response.body().full_len().is_some() && tunnel.is_none() {
        return response;
    }
    let held = Box::new(Held { _work: work });
    match tunnel {
        Some(tunnel) => tunnel.keep(held),
        None => response.body_mut().watch(held),
    }
    response
}

/// Holds a worker's request until the response's content has passed.
struct Held {
    _work: Work,
}

impl BodyWatch for Held {
    fn data(&mut self, _: usize) {}

    fn broke(&mut self, _: &BodyError) {}

    fn end(&mut self, _: bool) {}
}

/// How long is waited before a worker is connected to once more.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A worker that closes a connection as it dies is known to have died a moment later; one that does not, lives.
const DEATH_WAIT: Duration = Duration::from_millis(500);
