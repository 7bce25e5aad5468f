//! What is written of a request: the file's form, which `portunus trace open` reads again.
//!
//! Times are milliseconds since the request began.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Settings;
use super::redact::Redaction;
use crate::model::Connection;
use crate::model::journal::{self, AttemptStep, Noted};
use crate::report::witness::Ended;

/// A request that fired a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// [`Record::FORMAT`]
    pub format: String,
    /// The version of Portunus that wrote it.
    pub portunus: String,
    /// The rules that fired.
    pub rules: Vec<Rule>,
    /// When the request began, RFC 3339.
    pub began: String,
    /// How long it took, to the last byte.
    pub duration_ms: f64,
    /// What `X-Request-Id` says.
    pub request_id: Option<String>,
    /// The id of the trace that it is part of.
    pub trace_id: Option<String>,
    /// Where its client is.
    pub client: String,
    /// Who is at the other end of the connection, where that is not the client.
    pub peer: Option<String>,
    /// Where of ours it arrived.
    pub local: String,
    /// What it was spoken in.
    pub protocol: String,
    /// What the connection's handshake settled; none on cleartext.
    pub tls: Option<Tls>,
    /// The host that it names; none where it named none that could be read.
    pub host: Option<String>,
    /// The request's head; none where it could not be read.
    pub request: Option<Head>,
    /// The binding.
    pub binding: Option<String>,
    /// The site.
    pub site: Option<String>,
    /// The route's path.
    pub route: Option<String>,
    /// The pool.
    pub pool: Option<String>,
    /// How it waited; none where it had not to.
    pub queue: Option<QueuePassport>,
    /// The attempts to have an upstream answer it.
    pub attempts: Vec<Attempt>,
    /// The response's head; none where there was none.
    pub response: Option<Head>,
    /// Bytes of content that were sent.
    pub bytes_sent: u64,
    /// Whether the response was sent to its end.
    pub complete: bool,
    /// Why it failed, as the error log has it; none where nothing did.
    pub reason: Option<String>,
    /// Who is to blame for that.
    pub blame: Option<String>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// Every step that is kept.
    pub steps: Vec<Step>,
    /// Steps that are left out between those.
    pub steps_left_out: u64,
    /// Whether values or fields were shortened so that the file is no longer than it may be.
    pub shortened: bool,
}

/// A rule that fired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Counted from 1, in the order of the configuration.
    pub number: usize,
    /// Its line in the configuration.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// What the connection's handshake settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The protocol that ALPN settled on.
    pub alpn: Option<String>,
    /// The name that the client asked for.
    pub sni: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The subject of the client's certificate.
    pub client_certificate: Option<String>,
}

/// The head of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// Of a request.
    pub method: Option<String>,
    /// Of a request: its target, secrets in its query left out.
    pub target: Option<String>,
    /// Of a request: the version of HTTP.
    pub version: Option<String>,
    /// Of a response.
    pub status: Option<u16>,
    /// Name and value of each field, in their order; secrets left out.
    pub fields: Vec<(String, String)>,
    /// Fields beyond those that have room.
    pub fields_left_out: usize,
}

/// How a request waited in its pool's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuePassport {
    /// Its place when it came, counted from 1.
    pub position: u32,
    /// How many may wait.
    pub length: u32,
    /// How many held a slot.
    pub running: u32,
    /// When it came.
    pub entered_ms: f64,
    /// How long it waited, to its slot or to the end.
    pub wait_ms: f64,
    /// Whether it got a slot.
    pub admitted: bool,
}

/// An attempt to have an upstream answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// Whom it was sent to.
    pub upstream: String,
    /// `first`, `retry` or `hedge`.
    pub cause: String,
    /// When it began.
    pub began_ms: f64,
    /// When it was over; none where it was let go.
    pub ended_ms: Option<f64>,
    /// Whether it went over a connection that was there.
    pub kept_connection: bool,
    /// The status of the response.
    pub status: Option<u16>,
    /// Why there is none.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub detail: Option<String>,
}

/// A step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// When.
    pub ms: f64,
    /// What.
    pub step: String,
    /// What more there is to say of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// How much of what a request holds is written.
#[derive(Clone, Copy)]
struct Room {
    value: usize,
    fields: usize,
    steps: usize,
}

impl Record {
    /// What `format` says. The number grows when what was there before means something else.
    pub const FORMAT: &str = "portunus-failed-request/1";

