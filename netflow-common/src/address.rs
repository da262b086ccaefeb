//! Values that stay in network byte order from the packet to the message.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// An IP address, 16 octets in network order. An IPv4 address stands in the first four octets, the
/// rest is zero; which of the two it is, [`crate::FlowKey::ip_version`] says.
///
/// Held as two words so that the kernel copies it with two instructions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Address {
    words: [u64; 2],
}

impl Address {
    /// The address of an IPv4 header: four octets as they stand in the packet.
    #[inline(always)]
    pub const fn from_ipv4(octets: [u8; 4]) -> Self {
        // The word holds the four octets first in memory, on machines of either byte order.
        let word = u32::from_ne_bytes(octets) as u64;
        Self { words: [if cfg!(target_endian = "little") { word } else { word << 32 }, 0] }
    }

    /// The address of an IPv6 header, as it stands in the packet.
    #[inline(always)]
    pub const fn from_ipv6(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            words: [
                u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
                u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            ],
        }
    }

    /// The address of an IPv6 header, read as two words (each as it stands in memory).
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self { words }
    }

    /// The 16 octets in network order.
    pub fn octets(&self) -> [u8; 16] {
        bytemuck::cast(self.words)
    }

    /// The address, where it is IPv4, as it stands in memory.
    #[inline(always)]
    pub const fn ipv4_word(&self) -> u32 {
        let [word, _] = self.words;
        (if cfg!(target_endian = "little") { word } else { word >> 32 }) as u32
    }

    /// The first four octets: the address, where it is IPv4.
    pub fn ipv4_octets(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.octets();
        [a, b, c, d]
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.octets() {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

/// A 16-bit number in network byte order, such as a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct NetworkU16(u16);

impl NetworkU16 {
    /// The number whose two octets stand so in the packet.
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(octets))
    }

    /// From host order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// To host order.
    #[inline(always)]
    pub const fn value(self) -> u16 {
        u16::from_be(self.0)
    }
}

impl fmt::Debug for NetworkU16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_octets() {
        let v4 = Address::from_ipv4([192, 0, 2, 1]);
        assert_eq!(v4.octets(), [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(v4.ipv4_octets(), [192, 0, 2, 1]);
        let octets = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6];
        assert_eq!(Address::from_ipv6(octets).octets(), octets);
    }

    #[test]
    fn a_network_number_is_read_as_it_stands_in_the_packet() {
        assert_eq!(NetworkU16::from_octets([0x01, 0xbb]).value(), 443);
        assert_eq!(NetworkU16::new(443), NetworkU16::from_octets([0x01, 0xbb]));
    }
}
