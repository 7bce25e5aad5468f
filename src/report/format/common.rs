//! The NCSA common log format: `host - - [date] "request" status bytes`.
//!
//! Inside the quotes, a quote, a backslash, a control character and every byte beyond ASCII are written `\xHH`, as nginx does.

use std::io::Write as _;

use super::clock::Clock;
use super::{cut, http_version};
use crate::report::Access;

pub(super) fn accessed(clock: &Clock, entry: &Access<'_>, line: &mut Vec<u8>) {
    // A write to a Vec cannot fail.
    let _ = write!(line, "{} - - [", entry.client.ip());
    line.extend_from_slice(clock.common());
    line.extend_from_slice(b"] \"");
    text(line, entry.method);
    line.push(b' ');
    text(line, entry.path);
    if let Some(query) = entry.query {
        line.push(b'?');
        text(line, query);
    }
    line.push(b' ');
    text(line, http_version(entry.version));
    line.extend_from_slice(b"\" ");
    let _ = match entry.status {
        Some(status) => write!(line, "{status} "),
        None => write!(line, "- "),
    };
    // Apache's %b, which readers of this format expect: no content is `-`.
    let _ = match entry.bytes_sent {
        0 => write!(line, "-"),
        bytes => write!(line, "{bytes}"),
    };
}

fn text(line: &mut Vec<u8>, value: &str) {
    let (value, rest) = cut(value);
    for &byte in value.as_bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\' {
            line.push(byte);
        } else {
            let _ = write!(line, "\\x{byte:02X}");
        }
    }
    line.extend_from_slice(rest.as_bytes());
}
