//! However a stream is cut into pieces, the same frames and fields are seen in it; and they are those that a reader of the whole
//! finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::http::h3::frames::{Frame, Frames, HEADERS, Seen};

/// Frames, what is in each HEADERS frame, how many of these are whole, and whether the stream may end.
type All = (Vec<Frame>, Vec<u8>, usize, bool);

fn follow(bytes: &[u8], piece: usize, of_request: bool) -> All {
    let mut frames = if of_request {
        Frames::of_request()
    } else {
        Frames::of_one_way()
    };
    let (mut heads, mut fields, mut wholes) = (Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        frames.follow(piece, |seen| match seen {
            Seen::OneWay(kind) => heads.push(Frame { kind, length: 0 }),
            Seen::Frame(frame) => heads.push(frame),
            Seen::Fields { part, whole, .. } => {
                fields.extend_from_slice(part);
                wholes += usize::from(whole);
            }
        });
    }
    (heads, fields, wholes, frames.may_end())
}

/// RFC 9000 section 16.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let whole = number
        .iter()
        .fold(0, |whole, byte| whole << 8 | u64::from(*byte));
    // The first two bits are the length.
    Some(whole & ((1 << (8 * length - 2)) - 1))
}

/// The same by looking at the whole.
fn read(mut bytes: &[u8]) -> All {
    let (mut heads, mut fields, mut wholes) = (Vec::new(), Vec::new(), 0);
    while !bytes.is_empty() {
        let mut rest = bytes;
        let (Some(kind), Some(length)) = (number(&mut rest), number(&mut rest)) else {
            return (heads, fields, wholes, false);
        };
        heads.push(Frame { kind, length });
        let come = usize::try_from(length).map_or(rest.len(), |length| length.min(rest.len()));
        let is_whole = come as u64 == length;
        if kind == HEADERS {
            fields.extend_from_slice(&rest[..come]);
            wholes += usize::from(is_whole && length > 0);
        }
        if !is_whole {
            return (heads, fields, wholes, false);
        }
        bytes = &rest[come..];
    }
    (heads, fields, wholes, true)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = follow(bytes, bytes.len().max(1), true);
    assert_eq!(follow(bytes, usize::from(piece).max(1), true), whole);
    assert_eq!(read(bytes), whole);
    let one_way = follow(bytes, bytes.len().max(1), false);
    assert_eq!(follow(bytes, usize::from(piece).max(1), false), one_way);
});
