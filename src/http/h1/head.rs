//! Reading the head of an HTTP/1 request, as strictly as RFC 9112 allows.
//!
//! This is the one place of HTTP/1 strictness. hyper reads every head again, and more leniently; it only ever sees what
//! passed here. Pure: bytes in, a verdict out.

use memchr::memchr;

use crate::model::{Reason, Refusal};

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Request line and all fields, in bytes, line ends included.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
    /// The request target, in bytes.
    pub target: usize,
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Reading {
    /// More bytes are needed.
    Partial,
    /// A whole head that may be passed on.
    Whole(Head),
    /// A head that no more bytes can mend.
    Refused(Refusal),
}

/// A whole head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, empty lines before it included.
    pub length: usize,
    /// How the content behind it is framed.
    pub framing: Framing,
    /// Whether it asks to leave HTTP.
    pub upgrade: bool,
}

/// How a request's content is framed (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Reads a head from the first bytes of a request.
pub fn read(bytes: &[u8], limits: &HeadLimits) -> Reading {
    let reader = Reader {
        bytes,
        at: 0,
        limits,
    };
    match reader.head() {
        Ok(Some(head)) => Reading::Whole(head),
        Ok(None) => Reading::Partial,
        Err(refusal) => Reading::Refused(refusal),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a HeadLimits,
}

/// What the fields read so far say about framing.
#[derive(Default)]
struct Fields {
    count: usize,
    content_length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl<'a> Reader<'a> {
    fn head(mut self) -> Result<Option<Head>, Refusal> {
        // RFC 9112 section 2.2: a server should ignore an empty line before the request line.
        while let Some(b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += match self.bytes[self.at..] {
                [b'\r'] => return Ok(None),
                [b'\r', b'\n', ..] => 2,
                [b'\r', ..] => return refuse(Reason::InvalidCrLf, LONE_CR),
                _ => 1,
            };
            if self.at > EMPTY_BYTES_MAX {
                return refuse(
                    Reason::InvalidCrLf,
                    "the request begins with too many empty lines",
                );
            }
        }
        if let Some(&first) = self.bytes.get(self.at)
            && !is_token(first)
        {
            return refuse(Reason::BadRequest, not_http(first));
        }
        let line_start = self.at;
        let Some(line) = self.line()? else {
            return self.unfinished(line_start, true);
        };
        let version = self.request_line(line)?;
        let mut fields = Fields::default();
        loop {
            let Some(line) = self.line()? else {
                return self.unfinished(line_start, false);
            };
            if line.is_empty() {
                break;
            }
            fields.take(line, version, self.limits)?;
        }
        if self.at - line_start > self.limits.bytes {
            return refuse(Reason::RequestLength, TOO_LONG);
        }
        let framing = match (fields.chunked, fields.content_length) {
            (true, Some(_)) => {
                return refuse(
                    Reason::Header,
                    "both Content-Length and Transfer-Encoding are given",
                );
            }
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Some(Head {
            length: self.at,
            framing,
            upgrade: fields.upgrade && version == Version::Http11,
        }))
    }

    /// The next line without its end; none while its end has not arrived. RFC 9112 section 2.2 lets a recipient take a
    /// bare LF for a line end; a CR anywhere but before the LF is refused.
    fn line(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr(b'\n', rest) else {
            return Ok(None);
        };
        self.at += end + 1;
        let line = match &rest[..end] {
            [line @ .., b'\r'] => line,
            line => line,
        };
        if memchr(b'\r', line).is_some() {
            return refuse(Reason::InvalidCrLf, LONE_CR);
        }
        Ok(Some(line))
    }

    /// Whether a head that is not whole yet is too long already.
    fn unfinished(&self, start: usize, in_request_line: bool) -> Result<Option<Head>, Refusal> {
        let have = self.bytes.len() - start;
        // The method and the version stand in the same line; 64 bytes are room for both.
        if in_request_line && have > self.limits.target + 64 {
            return refuse(
                Reason::UrlLength,
                "the request target is longer than limits.max_uri_bytes",
            );
        }
        if have > self.limits.bytes {
            return refuse(Reason::RequestLength, TOO_LONG);
        }
        Ok(None)
    }

    fn request_line(&self, line: &[u8]) -> Result<Version, Refusal> {
        let method_end = line
            .iter()
            .position(|&b| !is_token(b))
            .unwrap_or(line.len());
        if method_end == 0 || method_end > METHOD_BYTES_MAX || line.get(method_end) != Some(&b' ') {
            return refuse(
                Reason::Verb,
                "the request line does not begin with a method and one space",
            );
        }
        let rest = &line[method_end + 1..];
        let mut plain = PLAIN;
        let target_end = rest
            .iter()
            .position(|&b| {
                let class = CLASSES[b as usize];
                let ends = class & TARGET == 0;
                plain &= if ends { PLAIN } else { class };
                ends
            })
            .unwrap_or(rest.len());
        if target_end > self.limits.target {
            return refuse(
                Reason::UrlLength,
                "the request target is longer than limits.max_uri_bytes",
            );
        }
        if target_end == 0 {
            return refuse(
                Reason::Url,
                "the request line has no target, or more than one space before it",
            );
        }
        let target = &rest[..target_end];
        if plain == 0 || target[0] != b'/' {
            uncommon_target(target, &line[..method_end])?;
        }
        match rest.get(target_end) {
            Some(b' ') => Version::read(&rest[target_end + 1..]),
            Some(_) => refuse(
                Reason::Url,
                "the request target contains a byte that must be percent-encoded",
            ),
            None => refuse(
                Reason::VersionNotSupported,
                "the request line names no HTTP version (HTTP/0.9 is not spoken)",
            ),
        }
    }
}

/// Looks at a target that is no plain path as hyper will: what it cannot read, it would refuse without a word in the error
/// log.
fn uncommon_target(target: &[u8], method: &[u8]) -> Result<(), Refusal> {
    let Ok(uri) = http::Uri::try_from(target) else {
        return refuse(
            Reason::Url,
            "the request target is malformed or contains a byte that must be percent-encoded",
        );
    };
    // A host alone is for CONNECT only (RFC 9112 section 3.2.3); it would pass for the path `/` of whatever Host says.
    if uri.path().is_empty() && method != b"CONNECT" {
        return refuse(
            Reason::Url,
            "the request target is neither a path, a whole URL nor *",
        );
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Version {
    fn read(text: &[u8]) -> Result<Self, Refusal> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            // RFC 9110 section 2.5 would have HTTP/1.2 read as HTTP/1.1; there is none, and hyper does not read it.
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                refuse(
                    Reason::VersionNotSupported,
                    "this connection speaks HTTP/1.1 and HTTP/1.0 only",
                )
            }
            _ => refuse(
                Reason::BadRequest,
                "the request line does not end with an HTTP version",
            ),
        }
    }
}

impl Fields {
    fn take(&mut self, line: &[u8], version: Version, limits: &HeadLimits) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > limits.fields {
            return refuse(
                Reason::FieldLength,
                "the request has more fields than limits.max_header_fields",
            );
        }
        let name_end = line
            .iter()
            .position(|&b| !is_token(b))
            .unwrap_or(line.len());
        if name_end == 0 && matches!(line[0], b' ' | b'\t') {
            return refuse(
                Reason::Header,
                "a field is continued on a second line (obs-fold, RFC 9112 section 5.2)",
            );
        }
        if name_end == 0 || line.get(name_end) != Some(&b':') {
            return refuse(
                Reason::Header,
                "a field's name is malformed or not directly followed by a colon",
            );
        }
        // Before what is around it is taken off: a form feed is no white space in HTTP, but is to `trim_ascii`.
        let value = &line[name_end + 1..];
        if !value.iter().all(|&b| is_field_value(b)) {
            return refuse(
                Reason::Header,
                "a field's value contains a control character",
            );
        }
        let value = value.trim_ascii();
        let name = &line[..name_end];
        match name_end {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(value, version)
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // RFC 9110 section 8.6 lets a recipient take equal repeated lengths; two recipients that disagree here are how
        // requests are smuggled, so one length is what is taken.
        if self.content_length.is_some() {
            return refuse(Reason::Header, "Content-Length is given more than once");
        }
        let digits = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
        let length = digits.then(|| {
            value
                .iter()
                .fold(0_u64, |n, &d| n * 10 + u64::from(d - b'0'))
        });
        if length.is_none() {
            return refuse(
                Reason::Number,
                "Content-Length is not a plain decimal number",
            );
        }
        self.content_length = length;
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        if version == Version::Http10 {
            return refuse(
                Reason::Header,
                "Transfer-Encoding is given in an HTTP/1.0 request",
            );
        }
        if self.chunked {
            return refuse(Reason::Header, "Transfer-Encoding is given more than once");
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return refuse(
                Reason::NotImplemented,
                "the only transfer coding that is taken is chunked",
            );
        }
        self.chunked = true;
        Ok(())
    }
}

fn refuse<T>(reason: Reason, detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

fn not_http(first: u8) -> &'static str {
    match first {
        0x16 => {
            "TLS arrived on a port that speaks cleartext HTTP; use an http:// address or the https port"
        }
        _ => "what arrived is not HTTP",
    }
}

/// Bytes of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Everything but control characters, HTAB excepted (RFC 9110 section 5.5).
fn is_field_value(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

const TOKEN: u8 = 1;
/// Visible bytes, and those above ASCII, which old clients send unencoded. A fragment has no place in a request target (RFC
/// 9112 section 3.2).
const TARGET: u8 = 2;
const VALUE: u8 = 4;
/// What hyper takes everywhere in a path and a query.
const PLAIN: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= TOKEN;
        }
        if b > b' ' && b != 0x7f && b != b'#' {
            class |= TARGET;
            if b < 0x7f && !matches!(b, b'"' | b'<' | b'>' | b'`') {
                class |= PLAIN;
            }
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= VALUE;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

/// Empty bytes before a request line: an old client's line end too many is forgiven, a stream of them is not.
const EMPTY_BYTES_MAX: usize = 8;

/// Longer than any registered method.
const METHOD_BYTES_MAX: usize = 64;

const LONE_CR: &str = "a CR in the head is not followed by LF";

const TOO_LONG: &str = "request line and fields are longer than limits.max_request_bytes";
