//! What page and text show alike: the spans of a request's way, and its steps in words. Pure.
//!
//! What a file says comes from clients and upstreams: nothing of it is shown as it is. The page escapes all of it, and so does
//! what goes to a terminal ([`plain`]).

use serde_json::Value;

use crate::report::failed::{Attempt, Record, Step};

/// A span of time on the request's way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) label: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// How it ended, where there is something to say.
    pub(super) end: String,
}

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Queue,
    Handler,
    Attempt,
    /// A part of an attempt.
    Part,
    Response,
}

impl Kind {
    /// As the page's classes name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Handler => "handler",
            Kind::Attempt => "attempt",
            Kind::Part => "part",
            Kind::Response => "response",
        }
    }
}

/// `GET /a → 503 QueueFull`
pub(super) fn title(record: &Record) -> String {
    let request = record.request.as_ref();
    let method = request.and_then(|head| head.method.as_deref());
    let target = request.and_then(|head| head.target.as_deref());
    let asked = match (method, target) {
        (Some(method), Some(target)) => format!("{method} {target}"),
        (Some(method), None) => method.to_owned(),
        _ => "a request that could not be read".to_owned(),
    };
    let status = record.response.as_ref().and_then(|head| head.status);
    let status = status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
    match &record.reason {
        Some(reason) => format!("{asked} → {status} {reason}"),
        None => format!("{asked} → {status}"),
    }
}

/// Why it ended as it did.
pub(super) fn why(record: &Record) -> String {
    let cut = match (&record.response, record.complete) {
        (Some(_), false) => format!("The response was cut after {} bytes. ", record.bytes_sent),
        _ => String::new(),
    };
    let detail = record.detail.as_deref().unwrap_or("");
    match (&record.reason, &record.blame) {
        (Some(reason), Some(blame)) if detail.is_empty() => format!("{cut}{reason} ({blame})."),
        (Some(reason), Some(blame)) => format!("{cut}{reason} ({blame}): {detail}"),
        _ => format!("{cut}{}", own_answer(record)),
    }
}

/// An error that nothing on the way made: it is the handler's or the upstream's own answer.
fn own_answer(record: &Record) -> String {
    let status = record.response.as_ref().and_then(|head| head.status);
    let Some(status @ 400..) = status else {
        return String::new();
    };
    let answers = |attempt: &&Attempt| attempt.status == Some(status);
    match record.attempts.iter().rev().find(answers) {
        Some(attempt) => format!("{status} is the answer of {} itself.", attempt.upstream),
        None => format!("{status} is the answer of the pool's own handler."),
    }
}

/// The facts of the request as a whole, each with its name; what is not there is left out.
pub(super) fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Began", record.began.clone()),
        ("Took", millis(record.duration_ms)),
        ("Client", record.client.clone()),
    ];
    let tls = record.tls.as_ref().map(|tls| {
        let resumed = if tls.resumed { ", resumed" } else { "" };
        let sni = tls.sni.as_deref().unwrap_or("no name");
        format!("{}, {}, {sni}{resumed}", tls.version, tls.cipher)
    });
    let queue = record.queue.map(|queue| {
        let end = if queue.admitted {
            ""
        } else {
            ", and got no slot"
        };
        format!(
            "place {} of {} in the queue, {} running, waited {}{end}",
            queue.position,
            queue.length,
            queue.running,
            millis(queue.wait_ms)
        )
    });
    let rules = record.rules.iter();
    let rules = rules.map(|rule| format!("{} (line {}): {}", rule.number, rule.line, rule.text));
    let rules = Some(rules.collect::<Vec<_>>().join("; "));
    for (name, fact) in [
        ("Through", record.peer.clone()),
        ("Arrived at", Some(record.local.clone())),
        ("Protocol", Some(record.protocol.clone())),
        ("TLS", tls),
        (
            "Client certificate",
            (record.tls.as_ref()).and_then(|tls| tls.client_certificate.clone()),
        ),
        ("Host", record.host.clone()),
        ("Binding", record.binding.clone()),
        ("Site", record.site.clone()),
        ("Route", record.route.clone()),
        ("Pool", record.pool.clone()),
        ("Queue", queue),
        ("Request id", record.request_id.clone()),
        ("Trace id", record.trace_id.clone()),
        ("Rule", rules),
    ] {
        facts.extend(
            fact.filter(|fact| !fact.is_empty())
                .map(|fact| (name, fact)),
        );
    }
    facts
}

