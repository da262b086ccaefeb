//! Sets (v9: FlowSets), the frames around the records of one kind.
//!
//! In: records' octets. Out: the same behind a Set Header, padded. This module refuses to know records.

use super::octets::Octets;

/// Every Set starts and ends here (RFC 7011 section 3.3.1, RFC 3954 section 5.3).
const ALIGNMENT: usize = 4;

/// Set Header, RFC 7011 section 3.3.2; FlowSet header, RFC 3954 sections 5.2 and 5.3.
struct SetHeader {
    set_id: u16,
    /// Header, records and padding.
    length: u16,
}

impl SetHeader {
    fn encode(&self, octets: &mut Octets) {
        octets.put_u16(self.set_id);
        octets.put_u16(self.length);
    }
}

/// An open Set. When it goes out of scope it is padded and its Length becomes known.
pub(super) struct Set<'a> {
    octets: &'a mut Octets,
    start: usize,
}

impl<'a> Set<'a> {
    /// Octets of the Set Header.
    pub const HEADER_LEN: usize = 4;

    pub fn open(octets: &'a mut Octets, set_id: u16) -> Self {
        let start = octets.len();
        SetHeader { set_id, length: 0 }.encode(octets);
        Self { octets, start }
    }

    /// Where the next record goes.
    pub fn records(&mut self) -> &mut Octets {
        self.octets
    }
}

impl Drop for Set<'_> {
    /// At most three zero octets of padding: fewer than the shortest record, or a collector would read
    /// them as one more (RFC 7011 section 3.3.1). `template.rs` asserts that records are longer.
    fn drop(&mut self) {
        let length = self.octets.len() - self.start;
        self.octets.put_zeros(length.next_multiple_of(ALIGNMENT) - length);
        self.octets.patch_length(self.start + 2, self.start);
    }
}

/// The largest size that a message of whole Sets can have within `octets`: if the records fit, so
/// does the padding behind them.
pub(super) fn aligned_size(octets: usize) -> usize {
    octets - octets % ALIGNMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(records: &[u8]) -> Vec<u8> {
        let mut octets = Octets::with_capacity(0);
        Set::open(&mut octets, 256).records().put(records);
        octets.as_slice().to_vec()
    }

    #[test]
    fn a_set_length_covers_header_records_and_padding() {
        // IPFIX-SET-2, IPFIX-SET-4, V9-FS-1, V9-FS-2
        assert_eq!(set_of(&[0xaa; 5]), [1, 0, 0, 12, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0]);
    }

    #[test]
    fn an_aligned_set_is_not_padded() {
        assert_eq!(set_of(&[0xaa; 4]), [1, 0, 0, 8, 0xaa, 0xaa, 0xaa, 0xaa]);
    }
}
