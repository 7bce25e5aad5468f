//! What a request is called by in a distributed trace (W3C Trace Context), where its spans are made here.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};

use super::TraceParent;

/// The span of one request, and its place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace. Never 0.
    pub trace: u128,
    /// The request's own span. Never 0.
    pub id: u64,
    /// Whose span it is below: of a hop in front that is believed.
    pub parent: Option<u64>,
    /// The trace and the span that somebody named who is not believed.
    pub link: Option<(u128, u64)>,
    /// Whether it was decided at the request's beginning that the trace is recorded. It is what upstreams are told.
    pub sampled: bool,
    /// `tracestate` of the trace, where it goes on.
    pub state: Option<Box<str>>,
}

/// A span below that of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildSpan {
    /// The TLS handshake of the request's connection.
    Handshake,
    /// The wait in a pool's queue.
    Queue,
    /// The handler's work.
    Handler,
    /// The attempt of this number to have an upstream answer.
    Attempt(u32),
}

/// The handshake of a connection, for the first of its requests that is recorded.
#[derive(Debug)]
pub struct Handshake {
    /// When the connection was accepted.
    pub began: Instant,
    /// Until the handshake was done.
    pub took: Duration,
    told: AtomicBool,
}

impl Handshake {
    /// A handshake that is done, of a connection that was accepted then.
    pub fn done(began: Instant) -> Self {
        Self {
            began,
            took: began.elapsed(),
            told: AtomicBool::new(false),
        }
    }

    /// Whether nobody has told of it yet; from now on somebody has.
    pub fn is_untold(&self) -> bool {
        !self.told.swap(true, Relaxed)
    }
}

impl SpanContext {
    /// The id of a span below this one. It follows from the request's own: whoever sends an attempt and whoever writes its span
    /// down later need not tell each other.
    pub fn child(&self, child: ChildSpan) -> u64 {
        let number = match child {
            ChildSpan::Attempt(number) => u64::from(number),
            ChildSpan::Handshake => 1 << 32,
            ChildSpan::Queue => 2 << 32,
            ChildSpan::Handler => 3 << 32,
        };
        mixed(self.id ^ mixed(number.wrapping_add(1))).max(1)
    }

    /// What an upstream is told: that the trace goes on below this span.
    pub fn told(&self, span: u64) -> TraceParent {
        TraceParent::of(self.trace, span, self.sampled, self.parent.is_none())
    }
}

/// What `tracestate` says, of all its lines (W3C Trace Context, section 3.3). None where there is none, or more than can be told.
pub fn trace_state(headers: &HeaderMap) -> Option<Box<str>> {
    let mut state = String::new();
    for line in headers.get_all(&TRACESTATE) {
        let line = line.to_str().ok()?;
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(line);
        if state.len() > TRACESTATE_BYTES_MAX {
            return None;
        }
    }
    (!state.is_empty()).then(|| state.into())
}

static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Section 3.3.1.5: what everybody propagates at least.
const TRACESTATE_BYTES_MAX: usize = 512;

/// The finalizer of splitmix64: one to one, and no bit of what comes out says much of one that went in.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn context(trace: u128, id: u64, sampled: bool) -> SpanContext {
        SpanContext {
            trace,
            id,
            parent: None,
            link: None,
            sampled,
            state: None,
        }
    }

    proptest! {
        #[test]
        fn no_two_spans_of_a_request_have_one_id(id in 1..u64::MAX) {
            let context = context(1, id, true);
            let children = (0..64)
                .map(ChildSpan::Attempt)
                .chain([ChildSpan::Handshake, ChildSpan::Queue, ChildSpan::Handler]);
            let ids: HashSet<u64> = children.map(|child| context.child(child)).chain([id]).collect();
            prop_assert_eq!(ids.len(), 68);
            prop_assert!(!ids.contains(&0));
        }

        #[test]
        fn an_upstream_is_told_the_span_that_it_is_below(trace in 1..u128::MAX, id in 1..u64::MAX, sampled: bool) {
            let told = context(trace, id, sampled).told(id);
            prop_assert_eq!((told.trace(), told.parent(), told.is_sampled()), (trace, id, sampled));
        }
    }
}
