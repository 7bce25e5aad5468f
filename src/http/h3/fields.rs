//! The names in a block of fields, as QPACK writes them (RFC 9204 section 4.5), and what RFC 9114 section 4.3 asks of those that
//! begin with a colon.
//!
//! The h3 crate takes the last of two `:path`, takes them from behind other fields and in trailers, and tells nobody. Nothing is
//! decoded here that h3 does not decode itself: what cannot be read is left to it. Open to the fuzz targets.

use std::ops::Range;

/// Which part of a message a block of fields is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A request's head.
    Head,
    /// What follows its content.
    Trailers,
}

/// What a field's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    /// A pseudo-field that no request has.
    Foreign,
    Ordinary,
}

/// What is wrong with the pseudo-fields of a block.
pub fn fault(block: &[u8], section: Section) -> Option<&'static str> {
    let mut rest = block;
    // Required Insert Count, and Base.
    number(&mut rest, 8)?;
    number(&mut rest, 7)?;
    let (mut seen, mut ordinary) = ([false; 5], false);
    while !rest.is_empty() {
        let name = next(&mut rest)?;
        let index = match name {
            Name::Ordinary => {
                ordinary = true;
                continue;
            }
            _ if section == Section::Trailers => return Some("trailers have a pseudo-field"),
            _ if ordinary => return Some("a pseudo-field stands behind another field"),
            Name::Foreign => return Some("a pseudo-field is none of a request"),
            Name::Method => 0,
            Name::Scheme => 1,
            Name::Authority => 2,
            Name::Path => 3,
            Name::Protocol => 4,
        };
        if std::mem::replace(&mut seen[index], true) {
            return Some("a pseudo-field stands there twice");
        }
    }
    None
}

/// The `:protocol` of an extended CONNECT (RFC 9220), which the h3 crate takes only where it is one of two that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Where in the block the field stands.
    pub at: Range<usize>,
    /// Whether it names WebSocket.
    pub is_websocket: bool,
}

/// The `:protocol` in a request's head. What comes without one is not looked through twice for it.
pub fn protocol(block: &[u8]) -> Option<Protocol> {
    let mut rest = block;
    number(&mut rest, 8)?;
    number(&mut rest, 7)?;
    while !rest.is_empty() {
        let start = block.len() - rest.len();
        let name = next(&mut rest)?;
        if name == Name::Protocol {
            let at = start..block.len() - rest.len();
            // It is in no table: its name is written out.
            let mut field = &block[at.clone()];
            text(&mut field, 3)?;
            let in_code = field.first()? & 0x80 != 0;
            let value = text(&mut field, 7)?;
            let is_websocket = match in_code {
                true => spells(value, "websocket"),
                false => value == b"websocket",
            };
            return Some(Protocol { at, is_websocket });
        }
        // Pseudo-fields come first.
        if name == Name::Ordinary {
            return None;
        }
    }
    None
}

/// The next field's name; the value is passed over.
fn next(rest: &mut &[u8]) -> Option<Name> {
    let first = *rest.first()?;
    if first & 0x80 != 0 {
        // Both from the static table.
        let index = number(rest, 6)?;
        return (first & 0x40 != 0).then(|| of_index(index));
    }
    let name = if first & 0x40 != 0 {
        let index = number(rest, 4)?;
        if first & 0x10 == 0 {
            return None;
        }
        of_index(index)
    } else if first & 0x20 != 0 {
        let text = text(rest, 3)?;
        if first & 0x08 != 0 {
            of_huffman(text)
        } else {
            of_text(text)
        }
    } else {
        return None;
    };
    text(rest, 7)?;
    Some(name)
}

/// RFC 9204 appendix A.
fn of_index(index: u64) -> Name {
    match index {
        0 => Name::Authority,
        1 => Name::Path,
        15..=21 => Name::Method,
        22 | 23 => Name::Scheme,
        24..=28 | 63..=71 => Name::Foreign,
        _ => Name::Ordinary,
    }
}

const NAMES: [(&str, Name); 5] = [
    (":method", Name::Method),
    (":scheme", Name::Scheme),
    (":authority", Name::Authority),
    (":path", Name::Path),
    (":protocol", Name::Protocol),
];

fn of_text(name: &[u8]) -> Name {
    let known = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
    match known {
        Some((_, name)) => *name,
        None if name.starts_with(b":") => Name::Foreign,
        None => Name::Ordinary,
    }
}

fn of_huffman(name: &[u8]) -> Name {
    let (colon, bits) = code(b':');
    if (name.first()).is_none_or(|first| first >> (8 - bits) != colon) {
        return Name::Ordinary;
    }
    let known = NAMES.iter().find(|(known, _)| spells(name, known));
    known.map_or(Name::Foreign, |(_, name)| *name)
}

/// Whether these bytes are `text` in Huffman's code, with ones behind it (RFC 7541 section 5.2).
fn spells(bytes: &[u8], text: &str) -> bool {
    let mut written = Vec::with_capacity(8 * bytes.len());
    for letter in text.bytes() {
        let (code, bits) = code(letter);
        written.extend((0..bits).rev().map(|bit| code >> bit & 1));
    }
    let padding = written.len().next_multiple_of(8);
    written.resize(padding, 1);
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.eq(written)
}

