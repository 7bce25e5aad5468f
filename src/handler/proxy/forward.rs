//! One request, until an upstream has answered it or none will: chosen, sent, and sent again where that is safe.
//!
//! Sent again is only what cannot have been done twice: whatever nothing was sent of, and of the rest what may be repeated
//! (RFC 9110 section 9.2.2) and is still here. It goes to another upstream and never to one that it was sent to: what brings one
//! down had better not be sent there again, and one that cannot be connected to is not there a moment later either.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::balance::{Chosen, Wish, is_upstreams};
use super::outbound::Outbound;
use super::upstream::Attempt;
use crate::config;
use crate::handler::{Outcome, Reply};
use crate::model::{Body, Reason};

impl Proxy {
    /// Every request has a future of this: what few of them need is in boxes of its own. It is no `async fn`, whose arguments lie
    /// in its future twice.
    pub(super) fn forward(&self, mut outbound: Box<Outbound>, mut wish: Wish) -> Reply<'_> {
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
            match self.upstreams[chosen.upstream]
                .exchange(&mut outbound)
                .await
            {
                Ok(response) if !calls_for_retry(rules, response.status()) => {
                    Ok(self.deliver(chosen, response, &wish))
                }
                outcome => {
                    let again = Again {
                        proxy: self,
                        outbound,
                        wish,
                        started,
                        sent_to: Vec::new(),
                    };
                    Box::pin(again.after(chosen, outcome)).await
                }
            }
        })
    }

    /// Passes a response on, and notes what it says of its upstream.
    fn deliver(
        &self,
        mut chosen: Chosen<'_>,
        mut response: Response<Body>,
        wish: &Wish,
    ) -> Response<Body> {
        chosen.answered(response.status());
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
    started: Instant,
    sent_to: Vec<usize>,
}

type Sent = Result<Response<Body>, Attempt>;

impl<'a> Again<'a> {
    async fn after(mut self, mut chosen: Chosen<'a>, mut sent: Sent) -> Outcome {
        for attempts in 1.. {
            let was_try = chosen.is_try();
            match &sent {
                Ok(response) if !calls_for_retry(self.rules(), response.status()) => break,
                Ok(_) => {}
                Err(attempt) => chosen.failed(attempt.refusal()),
            }
            if !self.may_go_on(&sent, attempts, was_try, chosen.upstream) {
                break;
            }
            if let Ok(response) = &sent {
                chosen.answered(response.status());
            }
            // What the upstream works on is given back before another is asked for.
            drop(chosen);
            drop(sent);
            let left = self.left();
            let rules = self.rules();
            let patience = rules.per_try_timeout.map_or(left, |it| it.min(left));
            self.outbound.patience = Some(patience);
            let balancer = &self.proxy.balancer;
            chosen = match balancer.choose_but(&self.wish, &self.sent_to) {
                Ok(chosen) => chosen,
                Err(full) => balancer.wait(full).await?,
            };
            sent = self.proxy.upstreams[chosen.upstream]
                .exchange(&mut self.outbound)
                .await;
        }
        match sent {
            Ok(response) => Ok(self.proxy.deliver(chosen, response, &self.wish)),
            Err(attempt) => Err(attempt.into_refusal()),
        }
    }

    fn rules(&self) -> &'a config::Retry {
        self.proxy.balancer.retry_rules()
    }

    /// Whether the request is sent once more. One that found out for us that an upstream is still gone has it for nothing.
    fn may_go_on(&mut self, sent: &Sent, attempts: u32, was_try: bool, upstream: usize) -> bool {
        self.sent_to.push(upstream);
        let balancer = &self.proxy.balancer;
        let asked_for = match sent {
            Ok(_) => true,
            Err(attempt) => is_asked_for(self.rules(), attempt) || was_try,
        };
        let safe = match sent {
            Err(Attempt::Elsewhere(_)) => true,
            Ok(_) | Err(Attempt::Final(_)) => self.outbound.repeatable,
        };
        asked_for
            && safe
            && balancer.has_other(&self.sent_to)
            && !self.left().is_zero()
            && self.outbound.restore()
            && (was_try || balancer.may_retry(attempts))
    }

    /// What is left of the time for all tries.
    fn left(&self) -> Duration {
        let whole = self.proxy.response_timeout;
        whole.saturating_sub(self.started.elapsed())
    }
}

/// Whether a response is one after which the request is to be sent again.
fn calls_for_retry(rules: &config::Retry, status: StatusCode) -> bool {
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
