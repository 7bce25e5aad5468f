//! The head of a CGI program's response (RFC 3875 section 6), pure.
//!
//! Fields alone, without a status line: `Status` says it. Lines end with LF or with CRLF, as programs have it. Nothing of the
//! head is passed on as it came.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};

/// A head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What `Status` says, or what its absence means.
    pub status: StatusCode,
    /// Every other field.
    pub fields: HeaderMap,
}

/// What is wrong with a head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// It does not end.
    #[error("its head is longer than {HEAD_BYTES_MAX} bytes")]
    Long,
    /// It has too many fields.
    #[error("its head has more than {FIELDS_MAX} fields")]
    Fields,
    /// There is nothing in it.
    #[error("its response begins with an empty line, so that it has no head")]
    Empty,
    /// A line is no field.
    #[error("a line of its head is no field: {0:?}")]
    Line(String),
    /// A status that no response can have.
    #[error("its status is {0:?}, and must be a number from 200 to 599")]
    Status(String),
}

/// Gathers a head from pieces.
#[derive(Debug, Default)]
pub struct Gather {
    read: BytesMut,
    /// Up to where no end was found.
    looked_at: usize,
}

impl Gather {
    /// Takes a piece; the head and what follows it, once it is whole.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<(Head, Bytes)>, HeadFault> {
        self.read.extend_from_slice(piece);
        let Some((end, rest)) = self.find_end() else {
            return match self.read.len() > HEAD_BYTES_MAX {
                true => Err(HeadFault::Long),
                false => Ok(None),
            };
        };
        if end > HEAD_BYTES_MAX {
            return Err(HeadFault::Long);
        }
        let mut read = std::mem::take(&mut self.read).freeze();
        let head = parse(&read[..end])?;
        read.advance(rest);
        Ok(Some((head, read)))
    }

    /// Whether anything was taken.
    pub fn has_begun(&self) -> bool {
        !self.read.is_empty()
    }

    /// Where the head's last line ends, and where its content begins: behind an empty line.
    fn find_end(&mut self) -> Option<(usize, usize)> {
        let read = &self.read[..];
        match read {
            [b'\n', ..] => return Some((0, 1)),
            [b'\r', b'\n', ..] => return Some((0, 2)),
            _ => {}
        }
        while let Some(found) = memchr::memchr(b'\n', &read[self.looked_at..]) {
            let line_end = self.looked_at + found + 1;
            match &read[line_end..] {
                [b'\n', ..] => return Some((line_end, line_end + 1)),
                [b'\r', b'\n', ..] => return Some((line_end, line_end + 2)),
                // What comes next may be the end: the same line end is looked at again.
                [] | [b'\r'] => break,
                _ => self.looked_at = line_end,
            }
        }
        None
    }
}

fn parse(head: &[u8]) -> Result<Head, HeadFault> {
    let mut fields = HeaderMap::new();
    let mut status = None;
    let mut count = 0;
    let lines = head.strip_suffix(b"\n").ok_or(HeadFault::Empty)?;
    for line in lines.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, value) = field(line).ok_or_else(|| HeadFault::Line(shown(line)))?;
        count += 1;
        if count > FIELDS_MAX {
            return Err(HeadFault::Fields);
        }
        if name == "status" {
            // Two of them are two readings.
            if status.replace(read_status(&value)?).is_some() {
                return Err(HeadFault::Line(shown(line)));
            }
        } else {
            fields.append(name, value);
        }
    }
    // A redirect says where to, and need not say that it is one (RFC 3875 section 6.2.3).
    let default = match fields.contains_key(LOCATION) {
        true => StatusCode::FOUND,
        false => StatusCode::OK,
    };
    let status = status.unwrap_or(default);
    Ok(Head { status, fields })
}

/// A field's name and value. A line that begins with a blank, which once continued the one before it, is none.
fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// `404 Not Found`, of which the number counts. Interim responses are not for CGI programs to give.
fn read_status(value: &HeaderValue) -> Result<StatusCode, HeadFault> {
    let mut words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
    let digits = words.next().unwrap_or_default();
    let status = StatusCode::from_bytes(digits).ok();
    let status = status.filter(|status| (200..600).contains(&status.as_u16()));
    status.ok_or_else(|| HeadFault::Status(shown(value.as_bytes())))
}

/// The beginning of what is wrong.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]).into_owned()
}

/// As of an HTTP upstream. nginx takes 4 to 8 KiB, HAProxy 16.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// As of an HTTP upstream.
const FIELDS_MAX: usize = 100;

const SHOWN_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests;
