//! The last steps of every response: the fields that all have, and who is told when its last byte is sent.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{ALT_SVC, CONTENT_LENGTH, Entry, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version};

use super::serve::Answer;
use super::trail::{AccessTrail, Stage, Trail};
use crate::config::RequestIds;
use crate::handler::upgrade::Tunnel;
use crate::model::{Body, BodyError, BodyWatch, HostName, Protocol, Scheme};
use crate::report::metrics::Answered;
use crate::report::{Access, SentTo};

/// Makes a response ready to be sent. Its trail hangs on its body: the work ends when that is sent or dropped.
pub(super) fn respond(mut trail: Box<Trail>, mut response: Response<Body>, close: bool) -> Answer {
    trail.stage = Stage::Answered;
    trail.status = response.status();
    say(&trail, response.headers_mut());
    if let Some(recording) = &mut trail.recording {
        recording.responds(&response);
    }
    // Behind 101, and behind the 200 that stands for it.
    if let Some(tunnel) = response.extensions().get::<Tunnel>() {
        tunnel.keep(trail);
        return Answer::Response { response, close };
    }
    if trail.head_only {
        keep_length(&mut response);
        response.body_mut().drop_content();
    }
    response.body_mut().watch(trail);
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

impl BodyWatch for Trail {
    fn data(&mut self, bytes: usize) {
        if self.sent == 0
            && let Some(recording) = &self.recording
        {
            recording.first_byte();
        }
        self.sent += bytes as u64;
    }

    fn received(&mut self, bytes: u64) {
        self.received.get_or_insert_default().store(bytes, Relaxed);
    }

    fn broke(&mut self, error: &BodyError) {
        self.broke_off(error);
    }

    fn end(&mut self, complete: bool) {
        self.permit = None;
        if let Some(access) = &mut self.access {
            access.complete = complete;
        }
        if let Some(recording) = &mut self.recording {
            recording.content_ended(complete, self.sent);
        }
    }
}

impl Trail {
    /// Counts a request whose response is at its end, however it ended, and tells the access log.
    pub(super) fn ended(&self) {
        let answered = Answered {
            protocol: self.protocol,
            status: self.status.as_u16(),
            duration: self.in_flight.since.elapsed(),
            received: (self.received.as_ref()).map_or(0, |received| received.load(Relaxed)),
            sent: self.sent,
        };
        let traffic = self.edge.tallies.traffic(self.binding, self.pool);
        traffic.count(&answered);
        if let Some(access) = &self.access {
            self.accessed(access, &answered);
        }
    }

    fn accessed(&self, access: &AccessTrail, answered: &Answered) {
        let (edge, connection, target) = (&self.edge, &self.connection, self.target());
        let tls = connection.tls.as_ref();
        let shown = connection.client_certificate();
        let sent_on = self.sent_on();
        let upstream = sent_on.as_ref().map(|(name, sent)| SentTo {
            name,
            attempts: sent.attempts,
            took: sent.took,
        });
        edge.report.accessed(&Access {
            time: access.time,
            client: self.client(),
            peer: self.peer(),
            request_id: self.provenance().request_id(),
            trace_id: self.provenance().trace_id(),
            span_id: self.provenance().span_id(),
            local: connection.local,
            version: version_text(access.version),
            scheme: self.scheme(),
            sni: connection.sni(),
            alpn: tls.and_then(|tls| tls.alpn),
            tls_version: tls.map(|tls| tls.version),
            cipher: tls.map(|tls| tls.cipher),
            tls_resumed: tls.map(|tls| tls.resumed),
            client_subject: shown.map(|shown| &*shown.subject),
            client_fingerprint: shown.map(|shown| &*shown.fingerprint),
            method: self.method.as_ref().map_or("-", Method::as_str),
            host: self.host().map(HostName::as_str),
            path: target.map_or("-", PathAndQuery::path),
            query: target.and_then(PathAndQuery::query),
            status: Some(answered.status),
            bytes_sent: answered.sent,
            bytes_received: answered.received,
            site: self.site.map(|site| &*edge.sites[site].name),
            pool: self.pool.map(|pool| edge.pools[pool].name()),
            binding: (self.binding).map(|binding| &*edge.bindings[binding].name),
            queue_wait: access.queue_wait,
            handler_time: span(access.admitted, access.answered),
            upstream,
            duration: answered.duration,
            user_agent: text(access.user_agent.as_ref()).as_deref(),
            referer: text(access.referer.as_ref()).as_deref(),
            reason: access.reason,
            complete: access.complete,
        });
    }
}

fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()))
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
