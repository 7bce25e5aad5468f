//! Reads a ClientHello from the first bytes of a connection, before TLS itself sees them.
//!
//! What it says is needed before a TLS library can be asked: it names the binding, whose policy the handshake then follows,
//! and it tells the error log what a client offered whose handshake failed. Nothing is decided here and nothing is kept; the
//! TLS library reads the same bytes again and has the last word.
//!
//! Pure, without panics, and bounded by [`HELLO_BYTES_MAX`].

use std::fmt::Write as _;

use self::cursor::{Cursor, Short};

/// The largest ClientHello that is read, in bytes. Browsers with post-quantum key shares send 2 KiB; session tickets and
/// many key shares make it a few more. It bounds what a client can have us keep before we know who it is.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of a connection that [`read`] needs for an answer other than [`Reading::Incomplete`]: the largest
/// ClientHello, with the headers of as many records as it may come in.
pub const WIRE_BYTES_MAX: usize = HANDSHAKE_HEADER + HELLO_BYTES_MAX + RECORDS_MAX * RECORD_HEADER;

/// A ClientHello in more records than this is somebody's game: records hold up to 16 KiB, and clients that split theirs to
/// pass middleboxes make a handful of them.
const RECORDS_MAX: usize = 32;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// So far they may become a ClientHello: more bytes are needed.
    Incomplete,
    /// The client does not speak TLS.
    NotTls(NotTls),
    /// A whole ClientHello.
    Hello(ClientHello),
    /// TLS that cannot be a ClientHello.
    Malformed(Malformed),
}

/// What a client speaks that does not speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTls {
    /// HTTP: a method and a space, or the preface of HTTP/2.
    Http,
    /// Something else.
    Other,
}

/// Why TLS cannot be a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A record that is empty, longer than 16 KiB, or not of a handshake.
    #[error("the ClientHello's record is empty, too long, or of another kind than handshake")]
    Record,
    /// More records than anybody needs.
    #[error("the ClientHello comes in more than {RECORDS_MAX} records")]
    Records,
    /// The first handshake message is another one.
    #[error("the first handshake message is no ClientHello")]
    Message,
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("the ClientHello is longer than {HELLO_BYTES_MAX} bytes")]
    Length,
    /// A length inside it does not fit what is around it.
    #[error("a length inside the ClientHello does not fit")]
    Inside,
    /// An extension stands in it twice (RFC 8446, section 4.2).
    #[error("the ClientHello has the same extension twice")]
    Twice,
    /// The server name is empty, longer than 255 bytes or not of the characters that a host name has.
    #[error("the server name in the ClientHello is no host name")]
    ServerName,
}

/// What a client says of itself and offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The version field, which since TLS 1.3 says 1.2 whatever is offered.
    pub legacy_version: u16,
    /// The versions offered, in order; empty when the extension is missing.
    pub supported_versions: Vec<u16>,
    /// The cipher suites, in order.
    pub cipher_suites: Vec<u16>,
    /// The kinds of the extensions, in order.
    pub extensions: Vec<u16>,
    /// The server name, as it was sent, of the characters of a host name.
    pub server_name: Option<String>,
    /// The protocols offered by ALPN, in order.
    pub alpn: Vec<Vec<u8>>,
    /// The signature algorithms, in order.
    pub signature_algorithms: Vec<u16>,
    /// The groups for key exchange, in order.
    pub groups: Vec<u16>,
}

impl ClientHello {
    /// The versions offered, from the lowest, as in `TLSv1.2 TLSv1.3`. Values without meaning (RFC 8701) are left out.
    pub fn offered_versions(&self) -> String {
        let mut versions = match self.supported_versions.as_slice() {
            [] => vec![self.legacy_version],
            versions => versions.to_vec(),
        };
        versions.retain(|&version| !is_grease(version));
        versions.sort_unstable();
        versions.dedup();
        versions.truncate(TOLD_MAX);
        joined(versions, |text, version| match version {
            0x0300 => text.push_str("SSLv3"),
            0x0301 => text.push_str("TLSv1.0"),
            0x0302 => text.push_str("TLSv1.1"),
            0x0303 => text.push_str("TLSv1.2"),
            0x0304 => text.push_str("TLSv1.3"),
            other => {
                // A write to a String cannot fail.
                let _ = write!(text, "{other:#06x}");
            }
        })
    }

