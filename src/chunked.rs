//! Following chunked framing (RFC 9112 section 7.1) through the bytes of a body, strictly.
//!
//! Of a client's content hyper decodes the chunks; this only refuses what hyper would take and a stricter neighbour would read
//! otherwise.

use crate::model::{Reason, Refusal};

/// Where in a chunked body the bytes have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Bytes of extensions in this chunk's line, or of trailer fields.
    extra: usize,
    /// Bytes of extensions in all chunks' lines so far.
    extensions: usize,
    /// Trailer fields.
    fields: usize,
}

/// ```text
/// Size ─► Extension ─► SizeLf ─► Data ─► DataCr ─► DataLf ─► Size
///                         └ 0 ─► TrailerStart ─► TrailerName ─► Trailer ─► TrailerLf ─► TrailerStart
///                                      └ CR ─► EndLf ─► Done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// So many bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Framing(usize),
    Data(usize),
}

impl Chunked {
    /// At the start of a body.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extra: 0,
            extensions: 0,
            fields: 0,
        }
    }

    /// Whether the body has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether what comes next are trailer fields, or the line that ends them.
    pub(crate) fn is_in_trailers(&self) -> bool {
        use State::{EndLf, Trailer, TrailerLf, TrailerName, TrailerStart};
        matches!(
            self.state,
            TrailerStart | TrailerName | Trailer | TrailerLf | EndLf
        )
    }

    /// Follows `bytes` and says how many of them belong to the body; fewer than all only at the body's end.
    pub(crate) fn follow(&mut self, bytes: &[u8], fields_max: usize) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            let (Part::Framing(step) | Part::Data(step)) = self.part(&bytes[at..], fields_max)?;
            at += step;
        }
        Ok(at)
    }

    /// What the first of `bytes` are: data, or framing up to the next data, a trailer field or the end.
    pub(crate) fn part(&mut self, bytes: &[u8], fields_max: usize) -> Result<Part, Refusal> {
        if let State::Data { left } = self.state {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            self.state = match left - step as u64 {
                0 => State::DataCr,
                left => State::Data { left },
            };
            return Ok(Part::Data(step));
        }
        let mut at = 0;
        while at < bytes.len() {
            self.state = self.step(bytes[at], fields_max)?;
            at += 1;
            if matches!(
                self.state,
                State::Data { .. } | State::TrailerStart | State::Done
            ) {
                break;
            }
        }
        Ok(Part::Framing(at))
    }

    fn step(&mut self, byte: u8, fields_max: usize) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, _) => size_byte(size, digits, byte)?,
            (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, _) => self.extension_byte(size, byte)?,
            (State::SizeLf { size: 0 }, b'\n') => {
                self.extra = 0;
                State::TrailerStart
            }
            (State::SizeLf { size }, b'\n') => {
                self.extra = 0;
                State::Data { left: size }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, byte) => self.trailer_start(byte, fields_max)?,
            (State::TrailerName, b':') => State::Trailer,
            (State::TrailerName, byte) => self.trailer_name_byte(byte)?,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, byte) if is_text(byte) => self.trailer_byte()?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::Data { .. } | State::Done, _) => self.state,
            (state, _) => return refuse(Reason::InvalidCrLf, state.line_end_fault()),
        })
    }

    fn extension_byte(&mut self, size: u64, byte: u8) -> Result<State, Refusal> {
        if !is_text(byte) {
            return refuse(
                Reason::InvalidCrLf,
                "a chunk's extension contains a control character or bare LF",
            );
        }
        self.extra += 1;
        if self.extra > EXTENSION_BYTES_MAX {
            return refuse(
                Reason::RequestLength,
                "a chunk's extensions are longer than 256 bytes",
            );
        }
        self.extensions += 1;
        if self.extensions > EXTENSIONS_BYTES_MAX {
            return refuse(
                Reason::RequestLength,
                "the extensions of a body's chunks are longer than 8 KiB together",
            );
        }
        Ok(State::Extension { size })
    }

    fn trailer_start(&mut self, byte: u8, fields_max: usize) -> Result<State, Refusal> {
        self.fields += 1;
        if self.fields > fields_max {
            return refuse(
                Reason::FieldLength,
                "the body has more trailer fields than limits.max_header_fields",
            );
        }
        self.trailer_name_byte(byte)
    }

    fn trailer_name_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        if !is_token(byte) {
            return refuse(
                Reason::Header,
                "a trailer field's name is malformed or not directly followed by a colon",
            );
        }
        self.trailer_byte()?;
        Ok(State::TrailerName)
    }

    fn trailer_byte(&mut self) -> Result<State, Refusal> {
        self.extra += 1;
        if self.extra > TRAILER_BYTES_MAX {
            return refuse(
                Reason::FieldLength,
                "the body's trailer fields are longer than 8 KiB",
            );
        }
        Ok(State::Trailer)
    }
}

impl State {
    /// What it means that the byte that must come here did not.
    fn line_end_fault(self) -> &'static str {
        match self {
            State::DataCr | State::DataLf => "a chunk's data is not followed by CR LF",
            State::Trailer => "a trailer field contains a control character or bare LF",
            _ => "a CR in the chunked framing is not followed by LF",
        }
    }
}

fn size_byte(size: u64, digits: u8, byte: u8) -> Result<State, Refusal> {
    match byte {
        _ if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => Ok(State::Size {
            size: size << 4 | u64::from(hex(byte)),
            digits: digits + 1,
        }),
        _ if byte.is_ascii_hexdigit() => {
            refuse(Reason::Number, "a chunk's size has more than 15 digits")
        }
        _ if digits == 0 => refuse(Reason::Number, "a chunk's size is missing or malformed"),
        b'\r' => Ok(State::SizeLf { size }),
        b';' => Ok(State::Extension { size }),
        b'\n' => refuse(Reason::InvalidCrLf, "a chunk's size ends with a bare LF"),
        _ => refuse(Reason::Number, "a chunk's size is malformed"),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Bytes of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn refuse<T>(reason: Reason, detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

/// 15 hexadecimal digits are 1 EiB; the shift cannot overflow.
const SIZE_DIGITS_MAX: u8 = 15;

/// Nobody is known to use chunk extensions but attackers (CVE-2025-55315 was hidden in one).
const EXTENSION_BYTES_MAX: usize = 256;

/// hyper gives up at 16 KiB, and cannot say why.
const EXTENSIONS_BYTES_MAX: usize = 8 * 1024;

const TRAILER_BYTES_MAX: usize = 8 * 1024;
