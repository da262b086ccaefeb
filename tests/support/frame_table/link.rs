//! Rows about what stands before the IP header.

use netflow_common::Refusal;
use netflow_ebpf::packet::LinkType;

use crate::frames::vlan;

use super::layers::*;
use super::{Expected, FrameCase, case, ipv4, ipv6, linked};

const ARP: u16 = 0x0806;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_DISCOVERY: u16 = 0x8863;
const PPPOE_SESSION: u16 = 0x8864;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

pub(super) fn cases() -> Vec<FrameCase> {
    [plain(), snap(), tags(), labels(), pppoe(), other_links()].concat()
}

/// The UDP packet over IPv4 at this offset.
fn v4(offset: u32) -> Expected {
    ipv4(offset, UDP, 28).ports()
}

/// The UDP packet over IPv6 at this offset.
fn v6(offset: u32) -> Expected {
    ipv6(offset, UDP, 48).ports()
}

fn plain() -> Vec<FrameCase> {
    let mut cases = vec![
        case("Ethernet II, IPv4", plain_v4(&udp_v4()), v4(14)),
        case("Ethernet II, IPv6", plain_v6(&udp_v6()), v6(14)),
        case("ARP", ethernet(ARP, &[0; 46]), Refusal::NotIp),
        case("LLDP", ethernet(0x88cc, &[0; 46]), Refusal::NotIp),
        case("the smallest EtherType is none of ours", ethernet(0x0600, &[0; 46]), Refusal::NotIp),
        case("an Ethernet header and nothing else", ethernet(ARP, &[]), Refusal::NotIp),
    ];
    for octets in 0..14 {
        let name = format!("an Ethernet header cut to {octets} octets");
        cases.push(case(name, cut(plain_v4(&udp_v4()), octets), Refusal::LinkTruncated));
    }
    cases
}

/// LLC and SNAP with an EtherType (RFC 1042) and what follows.
fn snap_header(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[0xaa, 0xaa, 3, 0, 0, 0][..], &ether_type.to_be_bytes(), payload].concat()
}

/// An 802.3 frame: a length in place of the EtherType.
fn llc(payload: &[u8]) -> Vec<u8> {
    ethernet(payload.len() as u16, payload)
}

fn snap() -> Vec<FrameCase> {
    let mut other_organisation = snap_header(ETHERTYPE_IPV4, &udp_v4());
    other_organisation[5] = 1;
    let mut other_control = snap_header(ETHERTYPE_IPV4, &udp_v4());
    other_control[2] = 0;
    let mut other_saps = snap_header(ETHERTYPE_IPV4, &udp_v4());
    other_saps[1] = 0xab;
    let mut longest = llc(&snap_header(ETHERTYPE_IPV4, &udp_v4()));
    longest[12..14].copy_from_slice(&0x05ffu16.to_be_bytes());
    let tagged = ethernet(0x8100, &vlan(5, 36, &snap_header(ETHERTYPE_IPV4, &udp_v4())));
    let tag_inside = llc(&snap_header(0x8100, &vlan(6, ETHERTYPE_IPV4, &udp_v4())));
    let mut deep = snap_header(ETHERTYPE_IPV6, &udp_v6());
    for (id, tag) in [(1, 56), (2, 0x8100), (3, 0x8100), (4, 0x8100)] {
        deep = vlan(id, tag, &deep);
    }
    vec![
        case("SNAP, IPv4", llc(&snap_header(ETHERTYPE_IPV4, &udp_v4())), v4(22)),
        case("SNAP, IPv6", llc(&snap_header(ETHERTYPE_IPV6, &udp_v6())), v6(22)),
        case("SNAP with the largest length", longest, v4(22)),
        case("SNAP, ARP", llc(&snap_header(ARP, &[0; 28])), Refusal::NotIp),
        case("SNAP of another organisation", llc(&other_organisation), Refusal::NotIp),
        case("SNAP with another control field", llc(&other_control), Refusal::NotIp),
        case("SNAP with another service access point", llc(&other_saps), Refusal::NotIp),
        case("LLC of a spanning tree", llc(&[&[0x42, 0x42, 3][..], &[0; 35]].concat()), Refusal::NotIp),
        case("LLC shorter than SNAP", llc(&[0xaa, 0xaa, 3, 0, 0]), Refusal::NotIp),
        case("SNAP within SNAP", llc(&snap_header(36, &snap_header(ETHERTYPE_IPV4, &udp_v4()))), v4(30)),
        case("SNAP behind a tag", tagged, v4(26).vlan(5)),
        case("a tag behind SNAP", tag_inside, v4(26).vlan(6)),
        case("SNAP behind four tags", ethernet(0x8100, &deep), v6(38).vlan(4)),
    ]
}

/// `depth` tags of one EtherType, outermost id 100, each with priority 5 and the drop bit.
fn tagged(tag: u16, depth: u16, inner: u16, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let mut ether_type = inner;
    for level in (0..depth).rev() {
        payload = vlan(0xb000 | (100 + level), ether_type, &payload);
        ether_type = tag;
    }
    ethernet(ether_type, &payload)
}

