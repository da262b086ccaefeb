//! Packets in tunnels: what stands around them, octet by octet, and what a reader has to make of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netflow_common::Tunnel;

use crate::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, UDP, ethernet, frame, ip, udp, vlan};
use crate::lab::{FOREIGN_MAC, GENERATOR_MAC};

/// Protocol number of IPv4 in IP.
pub const IPV4_IN_IP: u8 = 4;
/// Of IPv6 in IP.
pub const IPV6_IN_IP: u8 = 41;
/// Of GRE.
pub const GRE: u8 = 47;

/// Port of GTP-U.
pub const GTP_U: u16 = 2152;
/// Of VXLAN.
pub const VXLAN: u16 = 4789;
/// Of Geneve.
pub const GENEVE: u16 = 6081;
/// EtherType of an Ethernet frame in GRE or Geneve (transparent bridging).
pub const BRIDGED: u16 = 0x6558;

/// Between whom tunnels are.
pub const OUTER_SOURCE: [u8; 4] = [172, 16, 0, 1];

/// A frame with a tunnel.
pub struct TunnelCase {
    /// What is special about it.
    pub name: &'static str,
    /// The frame.
    pub frame: Vec<u8>,
    /// What is inside; `None` where that cannot be read, and the outer packet is the flow's.
    pub inside: Option<Inside>,
}

/// What is in a tunnel.
pub struct Inside {
    /// The innermost tunnel.
    pub tunnel: Tunnel,
    /// Its id.
    pub id: u32,
    /// A frame of the same flow without a tunnel.
    pub frame: Vec<u8>,
}

/// The packet inside: UDP over IPv4, 34 octets.
pub fn inner() -> Vec<u8> {
    let from = SocketAddr::from(([10, 1, 0, 1], 1000));
    udp(from, SocketAddr::from(([10, 2, 0, 2], 2000)), b"inside")
}

fn inner6() -> Vec<u8> {
    let address = |host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host);
    udp(SocketAddr::from((address(1), 1000)), SocketAddr::from((address(2), 2000)), b"inside")
}

/// An IPv4 packet between tunnel ends.
pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let to = IpAddr::from([172, 16, 0, 2]);
    ip(IpAddr::V4(Ipv4Addr::from(OUTER_SOURCE)), to, protocol, payload)
}

fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |host| IpAddr::V6(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, host));
    ip(address(1), address(2), protocol, payload)
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = [40_000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A UDP datagram over IPv4 to a tunnel's port.
fn to_port(port: u16, payload: &[u8]) -> Vec<u8> {
    ipv4(UDP, &datagram(port, payload))
}

fn gre(flags: u16, protocol: u16, rest: &[u8], payload: &[u8]) -> Vec<u8> {
    ipv4(GRE, &[&flags.to_be_bytes()[..], &protocol.to_be_bytes(), rest, payload].concat())
}

/// VXLAN and Geneve have their VNI, here 0x10203, at one place.
fn vni(head: [u8; 4], payload: &[u8]) -> Vec<u8> {
    [&head[..], &[0x01, 0x02, 0x03, 0], payload].concat()
}

const VNI: u32 = 0x1_0203;

fn vxlan(inner: &[u8]) -> Vec<u8> {
    vni([8, 0, 0, 0], inner)
}

/// A Geneve option of an unknown class, with these octets of data.
fn geneve_option(data: usize) -> Vec<u8> {
    let mut option = vec![0x01, 0x08, 0x42, (data / 4) as u8];
    option.resize(4 + data, 0x55);
    option
}

fn geneve(protocol: u16, options: &[u8], inner: &[u8]) -> Vec<u8> {
    let [high, low] = protocol.to_be_bytes();
    vni([(options.len() / 4) as u8, 0, high, low], &[options, inner].concat())
}

/// The optional fields and extension headers are part of the length.
fn gtp_u(flags: u8, endpoint: u32, options: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut header = vec![0x30 | flags, 255];
    header.extend(((options.len() + inner.len()) as u16).to_be_bytes());
    header.extend(endpoint.to_be_bytes());
    [&header, options, inner].concat()
}

/// ERSPAN type II (8 octets) or III (12 octets) before a mirrored frame.
fn erspan(length: usize, inner: &[u8]) -> Vec<u8> {
    let mut header = vec![0; length];
    header[0] = if length == 8 { 0x10 } else { 0x20 };
    header[3] = 7;
    [&header, inner].concat()
}

/// One tunnel each, around one packet.
pub fn tunnels() -> Vec<TunnelCase> {
    let (bridged, tagged) = (frame(&inner()), tagged());
    let case = |name, packet: Vec<u8>, tunnel, id, inner: &[u8]| TunnelCase {
        name,
        frame: frame(&packet),
        inside: Some(Inside { tunnel, id, frame: inner.to_vec() }),
    };
    let (v4, v6) = (frame(&inner()), frame(&inner6()));
    use Tunnel::{Geneve, Gre, GreEthernet, GtpU, IpInIp, Vxlan};
    // PDU session container (3GPP TS 38.415), then a PDCP PDU number.
    let session = [0, 0, 0, 0x85, 1, 0x10, 0x22, 0];
    let two = [0, 9, 0, 0x85, 1, 0x10, 0x22, 0xc0, 1, 0, 7, 0];
    let most: Vec<u8> = [&geneve_option(120)[..], &geneve_option(120), &geneve_option(0)].concat();
    vec![
        case("IPv4 in IPv4", ipv4(IPV4_IN_IP, &inner()), IpInIp, 0, &v4),
        case("IPv6 in IPv4", ipv4(IPV6_IN_IP, &inner6()), IpInIp, 0, &v6),
        case("IPv4 in IPv6", ipv6(IPV4_IN_IP, &inner()), IpInIp, 0, &v4),
        case("IPv6 in IPv6", ipv6(IPV6_IN_IP, &inner6()), IpInIp, 0, &v6),
        case("GRE", gre(0, ETHERTYPE_IPV4, &[], &inner()), Gre, 0, &v4),
        case("GRE, IPv6 inside", gre(0, ETHERTYPE_IPV6, &[], &inner6()), Gre, 0, &v6),
        case("GRE with a key", gre(0x2000, ETHERTYPE_IPV4, &[0, 0, 1, 2], &inner()), Gre, 0x102, &v4),
        case("GRE with a checksum", gre(0x8000, ETHERTYPE_IPV4, &[0; 4], &inner()), Gre, 0, &v4),
        case("GRE with a sequence number", gre(0x1000, ETHERTYPE_IPV4, &[0, 0, 0, 9], &inner()), Gre, 0, &v4),
        case(
            "GRE with checksum, key and sequence number",
            gre(0xb000, ETHERTYPE_IPV4, &[0, 0, 0, 0, 9, 8, 7, 6, 0, 0, 0, 1], &inner()),
            Gre,
            0x0908_0706,
            &v4,
        ),
        case("GRE over IPv6", ipv6(GRE, &[&[0x20, 0, 8, 0, 0, 0, 0, 5][..], &inner()].concat()), Gre, 5, &v4),
        case("NVGRE", gre(0x2000, BRIDGED, &[0, 1, 2, 3], &bridged), GreEthernet, VNI, &v4),
        case("NVGRE, a tag inside", gre(0x2000, BRIDGED, &[0, 1, 2, 3], &tagged), GreEthernet, VNI, &tagged),
        case("VXLAN", to_port(VXLAN, &vxlan(&bridged)), Vxlan, VNI, &v4),
        case("VXLAN, IPv6 inside", to_port(VXLAN, &vxlan(&v6)), Vxlan, VNI, &v6),
        case("VXLAN, a tag inside", to_port(VXLAN, &vxlan(&tagged)), Vxlan, VNI, &tagged),
        case("VXLAN over IPv6", ipv6(UDP, &datagram(VXLAN, &vxlan(&bridged))), Vxlan, VNI, &v4),
        case("Geneve", to_port(GENEVE, &geneve(BRIDGED, &[], &bridged)), Geneve, VNI, &v4),
        case(
            "Geneve with an option, IP inside",
            to_port(GENEVE, &geneve(ETHERTYPE_IPV4, &geneve_option(4), &inner())),
            Geneve,
            VNI,
            &v4,
        ),
        case(
            "Geneve with 252 octets of options",
            to_port(GENEVE, &geneve(BRIDGED, &most, &tagged)),
            Geneve,
            VNI,
            &tagged,
        ),
        case("GTP-U", to_port(GTP_U, &gtp_u(0, 0xdead_beef, &[], &inner())), GtpU, 0xdead_beef, &v4),
        case("GTP-U, IPv6 inside", to_port(GTP_U, &gtp_u(0, 8, &[], &inner6())), GtpU, 8, &v6),
        case(
            "GTP-U with a sequence number",
            to_port(GTP_U, &gtp_u(2, 5, &[0, 9, 0, 0], &inner())),
            GtpU,
            5,
            &v4,
        ),
        case(
            "GTP-U with an extension header",
            to_port(GTP_U, &gtp_u(4, 5, &session, &inner())),
            GtpU,
            5,
            &v4,
        ),
        case("GTP-U with two extension headers", to_port(GTP_U, &gtp_u(6, 5, &two, &inner())), GtpU, 5, &v4),
    ]
}

/// The bridged frame with a tag.
fn tagged() -> Vec<u8> {
    ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_VLAN, &vlan(0x6123, ETHERTYPE_IPV4, &inner()))
}

