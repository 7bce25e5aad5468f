//! Distinguished names as text (RFC 4514), the most specific part first: `CN=alice,OU=Sales,O=Shop\, Ltd.`
//!
//! What cannot be printed is escaped, so that a name can neither end a line of a log nor pretend to be two parts.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::prelude::X509Name;
use x509_parser::x509::AttributeTypeAndValue;

/// A name as text; a name without parts is empty.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            write_attribute(attribute, &mut text);
        }
    }
    text
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    let known = KNOWN.iter().find(|(known, _)| *known == oid);
    match (known, string(attribute.attr_value())) {
        (Some((_, name)), Some(value)) => {
            text.push_str(name);
            text.push('=');
            write_value(&value, text);
        }
        // Section 2.4: a type without a name, or a value that is no string, has its value in hexadecimal digits.
        (known, _) => {
            text.push_str(known.map_or(&oid, |(_, name)| name));
            text.push_str("=#");
            for byte in attribute.attr_value().to_der_vec().unwrap_or_default() {
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
}

/// The text of a value, if it is one.
fn string(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => std::str::from_utf8(value.data).ok().map(str::to_owned),
        // In practice Latin-1, as OpenSSL takes it too.
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if value.data.len().is_multiple_of(2) => {
            let units: Vec<u16> = (value.data.chunks(2))
                .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
                .collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// Section 2.4: what has a meaning of its own is escaped, and so is what cannot be printed.
pub(super) fn write_value(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, symbol) in value.chars().enumerate() {
        match symbol {
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            '#' if index == 0 => text.push_str("\\#"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                text.push('\\');
                text.push(symbol);
            }
            _ if symbol.is_control() || is_invisible(symbol) => {
                for byte in symbol.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            _ => text.push(symbol),
        }
    }
}

/// Line ends of Unicode, and what turns the direction of writing: a name must look like what it is.
fn is_invisible(symbol: char) -> bool {
    matches!(symbol, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Section 3's names, and those that OpenSSL writes besides.
const KNOWN: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];