fn tags() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for tag in TAGS {
        for depth in 1..=4u16 {
            let offset = 14 + 4 * u32::from(depth);
            let name = |what| format!("{depth} tags of {tag:#x}, {what}");
            cases.push(case(
                name("IPv4"),
                tagged(tag, depth, ETHERTYPE_IPV4, &udp_v4()),
                v4(offset).vlan(100),
            ));
            cases.push(case(
                name("IPv6"),
                tagged(tag, depth, ETHERTYPE_IPV6, &udp_v6()),
                v6(offset).vlan(100),
            ));
            cases.push(case(name("ARP"), tagged(tag, depth, ARP, &[0; 28]), Refusal::NotIp));
            let whole = tagged(tag, depth, ETHERTYPE_IPV4, &udp_v4());
            for octets in [offset - 4, offset - 2, offset - 1] {
                let name = format!("{depth} tags of {tag:#x} cut to {octets} octets");
                cases.push(case(name, cut(whole.clone(), octets as usize), Refusal::LinkTruncated));
            }
        }
        for depth in 5..=7 {
            let name = format!("{depth} tags of {tag:#x}");
            cases.push(case(name, tagged(tag, depth, ETHERTYPE_IPV4, &udp_v4()), Refusal::LinkTooDeep));
        }
        let five = tagged(tag, 5, ETHERTYPE_IPV4, &udp_v4());
        cases.push(case(format!("5 tags of {tag:#x}, the last cut"), cut(five, 31), Refusal::LinkTooDeep));
    }
    let mixed = vlan(1, 0x88a8, &vlan(2, 0x9100, &vlan(3, ETHERTYPE_IPV4, &udp_v4())));
    cases.push(case("tags of all kinds", ethernet(0x8100, &mixed), v4(26).vlan(1)));
    let priority = vlan(0xe000, ETHERTYPE_IPV4, &udp_v4());
    cases.push(case("a priority tag has no VLAN id", ethernet(0x8100, &priority), v4(18)));
    let inner = vlan(0, 0x8100, &vlan(7, ETHERTYPE_IPV4, &udp_v4()));
    cases.push(case("the outer id counts though it is 0", ethernet(0x8100, &inner), v4(22)));
    let all = vlan(0xffff, ETHERTYPE_IPV4, &udp_v4());
    cases.push(case("the largest VLAN id", ethernet(0x8100, &all), v4(18).vlan(4095)));
    let unknown = ethernet(0x9200, &vlan(1, ETHERTYPE_IPV4, &udp_v4()));
    cases.push(case("a tag of unread EtherType", unknown, Refusal::NotIp));
    cases
}

/// A label stack of this depth (RFC 3032): the last entry has the bottom bit.
fn stack(depth: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for level in 1..=depth {
        let bottom = u32::from(level == depth);
        octets.extend(((16 + level) << 12 | 7 << 9 | bottom << 8 | 64).to_be_bytes());
    }
    octets.extend(payload);
    octets
}

fn labels() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for depth in 1..=10 {
        let offset = 14 + 4 * depth;
        cases.push(case(
            format!("{depth} labels, IPv4"),
            ethernet(MPLS, &stack(depth, &udp_v4())),
            v4(offset),
        ));
        cases.push(case(
            format!("{depth} labels, IPv6"),
            ethernet(MPLS, &stack(depth, &udp_v6())),
            v6(offset),
        ));
        // A pseudowire's control word begins with four zero bits (RFC 4385).
        let pseudowire = ethernet(MPLS, &stack(depth, &[0; 60]));
        cases.push(case(format!("{depth} labels, a pseudowire"), pseudowire, Refusal::NotIp));
        for octets in [offset - 4, offset - 1, offset, offset + 1] {
            let frame = cut(ethernet(MPLS, &stack(depth, &udp_v4())), octets as usize);
            cases.push(case(format!("{depth} labels cut to {octets} octets"), frame, Refusal::LinkTruncated));
        }
    }
    let short = cut(ethernet(MPLS, &stack(1, &udp_v4())), 14 + 4 + 2);
    let behind_four_tags = tagged(0x8100, 4, MPLS, &stack(10, &udp_v6()));
    cases.extend([
        case("11 labels", ethernet(MPLS, &stack(11, &udp_v4())), Refusal::LinkTooDeep),
        case("100 labels", ethernet(MPLS, &stack(100, &udp_v4())), Refusal::LinkTooDeep),
        case("multicast labels", ethernet(MPLS_MULTICAST, &stack(2, &udp_v4())), v4(22)),
        case("a label and half an IPv4 header", short, Refusal::IpTruncated),
        case("10 labels behind 4 tags", behind_four_tags, v6(70).vlan(100)),
    ]);
    cases
}

/// A session header (RFC 2516) and a PPP protocol number.
fn session(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![0x11, 0, 0, 9];
    octets.extend((payload.len() as u16 + 2).to_be_bytes());
    octets.extend(protocol.to_be_bytes());
    octets.extend(payload);
    octets
}

