//! Wide entries: what is kept of a flow where the operator asked for more than the default, or for the
//! inside of tunnels. They have maps and entry points of their own, so that the default pays nothing.

use bytemuck::{Pod, Zeroable};

use crate::{FlowCounters, FlowKey};

/// A Flow Key with what may stand in it beyond the default, 72 octets: nine words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct WideKey {
    /// The default key; of the inner packet, where it was looked for.
    pub flow: FlowKey,
    /// VNI (VXLAN, Geneve, NVGRE), GRE key or GTP-U TEID of the innermost tunnel; 0 without one.
    pub tunnel_id: u32,
    /// Label of the top entry of the MPLS label stack, 20 bits; 0 without one.
    pub mpls_label: u32,
    /// sourceMacAddress of the frame as received.
    pub source_mac: [u8; 6],
    /// destinationMacAddress of the frame as received.
    pub destination_mac: [u8; 6],
    /// dot1qCustomerVlanId: the 12 bits of the second tag; 0 without one.
    pub customer_vlan_id: u16,
    /// The innermost tunnel, by [`Tunnel`].
    pub tunnel: u8,
    /// Zero.
    pub reserved: u8,
}

/// Values of [`WideKey::tunnel`], and the bit of each in [`crate::Settings::tunnels`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Tunnel {
    /// IPv4 or IPv6 in IPv4 or IPv6 (protocols 4 and 41; RFC 2003, 2473, 4213).
    IpInIp = 1,
    /// GRE with IP in it (RFC 2784, RFC 2890).
    Gre = 2,
    /// GRE with Ethernet in it (transparent bridging; NVGRE, RFC 7637).
    GreEthernet = 3,
    /// VXLAN (RFC 7348), UDP port 4789.
    Vxlan = 4,
    /// Geneve (RFC 8926), UDP port 6081.
    Geneve = 5,
    /// GTP-U version 1 (3GPP TS 29.281), UDP port 2152.
    GtpU = 6,
}

/// Groups of measured values, and the bit of each in [`crate::Settings::groups`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Group {
    /// MAC addresses, VLAN tags, EtherType, layer-2 octets; also the wide key's MAC addresses and customer VLAN id.
    Layer2,
    /// Smallest and largest IP length.
    Size,
    /// MPLS label stack; also the wide key's label.
    Mpls,
    /// IPv4 and TCP options, IPv6 extension headers.
    Options,
    /// SPI of ESP and AH.
    Spi,
    /// IGMP type.
    Igmp,
    /// Fragment count; identification, offset and flags of the first packet.
    Fragments,
    /// Class of service of the first packet, and of all.
    ClassOfService,
    /// TTL of the first packet.
    Ttl,
    /// TCP segments sent again or out of order, round-trip time of the handshake.
    Tcp,
}

impl Group {
    /// Its bit.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Tunnel {
    /// Its bit in [`crate::Settings::tunnels`].
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::IpInIp, Self::Gre, Self::GreEthernet, Self::Vxlan, Self::Geneve, Self::GtpU];

    /// The tunnel of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tunnel| *tunnel as u8 == number)
    }
}

/// What is reported of a flow's first packet, 64 octets. Values that belong to a group that is off are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct FirstPacket {
    /// ipSecSPI: of ESP or AH; 0 for other protocols.
    pub ipsec_spi: u32,
    /// fragmentIdentification: 16 bits in IPv4, 32 in IPv6; 0 without a fragment header.
    pub fragment_identification: u32,
    /// sourceMacAddress.
    pub source_mac: [u8; 6],
    /// destinationMacAddress.
    pub destination_mac: [u8; 6],
    /// ethernetType: behind all VLAN tags.
    pub ethernet_type: u16,
    /// Tag control information of the outermost VLAN tag (priority 3 bits, DEI, VLAN id); 0 without one.
    pub outer_tag: u16,
    /// The same of the second tag.
    pub customer_tag: u16,
    /// fragmentOffset, in units of eight octets.
    pub fragment_offset: u16,
    /// ipClassOfService.
    pub class_of_service: u8,
    /// ipTTL.
    pub ttl: u8,
    /// igmpType; 0 for other protocols.
    pub igmp_type: u8,
    /// fragmentFlags, as the element has them: bit 6 "don't fragment", bit 5 "more fragments".
    pub fragment_flags: u8,
    /// Entries of the MPLS label stack.
    pub mpls_depth: u8,
    /// mplsTopLabelStackSection and its followers: label, traffic class, bottom of stack; no TTL.
    pub mpls_labels: [[u8; 3]; 10],
    /// Zero.
    pub reserved: u8,
}

