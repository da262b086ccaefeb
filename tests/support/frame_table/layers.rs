//! The layers that the table's frames are put together from, each of which can be damaged on purpose.

use crate::frames::{self, ETHERNET_LENGTH};
use crate::lab::{FOREIGN_MAC, GENERATOR_MAC};

pub(super) const SOURCE_V4: [u8; 4] = [192, 0, 2, 1];
pub(super) const DESTINATION_V4: [u8; 4] = [198, 51, 100, 2];
pub(super) const SOURCE_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
pub(super) const DESTINATION_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(super) const SOURCE_PORT: u16 = 0x0457;
pub(super) const DESTINATION_PORT: u16 = 0x08ae;
/// Differs in both halves of the octet: IPv6 has it across a nibble.
pub(super) const CLASS_OF_SERVICE: u8 = 0xb9;
pub(super) const TIME_TO_LIVE: u8 = 63;
pub(super) const HOP_LIMIT: u8 = 62;
pub(super) const FLOW_LABEL: u32 = 0xa_bcde;

pub(super) use crate::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, TCP, UDP};

pub(super) const ICMPV6: u8 = 58;
/// Where an IP header stands behind a plain Ethernet header.
pub(super) const PLAIN: u32 = ETHERNET_LENGTH as u32;

pub(super) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    frames::ethernet(FOREIGN_MAC, GENERATOR_MAC, ether_type, payload)
}

/// Behind a plain Ethernet header.
pub(super) fn plain_v4(packet: &[u8]) -> Vec<u8> {
    ethernet(ETHERTYPE_IPV4, packet)
}

/// Behind a plain Ethernet header.
pub(super) fn plain_v6(packet: &[u8]) -> Vec<u8> {
    ethernet(ETHERTYPE_IPV6, packet)
}

pub(super) fn cut(mut frame: Vec<u8>, octets: usize) -> Vec<u8> {
    assert!(octets <= frame.len(), "{octets} of {}", frame.len());
    frame.truncate(octets);
    frame
}

/// What Ethernet makes of a short frame. The padding would do as ports.
pub(super) fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    assert!(frame.len() < 60, "{} octets need no padding", frame.len());
    frame.resize(60, 0x77);
    frame
}

/// An IPv4 header that says what it is told to say.
pub(super) struct Ipv4 {
    pub(super) version: u8,
    /// `None`: as long as the options make it.
    pub(super) header_words: Option<u8>,
    /// `None`: as long as it is.
    pub(super) total_length: Option<u16>,
    pub(super) flags_and_offset: u16,
    pub(super) protocol: u8,
    /// In words.
    pub(super) options: usize,
}

impl Ipv4 {
    pub(super) fn of(protocol: u8) -> Self {
        Self {
            version: 4,
            header_words: None,
            total_length: None,
            flags_and_offset: 0x4000,
            protocol,
            options: 0,
        }
    }

    pub(super) fn with(self, payload: &[u8]) -> Vec<u8> {
        let words = self.header_words.unwrap_or(5 + self.options as u8);
        let length = self.total_length.unwrap_or((20 + self.options * 4 + payload.len()) as u16);
        let mut packet = vec![self.version << 4 | words, CLASS_OF_SERVICE];
        packet.extend(length.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(self.flags_and_offset.to_be_bytes());
        packet.extend([TIME_TO_LIVE, self.protocol, 0, 0]);
        packet.extend(SOURCE_V4);
        packet.extend(DESTINATION_V4);
        // No-operation options (RFC 791 section 3.1).
        packet.resize(packet.len() + self.options * 4, 1);
        packet.extend(payload);
        packet
    }
}

/// An IPv6 header and extension headers, in their order.
pub(super) struct Ipv6 {
    pub(super) version: u8,
    pub(super) payload_length: Option<u16>,
    pub(super) protocol: u8,
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
}

impl Ipv6 {
    pub(super) fn of(protocol: u8) -> Self {
        Self { version: 6, payload_length: None, protocol, extensions: Vec::new() }
    }

    /// One more extension header: its number and its octets, the first of which (the next header) is filled in.
    pub(super) fn behind(mut self, number: u8, octets: Vec<u8>) -> Self {
        self.extensions.push((number, octets));
        self
    }

    pub(super) fn with(self, payload: &[u8]) -> Vec<u8> {
        let numbers: Vec<u8> =
            self.extensions.iter().map(|(number, _)| *number).chain([self.protocol]).collect();
        let mut body = Vec::new();
        for (i, (_, octets)) in self.extensions.iter().enumerate() {
            body.push(numbers[i + 1]);
            body.extend(&octets[1..]);
        }
        body.extend(payload);
        let first = u32::from(self.version) << 28 | u32::from(CLASS_OF_SERVICE) << 20 | FLOW_LABEL;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend(self.payload_length.unwrap_or(body.len() as u16).to_be_bytes());
        packet.extend([numbers[0], HOP_LIMIT]);
        packet.extend(SOURCE_V6);
        packet.extend(DESTINATION_V6);
        packet.extend(body);
        packet
    }
}

/// An extension header with `length` further units of 8 octets (RFC 8200 section 4.2).
pub(super) fn extension(length: u8) -> Vec<u8> {
    let mut octets = vec![0, length];
    octets.resize((usize::from(length) + 1) * 8, 1);
    octets
}

/// An Authentication Header of `length + 2` units of 4 octets (RFC 4302 section 2.2).
pub(super) fn authentication(length: u8) -> Vec<u8> {
    let mut octets = vec![0, length];
    octets.resize((usize::from(length) + 2) * 4, 0xaa);
    octets
}

/// A fragment header (RFC 8200 section 4.5): offset in units of 8 octets.
pub(super) fn fragment(offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    vec![0, 0, high, low, 0xde, 0xad, 0xbe, 0xef]
}

/// The table's ports and as many further octets.
pub(super) fn ports(further: usize) -> Vec<u8> {
    let mut octets = [SOURCE_PORT.to_be_bytes(), DESTINATION_PORT.to_be_bytes()].concat();
    octets.resize(4 + further, 0x55);
    octets
}

/// A UDP header without data.
pub(super) fn udp() -> Vec<u8> {
    ports(4)
}

/// A TCP header whose data offset is 5, with these 12 bits behind it.
pub(super) fn tcp(bits: u16) -> Vec<u8> {
    let mut octets = ports(16);
    octets[12..14].copy_from_slice(&(0x5000 | bits).to_be_bytes());
    octets
}

/// The table's UDP packet: 28 octets.
pub(super) fn udp_v4() -> Vec<u8> {
    Ipv4::of(UDP).with(&udp())
}

/// The table's UDP packet: 48 octets.
pub(super) fn udp_v6() -> Vec<u8> {
    Ipv6::of(UDP).with(&udp())
}
