//! Prefixes of both address families in one form: left-aligned in 128 bits.

use std::net::IpAddr;

use netflow_common::Address;

/// Which routing tables: those of IPv4 or those of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Bits of an address.
    pub(super) fn width(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// An address as it stands in a key, left-aligned.
    pub(super) fn bits(self, address: &Address) -> u128 {
        // The octets behind an IPv4 address are zero.
        u128::from_be_bytes(address.octets())
    }
}

/// A prefix; the bits behind it are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub(super) struct Prefix {
    bits: u128,
    length: u8,
}

impl Prefix {
    /// The first `length` bits, at most 128, of a left-aligned address.
    pub(super) fn new(bits: u128, length: u8) -> Self {
        let length = length.min(128);
        Self { bits: bits & mask(length), length }
    }

    /// Its bits, left-aligned.
    pub(super) fn bits(self) -> u128 {
        self.bits
    }

    /// Its length in bits.
    pub(super) fn length(self) -> u8 {
        self.length
    }

    /// Whether a left-aligned address begins with it.
    pub(super) fn contains(self, address: u128) -> bool {
        address & mask(self.length) == self.bits
    }
}

fn mask(length: u8) -> u128 {
    match length {
        0 => 0,
        length => u128::MAX << (128 - u32::from(length)),
    }
}

/// A gateway as a record has it: only of the flow's own family.
pub(super) fn next_hop(gateway: Option<IpAddr>, family: Family) -> Address {
    match (gateway, family) {
        (Some(IpAddr::V4(address)), Family::V4) => Address::from_ipv4(address.octets()),
        (Some(IpAddr::V6(address)), Family::V6) => Address::from_ipv6(address.octets()),
        _ => Address::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_the_addresses_that_begin_with_it() {
        let address = Family::V4.bits(&Address::from_ipv4([192, 0, 2, 129]));
        let prefix = Prefix::new(address, 25);
        assert_eq!(prefix.bits(), 0xc000_0280_u128 << 96);
        assert!(prefix.contains(address));
        assert!(!prefix.contains(Family::V4.bits(&Address::from_ipv4([192, 0, 2, 127]))));
        assert!(Prefix::new(address, 0).contains(0) && Prefix::new(address, 128).contains(address));
    }
}