    /// Whether TLS 1.2 or 1.3 is among the versions offered.
    pub fn offers_spoken_version(&self) -> bool {
        match &*self.supported_versions {
            [] => self.legacy_version >= 0x0303,
            versions => versions
                .iter()
                .any(|version| matches!(version, 0x0303 | 0x0304)),
        }
    }

    /// The protocols offered by ALPN, as in `h2 http/1.1`; bytes that are no printable ASCII as `\xHH`. Values without
    /// meaning (RFC 8701) are left out.
    pub fn offered_alpn(&self) -> String {
        let meant = |name: &&Vec<u8>| match name.as_slice() {
            &[a, b] => !is_grease(u16::from_be_bytes([a, b])),
            _ => true,
        };
        joined(
            self.alpn.iter().filter(meant).take(TOLD_MAX),
            |text, name| {
                for &byte in name {
                    if byte.is_ascii_graphic() && byte != b'\\' {
                        text.push(char::from(byte));
                    } else {
                        // A write to a String cannot fail.
                        let _ = write!(text, "\\x{byte:02X}");
                    }
                }
            },
        )
    }
}

/// So much of them: what a client offers is its own invention, and a refusal's line is not the place for it.
const TOLD_BYTES_MAX: usize = 256;

/// So many offers are told in a line of a log; a client that has more is not to be taken at its word.
const TOLD_MAX: usize = 16;

fn joined<T>(items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(' ');
        }
        write(&mut text, item);
        // What is written is ASCII.
        if text.len() > TOLD_BYTES_MAX {
            text.truncate(TOLD_BYTES_MAX);
            text.push_str("...");
            break;
        }
    }
    text
}

/// Whether a value is one of those that clients send so that servers learn to ignore what they do not know (RFC 8701):
/// `0x0a0a`, `0x1a1a` and so on.
pub fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Reads the first bytes of a connection: all that have arrived, from the first one on.
pub fn read(bytes: &[u8]) -> Reading {
    match bytes.first() {
        None => Reading::Incomplete,
        Some(&HANDSHAKE) => match gather(bytes) {
            Ok(Some(hello)) => match parse(&hello) {
                Ok(hello) => Reading::Hello(hello),
                Err(malformed) => Reading::Malformed(malformed),
            },
            Ok(None) => Reading::Incomplete,
            Err(Refusal::NotTls) => Reading::NotTls(NotTls::Other),
            Err(Refusal::Malformed(malformed)) => Reading::Malformed(malformed),
        },
        Some(_) => read_cleartext(bytes),
    }
}

/// Reads a handshake message that comes without records around it, as QUIC carries it: all that has arrived.
pub fn read_message(bytes: &[u8]) -> Reading {
    let body = match whole_message(bytes) {
        Ok(Some(end)) => &bytes[HANDSHAKE_HEADER..end],
        Ok(None) => return Reading::Incomplete,
        Err(malformed) => return Reading::Malformed(malformed),
    };
    match parse(body) {
        Ok(hello) => Reading::Hello(hello),
        Err(malformed) => Reading::Malformed(malformed),
    }
}

/// HTTP's methods are short words of capitals; whatever else a client sends instead of TLS, the longest is reached soon.
const METHOD_BYTES_MAX: usize = 32;

fn read_cleartext(bytes: &[u8]) -> Reading {
    let method = bytes
        .iter()
        .take(METHOD_BYTES_MAX + 1)
        .take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-' || **byte == b'_')
        .count();
    match bytes.get(method) {
        None if method <= METHOD_BYTES_MAX => Reading::Incomplete,
        Some(b' ') if method > 0 => Reading::NotTls(NotTls::Http),
        _ => Reading::NotTls(NotTls::Other),
    }
}

enum Refusal {
    NotTls,
    Malformed(Malformed),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Refusal::Malformed(malformed)
    }
}

