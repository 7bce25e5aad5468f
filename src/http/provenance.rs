//! What a request brings along, heard as soon as it is known whom it is for: a binding says whose word is believed.

use http::HeaderMap;

use super::Edge;
use crate::config::RequestIds;
use crate::model::{ClientAddr, Ids, Provenance, RequestId, SpanContext, TraceParent, trace_state};
use crate::traces::Tracer;

/// What a request from `peer` brings along. `headers`: none where there was no request that could be read. `binding`: none where
/// the request is nobody's.
///
/// Where nothing of it is configured this is three looks at what is in the cache anyway.
pub(super) fn heard(
    edge: &Edge,
    peer: ClientAddr,
    headers: Option<&HeaderMap>,
    binding: Option<usize>,
) -> Provenance {
    let trusted = match binding {
        Some(binding) => edge.bindings[binding].trusted.as_ref(),
        None => edge.trusted.as_ref(),
    };
    let mut provenance = Provenance::default();
    if let (Some(trusted), Some(headers)) = (trusted, headers) {
        provenance.hops = trusted.hear(peer, headers).map(Box::new);
    }
    let (ids, traceparent) = (edge.request_ids, edge.traceparent);
    let tracer = edge.tracer.as_deref();
    if ids == RequestIds::Off && !traceparent && tracer.is_none() {
        return provenance;
    }
    let is_known = trusted.is_some_and(|trusted| trusted.trusts(peer.ip()));
    let known = || headers.filter(|_| is_known);
    let request = || known().and_then(RequestId::read).or_else(new_request_id);
    let span = tracer.and_then(|tracer| begun(tracer, headers, is_known));
    let trace = match &span {
        Some(span) => Some(span.told(span.id)),
        None if traceparent => headers.and_then(TraceParent::read).or_else(new_trace),
        None => None,
    };
    provenance.ids = Some(Box::new(Ids {
        request: (ids != RequestIds::Off).then(request).flatten(),
        trace,
        span: span.map(Box::new),
    }));
    provenance
}

/// The span of a request that begins.
fn begun(tracer: &Tracer, headers: Option<&HeaderMap>, is_known: bool) -> Option<SpanContext> {
    let sampling = &tracer.sampling;
    let said = headers.and_then(TraceParent::read);
    let mut span = sampling.begin(
        said.as_ref(),
        is_known || sampling.trusts_anybody,
        chance()?,
    );
    if span.parent.is_some() {
        span.state = headers.and_then(trace_state);
    }
    Some(span)
}

fn new_request_id() -> Option<RequestId> {
    chance().map(u128::from_be_bytes).map(RequestId::new)
}

fn new_trace() -> Option<TraceParent> {
    let trace = u128::from_be_bytes(chance()?);
    Some(TraceParent::new(trace, u64::from_be_bytes(chance()?)))
}

/// A request goes on without a name where the system has no chance to give.
fn chance<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes)
}
