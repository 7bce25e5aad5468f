//! What is written of a request: the file's form, which `portunus trace open` reads again.
//!
//! Times are milliseconds since the request began.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Settings;
use super::redact::Redaction;
use super::writing::Writing;
use crate::model::Connection;
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
pub(super) struct Room {
    pub(super) value: usize,
    pub(super) fields: usize,
    pub(super) steps: usize,
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

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
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
