//! The last steps of every response: the fields that all have, and who is told when its last byte is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::header::{ALT_SVC, CONTENT_LENGTH, Entry, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::ThreadEdge;
use super::serve::Answer;
use super::trail::{AccessTrail, Stage, Trail};
use crate::config::RequestIds;
use crate::handler::upgrade::Tunnel;
use crate::model::{
    Body, BodyError, BodyWatch, Connection, HostName, InFlight, Protocol, Provenance, Scheme,
};
use crate::pool::Permit;
use crate::report::metrics::Answered;
use crate::report::{Access, Report};

/// Makes a response ready to be sent. The pool's slot, the count of requests in flight and the access log hang on its body:
/// the work ends when that is sent or dropped.
pub(super) fn respond(
    mut trail: Trail,
    mut response: Response<Body>,
    head_only: bool,
    permit: Option<Permit>,
    in_flight: InFlight,
    close: bool,
) -> Answer {
    trail.stage = Stage::Done;
    say(&trail, response.headers_mut());
    let status = response.status();
    // Content in memory does not break.
    let streamed = !head_only && response.body().full_len().is_none();
    let end = RequestEnd::boxed(trail, status, streamed, permit, in_flight);
    // Behind 101, and behind the 200 that stands for it.
    if let Some(tunnel) = response.extensions().get::<Tunnel>() {
        tunnel.keep(end);
        return Answer::Response { response, close };
    }
    if head_only {
        keep_length(&mut response);
    }
    let body = response.body_mut();
    if head_only {
        body.drop_content();
    }
    body.watch(end);
    Answer::Response { response, close }
}

