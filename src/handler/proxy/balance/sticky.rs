//! The cookie by which a client stays with its upstream: which one, since when, and a signature over both. Pure.
//!
//! An upstream is named in it by a keyed hash of its address, so that a cookie tells nobody what stands behind the proxy, and
//! holds across reloads in which upstreams change their order. A cookie that is forged, too old, or of an upstream that is no
//! more, is as none.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::hmac;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::{self, SameSite};

/// Reads and makes the cookies of one proxy.
pub struct Sticky {
    config: config::Sticky,
    key: hmac::Key,
    ids: Box<[Id]>,
}

type Id = [u8; 8];

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The upstream that the client stays with, by its index.
    pub upstream: usize,
    /// Whether it is to be issued anew, before it is too old.
    pub aging: bool,
}

impl Sticky {
    /// For upstreams of these names. `secret`: what signs.
    pub fn new<'a>(
        config: &config::Sticky,
        secret: &[u8],
        upstreams: impl Iterator<Item = &'a str>,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let id = |name: &str| {
            let mut id = Id::default();
            id.copy_from_slice(&sign(&key, &[b"upstream", name.as_bytes()]).as_ref()[..8]);
            id
        };
        Self {
            ids: upstreams.map(id).collect(),
            config: config.clone(),
            key,
        }
    }

    /// What the cookie of a request says; none without one that is ours. `now`: seconds since 1970.
    pub fn read(&self, headers: &HeaderMap, now: u64) -> Option<Said> {
        let written = cookies(headers).filter(|(name, _)| *name == self.config.cookie);
        // There may be several, of hosts above this one or set by whoever wants to; each is looked at, up to a bound.
        written
            .take(COOKIES_MAX)
            .find_map(|(_, value)| self.understand(value, now))
    }

    fn understand(&self, value: &str, now: u64) -> Option<Said> {
        let bytes = from_hex(value)?;
        let (signed, signature) = bytes.split_at(SIGNED);
        let true_one = self.signature(signed);
        if aws_lc_rs::constant_time::verify_slices_are_equal(&true_one, signature).is_err() {
            return None;
        }
        let (id, issued) = signed.split_at(size_of::<Id>());
        let issued = u64::from(u32::from_be_bytes(issued.try_into().ok()?));
        let max_age = self.config.max_age.as_secs();
        let age = now.saturating_sub(issued);
        if max_age > 0 && age > max_age {
            return None;
        }
        let upstream = self.ids.iter().position(|known| known == id)?;
        Some(Said {
            upstream,
            aging: max_age > 0 && age > max_age / 2,
        })
    }

    /// The Set-Cookie of an upstream. `secure`: it is only to be sent over TLS.
    pub fn issue(&self, upstream: usize, now: u64, secure: bool) -> HeaderValue {
        let mut signed = [0; SIGNED];
        signed[..size_of::<Id>()].copy_from_slice(&self.ids[upstream]);
        let issued = u32::try_from(now).unwrap_or(u32::MAX);
        signed[size_of::<Id>()..].copy_from_slice(&issued.to_be_bytes());
        let config = &self.config;
        let mut cookie = format!("{}=", config.cookie);
        for byte in signed.iter().chain(&self.signature(&signed)) {
            cookie.push(char::from(HEX[usize::from(byte >> 4)]));
            cookie.push(char::from(HEX[usize::from(byte & 15)]));
        }
        cookie.push_str("; Path=");
        cookie.push_str(&config.path);
        if !config.max_age.is_zero() {
            cookie.push_str(&format!("; Max-Age={}", config.max_age.as_secs()));
        }
        // No script has business with it.
        cookie.push_str("; HttpOnly; SameSite=");
        cookie.push_str(match config.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        });
        // Browsers take SameSite=None with Secure only.
        if secure || config.same_site == SameSite::None {
            cookie.push_str("; Secure");
        }
        HeaderValue::from_str(&cookie)
            .expect("the configuration lets only visible ASCII into a cookie")
    }

    /// Half of an HMAC-SHA-256, which RFC 2104 section 5 finds enough.
    fn signature(&self, signed: &[u8]) -> [u8; SIGNATURE] {
        let name = self.config.cookie.as_bytes();
        let mut signature = [0; SIGNATURE];
        let tag = sign(&self.key, &[b"cookie", name, signed]);
        signature.copy_from_slice(&tag.as_ref()[..SIGNATURE]);
        signature
    }
}

/// Each part with its length before it, so that none can be moved into another.
fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

/// Every cookie of a request, name and value.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
}

fn from_hex(text: &str) -> Option<[u8; SIGNED + SIGNATURE]> {
    let mut bytes = [0; SIGNED + SIGNATURE];
    if text.len() != bytes.len() * 2 {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The secret in a file; none where there is no file.
pub(super) fn known(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(secret) if secret.len() >= SECRET_BYTES_MIN => Ok(Some(secret)),
        Ok(_) => {
            let text = format!(
                "it has less than {SECRET_BYTES_MIN} bytes; remove it, and another is made"
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A secret that nobody has.
pub(super) fn fresh() -> Vec<u8> {
    let mut secret = vec![0; SECRET_BYTES_MIN];
    aws_lc_rs::rand::fill(&mut secret).expect("the system gives randomness, as TLS needs it too");
    secret
}

/// The secret in a file; where there is no file, one is made that only its owner reads. It appears whole or not at all, so
/// that whoever else makes it at this moment gets the same.
pub(super) fn secret(file: &Path) -> io::Result<Vec<u8>> {
    if let Some(secret) = known(file)? {
        return Ok(secret);
    }
    let secret = fresh();
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = Path::new(&draft);
    let mut options = std::fs::OpenOptions::new();
    let mut written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    let linked = written
        .write_all(&secret)
        .and_then(|()| std::fs::hard_link(draft, file));
    let _ = std::fs::remove_file(draft);
    match linked {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            known(file)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
        Err(error) => Err(error),
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An id, and four bytes of time.
const SIGNED: usize = size_of::<Id>() + 4;
const SIGNATURE: usize = 16;

/// As long as what the hash gives: more adds nothing.
const SECRET_BYTES_MIN: usize = 32;

/// Cookies of one name that a request may bring and that are looked at.
const COOKIES_MAX: usize = 4;

#[cfg(test)]
mod tests;
