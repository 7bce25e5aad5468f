//! The connections that are open: who is at the other end, what each has moved, and what it does now.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Serving, Shown};
use crate::admin::{Filter, Form, Told};
use crate::listener::{OpenConnection, Which};
use crate::model::{Doing, Protocol, plain};

pub(super) fn told(serving: &Serving, filter: Filter, form: Form) -> Told {
    let now = serving.now.load();
    let max = filter.limit.unwrap_or(SHOWN).min(SHOWN_MAX);
    let which = Which {
        max,
        client: filter.client,
    };
    let (mut speaking, mut matching) = (0, 0);
    let mut shown = Vec::new();
    for thread in serving.threads() {
        let listed = thread.open.list(which);
        speaking += listed.speaking;
        matching += listed.matching;
        shown.extend(listed.connections);
    }
    // The oldest first: those that stay are what is looked for.
    shown.sort_by_key(|open| open.since);
    shown.truncate(max);
    let open = serving.limits.open();
    let shown: Vec<Seen> = shown.iter().map(|open| Seen::new(open, &now)).collect();
    let json = || {
        json!({
            "open": open,
            "speaking_http": speaking,
            "matching": matching,
            "connections": shown.iter().map(Seen::json).collect::<Vec<_>>(),
        })
    };
    let text = || {
        let mut text = format!("Open connections: {open}\n    Speaking HTTP: {speaking}\n");
        // Writing to memory does not fail.
        if let Some(client) = filter.client {
            let _ = writeln!(text, "    Of {client}: {matching}");
        }
        let _ = writeln!(text, "    Shown: {}, the oldest first", shown.len());
        for seen in &shown {
            let _ = writeln!(text, "{}", seen.line());
        }
        text
    };
    Told::of(form, json, text)
}

/// A connection as it was seen.
struct Seen<'a> {
    open: &'a OpenConnection,
    age: Duration,
    requests: u64,
    bytes: (u64, u64),
    /// Once it speaks HTTP.
    doing: Option<Doing>,
    /// Of the pool that a request of it waits for; none where that is of an earlier configuration.
    pool: Option<&'a str>,
}

impl<'a> Seen<'a> {
    fn new(open: &'a OpenConnection, now: &'a Shown) -> Self {
        let activity = open.connection.as_ref().map(|it| &it.activity);
        let doing = activity.map(|activity| activity.doing());
        let mark = doing.as_ref().map(|doing| doing.pool);
        let pool = mark.filter(|mark| mark.edge == now.edge.mark());
        let pool = pool.and_then(|mark| now.edge.pools.get(mark.pool));
        Self {
            open,
            age: open.since.elapsed(),
            requests: activity.map_or(0, |activity| activity.requests()),
            bytes: open.bytes(),
            doing,
            pool: pool.map(|pool| pool.name()),
        }
    }

    /// What it does, in a word.
    fn state(&self) -> &'static str {
        let Some(doing) = &self.doing else {
            return match self.open.protocol {
                // Whether it will speak HTTP/2 is not known either before its first bytes.
                Protocol::Tcp => "opening",
                _ => "handshake",
            };
        };
        match doing {
            Doing {
                left_http: true, ..
            } => "tunnel",
            Doing { in_flight: 0, .. } if doing.reads_head => "reading a head",
            Doing { in_flight: 0, .. } => "idle",
            Doing { queued: 1.., .. } => "queued",
            Doing { working: 1.., .. } => "handler",
            _ => "sending",
        }
    }

    fn is_multiplexed(&self) -> bool {
        matches!(self.open.protocol, Protocol::Http2 | Protocol::Http3)
    }

    /// What it does, in words.
    fn doing(&self) -> String {
        let of_pool = match self.pool {
            Some(pool) => format!("of pool {pool}"),
            None => "of a pool of an earlier configuration".to_owned(),
        };
        let mut text = match self.state() {
            "queued" => format!("waiting in the queue {of_pool}"),
            "handler" => format!("handler {of_pool}"),
            state => state.to_owned(),
        };
        let Some(doing) = &self.doing else {
            return text;
        };
        // Writing to memory does not fail.
        if self.is_multiplexed() && doing.in_flight > 0 {
            let (streams, queued, working) = (doing.in_flight, doing.queued, doing.working);
            let _ = write!(
                text,
                ", streams: {streams} ({queued} queued, {working} with handlers)"
            );
        }
        if let Some(noted) = &doing.noted {
            let path = plain(noted.target.path());
            let age = seconds(noted.since.elapsed());
            let _ = write!(text, ", {}{path} for {age}", noted.host);
        }
        text
    }

    fn line(&self) -> String {
        let open = self.open;
        let (received, sent) = self.bytes;
        let mut line = format!(
            "{} -> {}  {}  {}  requests: {}, in: {received}, out: {sent}  {}",
            open.client,
            open.local,
            open.protocol,
            seconds(self.age),
            self.requests,
            self.doing(),
        );
        if let Some(tls) = open.connection.as_ref().and_then(|it| it.tls.as_ref()) {
            let _ = write!(line, "  {} {}", tls.version, tls.cipher);
            if tls.resumed {
                line.push_str(" resumed");
            }
            if let Some(sni) = &tls.sni {
                let _ = write!(line, "  {}", plain(sni));
            }
        }
        line
    }

    fn json(&self) -> Value {
        let open = self.open;
        let tls = open.connection.as_ref().and_then(|it| it.tls.as_ref());
        let tls = tls.map(|tls| {
            json!({
                "version": tls.version,
                "cipher": tls.cipher,
                "resumed": tls.resumed,
                "sni": tls.sni,
                "alpn": tls.alpn,
                "binding": tls.binding.as_ref().map(ToString::to_string),
                "client_subject": tls.client_certificate().map(|shown| &shown.subject),
            })
        });
        let doing = self.doing.as_ref();
        let waits = doing.is_some_and(|it| it.queued > 0 || it.working > 0);
        let request = doing.and_then(|it| it.noted.as_ref()).map(|noted| {
            json!({
                "host": noted.host.as_str(),
                "path": noted.target.path(),
                "age_seconds": noted.since.elapsed().as_secs_f64(),
            })
        });
        json!({
            "client": open.client.to_string(),
            "local": open.local.to_string(),
            "protocol": open.protocol.to_string(),
            "age_seconds": self.age.as_secs_f64(),
            "requests": self.requests,
            "bytes_received": self.bytes.0,
            "bytes_sent": self.bytes.1,
            "doing": self.state(),
            "in_flight": doing.map_or(0, |it| it.in_flight),
            "queued": doing.map_or(0, |it| it.queued),
            "with_handlers": doing.map_or(0, |it| it.working),
            "pool": self.pool.filter(|_| waits),
            "request": request,
            "tls": tls,
        })
    }
}

fn seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

/// Where nobody says how many.
const SHOWN: usize = 500;

/// An answer of 5 MB.
const SHOWN_MAX: usize = 10_000;
