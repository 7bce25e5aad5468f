//! What is written to and read from HTTP/3's streams (RFC 9114 section 7, RFC 9204), as much as a load needs.

use bytes::{BufMut, Bytes};

/// A control stream that says that all settings are the defaults.
pub(super) const CONTROL: [u8; 3] = [0x00, 0x04, 0x00];

/// A GET: one HEADERS frame.
pub(super) fn request(authority: &str, path: &str) -> Bytes {
    // No dynamic table. `:method: GET` and `:scheme: https` have numbers, of the others only their names.
    let mut block = vec![0x00, 0x00, 0xc0 | 17, 0xc0 | 23];
    if path == "/" {
        block.push(0xc0 | 1);
    } else {
        named(&mut block, 1, path);
    }
    named(&mut block, 0, authority);
    named(&mut block, 95, "h3_load");
    let mut frame = vec![HEADERS as u8];
    put_number(&mut frame, block.len());
    frame.extend(block);
    frame.into()
}

/// A field whose name has this number in the static table.
fn named(block: &mut Vec<u8>, name: usize, value: &str) {
    put_prefixed(block, 0x50, 4, name);
    put_prefixed(block, 0x00, 7, value.len());
    block.put_slice(value.as_bytes());
}

/// RFC 7541 section 5.1
fn put_prefixed(block: &mut Vec<u8>, flags: u8, bits: u8, mut value: usize) {
    let full = (1 << bits) - 1;
    if value < full {
        return block.push(flags | value as u8);
    }
    block.push(flags | full as u8);
    value -= full;
    while value >= 0x80 {
        block.push(value as u8 | 0x80);
        value >>= 7;
    }
    block.push(value as u8);
}

/// RFC 9000 section 16; heads are shorter than 16 KiB.
fn put_number(frame: &mut Vec<u8>, value: usize) {
    match u8::try_from(value) {
        Ok(short) if short < 0x40 => frame.push(short),
        _ => frame.put_u16(0x4000 | value as u16),
    }
}

/// A response that is whole.
pub(super) struct Response {
    /// Its status is 200.
    pub(super) is_ok: bool,
    pub(super) content_bytes: usize,
}

/// What all of a stream makes; none where it is no response.
pub(super) fn response(mut stream: &[u8]) -> Option<Response> {
    let mut response: Option<Response> = None;
    while !stream.is_empty() {
        let kind = number(&mut stream)?;
        let length = usize::try_from(number(&mut stream)?).ok()?;
        let (payload, behind) = stream.split_at_checked(length)?;
        stream = behind;
        match (kind, &mut response) {
            (HEADERS, None) => {
                response = Some(Response {
                    is_ok: payload.get(2) == Some(&STATUS_200),
                    content_bytes: 0,
                });
            }
            (DATA, Some(response)) => response.content_bytes += length,
            (DATA, None) => return None,
            // Trailers, and what is to be ignored.
            _ => {}
        }
    }
    response
}

/// RFC 9000 section 16
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (number, behind) = bytes.split_at_checked(length)?;
    *bytes = behind;
    let first = u64::from(number[0] & 0x3f);
    Some((number[1..].iter()).fold(first, |value, byte| value << 8 | u64::from(*byte)))
}

const DATA: u64 = 0;
const HEADERS: u64 = 1;

/// `:status: 200`, the first of a response's fields: it has a number in the static table (RFC 9204 appendix A), and there is no
/// server that writes it otherwise.
const STATUS_200: u8 = 0xc0 | 25;
