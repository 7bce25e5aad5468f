//! Heads of HTTP/1.1 as a client of it has them: a request's is written, a response's is read. No sockets, no clock.
//!
//! A response that others might read otherwise than we do is none (RFC 9112 section 6.3): whoever stands before us would not
//! agree with us where it ends.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use httparse::{ParserConfig, Status};

use crate::handler::proxy::fields;

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, but for those that speak of the connection or of the framing to us alone.
    pub headers: HeaderMap,
    /// How its content is told from what follows.
    pub framing: Framing,
    /// Whether the connection may have another request behind it.
    pub keeps: bool,
    /// Whether among the fields is what must not be passed on as it is.
    pub hops: bool,
    /// What was read behind the head.
    pub rest: Bytes,
}

/// How a response's content is told from what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has so many bytes.
    Length(u64),
    /// It is chunked.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// Writes a request's head but for its content's framing, which is the last field and the caller's.
pub(super) fn write<B>(request: &Request<B>, target: &mut Vec<u8>) {
    target.extend_from_slice(request.method().as_str().as_bytes());
    target.push(b' ');
    match request.uri().path_and_query() {
        Some(path) => target.extend_from_slice(path.as_str().as_bytes()),
        // Of an own request; a client's always has one.
        None => target.push(b'/'),
    }
    target.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        write_field(name, value, target);
    }
}

/// Writes a field's line.
pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, target: &mut Vec<u8>) {
    target.extend_from_slice(name.as_str().as_bytes());
    target.extend_from_slice(b": ");
    target.extend_from_slice(value.as_bytes());
    target.extend_from_slice(b"\r\n");
}

/// Reads a response's head at the front of `bytes`: none while it is not whole. `asked`: the method that it answers; `spare`: a
/// map to be used again.
///
/// What is wrong with it, if it is no head or one that must not be passed on.
pub fn read(bytes: &Bytes, asked: &Method, spare: &mut HeaderMap) -> Result<Option<Head>, String> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut line = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut line, bytes, &mut room)
        .map_err(|error| format!("its response is not HTTP: {error}"))?;
    let (length, whole) = match parsed {
        Status::Complete(length) => (length, true),
        Status::Partial => (bytes.len(), false),
    };
    if length > HEAD_BYTES_MAX {
        return Err("its response's head is longer than 64 KiB".to_owned());
    }
    if !whole {
        return Ok(None);
    }
    let status = line.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or("its status is none")?;
    let headers = match status.is_informational() {
        true => HeaderMap::new(),
        false => std::mem::take(spare),
    };
    let mut fields = Fields::new(status, asked, headers);
    for field in line.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| "a field's name is none")?;
        fields.take(name, field.value, bytes)?;
    }
    let (framing, keeps) = fields.settle(asked, line.version == Some(1))?;
    Ok(Some(Head {
        status,
        headers: fields.headers,
        framing,
        keeps,
        hops: fields.hops,
        rest: bytes.slice(length..),
    }))
}

/// Fields as they are read, and what they say of the connection.
struct Fields {
    headers: HeaderMap,
    status: StatusCode,
    length: Option<u64>,
    chunked: bool,
    closes: bool,
    hops: bool,
    /// There is no content to be measured, so that its length stands among the fields.
    tells_length: bool,
}

impl Fields {
    fn new(status: StatusCode, asked: &Method, mut headers: HeaderMap) -> Self {
        headers.clear();
        Self {
            headers,
            status,
            length: None,
            chunked: false,
            closes: false,
            hops: status.is_informational(),
            tells_length: fields::tells_length(asked, status),
        }
    }

    fn take(&mut self, name: HeaderName, value: &[u8], shared: &Bytes) -> Result<(), &'static str> {
        let passes = if name == CONTENT_LENGTH {
            self.take_length(value)?;
            self.tells_length
        } else if name == TRANSFER_ENCODING {
            self.take_coding(value)?;
            false
        } else if name == CONNECTION {
            self.take_connection(value)
        } else {
            self.hops |= fields::stays_with_upstream(name.as_str());
            true
        };
        if passes {
            let value = HeaderValue::from_maybe_shared(shared.slice_ref(value));
            let value = value.map_err(|_| "a field's value is none")?;
            let appended = self.headers.try_append(name, value);
            appended.map_err(|_| "it has too many fields")?;
        }
        Ok(())
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        // Lengths that agree are two all the same.
        if self.length.is_some() {
            return Err("its response says how long it is in more than one way");
        }
        let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| plain);
        self.length = digits.and_then(|digits| digits.parse().ok());
        match self.length {
            Some(_) => Ok(()),
            None => Err("its response says how long it is, and not by one number"),
        }
    }

    /// To the letter: what ends in another coding, an empty one among them, would go on until the connection closes.
    fn take_coding(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err("its response has a transfer coding other than chunked");
        }
        self.chunked = true;
        Ok(())
    }

    /// Whether it says more than whether the connection is kept.
    fn take_connection(&mut self, value: &[u8]) -> bool {
        let mut says_more = self.status == StatusCode::SWITCHING_PROTOCOLS;
        for token in value.split(|&byte| byte == b',') {
            let token = token.trim_ascii();
            if token.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if !token.is_empty() && !token.eq_ignore_ascii_case(b"keep-alive") {
                says_more = true;
            }
        }
        self.hops |= says_more;
        says_more
    }

    /// How the content is told from what follows (RFC 9112 section 6.3), and whether the connection may be used again.
    fn settle(&self, asked: &Method, is_1_1: bool) -> Result<(Framing, bool), &'static str> {
        if self.chunked && self.length.is_some() {
            return Err("its response has both Content-Length and Transfer-Encoding");
        }
        if self.chunked && !is_1_1 {
            return Err("its response is of HTTP/1.0 and has Transfer-Encoding");
        }
        let has_none = *asked == Method::HEAD
            || self.status.is_informational()
            || matches!(
                self.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        // Neither may announce content (RFC 9110 section 8.6). An upstream that sends it all the same sends what would be read
        // as the next response.
        let announced = self.chunked || self.length.is_some_and(|length| length > 0);
        if announced && is_interim(self.status) {
            return Err("its interim response says that it has content");
        }
        let doubtful = announced && self.status == StatusCode::NO_CONTENT;
        let framing = match (has_none, self.chunked, self.length) {
            (true, ..) => Framing::Length(0),
            (_, true, _) => Framing::Chunked,
            (_, _, Some(length)) => Framing::Length(length),
            (_, _, None) => Framing::UntilClose,
        };
        // A server of HTTP/1.0 closes unless it says otherwise, and few that do mean it.
        let keeps = is_1_1 && !self.closes && !doubtful && framing != Framing::UntilClose;
        Ok((framing, keeps))
    }
}

/// Whether another head follows.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Reads trailer fields, the empty line behind them included.
pub(super) fn trailers(bytes: &[u8]) -> Option<HeaderMap> {
    let mut room = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let Ok(Status::Complete((_, fields))) = httparse::parse_headers(bytes, &mut room) else {
        return None;
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        trailers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(trailers)
}

/// Fields of a head, or of trailers.
pub(super) const FIELDS_MAX: usize = 100;

/// A response's head. nginx takes 4 to 8 KiB, HAProxy 16.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
