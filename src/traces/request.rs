//! A request's steps, as spans: the request itself, the wait in the queue, the handler's work, and each attempt with an upstream.
//!
//! Names and attributes are those of OpenTelemetry's conventions for HTTP, and `portunus.…` where they have none. What a client may
//! write secrets into (its query, its fields) is left out.

use std::time::{Duration, SystemTime};

use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use super::attempt::{self, Attempt};
use super::span::{Details, Kind, Span, Spans, Writer};
use crate::model::journal::{Journal, RequestHead, Step, Steps};
use crate::model::{BindingKey, ChildSpan, Connection, HostName, LocalAddr, SpanContext};
use crate::report::Ended;

/// Writes a request's spans down.
pub(super) fn spans(ended: &Ended, context: &SpanContext, failed: bool) -> Spans {
    let steps = ended.journal.steps();
    let told = Told {
        way: Way::of(&steps),
        clock: Clock(&ended.journal),
        ended,
        context,
        failed,
        end: ended.at.saturating_duration_since(ended.journal.began()),
    };
    Spans::written(|writer| told.write(writer))
}

/// When something was, by the clock on the wall: that is read once a request, and the rest is counted from there.
#[derive(Clone, Copy)]
pub(super) struct Clock<'a>(pub(super) &'a Journal);

impl Clock<'_> {
    pub(super) fn at(self, after: Duration) -> SystemTime {
        self.0.began_at() + after
    }
}

/// From when to when; none while it has no end.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
}

/// What its steps say of a request.
#[derive(Default)]
struct Way<'a> {
    head: Option<&'a RequestHead>,
    sought: Option<(&'a HostName, LocalAddr)>,
    binding: Option<(&'a BindingKey, &'a str)>,
    route: Option<(&'a str, &'a str)>,
    queue: Option<(Time, u32, u32)>,
    handler: Option<Time>,
    attempts: Vec<Attempt<'a>>,
    rewritten: Option<&'a PathAndQuery>,
    detail: Option<&'a str>,
    sent: Option<u64>,
}

impl<'a> Way<'a> {
    fn of(steps: &'a Steps) -> Self {
        let mut way = Self::default();
        for noted in &steps.noted {
            way.take(noted.after, &noted.step);
        }
        way
    }

    fn take(&mut self, after: Duration, step: &'a Step) {
        let begins = Time {
            from: after,
            to: None,
        };
        match step {
            Step::HeadRead(head) => self.head = Some(head),
            Step::BindingSought { host, local } => self.sought = Some((host, *local)),
            Step::BindingFound { binding, site } => self.binding = Some((binding, site)),
            Step::RouteFound { route, pool } => self.route = Some((route, pool)),
            Step::QueueEntered {
                position, length, ..
            } => self.queue = Some((begins, *position, *length)),
            Step::QueueLeft => self.leave_queue(after),
            Step::HandlerBegan => self.handler = Some(begins),
            Step::Rewritten { target } => self.rewritten = Some(target),
            Step::Attempt(number, step) => {
                attempt::take(&mut self.attempts, *number, after, step);
            }
            Step::HandlerAnswered => {
                if let Some(time) = &mut self.handler {
                    time.to.get_or_insert(after);
                }
            }
            Step::Refused { detail, .. } => {
                self.leave_queue(after);
                self.detail = Some(detail);
            }
            Step::LastByte { bytes } | Step::Cut { bytes } => self.sent = Some(*bytes),
            Step::HeadUnread | Step::Paused | Step::ResponseHead(_) | Step::FirstByte => {}
        }
    }

    fn leave_queue(&mut self, after: Duration) {
        if let Some((time, ..)) = &mut self.queue {
            time.to.get_or_insert(after);
        }
    }
}

/// A request whose spans are written down.
struct Told<'a> {
    way: Way<'a>,
    clock: Clock<'a>,
    ended: &'a Ended,
    context: &'a SpanContext,
    failed: bool,
    end: Duration,
}