/// The ClientHello's body, put together from its records; none while some of it is missing.
fn gather(bytes: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let mut rest = Cursor::new(bytes);
    let mut message = Vec::new();
    for _ in 0..RECORDS_MAX {
        // The kind is looked at before the version, the version before the length: bytes that cannot become a
        // ClientHello are refused as soon as they show it.
        let Ok(kind) = rest.u8() else { return Ok(None) };
        if kind != HANDSHAKE {
            return Err(Malformed::Record.into());
        }
        let Ok(major) = rest.u8() else {
            return Ok(None);
        };
        if major != 3 {
            return Err(Refusal::NotTls);
        }
        let (Ok(_minor), Ok(length)) = (rest.u8(), rest.u16()) else {
            return Ok(None);
        };
        let length = usize::from(length);
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(Malformed::Record.into());
        }
        let part = rest.up_to(length);
        message.extend_from_slice(part);
        if let Some(whole) = whole_message(&message)? {
            message.truncate(whole);
            message.drain(..HANDSHAKE_HEADER);
            return Ok(Some(message));
        }
        if part.len() < length {
            return Ok(None);
        }
    }
    Err(Malformed::Records.into())
}

/// Where the handshake message ends, header included, if that is reached.
fn whole_message(message: &[u8]) -> Result<Option<usize>, Malformed> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Err(Malformed::Message);
    }
    let Some(&[_, high, middle, low]) = message.first_chunk::<HANDSHAKE_HEADER>() else {
        return Ok(None);
    };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > HELLO_BYTES_MAX {
        return Err(Malformed::Length);
    }
    let end = HANDSHAKE_HEADER + length;
    Ok((message.len() >= end).then_some(end))
}

/// RFC 8446, section 4.1.2.
fn parse(body: &[u8]) -> Result<ClientHello, Malformed> {
    let mut body = Cursor::new(body);
    let mut hello = ClientHello {
        legacy_version: body.u16()?,
        ..ClientHello::default()
    };
    body.take(32)?; // random
    body.within_u8()?; // session id
    hello.cipher_suites = body.within_u16()?.all_u16()?;
    body.within_u8()?; // compression methods
    if body.is_empty() {
        // TLS 1.2 and older may have no extensions at all.
        return Ok(hello);
    }
    let mut extensions = body.within_u16()?;
    body.end()?;
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.within_u16()?;
        hello.extensions.push(kind);
        extension(&mut hello, kind, content)?;
    }
    let mut kinds = hello.extensions.clone();
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Malformed::Twice);
    }
    Ok(hello)
}

fn extension(hello: &mut ClientHello, kind: u16, mut content: Cursor<'_>) -> Result<(), Malformed> {
    match kind {
        SERVER_NAME => {
            let mut names = content.within_u16()?;
            while !names.is_empty() {
                let kind = names.u8()?;
                let name = names.within_u16()?.rest();
                if kind == HOST_NAME && hello.server_name.is_none() {
                    hello.server_name = Some(server_name(name)?);
                }
            }
        }
        GROUPS => hello.groups = content.within_u16()?.all_u16()?,
        SIGNATURE_ALGORITHMS => hello.signature_algorithms = content.within_u16()?.all_u16()?,
        ALPN => {
            let mut names = content.within_u16()?;
            while !names.is_empty() {
                hello.alpn.push(names.within_u8()?.rest().to_vec());
            }
        }
        SUPPORTED_VERSIONS => hello.supported_versions = content.within_u8()?.all_u16()?,
        _ => return Ok(()),
    }
    Ok(content.end()?)
}

/// RFC 6066, section 3: a host name in ASCII. A trailing dot and an address are against the rules and harmless: whoever
/// looks the name up finds no certificate for it.
fn server_name(name: &[u8]) -> Result<String, Malformed> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte);
    if name.is_empty() || name.len() > 255 || !name.iter().all(fits) {
        return Err(Malformed::ServerName);
    }
    Ok(name.iter().copied().map(char::from).collect())
}

/// TLSPlaintext.type (RFC 8446, section 5.1)
const HANDSHAKE: u8 = 22;
/// TLSPlaintext.length: 2^14 at most before anything is encrypted.
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Handshake.msg_type (section 4)
const CLIENT_HELLO: u8 = 1;
/// NameType (RFC 6066, section 3)
const HOST_NAME: u8 = 0;

pub(super) const SERVER_NAME: u16 = 0;
const GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

impl From<Short> for Malformed {
    fn from(_: Short) -> Self {
        Malformed::Inside
    }
}

mod cursor;

#[cfg(test)]
pub(super) mod tests;
