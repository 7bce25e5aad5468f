//! Following HTTP/3 frames through the bytes of a stream (RFC 9114 section 7.1), without reading what is in them; but blocks of
//! fields are shown whole. Open to the fuzz targets.

/// The type of a frame with content (RFC 9114 section 7.2.1).
pub const DATA: u64 = 0;
/// The type of a frame with fields (RFC 9114 section 7.2.2).
pub const HEADERS: u64 = 1;

/// A stream type (RFC 9114 section 6.2.1).
const CONTROL: u64 = 0;

/// The type of a stream that only servers open (RFC 9114 section 6.2.2).
pub const PUSH: u64 = 1;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u64,
    /// What it says that its payload is long, in bytes.
    pub length: u64,
}

/// What is shown of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The type of a stream that goes one way.
    OneWay(u64),
    /// A frame's head.
    Frame(Frame),
    /// What is in a HEADERS frame, as much as has come; `whole`: there is no more of it.
    Fields {
        /// Where it begins in the bytes that were given.
        at: usize,
        /// What has come since it was shown last.
        part: &'a [u8],
        /// Whether the frame ends here.
        whole: bool,
    },
}

/// Where in its frames a stream has come.
#[derive(Clone, Debug)]
pub struct Frames {
    at: At,
    number: Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The type of a stream that goes one way.
    StreamType,
    /// The type of a frame.
    Kind,
    /// The length of a frame of this type.
    Length(u64),
    /// Inside a frame of this type, so many bytes before its end.
    Payload { kind: u64, left: u64 },
    /// A stream without frames.
    Unframed,
}

impl Frames {
    /// Follows a stream of a request.
    pub fn of_request() -> Self {
        Self::beginning(At::Kind)
    }

    /// Follows a stream that goes one way, and says what it is first.
    pub fn of_one_way() -> Self {
        Self::beginning(At::StreamType)
    }

    fn beginning(at: At) -> Self {
        Self {
            at,
            number: Number::default(),
        }
    }

    /// Follows `bytes`, and shows each frame whose head they complete, and the fields in it.
    pub fn follow<'a>(&mut self, mut bytes: &'a [u8], mut show: impl FnMut(Seen<'a>)) {
        let given = bytes.len();
        while !bytes.is_empty() {
            match self.at {
                At::Unframed => return,
                At::Payload { kind, left } => {
                    let step =
                        usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let at = given - bytes.len();
                    let (part, behind) = bytes.split_at(step);
                    bytes = behind;
                    let left = left - step as u64;
                    self.at = At::inside(kind, left);
                    if kind == HEADERS {
                        let whole = left == 0;
                        show(Seen::Fields { at, part, whole });
                    }
                }
                at => {
                    let byte = bytes[0];
                    bytes = &bytes[1..];
                    if let Some(number) = self.number.push(byte) {
                        if at == At::StreamType {
                            show(Seen::OneWay(number));
                        }
                        self.at = match at {
                            At::StreamType if number == CONTROL => At::Kind,
                            At::StreamType => At::Unframed,
                            At::Length(kind) => {
                                let length = number;
                                show(Seen::Frame(Frame { kind, length }));
                                At::inside(kind, length)
                            }
                            _ => At::Length(number),
                        };
                    }
                }
            }
        }
    }

    /// Whether it has come into a block of fields, or into the head of what may be one, and not to its end.
    pub fn is_within_fields(&self) -> bool {
        match self.at {
            At::Kind => self.number.have > 0,
            At::Length(kind) | At::Payload { kind, .. } => kind == HEADERS,
            At::StreamType | At::Unframed => false,
        }
    }

    /// Whether the stream may end here.
    pub fn may_end(&self) -> bool {
        match self.at {
            At::Kind => self.number.have == 0,
            // RFC 9114 section 6.2: a stream may end before it has said what it is.
            At::StreamType | At::Unframed => true,
            At::Length(_) | At::Payload { .. } => false,
        }
    }
}

impl At {
    fn inside(kind: u64, left: u64) -> Self {
        if left == 0 {
            At::Kind
        } else {
            At::Payload { kind, left }
        }
    }
}

/// A number of one to eight bytes, of which some have come (RFC 9000 section 16).
#[derive(Clone, Debug, Default)]
struct Number {
    value: u64,
    have: u8,
    want: u8,
}

impl Number {
    fn push(&mut self, byte: u8) -> Option<u64> {
        if self.have == 0 {
            self.want = 1 << (byte >> 6);
            self.value = u64::from(byte & 0x3f);
        } else {
            self.value = self.value << 8 | u64::from(byte);
        }
        self.have += 1;
        if self.have < self.want {
            return None;
        }
        self.have = 0;
        Some(self.value)
    }
}