impl Told<'_> {
    fn write(&self, writer: &mut Writer) {
        self.server(writer);
        self.handshake(writer);
        self.queue(writer);
        let parent = self.handler(writer);
        for attempt in &self.way.attempts {
            let told = attempt::Told {
                clock: self.clock,
                context: self.context,
                parent,
                method: self.method(),
                target: self.way.rewritten.or(self.target()),
                end: (self.way.handler.and_then(|time| time.to)).unwrap_or(self.end),
            };
            told.write(attempt, writer);
        }
    }

    fn server(&self, writer: &mut Writer) {
        let method = known(self.method());
        let name = match self.way.route {
            Some((route, _)) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let status = self.ended.status;
        let error = self.failed.then(|| self.way.detail.unwrap_or_default());
        let context = self.context;
        let span = Span {
            trace: context.trace,
            id: context.id,
            parent: context.parent.map(|parent| (parent, true)),
            state: context.state.as_deref(),
            sampled: context.sampled,
            name: if method == OTHER { "HTTP" } else { &name },
            kind: Kind::Server,
            began: self.clock.at(Duration::ZERO),
            ended: self.clock.at(self.end),
            error,
        };
        writer.span(&span, |details| {
            self.asked(details, method);
            self.answered(details, status);
            self.placed(details);
            if let Some((trace, span)) = context.link {
                details.link(trace, span);
            }
        });
    }

    /// What was asked, and by whom.
    fn asked(&self, details: &mut Details<'_>, method: &str) {
        let (ended, provenance) = (self.ended, &self.ended.provenance);
        let connection: &Connection = &ended.connection;
        details.say("http.request.method", method);
        if method == OTHER {
            let original = self.way.head.map(|head| head.method.as_str());
            details.say_if("http.request.method_original", original);
        }
        details.say("url.scheme", provenance.scheme(connection).as_str());
        details.say_if("url.path", self.target().map(PathAndQuery::path));
        if let Some((host, local)) = self.way.sought {
            details.say("server.address", host.as_str());
            details.say("server.port", i64::from(local.port()));
        }
        let client = provenance.client(connection);
        details.say("client.address", &*client.ip().to_string());
        let peer = connection.client;
        details.say("network.peer.address", &*peer.ip().to_string());
        details.say("network.peer.port", i64::from(peer.port()));
        details.say("network.protocol.name", "http");
        let version = self.way.head.map(|head| head.version);
        details.say_if("network.protocol.version", version.and_then(version_text));
        let agent = self.way.head.and_then(|head| head.fields.get(USER_AGENT));
        let agent = agent.and_then(|agent| agent.to_str().ok());
        details.say_if("user_agent.original", agent);
        details.say_if("portunus.request_id", provenance.request_id());
    }

    /// What it was answered.
    fn answered(&self, details: &mut Details<'_>, status: Option<StatusCode>) {
        let code = status.map(|status| i64::from(status.as_u16()));
        details.say_if("http.response.status_code", code);
        match (self.ended.reason, status) {
            (Some(reason), _) => details.say("error.type", reason.as_str()),
            (None, Some(status)) if status.is_server_error() => {
                details.say("error.type", status.as_str());
            }
            _ => {}
        }
        let sent = self.way.sent.and_then(|bytes| i64::try_from(bytes).ok());
        details.say_if("http.response.body.size", sent);
    }

    /// Whose it was.
    fn placed(&self, details: &mut Details<'_>) {
        if let Some((binding, site)) = self.way.binding {
            details.say("portunus.binding", &*binding.to_string());
            details.say("portunus.site", site);
        }
        if let Some((route, pool)) = self.way.route {
            details.say("http.route", route);
            details.say("portunus.pool", pool);
        }
    }

    /// Of the connection's first request that is recorded. It lies before the request, which it had to wait for.
    fn handshake(&self, writer: &mut Writer) {
        let Some(tls) = &self.ended.connection.tls else {
            return;
        };
        let Some(handshake) = tls.handshake.as_ref().filter(|it| it.is_untold()) else {
            return;
        };
        let before = (self.ended.journal.began()).saturating_duration_since(handshake.began);
        let began = self.clock.at(Duration::ZERO) - before;
        let ended = began + handshake.took;
        let span = self.below(ChildSpan::Handshake, "tls handshake", began, ended, None);
        writer.span(&span, |details| {
            details.say("tls.protocol.name", "tls");
            details.say(
                "tls.protocol.version",
                tls.version.trim_start_matches("TLSv"),
            );
            details.say("tls.cipher", tls.cipher);
            details.say("tls.resumed", tls.resumed);
            details.say_if("tls.next_protocol", tls.alpn);
            details.say_if("tls.client.server_name", tls.sni.as_deref());
        });
    }

    fn queue(&self, writer: &mut Writer) {
        let Some((time, position, length)) = self.way.queue else {
            return;
        };
        // Whoever has no handler was refused there, or went away.
        let reason = (self.ended.reason).filter(|_| self.way.handler.is_none());
        let error = reason.map(|reason| reason.as_str());
        let ended = self.clock.at(time.to.unwrap_or(self.end));
        let began = self.clock.at(time.from);
        let span = self.below(ChildSpan::Queue, "queue", began, ended, error);
        writer.span(&span, |details| {
            details.say_if("portunus.pool", self.way.route.map(|(_, pool)| pool));
            details.say("portunus.queue.position", i64::from(position));
            details.say("portunus.queue.length_limit", i64::from(length));
            details.say_if("error.type", error);
        });
    }

    /// The span that attempts with upstreams are below.
    fn handler(&self, writer: &mut Writer) -> u64 {
        let Some(time) = self.way.handler else {
            return self.context.id;
        };
        let ended = self.clock.at(time.to.unwrap_or(self.end));
        let began = self.clock.at(time.from);
        let span = self.below(ChildSpan::Handler, "handler", began, ended, None);
        writer.span(&span, |details| {
            details.say_if("portunus.pool", self.way.route.map(|(_, pool)| pool));
        });
        span.id
    }

    fn below<'s>(
        &self,
        child: ChildSpan,
        name: &'s str,
        began: SystemTime,
        ended: SystemTime,
        error: Option<&'s str>,
    ) -> Span<'s> {
        Span {
            trace: self.context.trace,
            id: self.context.child(child),
            parent: Some((self.context.id, false)),
            state: None,
            sampled: self.context.sampled,
            name,
            kind: Kind::Internal,
            began,
            ended,
            error,
        }
    }

    fn method(&self) -> Option<&Method> {
        self.way.head.map(|head| &head.method)
    }

    fn target(&self) -> Option<&PathAndQuery> {
        self.way.head.and_then(|head| head.target.as_ref())
    }
}

/// Methods that the conventions know; others are a client's invention, and no part of a name.
pub(super) fn known(method: Option<&Method>) -> &str {
    const KNOWN: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    match method {
        Some(method) if KNOWN.contains(&method.as_str()) => method.as_str(),
        _ => OTHER,
    }
}

fn version_text(version: Version) -> Option<&'static str> {
    Some(match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => return None,
    })
}

/// What the conventions call a method that they do not know.
const OTHER: &str = "_OTHER";
