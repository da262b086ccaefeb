//! Rows about ports, ICMP type and code, TCP control bits.

use super::layers::*;
use super::{Expected, FrameCase, case, ipv4, ipv6};

const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

pub(super) fn cases() -> Vec<FrameCase> {
    [protocols(), icmp_messages(), control_bits(), cut_tcp()].concat()
}

/// The same payload over both versions.
fn both(name: &str, protocol: u8, payload: &[u8], meaning: impl Fn(Expected) -> Expected) -> [FrameCase; 2] {
    let (first, second) = (Ipv4::of(protocol).with(payload), Ipv6::of(protocol).with(payload));
    let flows = (ipv4(PLAIN, protocol, first.len() as u32), ipv6(PLAIN, protocol, second.len() as u32));
    [
        case(format!("{name}, IPv4"), plain_v4(&first), meaning(flows.0)),
        case(format!("{name}, IPv6"), plain_v6(&second), meaning(flows.1)),
    ]
}

fn protocols() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for (name, protocol) in [("UDP", UDP), ("SCTP", SCTP), ("DCCP", DCCP), ("UDP-Lite", UDP_LITE)] {
        cases.extend(both(name, protocol, &ports(12), Expected::ports));
        cases.extend(both(&format!("{name}, ports alone"), protocol, &ports(0), Expected::ports));
        cases.extend(both(&format!("{name}, 3 octets"), protocol, &[1, 2, 3], Expected::cut));
        cases.extend(both(&format!("{name}, no octet"), protocol, &[], Expected::cut));
    }
    // None has ports; what stands in their place must not be read.
    let others = [
        ("IGMP", 2),
        ("IPv4 in IP", 4),
        ("EGP", 8),
        ("RSVP", 46),
        ("GRE", 47),
        ("ESP", 50),
        ("OSPF", 89),
        ("PIM", 103),
        ("IPComp", 108),
        ("VRRP", 112),
        ("L2TP", 115),
        ("EtherIP", 97),
        ("an unassigned protocol", 200),
        ("the reserved protocol", 255),
    ];
    for (name, protocol) in others {
        cases.extend(both(name, protocol, &ports(12), |flow| flow));
        cases.extend(both(&format!("{name}, no octet"), protocol, &[], |flow| flow));
    }
    // Over IPv4 these are protocols like any other.
    for (name, protocol) in [("hop-by-hop", 0), ("routing", 43), ("AH", 51), ("destination options", 60)] {
        let packet = Ipv4::of(protocol).with(&ports(12));
        cases.push(case(format!("{name} over IPv4"), plain_v4(&packet), ipv4(PLAIN, protocol, 36)));
    }
    cases
}

fn icmp_messages() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for (kind, code) in [(8, 0), (0, 0), (3, 1), (3, 4), (11, 0), (255, 255)] {
        let packet = Ipv4::of(ICMP).with(&[kind, code, 0, 0, 0, 0, 0, 0]);
        let flow = ipv4(PLAIN, ICMP, 28).icmp(kind, code);
        cases.push(case(format!("ICMP type {kind} code {code}"), plain_v4(&packet), flow));
    }
    for (kind, code) in [(128, 0), (129, 0), (1, 4), (2, 0), (135, 0), (255, 255)] {
        let packet = Ipv6::of(ICMPV6).with(&[kind, code, 0, 0, 0, 0, 0, 0]);
        let flow = ipv6(PLAIN, ICMPV6, 48).icmp(kind, code);
        cases.push(case(format!("ICMPv6 type {kind} code {code}"), plain_v6(&packet), flow));
    }
    // Type and code are enough; a type alone is not.
    let (two, one) = (Ipv4::of(ICMP).with(&[3, 13]), Ipv4::of(ICMP).with(&[3]));
    cases.push(case("ICMP of two octets", plain_v4(&two), ipv4(PLAIN, ICMP, 22).icmp(3, 13)));
    cases.push(case("ICMP of one octet", plain_v4(&one), ipv4(PLAIN, ICMP, 21).cut()));
    cases.push(case("ICMP of no octet", plain_v4(&Ipv4::of(ICMP).with(&[])), ipv4(PLAIN, ICMP, 20).cut()));
    let (two, one) = (Ipv6::of(ICMPV6).with(&[1, 3]), Ipv6::of(ICMPV6).with(&[1]));
    cases.push(case("ICMPv6 of two octets", plain_v6(&two), ipv6(PLAIN, ICMPV6, 42).icmp(1, 3)));
    cases.push(case("ICMPv6 of one octet", plain_v6(&one), ipv6(PLAIN, ICMPV6, 41).cut()));
    // An error message carries the packet that it is about: only the outer one counts.
    let error = Ipv4::of(ICMP).with(&[&[3, 3, 0, 0, 0, 0, 0, 0][..], &udp_v4()].concat());
    cases.push(case("an ICMP error with its cause", plain_v4(&error), ipv4(PLAIN, ICMP, 56).icmp(3, 3)));
    cases
}

/// All twelve bits as observed (RFC 9565): the four of the data offset are none of them, AE (RFC 9768) is the lowest
/// of the formerly reserved ones.
fn control_bits() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    let singles = (0..12).map(|bit| 1u16 << bit);
    for bits in singles.chain([0x000, 0x012, 0x011, 0x014, 0x0c2, 0x1c2, 0x1ff, 0xe00, 0xfff]) {
        let name = format!("TCP control bits {bits:#05x}");
        cases.extend(both(&name, TCP, &tcp(bits), |flow| flow.ports().control_bits(bits)));
    }
    for words in [0u8, 4, 15] {
        let mut header = tcp(0x1a5);
        header[12] = words << 4 | 0x01;
        let name = format!("a TCP data offset of {words}");
        cases.extend(both(&name, TCP, &header, |flow| flow.ports().control_bits(0x1a5)));
    }
    cases
}

/// A TCP header that ends early, by the frame or by the IP length: ports are kept, control bits lost.
fn cut_tcp() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for octets in 0..20 {
        let meaning = |flow: Expected| match octets {
            ..4 => flow.cut(),
            4..14 => flow.ports(),
            _ => flow.ports().control_bits(0xa5c),
        };
        let name = format!("{octets} octets of TCP");
        cases.extend(both(&name, TCP, &tcp(0xa5c)[..octets], meaning));
        let (first, second) = (Ipv4::of(TCP).with(&tcp(0xa5c)), Ipv6::of(TCP).with(&tcp(0xa5c)));
        cases.push(case(
            format!("{name} in the frame, IPv4"),
            cut(plain_v4(&first), 34 + octets),
            meaning(ipv4(PLAIN, TCP, 40)).short(),
        ));
        cases.push(case(
            format!("{name} in the frame, IPv6"),
            cut(plain_v6(&second), 54 + octets),
            meaning(ipv6(PLAIN, TCP, 60)).short(),
        ));
        // What the IP length leaves out is in the frame all the same.
        let stated = Ipv4 { total_length: Some(20 + octets as u16), ..Ipv4::of(TCP) };
        cases.push(case(
            format!("{name} by the length, IPv4"),
            plain_v4(&stated.with(&tcp(0xa5c))),
            meaning(ipv4(PLAIN, TCP, 20 + octets as u32)),
        ));
        let stated = Ipv6 { payload_length: Some(octets as u16), ..Ipv6::of(TCP) };
        cases.push(case(
            format!("{name} by the length, IPv6"),
            plain_v6(&stated.with(&tcp(0xa5c))),
            meaning(ipv6(PLAIN, TCP, 40 + octets as u32)),
        ));
    }
    cases
}
