//! An attempt to have an upstream answer, as a span.

use std::net::SocketAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use super::request::{Clock, Time, known};
use super::span::{Details, Kind, Span, Writer};
use crate::model::journal::{AttemptStep, Cause};
use crate::model::{ChildSpan, Reason, SpanContext};

/// What its steps say of an attempt.
pub(super) struct Attempt<'a> {
    number: u32,
    time: Time,
    upstream: &'a str,
    cause: Cause,
    /// When there was a connection, and whether it was there already.
    connected: Option<(Duration, bool)>,
    to: Option<SocketAddr>,
    tls: Option<(Duration, &'static str)>,
    sent: Option<Duration>,
    outcome: Outcome<'a>,
}

enum Outcome<'a> {
    /// It was let go.
    None,
    Answered(StatusCode),
    Failed(Reason, &'a str),
}

/// Takes a step of the attempt of this number.
pub(super) fn take<'a>(
    attempts: &mut Vec<Attempt<'a>>,
    number: u32,
    after: Duration,
    step: &'a AttemptStep,
) {
    if let AttemptStep::Began { upstream, cause } = step {
        return attempts.push(Attempt {
            number,
            time: Time {
                from: after,
                to: None,
            },
            upstream,
            cause: *cause,
            connected: None,
            to: None,
            tls: None,
            sent: None,
            outcome: Outcome::None,
        });
    }
    // One whose beginning was left out of the journal is told of no further.
    let Some(attempt) = attempts.iter_mut().find(|it| it.number == number) else {
        return;
    };
    match step {
        AttemptStep::Began { .. } => {}
        AttemptStep::Kept => attempt.connected = Some((after, true)),
        AttemptStep::Stale => attempt.connected = None,
        AttemptStep::Connected { to } => {
            attempt.connected = Some((after, false));
            attempt.to = *to;
        }
        AttemptStep::Secured { version } => attempt.tls = Some((after, version)),
        AttemptStep::Sent => attempt.sent = Some(after),
        AttemptStep::Answered { status } => {
            attempt.time.to = Some(after);
            attempt.outcome = Outcome::Answered(*status);
        }
        AttemptStep::Failed { reason, detail } => {
            attempt.time.to = Some(after);
            attempt.outcome = Outcome::Failed(*reason, detail);
        }
    }
}

/// What attempts of one request have in common.
pub(super) struct Told<'a> {
    pub(super) clock: Clock<'a>,
    pub(super) context: &'a SpanContext,
    /// The span that they are below.
    pub(super) parent: u64,
    pub(super) method: Option<&'a Method>,
    /// What the upstream is asked for.
    pub(super) target: Option<&'a PathAndQuery>,
    /// When attempts that were let go ended at the latest.
    pub(super) end: Duration,
}

impl Told<'_> {
    pub(super) fn write(&self, attempt: &Attempt<'_>, writer: &mut Writer) {
        let method = known(self.method);
        // Of the conventions: what a client is answered 4xx went wrong for that client, as this hop is.
        let error = match &attempt.outcome {
            Outcome::Failed(_, detail) => Some(*detail),
            Outcome::Answered(status) if status.is_client_error() || status.is_server_error() => {
                Some(status.as_str())
            }
            Outcome::Answered(_) | Outcome::None => None,
        };
        let to = attempt.time.to.unwrap_or(self.end);
        let span = Span {
            trace: self.context.trace,
            id: self.context.child(ChildSpan::Attempt(attempt.number)),
            parent: Some((self.parent, false)),
            state: self.context.state.as_deref(),
            sampled: self.context.sampled,
            name: method,
            kind: Kind::Client,
            began: self.clock.at(attempt.time.from),
            ended: self.clock.at(to),
            error,
        };
        writer.span(&span, |details| {
            details.say("http.request.method", method);
            self.peer(details, attempt);
            outcome(details, attempt);
            self.events(details, attempt);
        });
    }

    /// Whom it was sent to.
    fn peer(&self, details: &mut Details<'_>, attempt: &Attempt<'_>) {
        let name = attempt.upstream;
        details.say("portunus.upstream", name);
        let path = self.target.map_or("/", PathAndQuery::path);
        match name.parse::<Uri>() {
            Ok(uri) if uri.host().is_some() && uri.scheme().is_some() => {
                details.say_if("server.address", uri.host());
                let port = uri.port_u16().or(match uri.scheme_str() {
                    Some("https") => Some(443),
                    Some("http" | "h2c") => Some(80),
                    _ => None,
                });
                details.say_if("server.port", port.map(i64::from));
                let full = format!("{}{path}", name.trim_end_matches('/'));
                details.say("url.full", &*full);
            }
            // A socket's file.
            _ => details.say("server.address", name.trim_start_matches("unix:")),
        }
        if let Some(to) = attempt.to {
            details.say("network.peer.address", &*to.ip().to_string());
            details.say("network.peer.port", i64::from(to.port()));
        }
        if let Some((_, version)) = attempt.tls {
            details.say("tls.protocol.version", version.trim_start_matches("TLSv"));
        }
        if attempt.cause != Cause::First {
            let before = i64::from(attempt.number.saturating_sub(1));
            details.say("http.request.resend_count", before);
            details.say("portunus.attempt.cause", attempt.cause.as_str());
        }
        let kept = attempt.connected.map(|(_, kept)| kept);
        details.say_if("portunus.connection.kept", kept);
    }

    fn events(&self, details: &mut Details<'_>, attempt: &Attempt<'_>) {
        let connected = (attempt.connected).and_then(|(at, kept)| (!kept).then_some(at));
        let secured = attempt.tls.map(|(at, _)| at);
        for (at, what) in [
            (connected, "connected"),
            (secured, "secured"),
            (attempt.sent, "sent"),
        ] {
            if let Some(at) = at {
                details.event(self.clock.at(at), what);
            }
        }
    }
}

fn outcome(details: &mut Details<'_>, attempt: &Attempt<'_>) {
    match &attempt.outcome {
        Outcome::Answered(status) => {
            let code = i64::from(status.as_u16());
            details.say("http.response.status_code", code);
            if code >= 400 {
                details.say("error.type", status.as_str());
            }
        }
        Outcome::Failed(reason, _) => details.say("error.type", reason.as_str()),
        Outcome::None => details.say("portunus.attempt.let_go", true),
    }
}
