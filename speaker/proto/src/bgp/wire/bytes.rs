//! Reading of fixed-width big-endian fields: `None` where the bytes end too early, never a panic.

/// What is left to read of a field, attribute or message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// What follows a byte with its length.
    pub(super) fn behind_u8(&mut self) -> Option<Bytes<'a>> {
        let count = self.u8()?;
        self.take(count.into()).map(Bytes)
    }

    /// What follows two bytes with its length.
    pub(super) fn behind_u16(&mut self) -> Option<Bytes<'a>> {
        let count = self.u16()?;
        self.take(count.into()).map(Bytes)
    }
}
