//! The span of a handshake that failed: it has no request that it could be below, and so a trace of its own.
//!
//! Handshakes cost whoever makes them nothing to fail. What is kept of them is bounded in time, so that they leave the queue to requests.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Tracer;
use super::sampling::{Chance, Ended};
use super::span::{Kind, Span, Spans};
use crate::clock::Pace;
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
        let ended = Instant::now();
        let took = ended.saturating_duration_since(failed.began);
        let end = Ended {
            status: None,
            reason: Some(failed.refusal.reason),
            duration: took,
        };
        if !context.sampled && !self.sampling.keeps(&end) {
            return None;
        }
        if !self.handshakes.allows(ended) {
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

/// Spans of failed handshakes a second. With their 300 bytes they fill in a minute's outage of the collector a fortieth of what may wait.
const SPANS_PER_SECOND: f64 = 10.0;

/// Those that may come at once, after a time without.
const SPANS_AT_ONCE: u32 = 50;

/// How many failed handshakes have spans. Nothing is left half done under its lock.
#[derive(Debug)]
pub(super) struct Share(Mutex<Pace>);

impl Default for Share {
    fn default() -> Self {
        Self(Mutex::new(Pace::new(SPANS_AT_ONCE, SPANS_PER_SECOND)))
    }
}

impl Share {
    fn allows(&self, now: Instant) -> bool {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(now)
    }
}
