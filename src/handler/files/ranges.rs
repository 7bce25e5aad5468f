//! The Range field (RFC 9110 §14): which bytes of a file a request asks for.
//!
//! `http-range-header` is not used: it refuses leading zeros, which the grammar allows, refuses all ranges when a single one
//! lies behind the end, and keeps as many as a client cares to write.

use http::HeaderMap;
use http::header::RANGE;

/// Some bytes of a file; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    /// The first byte.
    pub(super) start: u64,
    /// Behind the last byte.
    pub(super) end: u64,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The whole file, as if no range were asked for.
    Whole,
    /// 416: no range has a byte in the file.
    Unsatisfiable,
    /// One part.
    One(ByteRange),
    /// Several, at most [`RANGES_MAX`], in the client's order, none overlapping another.
    Several(Vec<ByteRange>),
}

/// One range, as the client wrote it.
enum Spec {
    Within(ByteRange),
    /// Well-formed, without a byte in the file.
    Beyond,
}

/// Reads the Range field of a request for a file of `size` bytes.
///
/// A field that is malformed, or that asks for too much, is as none: RFC 9110 §14.2 lets a server ignore any Range field,
/// and names many ranges and overlapping ones as those to be wary of.
pub(super) fn requested(headers: &HeaderMap, size: u64) -> Ranges {
    let mut fields = headers.get_all(RANGE).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => parse(field.as_bytes(), size).unwrap_or(Ranges::Whole),
        // Range is no list: two of them are one too many.
        _ => Ranges::Whole,
    }
}

/// None when the field is malformed or asks for too much.
pub(super) fn parse(field: &[u8], size: u64) -> Option<Ranges> {
    let (unit, set) = field.split_at_checked(UNIT.len())?;
    if !unit.eq_ignore_ascii_case(UNIT) {
        return None;
    }
    let mut kept: Vec<ByteRange> = Vec::new();
    let mut well_formed = false;
    // A list's recipient passes over empty members (RFC 9110 §5.6.1.2). They count, so that they are bounded too.
    for (index, member) in set.split(|byte| *byte == b',').enumerate() {
        if index >= RANGES_MAX {
            return None;
        }
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        well_formed = true;
        if let Spec::Within(range) = parse_spec(member, size)? {
            if kept.iter().any(|other| other.overlaps(range)) {
                return None;
            }
            kept.push(range);
        }
    }
    well_formed.then_some(match kept.as_slice() {
        [] => Ranges::Unsatisfiable,
        [one] => Ranges::One(*one),
        _ => Ranges::Several(kept),
    })
}

fn parse_spec(text: &[u8], size: u64) -> Option<Spec> {
    let dash = text.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&text[..dash], &text[dash + 1..]);
    let (start, end) = match (first, last) {
        (b"", b"") => return None,
        (b"", suffix) => {
            let suffix = number(suffix)?;
            // The suffix of an empty file can be satisfied, but Content-Range cannot say so: the whole file it is.
            if size == 0 && suffix > 0 {
                return None;
            }
            (size.saturating_sub(suffix), size)
        }
        (first, b"") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if start < end {
        Spec::Within(ByteRange { start, end })
    } else {
        Spec::Beyond
    })
}

/// A number of any length: one that is too large for 64 bits lies behind the end of every file all the same.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        digit.is_ascii_digit().then(|| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

impl ByteRange {
    /// How many bytes.
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

const UNIT: &[u8] = b"bytes=";

/// Ranges of one request. Players and readers of PDF ask for one or two; 16 leave room for those that ask for an index and
/// some pages at once, and keep the fields around the parts small beside the parts.
pub(super) const RANGES_MAX: usize = 16;

#[cfg(test)]
mod tests;
