//! A block of fields breaks the rule of pseudo-fields exactly if the names in it do, in whichever way QPACK writes them; and
//! whatever else comes is read or left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::http::h3::fields::{Section, fault, protocol};

/// Names, with their places in the static table (RFC 9204 appendix A).
const NAMES: [(&str, &[u8]); 9] = [
    (":method", &[15, 17, 21]),
    (":scheme", &[22, 23]),
    (":authority", &[0]),
    (":path", &[1]),
    (":status", &[24, 28, 63, 71]),
    (":protocol", &[]),
    ("cookie", &[5]),
    ("x-a", &[]),
    ("method", &[]),
];

/// Huffman's code of their letters (RFC 7541 appendix B).
const CODE: [(u8, u32, u32); 19] = [
    (b':', 0x5c, 7),
    (b'-', 0x16, 6),
    (b'a', 0x03, 5),
    (b'c', 0x04, 5),
    (b'd', 0x24, 6),
    (b'e', 0x05, 5),
    (b'h', 0x27, 6),
    (b'i', 0x06, 5),
    (b'k', 0x75, 7),
    (b'l', 0x28, 6),
    (b'm', 0x29, 6),
    (b'o', 0x07, 5),
    (b'p', 0x2b, 6),
    (b'r', 0x2c, 6),
    (b's', 0x08, 5),
    (b't', 0x09, 5),
    (b'u', 0x2d, 6),
    (b'x', 0x79, 7),
    (b'y', 0x7a, 7),
];

fn huffman(text: &str) -> Vec<u8> {
    let mut bits = Vec::new();
    for letter in text.bytes() {
        let (_, code, length) = CODE
            .iter()
            .find(|(known, ..)| *known == letter)
            .expect("a letter of the names");
        bits.extend((0..*length).rev().map(|bit| code >> bit & 1));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    bits.chunks(8)
        .map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
        .collect()
}

/// RFC 7541 section 5.1.
fn number(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let full = (1 << bits) - 1;
    if value < full {
        return vec![first | value as u8];
    }
    let (mut bytes, mut rest) = (vec![first | full as u8], value - full);
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// One field: what is in it, and how it is written, is for three bytes to say.
fn field(name: &str, places: &[u8], how: u8, length: u8) -> Vec<u8> {
    let value = [&number(0, 7, length.into())[..], &vec![b'v'; length.into()]].concat();
    let place = places.get(usize::from(how >> 4) % places.len().max(1));
    match (how % 4, place) {
        (0, Some(place)) => number(0xc0, 6, (*place).into()),
        (1, Some(place)) => [number(0x50, 4, (*place).into()), value].concat(),
        (2, _) => {
            let name = huffman(name);
            [number(0x28, 3, name.len()), name, value].concat()
        }
        _ => [number(0x20, 3, name.len()), name.into(), value].concat(),
    }
}

/// RFC 9114 section 4.3.
fn is_faulty(names: &[&str], section: Section) -> bool {
    let pseudo = names
        .iter()
        .take_while(|name| name.starts_with(':'))
        .count();
    let known = [":method", ":scheme", ":authority", ":path", ":protocol"];
    let late = names[pseudo..].iter().any(|name| name.starts_with(':'));
    let foreign = names[..pseudo].iter().any(|name| !known.contains(name));
    let twice = (0..pseudo).any(|at| names[..at].contains(&names[at]));
    late || foreign || twice || (section == Section::Trailers && pseudo > 0)
}

fuzz_target!(|bytes: &[u8]| {
    for section in [Section::Head, Section::Trailers] {
        let _ = fault(bytes, section);
        let (mut block, mut names) = (vec![0, 0], Vec::new());
        for field_of in bytes.chunks_exact(3) {
            let (name, places) = NAMES[usize::from(field_of[0]) % NAMES.len()];
            names.push(name);
            block.extend(field(name, places, field_of[1], field_of[2]));
        }
        // What is left when it is cut out is as good as before, and has it no more.
        if fault(&block, section).is_none()
            && let Some(found) = protocol(&block)
        {
            assert_eq!(section, Section::Head);
            let rest = [&block[..found.at.start], &block[found.at.end..]].concat();
            assert_eq!(fault(&rest, section), None);
            assert_eq!(protocol(&rest), None);
        }
        let _ = protocol(bytes);
        let found = fault(&block, section);
        assert_eq!(
            found.is_some(),
            is_faulty(&names, section),
            "{names:?}: {found:?}"
        );
    }
});
