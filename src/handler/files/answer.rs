//! From an open file and a request to the response.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::conditions::{Validators, Verdict};
use super::content::{self, Part};
use super::encoding::Encoding;
use super::folder::File;
use super::ranges::{self, ByteRange, Ranges};
use crate::handler::Outcome;
use crate::model::{Body, Reason, Refusal};

/// What a file is served as.
pub(super) struct Representation<'a> {
    /// The file, or the compressed sibling that is sent in its place.
    pub(super) file: File,
    /// The coding of the sibling.
    pub(super) encoding: Option<Encoding>,
    /// Of the content, whatever its coding.
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: Option<&'a HeaderValue>,
    /// Whether another request might have got another coding.
    pub(super) varies: bool,
}

impl Representation<'_> {
    /// Answers a GET or HEAD.
    pub(super) fn answer(self, request: &Request<Body>) -> Outcome {
        let validators = Validators::new(&self.file.stamp, self.encoding, SystemTime::now());
        match validators.judge(request.headers()) {
            Verdict::NotModified => Ok(self.not_modified(validators)),
            Verdict::Failed => Ok(plain(StatusCode::PRECONDITION_FAILED)),
            // Range means something for GET only (RFC 9110 §14.2).
            Verdict::Proceed { ranges: true } if request.method() == Method::GET => {
                let ranges = ranges::requested(request.headers(), self.file.stamp.size);
                self.send(validators, ranges)
            }
            Verdict::Proceed { .. } if request.method() == Method::GET => {
                self.send(validators, Ranges::Whole)
            }
            Verdict::Proceed { .. } => {
                let mut response = Response::new(Body::empty());
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, self.file.stamp.size.into());
                headers.insert(CONTENT_TYPE, self.content_type.clone());
                self.describe(headers, validators);
                Ok(response)
            }
        }
    }

    fn send(self, validators: Validators, ranges: Ranges) -> Outcome {
        let size = self.file.stamp.size;
        let mut response = Response::new(Body::empty());
        let mut content_type = self.content_type.clone();
        self.describe(response.headers_mut(), validators);
        let file = self.file.file;
        let body = match ranges {
            Ranges::Unsatisfiable => return Ok(unsatisfiable(size)),
            Ranges::Whole => content::body_of_range(
                file,
                ByteRange {
                    start: 0,
                    end: size,
                },
            ),
            Ranges::One(range) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let headers = response.headers_mut();
                headers.insert(CONTENT_RANGE, field(content_range(range, size)));
                content::body_of_range(file, range)
            }
            Ranges::Several(ranges) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let boundary = boundary();
                let parts = multipart(&boundary, &content_type, &ranges, size);
                content_type = field(format!("multipart/byteranges; boundary={boundary}"));
                content::body(file, parts)
            }
        };
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        *response.body_mut() = body.map_err(|error| unreadable(&error))?;
        Ok(response)
    }

    /// RFC 9110 §15.4.5: what guides a cache, and nothing that describes the content it has already.
    fn not_modified(self, validators: Validators) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        self.guide_caches(headers);
        headers.insert(ETAG, validators.etag);
        response
    }

    /// The fields of every answer that carries content of the file, and of the HEAD of it. Content-Length is the driver's,
    /// from the body's exact size.
    fn describe(&self, headers: &mut HeaderMap, validators: Validators) {
        self.guide_caches(headers);
        if let Some(date) = validators.last_modified() {
            headers.insert(LAST_MODIFIED, date);
        }
        headers.insert(ETAG, validators.etag);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(encoding) = self.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
    }

    fn guide_caches(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.cache_control {
            headers.insert(CACHE_CONTROL, value.clone());
        }
        if self.varies {
            headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
        }
    }
}

/// The content type of a file, by its name.
pub(super) fn content_type(path: &str) -> HeaderValue {
    // What is asked for most needs no text put together.
    let known = match mime_guess::from_path(path).first_raw() {
        Some("text/html") => "text/html; charset=utf-8",
        Some("text/css") => "text/css; charset=utf-8",
        Some("text/plain") => "text/plain; charset=utf-8",
        // RFC 9239 §6: the other names of JavaScript are obsolete.
        Some("text/javascript" | "application/javascript") => "text/javascript; charset=utf-8",
        Some(text) if text.starts_with("text/") => {
            return field(format!("{text}; charset=utf-8"));
        }
        Some(other) => other,
        None => "application/octet-stream",
    };
    HeaderValue::from_static(known)
}

/// 412 and 416 are no refusals: nobody is to blame, and 416 has to name the size. They are answered here, in the form of the
/// responses that Portunus makes itself.
fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::full(format!("{status}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn unsatisfiable(size: u64) -> Response<Body> {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
    response
        .headers_mut()
        .insert(CONTENT_RANGE, field(format!("bytes */{size}")));
    response
}

/// The parts of multipart/byteranges (RFC 9110 §14.6).
fn multipart(
    boundary: &str,
    content_type: &HeaderValue,
    ranges: &[ByteRange],
    size: u64,
) -> Vec<Part> {
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    let mut line_end = "";
    for range in ranges {
        let mut head = format!("{line_end}--{boundary}\r\ncontent-type: ").into_bytes();
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\ncontent-range: ");
        head.extend_from_slice(content_range(*range, size).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        parts.push(Part::Text(head.into()));
        parts.push(Part::File(*range));
        line_end = "\r\n";
    }
    parts.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    parts
}

fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// A text that no file has in it but by a chance of 2⁻¹²⁸: the keys of `RandomState` are random, and so is what becomes of
/// nothing under them.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// A field made of digits and words of ours.
fn field(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and words of ours are visible ASCII")
}

/// Nothing is sent yet, so the client may try again when whoever writes the file is done.
fn unreadable(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Refusal::new(
            Reason::Internal,
            "the file became shorter while it was read",
        )
        .with_status(StatusCode::SERVICE_UNAVAILABLE),
        _ => Refusal::new(
            Reason::Internal,
            format!("the file cannot be read: {error}"),
        ),
    }
}
