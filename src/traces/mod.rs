//! Spans of requests, for a collector of OpenTelemetry (OTLP over HTTP).
//!
//! Which requests are recorded is decided twice: at their beginning ([`Sampling::begin`]), which is what upstreams are told, and at
//! their end ([`Sampling::keeps`]), for those that failed or took long. What is kept is written down at once, by the data thread,
//! as the bytes that a collector reads; one thread, `traces`, sends them. Nothing that a collector does can hold a data thread up: what
//! does not fit the queue is dropped and counted.
//!
//! ```text
//! a request's end ─► spans ─► queue (bounded in bytes) ─► exporter (thread `traces`) ─► collector
//! ```
//!
//! A handshake that failed has a span of its own, of as many as a rate allows.
//!
//! Without `[traces]` there is none of this: no [`Tracer`], no thread, no look at a clock.

mod attempt;
mod client;
mod collector;
mod delivery;
mod exporter;
mod handshake;
mod protobuf;
mod queue;
mod request;
mod resource;
mod sampling;
mod span;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderName;

use crate::config::{self, Secret};
use crate::model::Provenance;
use crate::report::metrics::SpanCounts;
use crate::report::{self, Asking, Witness};

pub use self::client::TracesError;
pub use self::collector::{PartialSuccess, partial_success};
pub use self::exporter::FLUSH_WAIT_MAX;
pub use self::handshake::{FailedHandshake, SpanNames};
pub use self::queue::QUEUE_BYTES_MAX;
pub use self::sampling::{Chance, Ended, Sampling};

use self::exporter::Exporter;
use self::handshake::Share;

/// What a request is traced by. Dropping the last one of an exporter ends that.
pub struct Tracer {
    /// Which requests are recorded.
    pub sampling: Sampling,
    exporter: Arc<Exporter>,
    handshakes: Share,
    settings: config::Traces,
}

impl Tracer {
    /// A tracer of these settings. The one that runs is handed on to where its exporter can do.
    pub fn new(
        settings: &config::Traces,
        running: Option<&Arc<Self>>,
        counts: &Arc<SpanCounts>,
    ) -> Result<Arc<Self>, TracesError> {
        let same = running.filter(|running| running.exports_as(settings));
        let exporter = match same {
            Some(running) if running.settings == *settings => return Ok(Arc::clone(running)),
            Some(running) => Arc::clone(&running.exporter),
            None => Arc::new(Exporter::start(settings, counts)?),
        };
        Ok(Arc::new(Self {
            sampling: Sampling::new(settings),
            exporter,
            handshakes: Share::default(),
            settings: settings.clone(),
        }))
    }

    /// Whether the exporter would be the same. What lies in files may be something else by now.
    fn exports_as(&self, settings: &config::Traces) -> bool {
        let reads_files = settings.ca.is_some()
            || (settings.headers.iter()).any(|(_, value)| matches!(value, Secret::File(_)));
        let of = |it: &config::Traces| {
            let it = it.clone();
            (it.endpoint, it.headers, it.service_name, it.resource, it.ca)
        };
        !reads_files && of(&self.settings) == of(settings)
    }

    /// Sends what waits, and ends; waits for that, [`FLUSH_WAIT_MAX`] and a little at most.
    pub fn finish(&self) {
        self.exporter.finish();
    }
}

/// A request's journal is begun before it is known whether it is believed of its trace, and let go when that is.
impl Witness for Tracer {
    fn asks(&self, asking: &Asking<'_>) -> bool {
        let said = || {
            asking
                .fields
                .is_some_and(|fields| fields.contains_key(&TRACEPARENT))
        };
        self.sampling.may_keep() || self.sampling.may_take() || said()
    }

    fn still_asks(&self, asking: &Asking<'_>, _: usize) -> bool {
        let span = asking.provenance.and_then(Provenance::span);
        self.sampling.may_keep() || span.is_some_and(|span| span.sampled)
    }

    fn ended(&self, ended: &report::Ended) {
        let Some(context) = ended.provenance.span() else {
            return;
        };
        let end = Ended {
            status: ended.status.map(|status| status.as_u16()),
            reason: ended.reason,
            duration: ended.at.saturating_duration_since(ended.journal.began()),
        };
        if context.sampled || self.sampling.keeps(&end) {
            let spans = request::spans(ended, context, end.failed());
            self.exporter.queue().push(spans);
        }
    }
}

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}
