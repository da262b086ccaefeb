//! Rows about the IPv4 header.

use netflow_common::{NetworkU16, Refusal};

use super::layers::*;
use super::{FrameCase, case, ipv4};

pub(super) fn cases() -> Vec<FrameCase> {
    [cut_frames(), options(), versions(), lengths(), fragments()].concat()
}

/// The UDP packet with its frame cut at every octet.
fn cut_frames() -> Vec<FrameCase> {
    let row = |octets: usize| {
        let name = format!("IPv4 cut to {octets} octets");
        let frame = cut(plain_v4(&udp_v4()), octets);
        let flow = ipv4(PLAIN, UDP, 28);
        match octets {
            ..34 => case(name, frame, Refusal::IpTruncated),
            34..38 => case(name, frame, flow.cut().short()),
            38..42 => case(name, frame, flow.ports().short()),
            _ => case(name, frame, flow.ports()),
        }
    };
    (14..=42).map(row).collect()
}

fn options() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for words in 1..=10 {
        let ip = |header_words| Ipv4 { options: words, header_words, ..Ipv4::of(UDP) };
        let length = 28 + 4 * words as u32;
        let name = format!("{words} words of options");
        let whole = plain_v4(&ip(None).with(&udp()));
        let end = 34 + 4 * words;
        cases.push(case(name.clone(), whole.clone(), ipv4(PLAIN, UDP, length).ports()));
        for octets in [34, end - 2, end - 1] {
            cases.push(case(
                format!("{name} cut to {octets} octets"),
                cut(whole.clone(), octets),
                Refusal::IpTruncated,
            ));
        }
        let headers = cut(whole.clone(), end);
        cases.push(case(format!("{name} and nothing else"), headers, ipv4(PLAIN, UDP, length).cut().short()));
        // Options that are taken for ports, when the header length is not heeded.
        let hidden = plain_v4(&ip(Some(5)).with(&udp()));
        let mut taken = ipv4(PLAIN, UDP, length).ports();
        taken.packet.key.source_port = NetworkU16::new(0x0101);
        taken.packet.key.destination_port = NetworkU16::new(0x0101);
        cases.push(case(format!("{name} that the header length denies"), hidden, taken));
        let beyond = Ipv4 { header_words: Some(5 + words as u8), ..Ipv4::of(UDP) };
        cases.push(case(
            format!("{name} that the frame does not have"),
            plain_v4(&beyond.with(&[])),
            Refusal::IpTruncated,
        ));
    }
    cases
}

fn versions() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for words in 0..5 {
        let packet = Ipv4 { header_words: Some(words), ..Ipv4::of(UDP) }.with(&udp());
        cases.push(case(
            format!("an IPv4 header of {words} words"),
            plain_v4(&packet),
            Refusal::IpHeaderLength,
        ));
    }
    for version in (0..16).filter(|version| *version != 4) {
        let packet = Ipv4 { version, ..Ipv4::of(UDP) }.with(&udp());
        cases.push(case(format!("version {version} as IPv4"), plain_v4(&packet), Refusal::IpVersion));
    }
    let neither = Ipv4 { version: 6, header_words: Some(0), ..Ipv4::of(UDP) }.with(&udp());
    cases.push(case("wrong version and header length", plain_v4(&neither), Refusal::IpVersion));
    cases.push(case("IPv6 announced as IPv4", plain_v4(&udp_v6()), Refusal::IpVersion));
    cases
}

/// What the header states is what counts; ports are read within it alone.
fn lengths() -> Vec<FrameCase> {
    let states = |octets: u16| plain_v4(&Ipv4 { total_length: Some(octets), ..Ipv4::of(UDP) }.with(&udp()));
    let flow = |octets| ipv4(PLAIN, UDP, octets);
    let mut cases = Vec::new();
    for octets in [0, 1, 19, 20, 21, 23] {
        let name = format!("an IPv4 length of {octets}");
        cases.push(case(name, states(octets), flow(octets.into()).cut()));
    }
    for octets in [24, 27, 28] {
        let name = format!("an IPv4 length of {octets}");
        cases.push(case(name, states(octets), flow(octets.into()).ports()));
    }
    for octets in [29, 1500, 65_535] {
        let name = format!("an IPv4 length of {octets}, more than the frame has");
        cases.push(case(name, states(octets), flow(octets.into()).ports().short()));
    }
    let optional = |octets| Ipv4 { options: 3, total_length: Some(octets), ..Ipv4::of(UDP) }.with(&udp());
    cases.extend([
        case("an IPv4 length that ends in the options", plain_v4(&optional(24)), flow(24).cut()),
        case("an IPv4 length that ends in the ports", plain_v4(&optional(35)), flow(35).cut()),
        case("an IPv4 length that ends behind the ports", plain_v4(&optional(36)), flow(36).ports()),
        case("padding behind UDP", padded(plain_v4(&udp_v4())), flow(28).ports()),
        case("padding is no port", padded(plain_v4(&Ipv4::of(UDP).with(&[]))), flow(20).cut()),
        case(
            "padding is no half of the ports",
            padded(plain_v4(&Ipv4::of(UDP).with(&[4, 5]))),
            flow(22).cut(),
        ),
        case(
            "padding is no ICMP code",
            padded(plain_v4(&Ipv4::of(ICMP).with(&[8]))),
            ipv4(PLAIN, ICMP, 21).cut(),
        ),
    ]);
    cases
}

fn fragments() -> Vec<FrameCase> {
    let row = |name: &str, flags_and_offset, protocol, payload: &[u8], later| {
        let packet = Ipv4 { flags_and_offset, ..Ipv4::of(protocol) }.with(payload);
        let flow = ipv4(PLAIN, protocol, packet.len() as u32);
        case(name, plain_v4(&packet), if later { flow.later_fragment() } else { flow.ports() })
    };
    vec![
        row("a first fragment", 0x2000, UDP, &udp(), false),
        row("a middle fragment", 0x2001, UDP, &udp(), true),
        row("the last fragment", 0x00b9, UDP, &udp(), true),
        row("the last fragment at the largest offset", 0x1fff, UDP, &udp(), true),
        row("a later fragment of TCP has no control bits", 0x00b9, TCP, &tcp(0x02), true),
        row("a later fragment without an octet", 0x00b9, UDP, &[], true),
        row("a later fragment of a protocol without ports", 0x00b9, 50, &[], true),
        row("do not fragment", 0x4000, UDP, &udp(), false),
        row("the reserved flag", 0x8000, UDP, &udp(), false),
        row("all flags", 0xe000, UDP, &udp(), false),
    ]
}