/// Writes the fields that all responses have, and then what site and route say.
fn say(trail: &Trail, fields: &mut HeaderMap) {
    let edge = &trail.edge;
    if let Some(server) = &edge.server_header
        && let Entry::Vacant(place) = fields.entry(SERVER)
    {
        place.insert(server.mine().clone());
    }
    if trail.scheme() == Scheme::Https
        && let Some(site) = trail.site
        && let Some(hsts) = edge.sites[site].hsts()
    {
        fields.insert(http::header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if trail.protocol != Protocol::Http3
        && let Some(binding) = trail.binding
        && let Some(alt_svc) = &edge.bindings[binding].alt_svc
        && let Some(value) = alt_svc.value()
    {
        fields.insert(ALT_SVC, value);
    }
    if edge.request_ids == RequestIds::Response
        && let Some(ids) = &trail.provenance().ids
        && let Some(id) = &ids.request
    {
        fields.insert(&X_REQUEST_ID, id.field().clone());
    }
    if let Some(site) = trail.site
        && edge.sites[site].changes_fields(trail.route)
    {
        let said = trail.said();
        edge.sites[site].change_fields(trail.route, fields, &said);
    }
}

/// A response to HEAD says how long the content of GET would be (RFC 9110 section 9.3.2).
fn keep_length(response: &mut Response<Body>) {
    if let Some(length) = http_body::Body::size_hint(response.body()).exact()
        && length > 0
    {
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
}

/// What ends with a request's work.
struct RequestEnd {
    permit: Option<Permit>,
    access: Option<Box<AccessEnd>>,
    edge: ThreadEdge,
    binding: Option<usize>,
    pool: Option<usize>,
    protocol: Protocol,
    status: StatusCode,
    began: Instant,
    received: Option<Arc<AtomicU64>>,
    sent: u64,
    /// What is known of the request, where the content may still break.
    streamed: Option<Box<Trail>>,
    _in_flight: InFlight,
}

impl RequestEnd {
    fn boxed(
        mut trail: Trail,
        status: StatusCode,
        streamed: bool,
        permit: Option<Permit>,
        in_flight: InFlight,
    ) -> Box<Self> {
        let access = trail.access.take();
        Box::new(Self {
            permit,
            access: access.map(|access| AccessEnd::boxed(&trail, *access)),
            edge: Arc::clone(&trail.edge),
            binding: trail.binding,
            pool: trail.pool,
            protocol: trail.protocol,
            status,
            began: trail.began,
            received: trail.received.take(),
            sent: 0,
            streamed: streamed.then(|| Box::new(trail)),
            _in_flight: in_flight,
        })
    }
}

impl BodyWatch for RequestEnd {
    fn data(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    fn received(&mut self, bytes: u64) {
        self.received.get_or_insert_default().store(bytes, Relaxed);
    }

    fn broke(&mut self, error: &BodyError) {
        if let Some(trail) = &self.streamed {
            trail.broke_off(self.status, error);
        }
    }

    fn end(&mut self, complete: bool) {
        self.permit = None;
        if let Some(access) = &mut self.access {
            access.complete = complete;
        }
    }
}

impl Drop for RequestEnd {
    fn drop(&mut self) {
        let answered = Answered {
            protocol: self.protocol,
            status: self.status.as_u16(),
            duration: self.began.elapsed(),
            received: (self.received.as_ref()).map_or(0, |received| received.load(Relaxed)),
            sent: self.sent,
        };
        let traffic = self.edge.tallies.traffic(self.binding, self.pool);
        traffic.count(&answered);
        if let Some(access) = self.access.take() {
            access.tell(&answered);
        }
    }
}

/// What the access log is told when the response is at its end, however it ended.
struct AccessEnd {
    report: Arc<Report>,
    connection: Arc<Connection>,
    trail: AccessTrail,
    method: Option<Method>,
    target: Option<PathAndQuery>,
    host: Option<HostName>,
    binding: Option<String>,
    site: Option<Box<str>>,
    pool: Option<Box<str>>,
    scheme: Scheme,
    provenance: Provenance,
    complete: bool,
}

impl AccessEnd {
    fn boxed(trail: &Trail, access: AccessTrail) -> Box<Self> {
        let edge = &trail.edge;
        Box::new(Self {
            report: Arc::clone(&edge.report),
            connection: Arc::clone(&trail.connection),
            method: trail.method.clone(),
            target: trail.target().cloned(),
            host: trail.host().cloned(),
            binding: trail
                .binding
                .map(|binding| edge.bindings[binding].key.to_string()),
            site: trail.site.map(|site| (*edge.sites[site].name).into()),
            pool: trail.pool.map(|pool| edge.pools[pool].name().into()),
            scheme: trail.scheme(),
            provenance: trail.provenance().clone(),
            trail: access,
            complete: true,
        })
    }

    fn tell(&self, answered: &Answered) {
        let trail = &self.trail;
        let tls = self.connection.tls.as_ref();
        let text = |value: &Option<HeaderValue>| {
            value
                .as_ref()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let client = self.provenance.client(&self.connection);
        let (user_agent, referer) = (text(&trail.user_agent), text(&trail.referer));
        self.report.accessed(&Access {
            time: trail.time,
            client,
            peer: (client != self.connection.client).then_some(self.connection.client),
            request_id: self.provenance.request_id(),
            trace_id: self.provenance.trace_id(),
            local: self.connection.local,
            version: version_text(trail.version),
            scheme: self.scheme,
            sni: tls.and_then(|tls| tls.sni.as_deref()),
            alpn: tls.and_then(|tls| tls.alpn),
            tls_version: tls.map(|tls| tls.version),
            cipher: tls.map(|tls| tls.cipher),
            tls_resumed: tls.map(|tls| tls.resumed),
            client_subject: (self.connection.client_certificate()).map(|shown| &*shown.subject),
            client_fingerprint: (self.connection.client_certificate())
                .map(|shown| &*shown.fingerprint),
            method: self.method.as_ref().map_or("-", Method::as_str),
            host: self.host.as_ref().map(HostName::as_str),
            path: self.target.as_ref().map_or("-", PathAndQuery::path),
            query: self.target.as_ref().and_then(PathAndQuery::query),
            status: Some(answered.status),
            bytes_sent: answered.sent,
            bytes_received: answered.received,
            site: self.site.as_deref(),
            pool: self.pool.as_deref(),
            binding: self.binding.as_deref(),
            queue_wait: trail.queue_wait,
            handler_time: span(trail.admitted, trail.answered),
            duration: answered.duration,
            user_agent: user_agent.as_deref(),
            referer: referer.as_deref(),
            reason: trail.reason,
            complete: self.complete,
        });
    }
}

fn span(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        _ => Duration::ZERO,
    }
}

fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_2 => "h2",
        Version::HTTP_3 => "h3",
        _ => "http/1.1",
    }
}

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