/// The letters of the names above and of `websocket` (RFC 7541 appendix B).
fn code(letter: u8) -> (u8, u8) {
    match letter {
        b':' => (0x5c, 7),
        b'a' => (0x03, 5),
        b'b' => (0x23, 6),
        b'c' => (0x04, 5),
        b'd' => (0x24, 6),
        b'e' => (0x05, 5),
        b'h' => (0x27, 6),
        b'i' => (0x06, 5),
        b'k' => (0x75, 7),
        b'l' => (0x28, 6),
        b'm' => (0x29, 6),
        b'o' => (0x07, 5),
        b'p' => (0x2b, 6),
        b'r' => (0x2c, 6),
        b's' => (0x08, 5),
        b't' => (0x09, 5),
        b'u' => (0x2d, 6),
        b'w' => (0x78, 7),
        b'y' => (0x7a, 7),
        _ => unreachable!("the names above have no other letters"),
    }
}

/// A length in so many bits of the first byte, and what is as long (RFC 9204 section 4.1.2).
fn text<'a>(rest: &mut &'a [u8], bits: u8) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest, bits)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(text)
}

/// A number that begins in so many bits of the first byte (RFC 7541 section 5.1).
fn number(rest: &mut &[u8], bits: u8) -> Option<u64> {
    let (first, mut behind) = rest.split_first()?;
    let full = (1_u64 << bits) - 1;
    let mut value = u64::from(*first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (byte, next) = behind.split_first()?;
            behind = next;
            value = value.checked_add(u64::from(byte & 0x7f).checked_shl(shift)?)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            // No length of anything here has more.
            if shift > 28 {
                return None;
            }
        }
    }
    *rest = behind;
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &[u8] = b"\0\0\xd1\xd7\xc1\x50\x09localhost";

    fn head(more: &[u8]) -> Option<&'static str> {
        fault(&[GET, more].concat(), Section::Head)
    }

    #[test]
    fn a_request_has_each_pseudo_field_once_and_before_all_others() {
        let user_agent = b"\x5f\x50\x01x";
        assert_eq!(head(b""), None);
        assert_eq!(head(user_agent), None);
        let twice = Some("a pseudo-field stands there twice");
        // By index, by the index of the name, by the name, and by the name in Huffman's code.
        assert_eq!(head(b"\xc1"), twice);
        assert_eq!(head(b"\x51\x02/x"), twice);
        assert_eq!(head(b"\x25:path\x02/x"), twice);
        assert_eq!(head(b"\x2c\xb9\x58\xd3\x3f\x02/x"), twice);
        let behind = Some("a pseudo-field stands behind another field");
        let block = [b"\0\0\xd1\xd7\xc1", &user_agent[..], b"\x50\x01a"].concat();
        assert_eq!(fault(&block, Section::Head), behind);
    }

    #[test]
    fn a_request_has_no_pseudo_field_of_another_kind() {
        let foreign = Some("a pseudo-field is none of a request");
        assert_eq!(head(b"\xd9"), foreign);
        assert_eq!(head(b"\x27\x01:version\x01x"), foreign);
        assert_eq!(head(b"\x2a\xb9\x7f\x01x"), foreign);
        let trailers = Some("trailers have a pseudo-field");
        assert_eq!(fault(b"\0\0\xc1", Section::Trailers), trailers);
        assert_eq!(fault(b"\0\0\x27\0x-tests\x01x", Section::Trailers), None);
    }

    #[test]
    fn the_protocol_of_an_extended_connect_is_found_however_it_is_written() {
        let plain = b"\x27\x02:protocol\x09websocket";
        let block = [GET, plain].concat();
        let found = protocol(&block).unwrap();
        assert_eq!(&block[found.at], plain);
        assert!(found.is_websocket);
        assert_eq!(head(plain), None);
        let twice = [&plain[..], plain].concat();
        assert!(head(&twice).is_some());
        // In Huffman's code, as ls-qpack writes it.
        let code = b"\x2f\x00\xb9\x5d\x87\x49\xc8\x7a\x3f\x87\xf0\x58\xd0\x72\x75\x2a\x7f";
        let block = [GET, code].concat();
        let found = protocol(&block).unwrap();
        assert_eq!(&block[found.at], code);
        assert!(found.is_websocket);
        for value in ["websockets", "connect-udp", ""] {
            let mut block = GET.to_vec();
            block.extend(b"\x27\x02:protocol");
            block.push(value.len() as u8);
            block.extend(value.as_bytes());
            assert!(!protocol(&block).unwrap().is_websocket);
        }
        assert_eq!(protocol(GET), None);
    }

    #[test]
    fn the_names_are_known_in_huffmans_code() {
        // RFC 7541 appendix C has `:path` nowhere in code; these are from its table.
        assert!(spells(b"\xb9\x58\xd3\x3f", ":path"));
        assert!(!spells(b"\xb9\x58\xd3\x3f", ":scheme"));
        assert!(!spells(b"\xb9\x58\xd3\x3f\xff", ":path"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_left(block in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fault(&block, Section::Head);
            let _ = fault(&block, Section::Trailers);
        }
    }
}
