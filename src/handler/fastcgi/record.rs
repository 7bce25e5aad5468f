//! The records that FastCGI is made of (FastCGI 1.0, section 3.3), pure.
//!
//! ```text
//! version │ type │ request id │ content length │ padding length │ reserved │ content … │ padding …
//!    1    │  1   │     2      │       2        │       1        │    1     │
//! ```
//!
//! A connection carries one request at a time here: its id is always 1.

use bytes::{Buf as _, Bytes, BytesMut};

/// Something that an application has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of its response: its record may be longer.
    Stdout(Bytes),
    /// There is no more of the response.
    StdoutEnd,
    /// A piece of what it complains of.
    Stderr(Bytes),
    /// The request is over.
    End {
        /// As an exit status.
        application: u32,
        /// Whether it was carried out at all.
        protocol: u8,
    },
}

/// What is wrong with what an application has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// There has been one version only.
    #[error(
        "a record is of version {0}, and there is version 1 only: something else than FastCGI is spoken there"
    )]
    Version(u8),
    /// Of another request than ours.
    #[error("a record is of request {0}, and was asked for request 1")]
    Request(u16),
    /// A type that no application sends to one that asks for nothing else.
    #[error("a record is of type {0}, which answers no request")]
    Kind(u8),
    /// END_REQUEST that is no END_REQUEST.
    #[error("the record that ends the request has {0} bytes instead of 8")]
    EndLength(u16),
}

/// Reads records from pieces, however they are cut.
#[derive(Debug, Default)]
pub struct Records {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Content {
        kind: Stream,
        left: u16,
        padding: u8,
    },
    End {
        padding: u8,
    },
    Padding {
        left: u8,
    },
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Stdout,
    Stderr,
}

impl Records {
    /// The next event in `read`, which is taken from it; none where more must be read first.
    ///
    /// After a fault nothing that follows can be understood.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Option<Event>, RecordFault> {
        loop {
            match self.state {
                State::Header => {
                    let Some(header) = read.first_chunk::<HEADER_BYTES>().copied() else {
                        return Ok(None);
                    };
                    self.state = begin(header)?;
                    read.advance(HEADER_BYTES);
                    if let State::Content {
                        kind,
                        left: 0,
                        padding,
                    } = self.state
                    {
                        self.state = State::Padding { left: padding };
                        if let Stream::Stdout = kind {
                            return Ok(Some(Event::StdoutEnd));
                        }
                    }
                }
                State::Content {
                    kind,
                    left,
                    padding,
                } => {
                    if read.is_empty() {
                        return Ok(None);
                    }
                    let here = read.len().min(usize::from(left));
                    let piece = read.split_to(here).freeze();
                    // No more than `left`, which is 16 bits wide.
                    let left = left - here as u16;
                    self.state = match left {
                        0 => State::Padding { left: padding },
                        left => State::Content {
                            kind,
                            left,
                            padding,
                        },
                    };
                    return Ok(Some(match kind {
                        Stream::Stdout => Event::Stdout(piece),
                        Stream::Stderr => Event::Stderr(piece),
                    }));
                }
                State::End { padding } => {
                    let Some(end) = read.first_chunk::<8>().copied() else {
                        return Ok(None);
                    };
                    read.advance(8);
                    self.state = State::Padding { left: padding };
                    let [a, b, c, d, protocol, ..] = end;
                    return Ok(Some(Event::End {
                        application: u32::from_be_bytes([a, b, c, d]),
                        protocol,
                    }));
                }
                State::Padding { left: 0 } => self.state = State::Header,
                State::Padding { left } => {
                    if read.is_empty() {
                        return Ok(None);
                    }
                    let here = read.len().min(usize::from(left));
                    read.advance(here);
                    // No more than `left`, which is 8 bits wide.
                    self.state = State::Padding {
                        left: left - here as u8,
                    };
                }
            }
        }
    }

    /// Whether everything that was begun is at its end.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Header | State::Padding { left: 0 })
    }
}

/// What a header announces.
fn begin(header: [u8; HEADER_BYTES]) -> Result<State, RecordFault> {
    let [
        version,
        kind,
        id_high,
        id_low,
        length_high,
        length_low,
        padding,
        _,
    ] = header;
    let id = u16::from_be_bytes([id_high, id_low]);
    let length = u16::from_be_bytes([length_high, length_low]);
    if version != VERSION {
        return Err(RecordFault::Version(version));
    }
    if id != REQUEST {
        return Err(RecordFault::Request(id));
    }
    let stream = |kind| State::Content {
        kind,
        left: length,
        padding,
    };
    match kind {
        STDOUT => Ok(stream(Stream::Stdout)),
        STDERR => Ok(stream(Stream::Stderr)),
        END_REQUEST if length == 8 => Ok(State::End { padding }),
        END_REQUEST => Err(RecordFault::EndLength(length)),
        kind => Err(RecordFault::Kind(kind)),
    }
}

/// The header of a record of ours.
fn header(kind: u8, length: u16) -> [u8; HEADER_BYTES] {
    let [id_high, id_low] = REQUEST.to_be_bytes();
    let [length_high, length_low] = length.to_be_bytes();
    [
        VERSION,
        kind,
        id_high,
        id_low,
        length_high,
        length_low,
        0,
        0,
    ]
}

/// Begins a request: the role of a responder (section 6.2).
pub fn write_begin(out: &mut Vec<u8>, keeps_connection: bool) {
    out.extend_from_slice(&header(BEGIN_REQUEST, 8));
    let [role_high, role_low] = RESPONDER.to_be_bytes();
    let flags = if keeps_connection { KEEP_CONNECTION } else { 0 };
    out.extend_from_slice(&[role_high, role_low, flags, 0, 0, 0, 0, 0]);
}

/// All parameters, and that there are no more.
pub fn write_params(out: &mut Vec<u8>, params: &[u8]) {
    for piece in params.chunks(CONTENT_BYTES_MAX) {
        // A chunk is 16 bits long at most.
        out.extend_from_slice(&header(PARAMS, piece.len() as u16));
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&header(PARAMS, 0));
}

/// The header of a piece of the request's content, which is no longer than [`CONTENT_BYTES_MAX`]; of length 0: there is no
/// more.
pub fn stdin(length: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(length <= CONTENT_BYTES_MAX);
    header(STDIN, length as u16)
}

/// One parameter (section 3.4): lengths below 128 are one byte, others four with the first bit set.
pub fn write_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short @ ..128) => out.push(short),
            // Names and values come from heads, which have a bound far below 2^31.
            _ => out.extend_from_slice(&(length as u32 | 1 << 31).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// What a record's content may have at most.
pub const CONTENT_BYTES_MAX: usize = u16::MAX as usize;

const HEADER_BYTES: usize = 8;
const VERSION: u8 = 1;
/// Zero is for what concerns no request.
const REQUEST: u16 = 1;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

const RESPONDER: u16 = 1;
const KEEP_CONNECTION: u8 = 1;

#[cfg(test)]
mod tests;
