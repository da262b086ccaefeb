//! The octets of the message being built: the one place that writes big-endian.
//!
//! In: numbers and addresses. Out: octets in network order. This module refuses to know what they mean.

/// A buffer that is emptied and filled again for every message; it grows only with the message size.
#[derive(Debug)]
pub(super) struct Octets {
    written: Vec<u8>,
}

impl Octets {
    pub fn with_capacity(octets: usize) -> Self {
        Self { written: Vec::with_capacity(octets) }
    }

    pub fn clear(&mut self) {
        self.written.clear();
    }

    /// Makes room for larger messages, so that none of them allocates.
    pub fn reserve(&mut self, octets: usize) {
        self.written.reserve(octets.saturating_sub(self.written.len()));
    }

    pub fn len(&self) -> usize {
        self.written.len()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.written
    }

    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// An unsigned integer in `length` octets: leading zero octets are dropped (RFC 7011 section 6.2), or put before
    /// the 8 that there are.
    pub fn put_unsigned(&mut self, value: u64, length: u16) {
        let octets = value.to_be_bytes();
        let length = usize::from(length);
        self.put_zeros(length.saturating_sub(octets.len()));
        let (dropped, kept) = octets.split_at(octets.len().saturating_sub(length));
        debug_assert!(dropped.iter().all(|&octet| octet == 0), "{value} does not fit {length} octets");
        self.put(kept);
    }

    pub fn put(&mut self, octets: &[u8]) {
        self.written.extend_from_slice(octets);
    }

    pub fn put_zeros(&mut self, count: usize) {
        self.written.resize(self.written.len() + count, 0);
    }

    /// Writes a number over the two octets at `offset`.
    pub fn patch_u16(&mut self, offset: usize, value: u16) {
        self.written[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// Writes the number of octets from `start` to the end over the two octets at `offset`.
    pub fn patch_length(&mut self, offset: usize, start: usize) {
        let length = u16::try_from(self.len() - start).expect("a packer's message size fits 16 bits");
        self.patch_u16(offset, length);
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
