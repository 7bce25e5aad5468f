//! One request, until an upstream has answered it or none will: chosen, sent, and sent again where that is safe.
//!
//! Sent again is only what cannot have been done twice: whatever nothing was sent of, and of the rest what may be repeated
//! (RFC 9110 section 9.2.2) and is still here. It goes to another upstream rather than to one that it was sent to: what brings one
//! down had better not be sent there again. Where there is no other, and the one went a moment ago, it waits for that: most
//! likely it is being restarted.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::balance::{Chosen, Wish, is_upstreams};
use super::outbound::Outbound;
use super::upstream::{Attempt, Upstream};
use super::{Proxy, renamed};
use crate::config;
use crate::handler::{Outcome, Reply};
use crate::model::{Body, Facts, Reason, Took};

impl Proxy {
    /// Every request has a future of this: what few of them need is in boxes of its own. It is no `async fn`, whose arguments lie
    /// in its future twice.
    pub(super) fn forward<'a>(
        &'a self,
        mut outbound: Box<Outbound>,
        mut wish: Wish,
        facts: &'a Facts,
    ) -> Reply<'a> {
        Reply::later(async move {
            let rules = self.balancer.retry_rules();
            if self.balancer.buffer_body() > 0 && outbound.progress.is_some() {
                Box::pin(outbound.buffer(self.balancer.buffer_body())).await?;
                wish.repeatable = outbound.repeatable;
            } else if !rules.on_status.is_empty() {
                outbound.keep_copy(Bytes::new());
            }
            outbound.patience = rules.per_try_timeout;
            let chosen = match self.balancer.choose(&wish) {
                Ok(chosen) => chosen,
                Err(full) => Box::pin(self.balancer.wait(full)).await?,
            };
            let started = Instant::now();
            let mut sent_to = Vec::new();
            let (chosen, sent) = match self.hedge_after(&outbound, &wish) {
                None => {
                    let upstream = self.called(chosen.upstream, &mut outbound, facts);
                    (chosen, upstream.exchange(&mut outbound).await)
                }
                Some(after) => {
                    let hedged = self.hedged(chosen, &mut outbound, &wish, facts, after);
                    let hedged = Box::pin(hedged).await;
                    sent_to.extend(hedged.beside);
                    outbound.notes.counts(hedged.took);
                    (hedged.chosen, hedged.sent)
                }
            };
            match sent {
                Ok(response) if !calls_for_retry(rules, response.status()) => {
                    let took = outbound.notes.took();
                    Ok(self.deliver(chosen, response, took, &wish, facts))
                }
                outcome => {
                    let again = Again {
                        proxy: self,
                        outbound,
                        wish,
                        facts,
                        started,
                        attempts: 1 + sent_to.len() as u32,
                        sent_to,
                        waits: 0,
                    };
                    Box::pin(again.after(chosen, outcome)).await
                }
            }
        })
    }

    /// An upstream that the request is about to be sent to, with the request called as the route has it there.
    pub(super) fn called(&self, index: usize, outbound: &mut Outbound, facts: &Facts) -> &Upstream {
        let upstream = &self.upstreams[index];
        facts.reached.begin(index as u32);
        if let Some(host) = renamed::of(facts).and_then(|it| renamed::host(it, upstream.name())) {
            outbound.call(host);
        }
        upstream
    }

    /// Passes a response on, and notes what it says of its upstream.
    fn deliver(
        &self,
        mut chosen: Chosen<'_>,
        mut response: Response<Body>,
        took: Took,
        wish: &Wish,
        facts: &Facts,
    ) -> Response<Body> {
        facts.reached.settle(chosen.upstream as u32, took);
        chosen.answered(response.status(), took);
        if let Some(rewrite) = renamed::of(facts) {
            let upstream = self.upstreams[chosen.upstream].name();
            renamed::back(rewrite, upstream, facts, response.headers_mut());
        }
        self.balancer.mark(&mut response, chosen.upstream, wish);
        chosen.into_content(&mut response);
        response
    }
}

/// A request that was sent once, to no good.
struct Again<'a> {
    proxy: &'a Proxy,
    outbound: Box<Outbound>,
    wish: Wish,
    facts: &'a Facts,
    started: Instant,
    /// How often it was sent, beside the times that it waited for an upstream that was sent nothing.
    attempts: u32,
    sent_to: Vec<usize>,
    /// How often it has waited for an upstream that went a moment ago.
    waits: u32,
}

/// Where a request is sent next.
#[derive(PartialEq, Eq)]
enum Next {
    /// Nowhere.
    GivenUp,
    /// To another upstream.
    Other,
    /// To any, after a short while: there is no other.
    Later,
}

type Sent = Result<Response<Body>, Attempt>;

