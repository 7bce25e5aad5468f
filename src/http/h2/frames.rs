//! Following HTTP/2 frames through the bytes of a connection (RFC 9113 section 4.1), without reading what is in them.

/// Frame types (RFC 9113 section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITIZED: u8 = 0x20;

/// A frame's header, and the first four bytes of what is in it, where a reset has its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) code: u32,
}

/// Where in the stream of frames the bytes have come.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass over: the client's preface, or what is left of a frame.
    skip: usize,
    head: [u8; HEAD_BYTES],
    have: usize,
    /// The type of the frame that was shown last.
    last: Option<u8>,
}

impl Frames {
    /// Follows a stream that begins with `skip` bytes which are no frame.
    pub(super) fn new(skip: usize) -> Self {
        Self {
            skip,
            head: [0; HEAD_BYTES],
            have: 0,
            last: None,
        }
    }

    /// The type of the frame that has begun, and not all come.
    pub(super) fn within(&self) -> Option<u8> {
        self.last.filter(|_| self.skip > 0)
    }

    /// Follows `bytes`, and shows each frame whose header they complete.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut show: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                continue;
            }
            let want = self.want();
            let step = (want - self.have).min(bytes.len());
            self.head[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have == self.want() {
                let frame = self.frame();
                self.skip = frame.length as usize - (self.have - 9);
                self.have = 0;
                self.last = Some(frame.kind);
                show(frame);
            }
        }
    }

    /// How many bytes tell all of this frame that is of interest.
    fn want(&self) -> usize {
        if self.have >= 9 && self.head[3] == RST_STREAM && self.length() >= 4 {
            13
        } else {
            9
        }
    }

    fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]])
    }

    fn frame(&self) -> Frame {
        let word = |at: usize| {
            u32::from_be_bytes([
                self.head[at],
                self.head[at + 1],
                self.head[at + 2],
                self.head[at + 3],
            ])
        };
        Frame {
            length: self.length(),
            kind: self.head[3],
            flags: self.head[4],
            stream: word(5) & 0x7fff_ffff,
            code: if self.have == 13 { word(9) } else { 0 },
        }
    }
}

/// A frame's header and a reset's code.
const HEAD_BYTES: usize = 13;
