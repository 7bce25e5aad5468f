//! What a request brings along beside itself: the word of the hops in front of us, and the names that it is known by.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ClientAddr, Connection, Hops, Scheme, SpanContext};

/// What a request brings along. Where nothing was asked for it is two words, both of them nothing.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The word of trusted hops.
    pub hops: Option<Box<Hops>>,
    /// The names that logs and upstreams know the request by.
    pub ids: Option<Box<Ids>>,
}

impl Provenance {
    /// Where the client is.
    pub fn client(&self, connection: &Connection) -> ClientAddr {
        let named = self.hops.as_ref().and_then(|hops| hops.client());
        named.unwrap_or(connection.client)
    }

    /// The scheme that the client used.
    pub fn scheme(&self, connection: &Connection) -> Scheme {
        let said = self.hops.as_ref().and_then(|hops| hops.scheme);
        said.unwrap_or(connection.scheme())
    }

    /// What `X-Request-Id` says.
    pub fn request_id(&self) -> Option<&str> {
        let id = self.ids.as_ref()?.request.as_ref();
        id.map(RequestId::as_str)
    }

    /// The id of the trace that the request is part of.
    pub fn trace_id(&self) -> Option<&str> {
        let trace = self.ids.as_ref()?.trace.as_ref();
        trace.map(TraceParent::trace_id)
    }

    /// The id of the request's own span; none where no spans are made.
    pub fn span_id(&self) -> Option<&str> {
        let ids = self.ids.as_ref()?;
        ids.span
            .as_ref()
            .and(ids.trace.as_ref())
            .map(TraceParent::parent_id)
    }

    /// The request's own span; none where no spans are made.
    pub fn span(&self) -> Option<&SpanContext> {
        self.ids.as_ref()?.span.as_deref()
    }
}

/// The names that a request is known by.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// `X-Request-Id`; none where it is not configured.
    pub request: Option<RequestId>,
    /// `traceparent`; none where it is not configured.
    pub trace: Option<TraceParent>,
    /// The request's own span; none where no spans are made.
    pub span: Option<Box<SpanContext>>,
}

/// What `X-Request-Id` says: 1 to 128 letters, digits and `- . _ ~ + / = : @`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// What `traceparent` says (W3C Trace Context, section 3.2): `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    field: HeaderValue,
    /// Whether the request came without one that was any good, and this is a new one.
    pub is_new: bool,
}