impl<'a> Again<'a> {
    async fn after(mut self, mut chosen: Chosen<'a>, mut sent: Sent) -> Outcome {
        loop {
            let was_try = chosen.is_try();
            match &sent {
                Ok(response) if !calls_for_retry(self.rules(), response.status()) => break,
                Ok(_) => {}
                Err(attempt) => chosen.failed(attempt.refusal()),
            }
            let next = self.next(&sent, was_try, chosen.upstream);
            if next == Next::GivenUp {
                break;
            }
            if let Ok(response) = &sent {
                chosen.answered(response.status(), self.outbound.notes.took());
            }
            // What the upstream works on is given back before another is asked for.
            drop(chosen);
            drop(sent);
            if next == Next::Later {
                self.outbound.notes.pauses();
                tokio::time::sleep(self.pause()).await;
                self.sent_to.clear();
            }
            let left = self.left();
            let rules = self.rules();
            let patience = rules.per_try_timeout.map_or(left, |it| it.min(left));
            self.outbound.patience = Some(patience);
            let balancer = &self.proxy.balancer;
            chosen = match balancer.choose_but(&self.wish, &self.sent_to) {
                Ok(chosen) => chosen,
                Err(full) => balancer.wait(full).await?,
            };
            let upstream = (self.proxy).called(chosen.upstream, &mut self.outbound, self.facts);
            sent = upstream.exchange(&mut self.outbound).await;
        }
        let took = self.outbound.notes.took();
        match sent {
            Ok(response) => {
                let proxy = self.proxy;
                Ok(proxy.deliver(chosen, response, took, &self.wish, self.facts))
            }
            Err(attempt) => {
                self.facts.reached.settle(chosen.upstream as u32, took);
                Err(attempt.into_refusal())
            }
        }
    }

    fn rules(&self) -> &'a config::Retry {
        self.proxy.balancer.retry_rules()
    }

    /// Where the request is sent next. One that found out for us that an upstream is still gone has it for nothing.
    fn next(&mut self, sent: &Sent, was_try: bool, upstream: usize) -> Next {
        self.sent_to.push(upstream);
        let asked_for = match sent {
            Ok(_) => true,
            Err(attempt) => is_asked_for(self.rules(), attempt) || was_try,
        };
        let safe = match sent {
            Err(Attempt::Elsewhere(_)) => true,
            Ok(_) | Err(Attempt::Final(_)) => self.outbound.repeatable,
        };
        if !asked_for || !safe || self.left().is_zero() || !self.outbound.restore() {
            return Next::GivenUp;
        }
        let balancer = &self.proxy.balancer;
        if balancer.has_other(&self.sent_to) {
            let may = was_try || balancer.may_retry(self.attempts);
            self.attempts += 1;
            return if may { Next::Other } else { Next::GivenUp };
        }
        match sent {
            Err(attempt) if self.may_wait(attempt, upstream) => Next::Later,
            _ => Next::GivenUp,
        }
    }

    /// Whether the request waits for an upstream that went a moment ago. What was not sent may knock again and again; what was
    /// sent may have been what the upstream went of, and is sent no more often than to others.
    fn may_wait(&mut self, attempt: &Attempt, upstream: usize) -> bool {
        let gone = matches!(
            attempt.refusal().reason,
            Reason::UpstreamConnect | Reason::UpstreamReset
        );
        let balancer = &self.proxy.balancer;
        if !gone || self.rules().attempts < 2 || !balancer.may_wait(upstream) {
            return false;
        }
        match attempt {
            // It was not sent, and costs nobody anything until it is.
            Attempt::Elsewhere(_) => true,
            Attempt::Final(_) => {
                let may = balancer.may_retry(self.attempts);
                self.attempts += 1;
                may
            }
        }
    }

    /// How long it waits this time: longer each time, and not all that wait the same.
    fn pause(&mut self) -> Duration {
        let longest = PAUSE_MIN
            .saturating_mul(1 << self.waits.min(8))
            .min(PAUSE_MAX);
        self.waits += 1;
        let share = u32::try_from(self.proxy.balancer.random() % 50).unwrap_or(0) + 50;
        (longest * share / 100).min(self.left())
    }

    /// What is left of the time for all tries.
    fn left(&self) -> Duration {
        let whole = self.outbound.response_timeout(self.proxy.response_timeout);
        whole.saturating_sub(self.started.elapsed())
    }
}

/// The first pause; most restarts that a client could notice take longer.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest: an upstream that is back is not kept waiting.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Whether a response is one after which the request is to be sent again.
pub(super) fn calls_for_retry(rules: &config::Retry, status: StatusCode) -> bool {
    !rules.on_status.is_empty() && rules.on_status.contains(&status)
}

/// Whether a request is to be sent again after such a failure.
fn is_asked_for(rules: &config::Retry, attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Elsewhere(refusal) => rules.on_connect && is_upstreams(refusal.reason),
        Attempt::Final(refusal) => match refusal.reason {
            Reason::UpstreamConnect => rules.on_connect,
            Reason::UpstreamReset => rules.on_reset,
            Reason::UpstreamTimeout => rules.on_timeout,
            _ => false,
        },
    }
}
