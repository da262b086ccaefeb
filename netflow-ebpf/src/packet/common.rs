//! What nearly every packet is: TCP or UDP right behind one IP header without options, whole, without a tag.
//!
//! It is read in one straight line, with a third of the instructions that the parser needs, which has to be ready for
//! everything. All else is the parser's, and so is the truth: of what is read here it says the same.

use bytemuck::AnyBitPattern;
use netflow_common::{Address, FlowKey, IpVersion, NetworkU16, Ports};

use super::{
    Frame, LinkType, Notes, Packet, ipv4, ipv6,
    link::{IPV4, IPV6},
    transport::{TCP, TCP_CONTROL_BITS, TCP_CONTROL_BITS_OFFSET, UDP},
};

/// Of a TCP header, what is read of it. (A UDP header has eight octets.)
const LEAST_TCP: usize = TCP_CONTROL_BITS_OFFSET + 2;
const UDP_HEADER: usize = 8;

/// Both ports.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct PortPair {
    source: NetworkU16,
    destination: NetworkU16,
}

/// Where the IP header of such a packet stands, if its link layer announces this version.
#[inline(always)]
fn network<F: Frame + ?Sized>(frame: &F, link: LinkType, version: u8, ethertype: u16) -> Option<usize> {
    let (is_announced, offset) = match link {
        LinkType::Ethernet => (frame.read::<NetworkU16>(12)?.value() == ethertype, 14),
        LinkType::RawIp => (frame.read::<NetworkU16>(0)?.value() >> 12 == version.into(), 0),
        _ => return None,
    };
    is_announced.then_some(offset)
}

/// Reads a packet of `length` octets, if it is a common one of IPv4.
#[inline(always)]
pub fn common_ipv4<F: Frame + ?Sized>(frame: &F, link: LinkType, length: usize) -> Option<Packet> {
    const HEADER: usize = size_of::<ipv4::Header>();
    let offset = network(frame, link, IpVersion::V4, IPV4)?;
    let header: ipv4::Header = frame.read(offset)?;
    let octets = usize::from(header.total_length.value());
    let is_whole = header.version_and_length == 0x45
        && header.flags_and_offset.value() & ipv4::IS_FRAGMENT == 0
        && offset + octets <= length;
    if !is_whole {
        return None;
    }
    let (ports, tcp_control_bits) = transport(frame, offset + HEADER, octets, HEADER, header.protocol)?;
    Some(Packet {
        key: FlowKey {
            source_address: Address::from_ipv4(header.source.to_ne_bytes()),
            destination_address: Address::from_ipv4(header.destination.to_ne_bytes()),
            ip_version: IpVersion::V4,
            ..key(ports, header.protocol, header.class_of_service)
        },
        octets: octets as u32,
        offset: offset as u32,
        flow_label: 0,
        tcp_control_bits,
        ttl: header.ttl,
        notes: Notes::NONE,
    })
}

/// Reads a packet of `length` octets, if it is a common one of IPv6.
#[inline(always)]
pub fn common_ipv6<F: Frame + ?Sized>(frame: &F, link: LinkType, length: usize) -> Option<Packet> {
    const HEADER: usize = size_of::<ipv6::Header>();
    let offset = network(frame, link, IpVersion::V6, IPV6)?;
    let header: ipv6::Header = frame.read(offset)?;
    let word = u32::from_be(header.version_class_label);
    let octets = HEADER + usize::from(header.payload_length.value());
    if word >> 28 != u32::from(IpVersion::V6) || offset + octets > length {
        return None;
    }
    let (ports, tcp_control_bits) = transport(frame, offset + HEADER, octets, HEADER, header.next_header)?;
    Some(Packet {
        key: FlowKey {
            source_address: Address::from_words(header.source),
            destination_address: Address::from_words(header.destination),
            ip_version: IpVersion::V6,
            ..key(ports, header.next_header, (word >> 20) as u8)
        },
        octets: octets as u32,
        offset: offset as u32,
        flow_label: word & ipv6::FLOW_LABEL,
        tcp_control_bits,
        ttl: header.hop_limit,
        notes: Notes::NONE,
    })
}

/// Ports and control bits, behind a header of so many of the packet's octets.
#[inline(always)]
fn transport<F: Frame + ?Sized>(
    frame: &F,
    offset: usize,
    octets: usize,
    header: usize,
    protocol: u8,
) -> Option<(PortPair, u16)> {
    match protocol {
        UDP if octets >= header + UDP_HEADER => Some((frame.read(offset)?, 0)),
        TCP if octets >= header + LEAST_TCP => {
            let bits: NetworkU16 = frame.read(offset + TCP_CONTROL_BITS_OFFSET)?;
            Some((frame.read(offset)?, bits.value() & TCP_CONTROL_BITS))
        }
        _ => None,
    }
}

#[inline(always)]
fn key(ports: PortPair, protocol: u8, class_of_service: u8) -> FlowKey {
    FlowKey {
        source_address: Address::from_words([0; 2]),
        destination_address: Address::from_words([0; 2]),
        interface: 0,
        source_port: ports.source,
        destination_port: ports.destination,
        vlan_id: 0,
        protocol,
        class_of_service,
        ip_version: 0,
        direction: 0,
        ports: Ports::PRESENT,
        reserved: 0,
    }
}