impl RequestId {
    /// The one that a request has. None if there is none, more than one, or something else.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let field = only(headers, &X_REQUEST_ID)?;
        let text = field.as_bytes();
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
        ((1..=REQUEST_ID_MAX).contains(&text.len()) && text.iter().all(good))
            .then(|| Self(field.clone()))
    }

    /// A new one, made of chance: 32 hexadecimal digits, as nginx' `$request_id`.
    pub fn new(chance: u128) -> Self {
        Self(hexadecimal(&format!("{chance:032x}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The field's value.
    pub fn field(&self) -> &HeaderValue {
        &self.0
    }
}

impl TraceParent {
    /// The one that a request has. None if there is none, more than one, or something else.
    ///
    /// Of later versions the beginning is read, as section 3.2.4 has it, and what follows is left as it is.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let field = only(headers, &TRACEPARENT)?;
        let text = field.as_bytes();
        let (known, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let mut part = |length: usize| {
            let part = parts.next()?;
            let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            (part.len() == length && part.iter().all(digits)).then_some(part)
        };
        let (version, trace, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_zero = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
        let ends = match version {
            b"ff" => false,
            b"00" => rest.is_empty(),
            _ => rest.is_empty() || rest[0] == b'-',
        };
        (ends && !is_zero(trace) && !is_zero(parent)).then(|| Self {
            field: field.clone(),
            is_new: false,
        })
    }

    /// A new one, made of chance. It says that the trace is recorded, since our logs do: an upstream that leaves the decision to
    /// whoever begins a trace would record none else.
    pub fn new(trace: u128, parent: u64) -> Self {
        // All zeros are no id.
        let (trace, parent) = (trace.max(1), parent.max(1));
        Self::of(trace, parent, true, true)
    }

    /// The same, of a trace that is recorded or not. `is_new`: whether the trace begins here.
    pub fn of(trace: u128, parent: u64, sampled: bool, is_new: bool) -> Self {
        let flags = u8::from(sampled);
        Self {
            field: hexadecimal(&format!("00-{trace:032x}-{parent:016x}-{flags:02x}")),
            is_new,
        }
    }

    /// The trace's id as a number.
    pub fn trace(&self) -> u128 {
        u128::from_str_radix(self.trace_id(), 16).unwrap_or_default()
    }

    /// The id of the span that what is asked for is below.
    pub fn parent(&self) -> u64 {
        u64::from_str_radix(self.parent_id(), 16).unwrap_or_default()
    }

    /// Whether whoever wrote it records the trace (section 3.2.2.5).
    pub fn is_sampled(&self) -> bool {
        let flags = u8::from_str_radix(self.part(53..55), 16);
        flags.unwrap_or_default() & 1 == 1
    }

    /// The id of the span that what is asked for is below: 16 hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        self.part(36..52)
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.part(3..35)
    }

    fn part(&self, place: Range<usize>) -> &str {
        let text = self.field.to_str().unwrap_or_default();
        text.get(place).unwrap_or_default()
    }

    /// The field's value.
    pub fn field(&self) -> &HeaderValue {
        &self.field
    }
}

/// A field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let field = lines.next()?;
    lines.next().is_none().then_some(field)
}

fn hexadecimal(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("hexadecimal digits and hyphens are visible ASCII")
}

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// As Envoy's and Heroku's users write them; beyond this it is content.
const REQUEST_ID_MAX: usize = 128;

/// Version, trace id, parent id, flags, and three hyphens.
const TRACEPARENT_BYTES: usize = 55;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(name: &'static str, text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(text.as_bytes()).expect("a field");
        headers.append(HeaderName::from_static(name), value);
        headers
    }

    fn trace(text: &str) -> Option<String> {
        let read = TraceParent::read(&field("traceparent", text));
        read.map(|read| read.trace_id().to_owned())
    }

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_taken_only_as_the_standard_writes_it() {
        let good = |text: String| assert_eq!(trace(&text).as_deref(), Some(TRACE), "{text}");
        let bad = |text: String| assert_eq!(trace(&text), None, "{text}");
        good(format!("00-{TRACE}-00f067aa0ba902b7-01"));
        good(format!("00-{TRACE}-00f067aa0ba902b7-ff"));
        // Of a later version, what is known of it.
        good(format!("01-{TRACE}-00f067aa0ba902b7-01-what-is-new"));
        good(format!("cc-{TRACE}-00f067aa0ba902b7-01"));
        bad(format!("01-{TRACE}-00f067aa0ba902b7-01what"));
        bad(format!("00-{TRACE}-00f067aa0ba902b7-01-more"));
        bad(format!("ff-{TRACE}-00f067aa0ba902b7-01"));
        bad(format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()));
        bad(format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)));
        bad(format!("00-{TRACE}-0000000000000000-01"));
        bad(format!("00-{TRACE}-00f067aa0ba902b7"));
        bad(format!("00-{TRACE}00f067aa-0ba902b7-01-"));
        let mut twice = field("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01"));
        let again = twice["traceparent"].clone();
        twice.append("traceparent", again);
        assert_eq!(TraceParent::read(&twice), None);
    }

    #[test]
    fn a_request_id_is_short_and_plain() {
        let read = |text: &str| RequestId::read(&field("x-request-id", text));
        let good = "f6c1-Az_9.~+/=:@";
        assert_eq!(read(good).expect("an id").as_str(), good);
        assert!(read(&"a".repeat(128)).is_some());
        for bad in ["", "a b", "a,b", "a\"b", "é", &"a".repeat(129)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_is_what_would_be_taken(trace: u128, parent: u64) {
            let made = TraceParent::new(trace, parent);
            let headers = field("traceparent", made.field().to_str().expect("text"));
            let read = TraceParent::read(&headers).expect("a good one");
            prop_assert_eq!(read.trace_id(), made.trace_id());
            let made = RequestId::new(trace);
            prop_assert_eq!(RequestId::read(&field("x-request-id", made.as_str())), Some(made));
        }
    }
}
