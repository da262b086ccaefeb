//! The octets of the message being built: the one place that writes big-endian.
//!
//! In: numbers and addresses. Out: octets in network order. This module refuses to know what they mean.

/// An integer is written as eight octets, of which the following ones take the place of what is too many: so much may
/// stand behind the last one.
const SLACK: usize = 8;

/// A buffer that is emptied and filled again for every message; it grows only with the message size.
#[derive(Debug)]
pub(super) struct Octets {
    /// What is written, and room behind it.
    buffer: Vec<u8>,
    written: usize,
}

impl Octets {
    pub fn with_capacity(octets: usize) -> Self {
        Self { buffer: vec![0; octets + SLACK], written: 0 }
    }

    pub fn clear(&mut self) {
        self.written = 0;
    }

    /// Makes room for larger messages, so that none of them allocates.
    pub fn reserve(&mut self, octets: usize) {
        if self.buffer.len() < octets + SLACK {
            self.grow(octets + SLACK);
        }
    }

    #[cold]
    fn grow(&mut self, octets: usize) {
        self.buffer.resize(octets, 0);
    }

    pub fn len(&self) -> usize {
        self.written
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.buffer[..self.written]
    }

    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// An unsigned integer in `length` octets, as [`Fields::put_unsigned`] writes it.
    pub fn put_unsigned(&mut self, value: u64, length: u16) {
        self.fields(length.into()).put_unsigned(value, length);
    }

    pub fn put(&mut self, octets: &[u8]) {
        self.take(octets.len())[..octets.len()].copy_from_slice(octets);
    }

    pub fn put_zeros(&mut self, count: usize) {
        self.take(count)[..count].fill(0);
    }

    /// The place of a record of so many octets, all of which are to be written.
    pub fn fields(&mut self, octets: usize) -> Fields<'_> {
        Fields { room: self.take(octets), at: 0 }
    }

    /// The next octets, and the slack behind them.
    fn take(&mut self, octets: usize) -> &mut [u8] {
        let start = self.written;
        self.written += octets;
        self.reserve(self.written);
        &mut self.buffer[start..start + octets + SLACK]
    }

    /// Writes a number over the two octets at `offset`.
    pub fn patch_u16(&mut self, offset: usize, value: u16) {
        self.buffer[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// Writes the number of octets from `start` to the end over the two octets at `offset`.
    pub fn patch_length(&mut self, offset: usize, start: usize) {
        let length = u16::try_from(self.len() - start).expect("a packer's message size fits 16 bits");
        self.patch_u16(offset, length);
    }
}

/// The octets of one record, written field by field from its beginning to its end.
pub(super) struct Fields<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl Fields<'_> {
    /// An unsigned integer in `length` octets: leading zero octets are dropped (RFC 7011 section 6.2), or put before
    /// the 8 that there are.
    pub fn put_unsigned(&mut self, value: u64, length: u16) {
        let mut length = usize::from(length);
        if length > 8 {
            let zeros = length - 8;
            self.room[self.at..self.at + zeros].fill(0);
            self.at += zeros;
            length = 8;
        }
        debug_assert!(length == 8 || value >> (8 * length) == 0, "{value} does not fit {length} octets");
        // Its last octets first; what follows them is written over, or is not in the message.
        let octets = value.checked_shl(64 - 8 * length as u32).unwrap_or(0).to_be_bytes();
        self.room[self.at..self.at + 8].copy_from_slice(&octets);
        self.at += length;
    }

    /// Octets as they are.
    pub fn put<const N: usize>(&mut self, octets: [u8; N]) {
        self.room[self.at..self.at + N].copy_from_slice(&octets);
        self.at += N;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_endian_and_reduced_by_leading_octets() {
        // TYPE-INT-1, TYPE-RSE-1
        let mut octets = Octets::with_capacity(0);
        octets.put_u16(0x0102);
        octets.put_u32(0x0304_0506);
        octets.put_unsigned(0xabcde, 3);
        octets.put_unsigned(7, 8);
        octets.put_zeros(2);
        assert_eq!(octets.as_slice(), [1, 2, 3, 4, 5, 6, 0x0a, 0xbc, 0xde, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0]);
    }

    #[test]
    fn integers_of_256_bits_are_big_endian() {
        // TYPE-U256-1
        let mut octets = Octets::with_capacity(0);
        octets.put_unsigned(1 << 63 | 5, 32);
        assert_eq!(octets.as_slice(), [&[0; 24][..], &[0x80, 0, 0, 0, 0, 0, 0, 5]].concat());
    }

    #[test]
    fn a_length_is_written_over_its_place() {
        let mut octets = Octets::with_capacity(0);
        octets.put(&[9, 9, 0, 0, 5]);
        octets.patch_length(2, 1);
        assert_eq!(octets.as_slice(), [9, 9, 0, 4, 5]);
    }
}
