//! The W3C extended log format, with IIS' field names where it has them and `x-` names where it has none.
//!
//! Fields are parted by spaces: a space, a tab or a control character inside a value is written as `+`, and a value that is
//! missing or empty as `-`. Times are whole milliseconds, as IIS writes `time-taken`.

use std::io::Write as _;
use std::time::Duration;

use super::clock::Clock;
use super::{cut, http_version};
use crate::report::Access;

/// The fields, in the order of [`accessed`].
const FIELDS: &str = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs-version cs(User-Agent) cs(Referer) \
cs-host sc-status sc-bytes cs-bytes time-taken x-sni x-alpn x-tls x-cipher x-tls-resumed x-pool x-queue-wait x-handler-time x-reason \
x-client-subject x-client-fingerprint x-peer x-request-id x-trace-id x-span-id x-upstream x-upstream-attempts x-upstream-connect \
x-upstream-response";

/// The directives that a file begins with, and that are written again whenever it is opened.
pub(super) fn header(clock: &Clock) -> Vec<u8> {
    let mut header = Vec::with_capacity(512);
    header.extend_from_slice(b"#Software: Portunus ");
    header.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    header.extend_from_slice(b"\n#Version: 1.0\n#Date: ");
    header.extend_from_slice(clock.date());
    header.push(b' ');
    header.extend_from_slice(clock.time_of_day());
    header.extend_from_slice(b"\n#Fields: ");
    header.extend_from_slice(FIELDS.as_bytes());
    header.push(b'\n');
    header
}

pub(super) fn accessed(clock: &Clock, entry: &Access<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(clock.date());
    line.push(b' ');
    line.extend_from_slice(clock.time_of_day());
    // A write to a Vec cannot fail.
    let _ = write!(line, " {}", entry.local.ip());
    text(line, Some(entry.method));
    text(line, Some(entry.path));
    text(line, entry.query);
    let _ = write!(line, " {} {}", entry.local.port(), entry.client.ip());
    text(line, Some(http_version(entry.version)));
    text(line, entry.user_agent);
    text(line, entry.referer);
    text(line, entry.host);
    known(line, entry.status.map(u64::from), number);
    number(line, entry.bytes_sent);
    number(line, entry.bytes_received);
    millis(line, entry.duration);
    text(line, entry.sni);
    text(line, entry.alpn);
    text(line, entry.tls_version);
    text(line, entry.cipher);
    text(
        line,
        entry
            .tls_resumed
            .map(|resumed| if resumed { "1" } else { "0" }),
    );
    text(line, entry.pool);
    millis(line, entry.queue_wait);
    millis(line, entry.handler_time);
    text(line, entry.reason.map(|reason| reason.as_str()));
    text(line, entry.client_subject);
    text(line, entry.client_fingerprint);
    match entry.peer {
        Some(peer) => {
            let _ = write!(line, " {}", peer.ip());
        }
        None => text(line, None),
    }
    text(line, entry.request_id);
    text(line, entry.trace_id);
    text(line, entry.span_id);
    text(line, entry.upstream.map(|it| it.name));
    let attempts = entry.upstream.map(|it| u64::from(it.attempts));
    known(line, attempts, number);
    let took = entry.upstream.map(|it| it.took).unwrap_or_default();
    known(line, took.connect, millis);
    known(line, took.response, millis);
}

fn known<T>(line: &mut Vec<u8>, value: Option<T>, write: fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(line, value),
        None => text(line, None),
    }
}

fn text(line: &mut Vec<u8>, value: Option<&str>) {
    line.push(b' ');
    let (value, rest) = cut(value.unwrap_or_default());
    if value.is_empty() {
        line.push(b'-');
        return;
    }
    if value.is_ascii() {
        line.extend(value.bytes().map(|byte| match byte {
            b'!'..=b'~' => byte,
            _ => b'+',
        }));
    } else {
        // Unicode has spaces and line ends of its own, and there are readers that take them for such.
        for symbol in value.chars() {
            let parts = symbol.is_whitespace() || symbol.is_control();
            let symbol = if parts { '+' } else { symbol };
            line.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    line.extend_from_slice(rest.as_bytes());
}

fn number(line: &mut Vec<u8>, value: u64) {
    // A write to a Vec cannot fail.
    let _ = write!(line, " {value}");
}

fn millis(line: &mut Vec<u8>, value: Duration) {
    let _ = write!(line, " {}", value.as_millis());
}
