//! A second upstream is asked when the first has not answered after a time: whoever answers first is passed on, and the other
//! is told that nobody wants its answer any more.
//!
//! Only what is safe (RFC 9110 section 9.2.1) is asked for twice, and only a share of it, so that upstreams which are slow
//! because they have too much to do do not get twice as much.

use std::pin::pin;
use std::time::Duration;

use http::{Method, Response};

use super::Proxy;
use super::balance::{Chosen, Wish};
use super::forward::calls_for_retry;
use super::outbound::Outbound;
use super::upstream::{Attempt, Upstream};
use crate::model::{Body, Facts, Took};

type Sent = Result<Response<Body>, Attempt>;

/// What came of it.
pub(super) struct Hedged<'a> {
    /// Whose answer it is.
    pub(super) chosen: Chosen<'a>,
    pub(super) sent: Sent,
    /// How long its attempt took.
    pub(super) took: Took,
    /// Who was asked beside it, to no good.
    pub(super) beside: Option<usize>,
}

impl Proxy {
    /// After how long another upstream is to be asked for this; none where that is not to be.
    pub(super) fn hedge_after(&self, outbound: &Outbound, wish: &Wish) -> Option<Duration> {
        let is_safe = matches!(outbound.method, Method::GET | Method::HEAD);
        // What a client's upstream keeps of it, another does not have.
        if !is_safe || !outbound.repeatable || wish.is_bound() {
            return None;
        }
        self.balancer.hedge_after()
    }

    /// Asks one upstream, and another one beside it when that takes longer than `after`.
    pub(super) async fn hedged<'a>(
        &'a self,
        mut chosen: Chosen<'a>,
        outbound: &mut Outbound,
        wish: &Wish,
        facts: &Facts,
        after: Duration,
    ) -> Hedged<'a> {
        let twin = outbound.twin();
        let upstream = self.called(chosen.upstream, outbound, facts);
        let mut first = pin!(timed(upstream, outbound));
        let one = |chosen, (sent, took)| Hedged {
            chosen,
            sent,
            took,
            beside: None,
        };
        tokio::select! {
            biased;
            sent = &mut first => return one(chosen, sent),
            () = tokio::time::sleep(after) => {}
        }
        let beside = self.balancer.choose_beside(wish, chosen.upstream);
        let (Some(mut twin), Some(mut beside)) = (twin, beside) else {
            let sent = first.await;
            return one(chosen, sent);
        };
        let upstream = self.called(beside.upstream, &mut twin, facts);
        let mut second = pin!(timed(upstream, &mut twin));
        // One that failed is waited for no longer; the other one's answer counts then, whatever it is.
        tokio::select! {
            biased;
            sent = &mut first => match self.is_no_good(&mut chosen, &sent) {
                false => one(chosen, sent),
                true => Hedged {
                    beside: Some(chosen.upstream),
                    ..one(beside, second.await)
                },
            },
            sent = &mut second => match self.is_no_good(&mut beside, &sent) {
                false => one(beside, sent),
                true => Hedged {
                    beside: Some(beside.upstream),
                    ..one(chosen, first.await)
                },
            },
        }
    }

    /// Whether an exchange came to no good; its upstream is told then.
    fn is_no_good(&self, chosen: &mut Chosen<'_>, (sent, took): &(Sent, Took)) -> bool {
        match sent {
            Ok(response) => {
                let calls = calls_for_retry(self.balancer.retry_rules(), response.status());
                if calls {
                    chosen.answered(response.status(), *took);
                }
                calls
            }
            Err(attempt) => {
                chosen.failed(attempt.refusal());
                true
            }
        }
    }
}

/// An exchange, and how long it took.
async fn timed(upstream: &Upstream, outbound: &mut Outbound) -> (Sent, Took) {
    let sent = upstream.exchange(outbound).await;
    (sent, outbound.notes.took())
}
