//! Spans, written down as a collector reads them (`opentelemetry.proto.trace.v1.Span`).

use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::Message;

/// The spans of one request, as fields of the message that holds them.
#[derive(Debug)]
pub(super) struct Spans {
    bytes: Vec<u8>,
    count: u64,
}

/// What every span has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    /// The trace.
    pub trace: u128,
    /// Its own id.
    pub id: u64,
    /// The span that it is below, and whether that is another process'.
    pub parent: Option<(u64, bool)>,
    /// `tracestate`
    pub state: Option<&'a str>,
    /// Whether the trace was to be recorded from its beginning.
    pub sampled: bool,
    /// What it is called.
    pub name: &'a str,
    /// Its part in an exchange.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Whether what it stands for failed, and how.
    pub error: Option<&'a str>,
}

/// A span's part in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Within this process.
    Internal = 1,
    /// It answers.
    Server = 2,
    /// It asks.
    Client = 3,
}

/// What else is said of a span.
pub(super) struct Details<'a>(&'a mut Message);

/// An attribute's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Text, cut behind [`TEXT_BYTES_MAX`] bytes.
    Text(&'a str),
    /// A number.
    Number(i64),
    /// True or false.
    Bool(bool),
}

impl Spans {
    /// Writes a request's spans down.
    pub(super) fn written(write: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer {
            message: Message::default(),
            count: 0,
        };
        write(&mut writer);
        Self {
            bytes: writer.message.into_bytes(),
            count: writer.count,
        }
    }

    #[cfg(test)]
    pub(super) fn of(bytes: Vec<u8>, count: u64) -> Self {
        Self { bytes, count }
    }

    /// As fields of a message.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// Writes spans down.
pub(super) struct Writer {
    message: Message,
    count: u64,
}

impl Writer {
    /// Writes a span down, with what else is said of it.
    pub(super) fn span(&mut self, span: &Span<'_>, details: impl FnOnce(&mut Details<'_>)) {
        self.count += 1;
        self.message.message(SCOPE_SPANS_SPANS, |message| {
            message.bytes(1, &span.trace.to_be_bytes());
            message.bytes(2, &span.id.to_be_bytes());
            if let Some(state) = span.state {
                message.bytes(3, state.as_bytes());
            }
            if let Some((parent, _)) = span.parent {
                message.bytes(4, &parent.to_be_bytes());
            }
            message.bytes(5, cut(span.name).as_bytes());
            message.number(6, span.kind as u64);
            message.fixed64(7, nanoseconds(span.began));
            message.fixed64(8, nanoseconds(span.ended.max(span.began)));
            details(&mut Details(message));
            if let Some(error) = span.error {
                message.message(15, |status| {
                    if !error.is_empty() {
                        status.bytes(2, cut(error).as_bytes());
                    }
                    status.number(3, STATUS_ERROR);
                });
            }
            let remote = span.parent.is_some_and(|(_, remote)| remote);
            let flags = u32::from(span.sampled) | HAS_IS_REMOTE | (u32::from(remote) << 9);
            message.fixed32(16, flags);
        });
    }
}

impl Details<'_> {
    /// Says this of the span.
    pub(super) fn say<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        attribute(self.0, 9, key, value);
    }

    /// Says this of the span where it is known.
    pub(super) fn say_if<'v>(&mut self, key: &str, value: Option<impl Into<Value<'v>>>) {
        if let Some(value) = value {
            self.say(key, value);
        }
    }

    /// Says that something happened at a moment.
    pub(super) fn event(&mut self, at: SystemTime, name: &str) {
        self.0.message(11, |event| {
            event.fixed64(1, nanoseconds(at));
            event.bytes(2, cut(name).as_bytes());
        });
    }

    /// Links to a span of another trace.
    pub(super) fn link(&mut self, trace: u128, span: u64) {
        self.0.message(13, |link| {
            link.bytes(1, &trace.to_be_bytes());
            link.bytes(2, &span.to_be_bytes());
            link.fixed32(6, HAS_IS_REMOTE | IS_REMOTE);
        });
    }
}

/// Writes a `KeyValue`.
pub(super) fn attribute<'v>(
    message: &mut Message,
    field: u32,
    key: &str,
    value: impl Into<Value<'v>>,
) {
    let value = value.into();
    message.message(field, |pair| {
        pair.bytes(1, key.as_bytes());
        pair.message(2, |any| match value {
            Value::Text(text) => any.bytes(1, cut(text).as_bytes()),
            Value::Bool(truth) => any.number(2, u64::from(truth)),
            Value::Number(number) => any.number(3, number as u64),
        });
    });
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// A clock before 1970 is broken; after 2554 it is another's matter.
fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Of a text as much as is of use to whoever looks; a client may write 60 KiB into a path.
const TEXT_BYTES_MAX: usize = 1024;

/// `ScopeSpans.spans`
const SCOPE_SPANS_SPANS: u32 = 2;

/// `SpanFlags`: whether a parent is another process' is said, and it is.
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;

/// `StatusCode`
const STATUS_ERROR: u64 = 2;
