//! What the cipher has computed lately: a table of fixed size, in which a later entry takes the place of an earlier
//! one. It saves work, never changes a result.

#[derive(Clone, Copy)]
struct Entry {
    address: u128,
    /// The bits of the address that are turned over.
    turned: u128,
    /// How many bits of the address count; 0: the entry is empty.
    bits: u32,
}

/// Addresses, or the networks of addresses, and their bits that are turned over.
pub(super) struct Memo {
    entries: Box<[Entry]>,
    /// Secret, so that nobody can send addresses that displace one another.
    seed: [u64; 2],
}

impl Memo {
    pub(super) fn new(entries: usize, seed: u128) -> Self {
        let empty = Entry { address: 0, turned: 0, bits: 0 };
        Self { entries: vec![empty; entries].into(), seed: [(seed >> 64) as u64, seed as u64] }
    }

    /// What was kept of the first `bits` bits of an address, whose others are zero.
    pub(super) fn recall(&self, address: u128, bits: u32) -> Option<u128> {
        let entry = &self.entries[self.place(address, bits)];
        (entry.bits == bits && entry.address == address).then_some(entry.turned)
    }

    pub(super) fn keep(&mut self, address: u128, bits: u32, turned: u128) {
        let place = self.place(address, bits);
        self.entries[place] = Entry { address, turned, bits };
    }

    fn place(&self, address: u128, bits: u32) -> usize {
        let high = (address >> 64) as u64 ^ self.seed[0];
        let low = address as u64 ^ self.seed[1] ^ u64::from(bits);
        let product = u128::from(high) * u128::from(low);
        ((product >> 64) as u64 ^ product as u64) as usize % self.entries.len()
    }
}