/// Tunnels in tunnels, and behind more than an Ethernet header.
pub fn nested_tunnels() -> Vec<TunnelCase> {
    let case = |name, nested, tunnel, id| TunnelCase {
        name,
        frame: nested,
        inside: Some(Inside { tunnel, id, frame: frame(&inner()) }),
    };
    let gre_packet = gre(0x2000, ETHERTYPE_IPV4, &[0, 0, 0, 3], &inner());
    let labels: Vec<u8> = (1..=10_u32)
        .flat_map(|label| (label << 12 | u32::from(label == 10) << 8 | 64).to_be_bytes())
        .collect();
    let behind = |ethertype, header: &[u8], packet: &[u8]| {
        ethernet(FOREIGN_MAC, GENERATOR_MAC, ethertype, &[header, packet].concat())
    };
    let session =
        |packet: &[u8]| [&[0x11, 0, 0, 9][..], &(packet.len() as u16 + 2).to_be_bytes(), &[0, 0x21]].concat();
    vec![
        case("GRE in IP in IP", frame(&ipv4(IPV4_IN_IP, &gre_packet)), Tunnel::Gre, 3),
        case("GRE in VXLAN", frame(&to_port(VXLAN, &vxlan(&frame(&gre_packet)))), Tunnel::Gre, 3),
        case(
            "VXLAN in GTP-U",
            frame(&to_port(GTP_U, &gtp_u(0, 4, &[], &to_port(VXLAN, &vxlan(&frame(&inner())))))),
            Tunnel::Vxlan,
            VNI,
        ),
        case(
            "IP in IP four times",
            frame(&(0..4).fold(inner(), |packet, _| ipv4(IPV4_IN_IP, &packet))),
            Tunnel::IpInIp,
            0,
        ),
        case("GRE under ten labels", behind(0x8847, &labels, &gre_packet), Tunnel::Gre, 3),
        case("GRE in a PPPoE session", behind(0x8864, &session(&gre_packet), &gre_packet), Tunnel::Gre, 3),
    ]
}

/// Tunnels whose inside is not read.
pub fn unread_tunnels() -> Vec<TunnelCase> {
    let bridged = frame(&inner());
    let case = |name, packet: Vec<u8>| TunnelCase { name, frame: frame(&packet), inside: None };
    vec![
        case("ERSPAN type I", gre(0, 0x88be, &[], &bridged)),
        case("ERSPAN type II", gre(0x1000, 0x88be, &[0, 0, 0, 1], &erspan(8, &bridged))),
        case("ERSPAN type III", gre(0x1000, 0x22eb, &[0, 0, 0, 1], &erspan(12, &bridged))),
        case("PPTP", gre(0x3001, 0x880b, &[0, 6, 0, 1, 0, 0, 0, 1], &[0xff, 3, 0xc0, 0x21, 1, 1])),
        case("GRE with source routes", gre(0x4000, ETHERTYPE_IPV4, &[0; 12], &inner())),
        case("VXLAN without a VNI", to_port(VXLAN, &[&[0; 8][..], &bridged].concat())),
        case("a GTP-U echo request", to_port(GTP_U, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0])),
        case("IP in IP that is cut", ipv4(IPV4_IN_IP, &inner()[..12])),
        case("IP in IP of version 5", ipv4(IPV4_IN_IP, &[0x55; 40])),
        case("Geneve with ARP", to_port(GENEVE, &geneve(0x0806, &[], &[0; 28]))),
    ]
}

/// All of them.
pub fn all_tunnels() -> Vec<TunnelCase> {
    tunnels().into_iter().chain(nested_tunnels()).chain(unread_tunnels()).collect()
}
