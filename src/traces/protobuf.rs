//! Writing protobuf: what OTLP needs of it.
//!
//! Fields are written in the order in which they are named, and a message's length is put before it when it is known. Nothing is
//! allocated but the bytes themselves.

/// A message on its way.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

/// How a field's value is written (protobuf encoding, "Message Structure").
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn number(&mut self, field: u32, number: u64) {
        self.key(field, Wire::Varint);
        self.varint(number);
    }

    pub(super) fn fixed64(&mut self, field: u32, number: u64) {
        self.key(field, Wire::Fixed64);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u32, number: u32) {
        self.key(field, Wire::Fixed32);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, Wire::Length);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, Wire::Length);
        let place = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let mut length = self.bytes.len() - place - 1;
        // Most are shorter than 128 bytes, and their length has its one byte already.
        let mut at = place;
        while length >= 0x80 {
            self.bytes[at] = length as u8 | 0x80;
            length >>= 7;
            at += 1;
            self.bytes.insert(at, 0);
        }
        self.bytes[at] = length as u8;
    }

    /// What is a field of this message already.
    pub(super) fn written(&mut self, fields: &[u8]) {
        self.bytes.extend_from_slice(fields);
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field << 3) | wire as u64);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// Reads a varint: the number, and what follows it.
pub(super) fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// A field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that nothing asks for here.
    Fixed,
}

/// Reads a field: its number, its value, and what follows it. None at the end, and where it is no field.
pub(super) fn read_field(bytes: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (key, rest) = read_varint(bytes)?;
    let (value, rest) = match key & 7 {
        0 => {
            let (number, rest) = read_varint(rest)?;
            (Value::Number(number), rest)
        }
        1 => (Value::Fixed, rest.get(8..)?),
        2 => {
            let (length, rest) = read_varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Value::Bytes(bytes), rest)
        }
        5 => (Value::Fixed, rest.get(4..)?),
        // Groups are of another age.
        _ => return None,
    };
    Some((key >> 3, value, rest))
}

/// 64 bits by sevens.
const VARINT_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(field in 1..1000_u32, number: u64) {
            let mut message = Message::default();
            message.number(field, number);
            message.fixed64(field, number);
            let bytes = message.into_bytes();
            let (read, value, rest) = read_field(&bytes).expect("a field");
            prop_assert_eq!((read, value), (u64::from(field), Value::Number(number)));
            let (_, value, rest) = read_field(rest).expect("another field");
            prop_assert_eq!((value, rest), (Value::Fixed, &[][..]));
        }

        #[test]
        fn a_message_of_any_length_is_read_as_it_was_written(length in 0..40_000_usize, field in 1..1000_u32) {
            let content = vec![7; length];
            let mut message = Message::default();
            message.message(field, |inner| inner.bytes(1, &content));
            let bytes = message.into_bytes();
            let (read, value, rest) = read_field(&bytes).expect("a field");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read, u64::from(field));
            let Value::Bytes(inner) = value else { panic!("{value:?}") };
            prop_assert_eq!(read_field(inner), Some((1, Value::Bytes(&content), &[][..])));
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Some((_, _, after)) = read_field(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }
}
