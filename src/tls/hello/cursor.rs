//! A slice that is read from its front, each length checked.

/// What is left of a slice.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// The slice holds less than was asked for, or more than it may.
pub(super) struct Short;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Short> {
        if self.is_empty() { Ok(()) } else { Err(Short) }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// As much as there is, `length` at most.
    pub(super) fn up_to(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        let (&[byte], rest) = self.0.split_first_chunk().ok_or(Short)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        let (&bytes, rest) = self.0.split_first_chunk().ok_or(Short)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A vector with its length in one byte before it.
    pub(super) fn within_u8(&mut self) -> Result<Cursor<'a>, Short> {
        let length = self.u8()?;
        self.take(length.into()).map(Cursor)
    }

    /// A vector with its length in two bytes before it.
    pub(super) fn within_u16(&mut self) -> Result<Cursor<'a>, Short> {
        let length = self.u16()?;
        self.take(length.into()).map(Cursor)
    }

    /// Everything that is left, as numbers of two bytes.
    pub(super) fn all_u16(self) -> Result<Vec<u16>, Short> {
        let (numbers, rest) = self.0.as_chunks();
        Cursor(rest).end()?;
        Ok(numbers.iter().copied().map(u16::from_be_bytes).collect())
    }
}