fn pppoe() -> Vec<FrameCase> {
    let mut cases = vec![
        case("PPPoE, IPv4", ethernet(PPPOE_SESSION, &session(0x0021, &udp_v4())), v4(22)),
        case("PPPoE, IPv6", ethernet(PPPOE_SESSION, &session(0x0057, &udp_v6())), v6(22)),
        case("PPPoE, LCP", ethernet(PPPOE_SESSION, &session(0xc021, &[0; 20])), Refusal::NotIp),
        case("PPPoE, IPCP", ethernet(PPPOE_SESSION, &session(0x8021, &[0; 20])), Refusal::NotIp),
        case("PPPoE, MPLS", ethernet(PPPOE_SESSION, &session(0x0281, &udp_v4())), Refusal::NotIp),
        case("PPPoE discovery", ethernet(PPPOE_DISCOVERY, &session(0x0021, &udp_v4())), Refusal::NotIp),
        case(
            "PPPoE behind two tags",
            tagged(0x88a8, 2, PPPOE_SESSION, &session(0x0021, &udp_v4())),
            v4(30).vlan(100),
        ),
        case(
            "PPPoE behind four tags",
            tagged(0x88a8, 4, PPPOE_SESSION, &session(0x0057, &udp_v6())),
            v6(38).vlan(100),
        ),
    ];
    for octets in [14, 15, 20, 21] {
        let frame = cut(ethernet(PPPOE_SESSION, &session(0x0021, &udp_v4())), octets);
        cases.push(case(format!("PPPoE cut to {octets} octets"), frame, Refusal::LinkTruncated));
    }
    cases
}

fn other_links() -> Vec<FrameCase> {
    let raw = LinkType::RawIp;
    let mut cases = vec![
        linked("raw IP, IPv4", raw, udp_v4(), v4(0)),
        linked("raw IP, IPv6", raw, udp_v6(), v6(0)),
        linked("raw IP of another version", raw, vec![0x50; 40], Refusal::NotIp),
        linked("raw IP without an octet", raw, vec![], Refusal::LinkTruncated),
        linked("raw IP cut", raw, cut(udp_v4(), 19), Refusal::IpTruncated),
    ];
    let loopback = |family: [u8; 4], packet: &[u8]| [&family[..], packet].concat();
    for octets in [u32::to_be_bytes, u32::to_le_bytes] {
        let order = if octets(1)[0] == 0 { "network order" } else { "reversed order" };
        let mut row = |what: &str, frame, expected: Result<Expected, Refusal>| {
            let name = format!("loopback in {order}, {what}");
            cases.push(FrameCase { name, link: LinkType::Loopback, frame, expected });
        };
        row("IPv4", loopback(octets(2), &udp_v4()), Ok(v4(4)));
        for family in [10, 24, 28, 30] {
            row(&format!("IPv6 as family {family}"), loopback(octets(family), &udp_v6()), Ok(v6(4)));
        }
        row("OSI", loopback(octets(7), &udp_v4()), Err(Refusal::NotIp));
        row("no header", loopback(octets(2), &[]), Err(Refusal::IpTruncated));
        row("IPv6 that says IPv4", loopback(octets(2), &udp_v6()), Err(Refusal::IpVersion));
        row("cut", octets(2)[..3].to_vec(), Err(Refusal::LinkTruncated));
    }
    // Packet type, ARPHRD, address length, address (8 octets), protocol.
    let cooked_v1 = |ether_type: u16, packet: &[u8]| {
        [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &ether_type.to_be_bytes(), packet].concat()
    };
    // Protocol, reserved, interface, ARPHRD, packet type, address length, address (8 octets).
    let cooked_v2 = |ether_type: u16, packet: &[u8]| {
        let rest = [0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        [&ether_type.to_be_bytes()[..], &rest, packet].concat()
    };
    let (first, second) = (LinkType::CookedV1, LinkType::CookedV2);
    let tag = vlan(8, ETHERTYPE_IPV4, &udp_v4());
    cases.extend([
        linked("cooked, IPv4", first, cooked_v1(ETHERTYPE_IPV4, &udp_v4()), v4(16)),
        linked("cooked, IPv6", first, cooked_v1(ETHERTYPE_IPV6, &udp_v6()), v6(16)),
        linked("cooked, a tag", first, cooked_v1(0x8100, &tag), v4(20).vlan(8)),
        linked("cooked, ARP", first, cooked_v1(ARP, &[0; 28]), Refusal::NotIp),
        linked("cooked, cut", first, cut(cooked_v1(ETHERTYPE_IPV4, &[]), 15), Refusal::LinkTruncated),
        linked("cooked 2, IPv4", second, cooked_v2(ETHERTYPE_IPV4, &udp_v4()), v4(20)),
        linked("cooked 2, IPv6", second, cooked_v2(ETHERTYPE_IPV6, &udp_v6()), v6(20)),
        linked("cooked 2, a tag", second, cooked_v2(0x8100, &tag), v4(24).vlan(8)),
        linked("cooked 2, ARP", second, cooked_v2(ARP, &[0; 28]), Refusal::NotIp),
        linked("cooked 2, cut", second, cut(cooked_v2(ETHERTYPE_IPV4, &[]), 19), Refusal::LinkTruncated),
    ]);
    cases
}
