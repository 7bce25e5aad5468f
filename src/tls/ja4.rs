//! JA4: a fingerprint of the software behind a ClientHello, as FoxIO's technical details lay it down
//! (<https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md>), for TLS over TCP and over QUIC.
//!
//! ```text
//! t 13 d 15 16 h2 _ 8daaf6152771 _ e5627efa2ab1
//! │ │  │ │  │  │    │              └ sha256 of the extensions, sorted, without SNI and ALPN, and the signature algorithms
//! │ │  │ │  │  │    └ sha256 of the cipher suites, sorted
//! │ │  │ │  │  └ first and last character of the first ALPN value
//! │ │  │ │  └ number of extensions
//! │ │  │ └ number of cipher suites
//! │ │  └ d: a server name is sent, i: none
//! │ └ the highest version offered
//! └ TLS over TCP; q: over QUIC
//! ```
//!
//! GREASE values count nowhere.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::hello::{ALPN, ClientHello, SERVER_NAME, is_grease};

/// The fingerprint, 36 characters.
pub fn ja4(hello: &ClientHello) -> String {
    let mut ciphers = without_grease(&hello.cipher_suites);
    let mut extensions = without_grease(&hello.extensions);
    let signatures = without_grease(&hello.signature_algorithms);

    let mut text = String::with_capacity(36);
    let name = if extensions.contains(&SERVER_NAME) {
        'd'
    } else {
        'i'
    };
    // A write to a String cannot fail.
    let _ = write!(
        text,
        "t{}{name}{:02}{:02}",
        version(hello),
        ciphers.len().min(COUNT_MAX),
        extensions.len().min(COUNT_MAX)
    );
    text.extend(alpn(hello.alpn.first().map_or(&[], Vec::as_slice)));

    ciphers.sort_unstable();
    text.push('_');
    hash(&mut text, &listed(&ciphers));

    extensions.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
    extensions.sort_unstable();
    let mut list = listed(&extensions);
    // The rule for an empty list speaks of the extensions alone: signature algorithms are one of them.
    if !signatures.is_empty() && !list.is_empty() {
        list.push('_');
        list.push_str(&listed(&signatures));
    }
    text.push('_');
    hash(&mut text, &list);
    text
}

/// The fingerprint of a ClientHello that came over QUIC.
pub fn ja4_over_quic(hello: &ClientHello) -> String {
    let mut text = ja4(hello);
    text.replace_range(..1, "q");
    text
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    (values.iter().copied())
        .filter(|&value| !is_grease(value))
        .collect()
}

fn version(hello: &ClientHello) -> &'static str {
    let offered = hello.supported_versions.iter().copied();
    let highest = offered.filter(|&version| !is_grease(version)).max();
    match highest.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and last character; of a value that begins or ends with another byte than a letter or digit, the first and last
/// digit of its hexadecimal form.
fn alpn(value: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [char::from(first), char::from(last)]
    } else {
        [hex_digit(first >> 4), hex_digit(last & 0x0f)]
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0')
}

/// `002f,0035`
fn listed(values: &[u16]) -> String {
    let mut text = String::with_capacity(values.len() * 5);
    for value in values {
        if !text.is_empty() {
            text.push(',');
        }
        // A write to a String cannot fail.
        let _ = write!(text, "{value:04x}");
    }
    text
}

/// Appends the first twelve digits of the list's sha256; zeros for an empty list.
fn hash(text: &mut String, list: &str) {
    if list.is_empty() {
        text.push_str("000000000000");
        return;
    }
    for byte in &digest(&SHA256, list.as_bytes()).as_ref()[..6] {
        // A write to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// Counts have two digits.
const COUNT_MAX: usize = 99;

#[cfg(test)]
mod tests;