/// The measured values of one flow since the last flip in full, 160 octets: twenty words. Values that
/// belong to a group that is off are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct WideCounters {
    /// The default values.
    pub flow: FlowCounters,
    /// tcpOptions: the OR over the packets, bit n is option kind n.
    pub tcp_options: u64,
    /// layer2OctetDeltaCount: frame octets from the Ethernet header on, without the frame check sequence.
    pub layer2_octets: u64,
    /// ipv4Options: the OR over the packets, bits as the element numbers them.
    pub ipv4_options: u32,
    /// minimumIpTotalLength, octets.
    pub minimum_ip_length: u32,
    /// ipv6ExtensionHeadersFull, its lowest 32 bits: the OR over the packets. (What the parser empties at an
    /// inner header stands apart: side by side, the compiler makes a loop over octets of it.)
    pub ipv6_extension_headers: u32,
    /// maximumIpTotalLength, octets.
    pub maximum_ip_length: u32,
    /// Packets that were fragments.
    pub fragments: u32,
    /// TCP segments whose octets had been seen before.
    pub tcp_retransmitted: u32,
    /// TCP segments that filled a gap.
    pub tcp_out_of_order: u32,
    /// Microseconds from the SYN of the other direction to the SYN-ACK of this one; 0: not measured.
    pub round_trip_microseconds: u32,
    /// Of the first packet.
    pub first_packet: FirstPacket,
    /// The OR of ipClassOfService over the packets.
    pub all_classes_of_service: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl WideCounters {
    /// Adds a later packet of the same flow, as the kernel program does: what belongs to the first packet stays.
    #[inline(always)]
    pub fn add_later(&mut self, later: &Self) {
        self.layer2_octets += later.layer2_octets;
        self.tcp_options |= later.tcp_options;
        self.ipv4_options |= later.ipv4_options;
        self.ipv6_extension_headers |= later.ipv6_extension_headers;
        if later.minimum_ip_length < self.minimum_ip_length {
            self.minimum_ip_length = later.minimum_ip_length;
        }
        if later.maximum_ip_length > self.maximum_ip_length {
            self.maximum_ip_length = later.maximum_ip_length;
        }
        self.fragments = self.fragments.wrapping_add(later.fragments);
        self.tcp_retransmitted = self.tcp_retransmitted.wrapping_add(later.tcp_retransmitted);
        self.tcp_out_of_order = self.tcp_out_of_order.wrapping_add(later.tcp_out_of_order);
        if self.round_trip_microseconds == 0 {
            self.round_trip_microseconds = later.round_trip_microseconds;
        }
        self.all_classes_of_service |= later.all_classes_of_service;
    }

    /// Adds what was measured of the same flow elsewhere. The order of merges does not matter: what belongs
    /// to the first packet is that of the earlier one (the smaller of two in one tick).
    pub fn merge(&mut self, other: &Self) {
        if (other.flow.first, other.first_packet) < (self.flow.first, self.first_packet) {
            self.first_packet = other.first_packet;
        }
        // Of two measurements the smaller one: the other had the SYN sent again.
        let round_trip = match (self.round_trip_microseconds, other.round_trip_microseconds) {
            (0, only) | (only, 0) => only,
            (one, another) => one.min(another),
        };
        self.flow.merge(&other.flow);
        self.add_later(other);
        self.round_trip_microseconds = round_trip;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_wide_counters_in_either_order_gives_the_same() {
        let a = WideCounters {
            flow: FlowCounters { packets: 1, octets: 40, first: 7, last: 9, ..FlowCounters::default() },
            layer2_octets: 60,
            tcp_options: 0b100,
            minimum_ip_length: 40,
            maximum_ip_length: 40,
            first_packet: FirstPacket { ttl: 64, ..FirstPacket::default() },
            all_classes_of_service: 1,
            ..WideCounters::default()
        };
        let b = WideCounters {
            flow: FlowCounters { packets: 2, octets: 3000, first: 5, last: 6, ..FlowCounters::default() },
            layer2_octets: 3028,
            tcp_options: 0b10,
            minimum_ip_length: 1500,
            maximum_ip_length: 1500,
            round_trip_microseconds: 70,
            first_packet: FirstPacket { ttl: 63, ..FirstPacket::default() },
            all_classes_of_service: 2,
            ..WideCounters::default()
        };
        let (mut ab, mut ba) = (a, b);
        ab.merge(&b);
        ba.merge(&a);
        assert_eq!(ab, ba);
        assert_eq!((ab.flow.packets, ab.layer2_octets, ab.first_packet.ttl), (3, 3088, 63));
        assert_eq!((ab.minimum_ip_length, ab.maximum_ip_length), (40, 1500));
        assert_eq!((ab.tcp_options, ab.all_classes_of_service, ab.round_trip_microseconds), (6, 3, 70));
    }
}