    /// The file's text, no longer than it may be: what is long is shortened, and then what is many is left out.
    pub(super) fn text(ended: &Ended, fired: &[Rule], settings: &Settings) -> String {
        let mut text = String::new();
        for (at, room) in ROOMS.iter().enumerate() {
            let mut record = Self::new(ended, &settings.redaction, *room);
            record.rules = fired.to_vec();
            record.shortened |= at > 0;
            // A map of strings and numbers can be written.
            text = serde_json::to_string_pretty(&record).unwrap_or_default();
            if text.len() < settings.config.max_file_bytes {
                break;
            }
        }
        text.push('\n');
        text
    }

    fn new(ended: &Ended, redaction: &Redaction, room: Room) -> Self {
        let journal = &ended.journal;
        let steps = journal.steps();
        let client = ended.provenance.client(&ended.connection);
        let peer = ended.connection.client;
        let mut record = Self {
            format: Self::FORMAT.to_owned(),
            portunus: env!("CARGO_PKG_VERSION").to_owned(),
            began: rfc3339(journal.began_at()),
            duration_ms: ms(ended.at.saturating_duration_since(journal.began())),
            request_id: ended.provenance.request_id().map(str::to_owned),
            trace_id: ended.provenance.trace_id().map(str::to_owned),
            client: client.to_string(),
            peer: (client != peer).then(|| peer.to_string()),
            local: ended.connection.local.to_string(),
            protocol: ended.protocol.as_str().to_owned(),
            tls: tls(&ended.connection),
            reason: ended.reason.map(|reason| reason.as_str().to_owned()),
            blame: (ended.reason).map(|reason| reason.blame().as_str().to_owned()),
            steps_left_out: steps.left_out,
            ..Self::default()
        };
        let mut writing = Writing {
            record: &mut record,
            redaction,
            room,
        };
        for noted in &steps.noted {
            writing.take(noted);
        }
        record.leave_out_steps(room.steps);
        record
    }

    fn leave_out_steps(&mut self, max: usize) {
        let more = self.steps.len().saturating_sub(max);
        if more > 0 {
            let from = max / 2;
            self.steps.drain(from..from + more);
            self.steps_left_out += more as u64;
            self.shortened = true;
        }
        let more = self.attempts.len().saturating_sub(max);
        self.attempts.drain(..more);
    }
}

/// A record that is being written.
struct Writing<'a> {
    record: &'a mut Record,
    redaction: &'a Redaction,
    room: Room,
}

