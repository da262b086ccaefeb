//! Frames made by hand, from the inside out: `frame(&tcp(from, to, FIN | ACK, 7, b""))`.

use std::net::{IpAddr, SocketAddr};

use crate::lab::{FOREIGN_MAC, GENERATOR_MAC};

/// Octets of an Ethernet header.
pub const ETHERNET_LENGTH: usize = 14;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// Protocol numbers.
pub const ICMP: u8 = 1;
/// TCP's.
pub const TCP: u8 = 6;
/// UDP's.
pub const UDP: u8 = 17;

/// TCP control bits.
pub const FIN: u8 = 0x01;
/// Synchronise.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// Acknowledge.
pub const ACK: u8 = 0x10;

/// An IP packet in a frame from the generator to nobody: XDP sees it, the stack drops it.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    let ether_type =
        if packet.first().is_some_and(|first| first >> 4 == 6) { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    ethernet(FOREIGN_MAC, GENERATOR_MAC, ether_type, packet)
}

/// An Ethernet frame, without padding or check sequence.
pub fn ethernet(destination: [u8; 6], source: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ether_type.to_be_bytes(), payload].concat()
}

/// A VLAN tag's control information, the EtherType of what follows, and that: the payload of
/// [`ETHERTYPE_VLAN`].
pub fn vlan(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &ether_type.to_be_bytes(), payload].concat()
}

/// A TCP segment in an IP packet.
pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    transport(source.ip(), destination.ip(), TCP, segment, 16)
}

/// A UDP datagram in an IP packet.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.port().to_be_bytes());
    datagram.extend(destination.port().to_be_bytes());
    datagram.extend(length(8 + payload.len()));
    datagram.extend([0; 2]);
    datagram.extend(payload);
    transport(source.ip(), destination.ip(), UDP, datagram, 6)
}

/// An ICMP message in an IPv4 packet; the payload is what follows the checksum.
pub fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], payload].concat();
    let checksum = checksum(&message);
    message[2..4].copy_from_slice(&checksum);
    ip(source, destination, ICMP, &message)
}

/// An IP packet without options; both addresses are of one version.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet = vec![0x45, 0];
            packet.extend(length(20 + payload.len()));
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            let checksum = checksum(&packet);
            packet[10..12].copy_from_slice(&checksum);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet = vec![0x60, 0, 0, 0];
            packet.extend(length(payload.len()));
            packet.extend([protocol, 64]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        _ => panic!("{source} and {destination} are of different versions"),
    }
    packet.extend(payload);
    packet
}

/// Fills in a transport header's checksum, which covers the addresses too (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn transport(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    mut octets: Vec<u8>,
    place: usize,
) -> Vec<u8> {
    let mut covered = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
        (IpAddr::V6(source), IpAddr::V6(destination)) => [source.octets(), destination.octets()].concat(),
        _ => panic!("{source} and {destination} are of different versions"),
    };
    covered.extend([0, protocol]);
    covered.extend(length(octets.len()));
    covered.extend(&octets);
    let checksum = match checksum(&covered) {
        // Zero says that there is none (RFC 768).
        [0, 0] if protocol == UDP => [0xff, 0xff],
        checksum => checksum,
    };
    octets[place..place + 2].copy_from_slice(&checksum);
    ip(source, destination, protocol, &octets)
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).expect("an IP packet has at most 65535 octets").to_be_bytes()
}

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum: u32 = 0;
    for pair in octets.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), [0x22, 0x0d]);
        assert_eq!(checksum(&[0x01]), [0xfe, 0xff]);
    }
}
