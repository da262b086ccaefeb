//! Crypto-PAn: the prefix-preserving permutation of addresses by Xu, Fan, Ammar and Moon ("Prefix-Preserving IP
//! Address Anonymization: Measurement-Based Security Evaluation and a New Cryptography-Based Scheme", ICNP 2002).
//!
//! Whether bit i of an address is turned over is a keyed function of the i bits before it: two addresses that
//! agree in their first n bits, and no more, do so afterwards. Every address is transformed, those with a
//! meaning of their own (0.0.0.0, multicast, broadcast) too, as published.

use aes::{
    Aes128,
    cipher::{Block, BlockCipherEncrypt as _, KeyInit as _},
};

use super::{key::Key, memo::Memo};

/// Bits of the longest address.
const LONGEST: u32 = 128;
/// Bits of an IPv4 address.
const IPV4_BITS: u32 = 32;
/// The bits of an IPv6 address that its network shares.
const NETWORK_BITS: u32 = 64;
/// Entries of the memo: 3 MiB.
const MEMO_ENTRIES: usize = 1 << 16;

/// The cipher with its pad, and what it has computed lately.
pub(super) struct CryptoPan {
    cipher: Aes128,
    pad: u128,
    memo: Memo,
}

impl CryptoPan {
    /// The first 16 octets of the key are that of the cipher, the other 16 become the pad by being encrypted.
    pub(super) fn new(key: &Key) -> Self {
        Self::with_memo(key, MEMO_ENTRIES)
    }

    pub(super) fn with_memo(key: &Key, entries: usize) -> Self {
        let (cipher_key, pad) = key.halves();
        let cipher = Aes128::new(&cipher_key.into());
        let mut block = Block::<Aes128>::from(pad);
        cipher.encrypt_block(&mut block);
        let pad = u128::from_be_bytes(block.into());
        Self { cipher, pad, memo: Memo::new(entries, pad) }
    }

    /// Transforms an IPv4 address.
    pub(super) fn ipv4(&mut self, octets: [u8; 4]) -> [u8; 4] {
        let address = u128::from(u32::from_be_bytes(octets)) << (LONGEST - IPV4_BITS);
        let turned = self.turned::<{ IPV4_BITS as usize }>(address);
        (((address ^ turned) >> (LONGEST - IPV4_BITS)) as u32).to_be_bytes()
    }

    /// Transforms an IPv6 address. Networks are remembered apart: their hosts come and go.
    pub(super) fn ipv6(&mut self, octets: [u8; 16]) -> [u8; 16] {
        const HALF: usize = NETWORK_BITS as usize;
        let address = u128::from_be_bytes(octets);
        let turned = self.memo.recall(address, LONGEST).unwrap_or_else(|| {
            let network = self.turned::<HALF>(address & leading(NETWORK_BITS));
            let turned = network | self.compute::<HALF>(address, NETWORK_BITS);
            self.memo.keep(address, LONGEST, turned);
            turned
        });
        (address ^ turned).to_be_bytes()
    }

    /// Which of the first N bits are turned over; from the memo, where it is there.
    fn turned<const N: usize>(&mut self, address: u128) -> u128 {
        self.memo.recall(address, N as u32).unwrap_or_else(|| {
            let turned = self.compute::<N>(address, 0);
            self.memo.keep(address, N as u32, turned);
            turned
        })
    }

    /// Which of the N bits from `from` on (0 is the first one) are turned over, in their places: one block for each,
    /// of the bits before it followed by the pad's, all given to the cipher at once.
    fn compute<const N: usize>(&self, address: u128, from: u32) -> u128 {
        let mut before = leading(from);
        let mut blocks: [Block<Aes128>; N] = std::array::from_fn(|_| {
            let block = (address & before) | (self.pad & !before);
            before = before >> 1 | 1 << (LONGEST - 1);
            block.to_be_bytes().into()
        });
        self.cipher.encrypt_blocks(&mut blocks);
        // Of each block the first bit counts.
        let turned = blocks.iter().fold(0, |turned, block| turned << 1 | u128::from(block[0] >> 7));
        turned << (LONGEST - N as u32 - from)
    }
}

/// The first `bits` bits.
pub(super) fn leading(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << LONGEST.saturating_sub(bits) }
}