impl Writing<'_> {
    fn take(&mut self, noted: &Noted) {
        let at = ms(noted.after);
        let more = self.step(&noted.step, at);
        let Value::Object(more) = more else { return };
        self.record.steps.push(Step {
            ms: at,
            step: noted.step.name().to_owned(),
            more,
        });
    }

    /// Notes what a step says of the request as a whole, and gives what it says of itself.
    fn step(&mut self, step: &journal::Step, at: f64) -> Value {
        use journal::Step;
        match step {
            Step::HeadRead(head) => {
                let target = head
                    .target
                    .as_ref()
                    .map(|target| self.target(target.as_str()));
                let method = Some(self.short(head.method.as_str()));
                let fields = Head {
                    version: Some(format!("{:?}", head.version)),
                    method,
                    target,
                    ..self.head(&head.fields)
                };
                self.record.request = Some(fields);
                json!({})
            }
            Step::BindingSought { host, local } => {
                self.record.host = Some(host.as_str().to_owned());
                json!({ "host": host.as_str(), "local": local.to_string() })
            }
            Step::BindingFound { binding, site } => {
                let binding = binding.to_string();
                self.record.binding = Some(binding.clone());
                self.record.site = Some(site.to_string());
                json!({ "binding": binding, "site": site })
            }
            Step::RouteFound { route, pool } => {
                self.record.route = Some(route.to_string());
                self.record.pool = Some(pool.to_string());
                json!({ "route": route, "pool": pool })
            }
            Step::QueueEntered {
                position,
                length,
                running,
            } => {
                self.record.queue = Some(QueuePassport {
                    position: *position,
                    length: *length,
                    running: *running,
                    entered_ms: at,
                    ..QueuePassport::default()
                });
                json!({ "position": position, "length": length, "running": running })
            }
            Step::QueueLeft => {
                let wait = self.left_queue(at, true);
                json!({ "wait_ms": wait })
            }
            Step::Rewritten { target } => json!({ "target": self.target(target.as_str()) }),
            Step::Attempt(number, step) => self.attempt(*number, step, at),
            Step::Refused { reason, detail } => {
                self.left_queue(at, false);
                let detail = self.short(detail);
                self.record.detail = Some(detail.clone());
                json!({ "reason": reason.as_str(), "detail": detail })
            }
            Step::ResponseHead(head) => {
                let status = head.status.as_u16();
                self.record.response = Some(Head {
                    status: Some(status),
                    ..self.head(&head.fields)
                });
                json!({ "status": status })
            }
            Step::LastByte { bytes } | Step::Cut { bytes } => {
                self.record.bytes_sent = *bytes;
                self.record.complete = matches!(step, Step::LastByte { .. });
                json!({ "bytes": bytes })
            }
            Step::HeadUnread
            | Step::HandlerBegan
            | Step::Paused
            | Step::HandlerAnswered
            | Step::FirstByte => json!({}),
        }
    }

    /// The wait in the queue is over, if there was one; gives how long it was.
    fn left_queue(&mut self, at: f64, admitted: bool) -> f64 {
        match &mut self.record.queue {
            Some(queue) if queue.wait_ms == 0.0 && !queue.admitted => {
                queue.wait_ms = thousandths(at - queue.entered_ms);
                queue.admitted = admitted;
                queue.wait_ms
            }
            _ => 0.0,
        }
    }

    fn attempt(&mut self, number: u32, step: &AttemptStep, at: f64) -> Value {
        let detail = match step {
            AttemptStep::Failed { detail, .. } => self.short(detail),
            _ => String::new(),
        };
        let attempts = &mut self.record.attempts;
        let known = attempts.iter().position(|it| it.number == number);
        let known = known.unwrap_or_else(|| {
            attempts.push(Attempt {
                number,
                ..Attempt::default()
            });
            attempts.len() - 1
        });
        let attempt = &mut attempts[known];
        let mut more = json!({ "attempt": number });
        match step {
            AttemptStep::Began { upstream, cause } => {
                attempt.upstream = upstream.to_string();
                attempt.cause = cause.as_str().to_owned();
                attempt.began_ms = at;
                more["upstream"] = json!(upstream);
                more["cause"] = json!(cause.as_str());
            }
            AttemptStep::Kept => attempt.kept_connection = true,
            AttemptStep::Connected { to } => {
                attempt.kept_connection = false;
                more["to"] = json!(to.map(|to| to.to_string()));
            }
            AttemptStep::Secured { version } => more["version"] = json!(version),
            AttemptStep::Stale | AttemptStep::Sent => {}
            AttemptStep::Answered { status } => {
                attempt.ended_ms = Some(at);
                attempt.status = Some(status.as_u16());
                more["status"] = json!(status.as_u16());
            }
            AttemptStep::Failed { reason, .. } => {
                attempt.ended_ms = Some(at);
                attempt.reason = Some(reason.as_str().to_owned());
                attempt.detail = Some(detail.clone());
                more["reason"] = json!(reason.as_str());
                more["detail"] = json!(detail);
            }
        }
        more
    }

    fn head(&mut self, fields: &HeaderMap) -> Head {
        let room = self.room.fields;
        let mut written = Vec::with_capacity(fields.len().min(room));
        for (name, value) in fields.iter().take(room) {
            let value = self.redaction.field(name, value);
            let value = self.short(&value);
            written.push((self.name(name), value));
        }
        let left_out = fields.len() - written.len();
        self.record.shortened |= left_out > 0;
        Head {
            fields: written,
            fields_left_out: left_out,
            ..Head::default()
        }
    }

    fn name(&mut self, name: &HeaderName) -> String {
        self.short(name.as_str())
    }

    fn target(&mut self, target: &str) -> String {
        let target = self.redaction.target(target);
        self.short(&target)
    }

    fn short(&mut self, text: &str) -> String {
        let end = text.floor_char_boundary(self.room.value);
        if end == text.len() {
            return text.to_owned();
        }
        self.record.shortened = true;
        format!("{}… [{} bytes more]", &text[..end], text.len() - end)
    }
}

fn tls(connection: &Connection) -> Option<Tls> {
    let tls = connection.tls.as_ref()?;
    Some(Tls {
        version: tls.version.to_owned(),
        cipher: tls.cipher.to_owned(),
        alpn: tls.alpn.map(str::to_owned),
        sni: tls.sni.as_deref().map(str::to_owned),
        resumed: tls.resumed,
        client_certificate: (connection.client_certificate())
            .map(|shown| shown.subject.to_string()),
    })
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// To a microsecond, as all times are: the difference of two such numbers may have more digits.
fn thousandths(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

/// What is tried, from the whole to what fits the smallest file that may be asked for.
const ROOMS: [Room; 4] = [
    Room {
        value: 8 << 10,
        fields: 1_000,
        steps: 64,
    },
    Room {
        value: 512,
        fields: 200,
        steps: 64,
    },
    Room {
        value: 128,
        fields: 50,
        steps: 32,
    },
    Room {
        value: 64,
        fields: 20,
        steps: 12,
    },
];
