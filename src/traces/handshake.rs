//! The span of a handshake that failed: it has no request that it could be below, and so a trace of its own.
//!
//! Handshakes cost whoever makes them nothing to fail. What is kept of them is bounded in time, so that they leave the queue to requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use super::Tracer;
use super::sampling::{Chance, Ended};
use super::span::{Kind, Span, Spans};
use crate::model::{ClientAddr, LocalAddr, Protocol, Refusal, SpanContext};
use crate::report::metrics::SpanLoss;

/// A handshake that failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedHandshake<'a> {
    /// When its connection was accepted, or its first packet.
    pub began: Instant,
    /// The client.
    pub client: ClientAddr,
    /// Where of ours it came to.
    pub local: LocalAddr,
    /// Whether it was made over TCP or over QUIC.
    pub protocol: Protocol,
    /// Why it failed.
    pub refusal: &'a Refusal,
    /// The server name that the client asked for.
    pub sni: Option<&'a str>,
}

/// The names of a span in logs: its trace and itself.
pub type SpanNames = (String, String);

impl Tracer {
    /// Writes a failed handshake's span down, if it is kept: for what is our own doing or took long as requests are, else by
    /// `sample`. What it is called, where it is.
    pub fn handshake_failed(&self, failed: &FailedHandshake<'_>) -> Option<SpanNames> {
        let mut chance: Chance = [0; 24];
        // A trace without a name of its own is none.
        aws_lc_rs::rand::fill(&mut chance).ok()?;
        let context = self.sampling.begin(None, false, chance);
        let took = failed.began.elapsed();
        let end = Ended {
            status: None,
            reason: Some(failed.refusal.reason),
            duration: took,
        };
        if !context.sampled && !self.sampling.keeps(&end) {
            return None;
        }
        if !self.handshakes.allows(self.born.elapsed()) {
            self.exporter.queue().lose(SpanLoss::Handshakes);
            return None;
        }
        let spans = span(failed, &context, (SystemTime::now(), took));
        self.exporter.queue().push(spans);
        Some((
            format!("{:032x}", context.trace),
            format!("{:016x}", context.id),
        ))
    }
}

/// `ended`, and how long it took until then.
fn span(
    failed: &FailedHandshake<'_>,
    context: &SpanContext,
    (ended, took): (SystemTime, Duration),
) -> Spans {
    let FailedHandshake { client, local, .. } = failed;
    let span = Span {
        trace: context.trace,
        id: context.id,
        parent: None,
        state: None,
        sampled: context.sampled,
        name: "tls handshake",
        kind: Kind::Server,
        began: ended - took,
        ended,
        error: Some(&failed.refusal.detail),
    };
    Spans::written(|writer| {
        writer.span(&span, |details| {
            details.say("error.type", failed.refusal.reason.as_str());
            details.say("tls.established", false);
            details.say_if("tls.client.server_name", failed.sni);
            details.say_if("server.address", failed.sni);
            details.say("server.port", i64::from(local.port()));
            details.say("client.address", &*client.ip().to_string());
            details.say("network.peer.address", &*client.ip().to_string());
            details.say("network.peer.port", i64::from(client.port()));
            let transport = match failed.protocol {
                Protocol::Quic | Protocol::Http3 => "quic",
                _ => "tcp",
            };
            details.say("network.transport", transport);
        });
    })
}

/// So many at once, and then so many a second: GCRA, in one word and without a lock.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When all that were allowed would have come, had they come one by one; in microseconds.
    until: AtomicU64,
}

impl Rate {
    /// Whether one more is allowed `now`, by a clock that begins anywhere.
    pub(super) fn allows(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2);
        let next = |until: u64| {
            let until = until.max(now) + STEP_MICROS;
            (until - now <= HANDSHAKE_SPANS_AT_ONCE * STEP_MICROS).then_some(until)
        };
        self.until.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// Spans of failed handshakes a second. With their 300 bytes they fill in a minute's outage of the collector a fortieth of what may wait.
pub const HANDSHAKE_SPANS_PER_SECOND: u64 = 10;

/// Those that may come at once, after a time without.
pub const HANDSHAKE_SPANS_AT_ONCE: u64 = 50;

const STEP_MICROS: u64 = 1_000_000 / HANDSHAKE_SPANS_PER_SECOND;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn some_come_at_once_and_then_no_more_than_a_rate() {
        let rate = Rate::default();
        let allowed = |millis: u64, tried: u64| {
            let now = Duration::from_millis(millis);
            (0..tried).filter(|_| rate.allows(now)).count() as u64
        };
        assert_eq!(allowed(5000, 10_000), HANDSHAKE_SPANS_AT_ONCE);
        assert_eq!(allowed(6000, 10_000), HANDSHAKE_SPANS_PER_SECOND);
        assert_eq!(allowed(6050, 10_000), 0);
        assert_eq!(allowed(6100, 1), 1);
        // However long nobody came, no more come at once.
        assert_eq!(allowed(1_000_000, 10_000), HANDSHAKE_SPANS_AT_ONCE);
    }

    proptest! {
        #[test]
        fn no_flood_of_any_shape_gets_more_than_its_share(gaps in prop::collection::vec(0..40_000_u64, 1..2000)) {
            let rate = Rate::default();
            let (mut now, mut allowed) = (0, 0);
            for gap in gaps {
                now += gap;
                allowed += u64::from(rate.allows(Duration::from_micros(now)));
            }
            prop_assert!(allowed <= HANDSHAKE_SPANS_AT_ONCE + now / STEP_MICROS);
        }
    }
}