/// The spans of the request's way, in the order in which they began.
pub(super) fn lanes(record: &Record) -> Vec<Lane> {
    let end = record.duration_ms;
    let first = |name: &str| {
        record
            .steps
            .iter()
            .find(|step| step.step == name)
            .map(|it| it.ms)
    };
    let lane = |kind, label: &str, from, to| Lane {
        kind,
        label: label.to_owned(),
        from,
        to,
        end: String::new(),
    };
    let mut lanes = Vec::new();
    if let Some(queue) = &record.queue {
        let to = queue.entered_ms + queue.wait_ms;
        lanes.push(lane(Kind::Queue, "Queue", queue.entered_ms, to));
    }
    if let Some(from) = first("handler_began") {
        let to = first("handler_answered").unwrap_or(end);
        lanes.push(lane(Kind::Handler, "Handler", from, to));
    }
    for attempt in &record.attempts {
        let status = attempt.status.map(|status| status.to_string());
        let ended = status.or_else(|| attempt.reason.clone());
        lanes.push(Lane {
            kind: Kind::Attempt,
            label: format!(
                "{}. {} ({})",
                attempt.number, attempt.upstream, attempt.cause
            ),
            from: attempt.began_ms,
            to: attempt.ended_ms.unwrap_or(end),
            end: ended.unwrap_or_else(|| "let go".to_owned()),
        });
        lanes.extend(parts(record, attempt.number));
    }
    if let Some(from) = first("response_head") {
        let to = first("last_byte").or_else(|| first("cut")).unwrap_or(end);
        lanes.push(lane(Kind::Response, "Response", from, to));
    }
    lanes
}

/// What the time of an attempt went to: from each of its steps to the next.
fn parts(record: &Record, attempt: u32) -> Vec<Lane> {
    let is_of =
        |step: &&Step| step.more.get("attempt").and_then(Value::as_u64) == Some(attempt.into());
    let steps: Vec<&Step> = record.steps.iter().filter(is_of).collect();
    let pairs = steps.windows(2).filter_map(|pair| {
        let label = match pair[1].step.as_str() {
            "attempt_connected" => "connect",
            "attempt_tls_done" => "TLS",
            "attempt_sent" => "send",
            "attempt_answered" => "wait for the response",
            "attempt_failed" => "until it failed",
            _ => return None,
        };
        Some(Lane {
            kind: Kind::Part,
            label: label.to_owned(),
            from: pair[0].ms,
            to: pair[1].ms,
            end: String::new(),
        })
    });
    pairs.collect()
}

/// What happened in a step.
pub(super) fn words(step: &Step) -> String {
    let known = match step.step.as_str() {
        "head_read" => "the request's head was read",
        "head_unread" => "the request's head could not be read",
        "binding_sought" => "a binding is looked for",
        "binding_found" => "binding found",
        "route_found" => "route found",
        "queue_entered" => "every slot is taken: it waits in the queue",
        "queue_left" => "it has a slot",
        "handler_began" => "the handler has it",
        "rewritten" => "the upstream is asked for another target",
        "attempt_began" => "sent to an upstream",
        "attempt_kept_connection" => "over a connection that was there",
        "attempt_connected" => "connected",
        "attempt_tls_done" => "TLS handshake done",
        "attempt_stale_connection" => "that connection was closed already: a new one",
        "attempt_sent" => "request sent",
        "attempt_answered" => "the upstream answered",
        "attempt_failed" => "no response from the upstream",
        "paused" => "it waits before it is sent again",
        "handler_answered" => "the handler has answered",
        "refused" => "refused",
        "response_head" => "the response's head goes out",
        "first_byte" => "first byte of content",
        "last_byte" => "last byte of content",
        "cut" => "the response was cut",
        other => other,
    };
    let more = step.more.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    let more: Vec<String> = more.collect();
    match more.is_empty() {
        true => known.to_owned(),
        false => format!("{known} · {}", more.join(" · ")),
    }
}

/// `1.234 ms`, `2.5 s`
pub(super) fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.3} ms"),
    }
}

/// As a terminal may be shown it: what could move its cursor or turn its text around is written out.
pub(super) fn plain(text: &str) -> String {
    let is_strange = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match is_strange(c) {
            true => plain.extend(c.escape_unicode()),
            false => plain.push(c),
        }
    }
    plain
}
