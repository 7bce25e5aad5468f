//! Writing heads and trailers as QPACK (RFC 9204): every field as it is, names from the static table where it has them.
//!
//! The h3 crate's own writer spends a tenth of a request's time on Huffman codes, bit by bit, to save a dozen bytes. What is
//! read is left to the crate.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Writes a response's head.
pub(super) fn write_head(status: StatusCode, headers: &HeaderMap, to: &mut BytesMut) {
    write_prefix(to);
    match indexed_status(status) {
        Some(index) => write_number(to, 0b1100_0000, 6, index),
        None => {
            write_number(to, 0b0101_0000, 4, STATUS);
            write_text(to, 0, 7, status.as_str().as_bytes());
        }
    }
    write_fields(headers, to);
}

/// Writes trailers.
pub(super) fn write_trailers(headers: &HeaderMap, to: &mut BytesMut) {
    write_prefix(to);
    write_fields(headers, to);
}

/// No entry of the dynamic table is referred to (section 4.5.1).
fn write_prefix(to: &mut BytesMut) {
    to.put_slice(&[0, 0]);
}

fn write_fields(headers: &HeaderMap, to: &mut BytesMut) {
    for (name, value) in headers {
        write_field(name, value, to);
    }
}

/// Sections 4.5.4 and 4.5.6. Whether a value may be kept in other tables (N) is said too.
fn write_field(name: &HeaderName, value: &HeaderValue, to: &mut BytesMut) {
    let secret = value.is_sensitive();
    match static_index(name) {
        Some(index) => write_number(to, 0b0101_0000 | u8::from(secret) << 5, 4, index),
        None => write_text(
            to,
            0b0010_0000 | u8::from(secret) << 4,
            3,
            name.as_str().as_bytes(),
        ),
    }
    write_text(to, 0, 7, value.as_bytes());
}

/// A string without Huffman coding: its length behind `first`, in `bits` bits and more bytes if need be.
fn write_text(to: &mut BytesMut, first: u8, bits: u8, text: &[u8]) {
    write_number(to, first, bits, text.len());
    to.put_slice(text);
}

/// RFC 7541 section 5.1.
fn write_number(to: &mut BytesMut, first: u8, bits: u8, number: usize) {
    let most = (1 << bits) - 1;
    if number < most {
        // It is less than a byte holds.
        to.put_u8(first | number as u8);
        return;
    }
    to.put_u8(first | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        to.put_u8(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    to.put_u8(rest as u8);
}

/// RFC 9204 appendix A.
const STATUS: usize = 24;

fn indexed_status(status: StatusCode) -> Option<usize> {
    Some(match status.as_u16() {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => return None,
    })
}

/// The names in the static table that responses have.
fn static_index(name: &HeaderName) -> Option<usize> {
    Some(match name.as_str() {
        "age" => 2,
        "content-disposition" => 3,
        "content-length" => 4,
        "date" => 6,
        "etag" => 7,
        "last-modified" => 10,
        "link" => 11,
        "location" => 12,
        "set-cookie" => 14,
        "accept-ranges" => 32,
        "access-control-allow-headers" => 33,
        "access-control-allow-origin" => 35,
        "cache-control" => 36,
        "content-encoding" => 42,
        "content-type" => 44,
        "strict-transport-security" => 56,
        "vary" => 59,
        "x-content-type-options" => 61,
        "x-xss-protection" => 62,
        "access-control-allow-credentials" => 73,
        "access-control-allow-methods" => 76,
        "access-control-expose-headers" => 79,
        "alt-svc" => 83,
        "content-security-policy" => 85,
        "server" => 92,
        "timing-allow-origin" => 93,
        "x-frame-options" => 97,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, fields: &[(&'static str, &str)]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut to = BytesMut::new();
        write_head(StatusCode::from_u16(status).unwrap(), &headers, &mut to);
        to.to_vec()
    }

    #[test]
    fn a_status_is_an_index_or_a_literal() {
        assert_eq!(written(200, &[]), [0, 0, 0xc0 | 25]);
        // 6 bits hold no more than 62.
        assert_eq!(written(500, &[]), [0, 0, 0xff, 71 - 63]);
        assert_eq!(written(418, &[]), b"\0\0\x5f\x09\x03418");
    }

    #[test]
    fn a_field_has_its_name_from_the_static_table_where_that_knows_it() {
        assert_eq!(written(200, &[("date", "x")])[3..], *b"\x56\x01x");
        assert_eq!(written(200, &[("server", "x")])[3..], *b"\x5f\x4d\x01x");
        assert_eq!(written(200, &[("x-a", "")])[3..], *b"\x23x-a\0");
        assert_eq!(
            written(200, &[("x-long-a", "x")])[3..],
            *b"\x27\x01x-long-a\x01x"
        );
    }

    #[test]
    fn a_long_value_has_its_length_in_more_bytes() {
        let value = "v".repeat(1000);
        let written = written(200, &[("age", &value)]);
        // 127, then 873 in groups of seven bits.
        assert_eq!(written[3..7], [0x52, 0x7f, 0xe9, 0x06]);
        assert_eq!(written[7..], *value.as_bytes());
    }

    #[test]
    fn a_secret_is_marked_as_one() {
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_static("x");
        value.set_sensitive(true);
        headers.insert("set-cookie", value.clone());
        headers.insert("x-a", value);
        let mut to = BytesMut::new();
        write_trailers(&headers, &mut to);
        assert_eq!(to[..], *b"\0\0\x7e\x01x\x33x-a\x01x");
    }
}
