//! The path that routes are matched with.
//!
//! One reading of the path is made here, once, and everybody behind goes by it. What could be read in two ways (an encoded
//! separator, a control character, bytes that are no UTF-8, a climb above the root) is refused rather than repaired.

use std::fmt;

use http::uri::PathAndQuery;

/// A path as routes and handlers see it: begins with `/`, percent-encoding decoded once, dot segments resolved, no empty
/// segment but a last one, no control character, no backslash, valid UTF-8.
///
/// A `%` in it is a `%` and must not be decoded again. The target `*` of `OPTIONS *` is kept as `*`, which no route takes.
#[derive(Clone)]
pub struct RoutePath {
    target: PathAndQuery,
    /// None where the target's own path is in the normal form already, as nearly every one is: nothing is copied.
    rewritten: Option<String>,
}

/// Why a request target's path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("a % in the path is not followed by two hexadecimal digits")]
    Escape,
    /// `%2f`, `%5c`, a backslash, or a control character, encoded or not.
    #[error("the path has an encoded separator, a backslash or a control character")]
    Forbidden,
    /// The decoded path is not UTF-8.
    #[error("the decoded path is not UTF-8")]
    Utf8,
    /// `..` beyond the root.
    #[error("the path climbs above the root")]
    AboveRoot,
}

impl RoutePath {
    /// Normalises the path of a request target.
    pub fn parse(target: &PathAndQuery) -> Result<Self, PathError> {
        let path = target.path();
        let rewritten = if is_plain(path.as_bytes()) || path == "*" {
            None
        } else {
            let decoded = decode(path)?;
            Some(if is_resolved(&decoded) {
                decoded
            } else {
                resolve(&decoded)?
            })
        };
        Ok(Self {
            target: target.clone(),
            rewritten,
        })
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        match &self.rewritten {
            None => self.target.path(),
            Some(text) => text,
        }
    }

    /// The request target as the client wrote it.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }
}

/// Two paths are one if their normal forms are, however they came and whatever query they came with.
impl PartialEq for RoutePath {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RoutePath {}

impl fmt::Debug for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoutePath").field(&self.as_str()).finish()
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the path is its own normal form, as far as one look at each byte can tell: visible ASCII, nothing encoded.
fn is_plain(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path.iter().enumerate().all(|(at, &byte)| match byte {
            b'/' => !begins_unresolved(&path[at + 1..]),
            b'%' | b'\\' => false,
            _ => byte.is_ascii_graphic(),
        })
}

/// Whether a decoded path has no empty and no dot segment.
fn is_resolved(path: &str) -> bool {
    let path = path.as_bytes();
    path.first() == Some(&b'/')
        && path
            .iter()
            .enumerate()
            .all(|(at, &byte)| byte != b'/' || !begins_unresolved(&path[at + 1..]))
}

/// Whether what stands behind a `/` begins with an empty segment that is not the last, with `.` or with `..`.
fn begins_unresolved(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
    )
}

/// Decodes percent-encoding, once. No separator can come out of it, so that segments stay what they were.
fn decode(path: &str) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let high = hex(bytes.next())?;
            let low = hex(bytes.next())?;
            let plain = high << 4 | low;
            if plain == b'/' {
                return Err(PathError::Forbidden);
            }
            plain
        } else {
            byte
        };
        if plain == b'\\' || plain.is_ascii_control() {
            return Err(PathError::Forbidden);
        }
        decoded.push(plain);
    }
    // Overlong forms are no UTF-8 (RFC 3629, section 3), nor are surrogates.
    String::from_utf8(decoded).map_err(|_| PathError::Utf8)
}

fn hex(digit: Option<u8>) -> Result<u8, PathError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(PathError::Escape),
    }
}

/// Merges empty segments, then resolves `.` and `..` (RFC 3986, section 5.2.4, but a climb above the root is an error: no
/// honest client sends one). A path that ends in an empty or a dot segment names a folder and keeps its trailing slash.
fn resolve(path: &str) -> Result<String, PathError> {
    let mut resolved = String::with_capacity(path.len() + 1);
    let mut folder = true;
    for segment in path.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = resolved.rfind('/').ok_or(PathError::AboveRoot)?;
                resolved.truncate(parent);
            }
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if folder {
        resolved.push('/');
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;
