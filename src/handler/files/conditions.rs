//! Validators and the preconditions that clients put on them (RFC 9110 §8.8 and §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    AsHeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};

use super::encoding::Encoding;
use super::folder::Stamp;

/// What tells one representation of a file from another.
#[derive(Debug)]
pub(super) struct Validators {
    /// Strong: made of what changes with the content, to the nanosecond.
    pub(super) etag: HeaderValue,
    /// Last-Modified, in seconds since 1970; none for a file from before.
    modified: Option<u64>,
    /// Whether that second is over, so that the file cannot change within it any more.
    settled: bool,
}

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer; with the ranges asked for, if any and if `ranges`.
    Proceed { ranges: bool },
    /// 304
    NotModified,
    /// 412
    Failed,
}

impl Validators {
    pub(super) fn new(stamp: &Stamp, encoding: Option<Encoding>, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let nanos = stamp
            .modified_secs
            .wrapping_mul(1_000_000_000)
            .wrapping_add(stamp.modified_nanos);
        let (size, inode) = (stamp.size, stamp.inode);
        let coding = encoding.map_or("", Encoding::suffix);
        let etag = format!("\"{nanos:x}-{size:x}-{inode:x}{coding}\"");
        let modified = u64::try_from(stamp.modified_secs).ok();
        Self {
            etag: HeaderValue::try_from(etag).expect("hexadecimal digits, dashes and a suffix"),
            // RFC 9110 §8.8.2.1: never later than Date.
            modified: modified.map(|secs| secs.min(now)),
            settled: modified.is_some_and(|secs| secs < now),
        }
    }

    /// Last-Modified, as the field has it.
    pub(super) fn last_modified(&self) -> Option<HeaderValue> {
        let date = UNIX_EPOCH + Duration::from_secs(self.modified?);
        HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
    }

    /// Weighs the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Verdict {
        if headers.contains_key(IF_MATCH) {
            if !self.listed(headers, IF_MATCH, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified > since)
        {
            return Verdict::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.listed(headers, IF_NONE_MATCH, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified <= since)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed {
            ranges: self.range_is_of_this(headers),
        }
    }

    /// If-Range: whether what the client has a part of is this very representation.
    fn range_is_of_this(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(IF_RANGE) {
            return true;
        }
        let Some(field) = single(headers, IF_RANGE) else {
            return false;
        };
        if field.as_bytes().starts_with(b"\"") {
            return field == self.etag;
        }
        // A date must match exactly and be a strong validator (RFC 9110 §13.1.5 and §8.8.2.2). A weak tag is no date.
        let date = field.to_str().ok().and_then(parse_date);
        self.settled && date.is_some() && date == self.modified
    }

    /// Whether a list of entity tags has ours, or is `*`.
    fn listed(&self, headers: &HeaderMap, name: impl AsHeaderName, comparison: Comparison) -> bool {
        headers.get_all(name).iter().any(|field| {
            let field = field.as_bytes().trim_ascii();
            field == b"*"
                || EntityTags(field).any(|(weak, tag)| {
                    tag == self.etag.as_bytes() && (!weak || comparison == Comparison::Weak)
                })
        })
    }
}

/// RFC 9110 §8.8.3.2
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The entity tags of a list, each with whether it is weak and with its quotes. Ends where the list is malformed.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = (bool, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|byte| !is_between(byte))?;
        let text = &self.0[start..];
        let (weak, text) = match text.strip_prefix(b"W/") {
            Some(text) => (true, text),
            None => (false, text),
        };
        // A comma may stand within a tag, so the quotes alone say where it ends; there is no escape for them.
        let inner = text.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', inner)? + 2;
        let (tag, rest) = text.split_at(end);
        self.0 = rest;
        Some((weak, tag))
    }
}

/// A date that stands there once; anything else is as nothing (RFC 9110 §13.1.3 and §13.1.4).
fn date(headers: &HeaderMap, name: impl AsHeaderName) -> Option<u64> {
    parse_date(single(headers, name)?.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs())
}

fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut fields = headers.get_all(name).iter();
    let first = fields.next()?;
    fields.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests;
