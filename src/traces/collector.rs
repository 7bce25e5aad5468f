//! What a collector says of what it was sent. Pure.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::protobuf::{Value, read_field};

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was taken, all of it or but for some spans.
    Taken(PartialSuccess),
    /// It may be sent again, when this long has passed; none: when we like.
    Later {
        after: Option<Duration>,
        why: String,
    },
    /// It is not to be sent again.
    Refused(String),
}

/// What of a batch was not taken (`ExportTracePartialSuccess`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Spans that were refused.
    pub rejected: u64,
    /// What the collector says of it.
    pub message: String,
}

/// Reads a response, as OTLP 1.x has it ("OTLP/HTTP Response"): 429, 502, 503 and 504 may be sent again, nothing else may.
pub(super) fn said(
    status: StatusCode,
    headers: &HeaderMap,
    content: &[u8],
    now: SystemTime,
) -> Said {
    let why = || match text(content) {
        Some(text) => format!("it answers {status}: {text}"),
        None => format!("it answers {status}"),
    };
    match status.as_u16() {
        200..=299 => Said::Taken(partial_success(content)),
        300..=399 => Said::Refused(format!("{}, and redirects are not followed", why())),
        429 | 502..=504 => Said::Later {
            after: retry_after(headers, now),
            why: why(),
        },
        _ => Said::Refused(why()),
    }
}

/// Retry-After: seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// Reads an `ExportTraceServiceResponse`. What cannot be read says nothing: the status has said that all was taken.
pub fn partial_success(content: &[u8]) -> PartialSuccess {
    let mut partial = PartialSuccess::default();
    let mut rest = content;
    while let Some((field, value, after)) = read_field(rest) {
        rest = after;
        if let (1, Value::Bytes(mut inner)) = (field, value) {
            while let Some((field, value, after)) = read_field(inner) {
                inner = after;
                match (field, value) {
                    (1, Value::Number(rejected)) => partial.rejected = rejected,
                    (2, Value::Bytes(bytes)) => {
                        partial.message = text(bytes).unwrap_or_default();
                    }
                    _ => {}
                }
            }
        }
    }
    partial
}

/// What of some bytes a person can read. A collector's error is a message of protobuf (`google.rpc.Status`), whose text shows.
fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let readable = |sign: &char| !sign.is_control() && *sign != char::REPLACEMENT_CHARACTER;
    let text: String = text.chars().filter(readable).take(TEXT_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A collector that asks for more is asked again all the same: what waits for it has gone by then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Of what a collector says, as much as a line of a log has room for.
const TEXT_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::protobuf::Message;
    use super::*;

    fn answer(status: u16, field: Option<&str>) -> Said {
        let mut headers = HeaderMap::new();
        if let Some(value) = field {
            headers.insert(RETRY_AFTER, value.parse().expect("a field"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        // Sunday, 6 November 1994, 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        said(status, &headers, b"", now)
    }

    fn wait(status: u16, field: Option<&str>) -> Option<Duration> {
        match answer(status, field) {
            Said::Later { after, .. } => after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_protocol_names_is_sent_again() {
        for status in 100..600 {
            let said = answer(status, None);
            let again = matches!(said, Said::Later { .. });
            assert_eq!(again, [429, 502, 503, 504].contains(&status), "{status}");
            let taken = matches!(said, Said::Taken(_));
            assert_eq!(taken, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_collector_says_when_to_come_back() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(429, Some("7")), seconds(7));
        assert_eq!(wait(503, Some("Sun, 06 Nov 1994 08:49:40 GMT")), seconds(3));
        assert_eq!(wait(503, Some("Sun, 06 Nov 1994 08:00:00 GMT")), seconds(0));
        assert_eq!(wait(503, Some("86400")), Some(RETRY_AFTER_MAX));
        assert_eq!(wait(503, Some("soon")), None);
        assert_eq!(wait(502, None), None);
    }

    #[test]
    fn what_was_taken_in_part_is_told() {
        let mut message = Message::default();
        message.message(1, |partial| {
            partial.number(1, 12);
            partial.bytes(2, b"too\nold");
        });
        let expected = PartialSuccess {
            rejected: 12,
            message: "tooold".into(),
        };
        assert_eq!(partial_success(&message.into_bytes()), expected);
        assert_eq!(partial_success(b""), PartialSuccess::default());
    }

    proptest! {
        #[test]
        fn any_content_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(partial_success(&bytes).message.chars().count() <= TEXT_MAX);
        }
    }
}
