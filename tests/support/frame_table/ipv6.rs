//! Rows about the IPv6 header and its extension headers.

use netflow_common::Refusal;

use super::layers::*;
use super::{Expected, FrameCase, case, ipv6};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;
/// All whose length counts units of 8 octets.
const ORDINARY: [u8; 6] = [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HOST_IDENTITY, SHIM6];

pub(super) fn cases() -> Vec<FrameCase> {
    [cut_frames(), header(), single(), fragments(), chains(), cut_chains(), limit()].concat()
}

/// A row for a packet that is whole.
fn row(name: impl Into<String>, packet: Vec<u8>, meaning: impl Fn(Expected) -> Expected) -> FrameCase {
    let flow = ipv6(PLAIN, UDP, packet.len() as u32);
    case(name, plain_v6(&packet), meaning(flow))
}

/// The same where the chain ends with another protocol.
fn ending(protocol: u8) -> impl Fn(Expected) -> Expected {
    move |mut flow| {
        flow.packet.key.protocol = protocol;
        flow
    }
}

/// The UDP packet with its frame cut at every octet.
fn cut_frames() -> Vec<FrameCase> {
    let row = |octets: usize| {
        let name = format!("IPv6 cut to {octets} octets");
        let frame = cut(plain_v6(&udp_v6()), octets);
        let flow = ipv6(PLAIN, UDP, 48);
        match octets {
            ..54 => case(name, frame, Refusal::IpTruncated),
            54..58 => case(name, frame, flow.cut().short()),
            58..62 => case(name, frame, flow.ports().short()),
            _ => case(name, frame, flow.ports()),
        }
    };
    (14..=62).map(row).collect()
}

fn header() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for version in (0..16).filter(|version| *version != 6) {
        let packet = Ipv6 { version, ..Ipv6::of(UDP) }.with(&udp());
        cases.push(case(format!("version {version} as IPv6"), plain_v6(&packet), Refusal::IpVersion));
    }
    let short = plain_v6(&[&udp_v4()[..], &[0; 12]].concat());
    cases.push(case("IPv4 announced as IPv6", short, Refusal::IpVersion));
    cases.push(case(
        "IPv4 announced as IPv6, shorter than its header",
        plain_v6(&udp_v4()),
        Refusal::IpTruncated,
    ));
    let states = |octets| plain_v6(&Ipv6 { payload_length: Some(octets), ..Ipv6::of(UDP) }.with(&udp()));
    for octets in [0, 1, 3, 4, 7, 8, 9, 1460, 65_535] {
        let name = format!("an IPv6 payload length of {octets}");
        let flow = ipv6(PLAIN, UDP, 40 + u32::from(octets));
        let flow = if octets < 4 { flow.cut() } else { flow.ports() };
        cases.push(case(name, states(octets), if octets > 8 { flow.short() } else { flow }));
    }
    // Of a jumbogram (RFC 2675) only 40 octets are stated where lengths are counted.
    let jumbo = Ipv6 { payload_length: Some(0), ..Ipv6::of(UDP) }.behind(HOP_BY_HOP, extension(0));
    cases.push(case("a jumbogram", plain_v6(&jumbo.with(&udp())), ipv6(PLAIN, UDP, 40).cut()));
    let padding = padded(plain_v6(&Ipv6::of(UDP).with(&[])));
    cases.push(case("padding is no port of IPv6", padding, ipv6(PLAIN, UDP, 40).cut()));
    cases
}

fn single() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for number in ORDINARY {
        for length in [0, 1, 7] {
            let name = format!("extension header {number} of {} octets", (u32::from(length) + 1) * 8);
            let packet = Ipv6::of(UDP).behind(number, extension(length)).with(&udp());
            cases.push(row(name, packet, Expected::ports));
        }
        let last = Ipv6::of(NO_NEXT_HEADER).behind(number, extension(0)).with(&[]);
        cases.push(row(format!("extension header {number} and no next header"), last, ending(59)));
    }
    for length in [1, 4, 7, 10] {
        let name = format!("an Authentication Header of {} octets", (u32::from(length) + 2) * 4);
        let packet = Ipv6::of(UDP).behind(AUTHENTICATION, authentication(length)).with(&udp());
        cases.push(row(name, packet, Expected::ports));
    }
    cases.push(row("no next header", Ipv6::of(NO_NEXT_HEADER).with(&udp()), ending(NO_NEXT_HEADER)));
    cases.push(row("ESP", Ipv6::of(ESP).with(&udp()), ending(ESP)));
    let hidden = Ipv6::of(ESP).behind(DESTINATION_OPTIONS, extension(0)).with(&udp());
    cases.push(row("ESP behind destination options", hidden, ending(ESP)));
    let inner = Ipv6::of(41).behind(HOP_BY_HOP, extension(0)).with(&udp_v6());
    cases.push(row("IPv6 in IPv6 behind hop-by-hop options", inner, ending(41)));
    // Numbers that RFC 3692 tests or that nobody assigned: upper-layer protocols as far as anyone knows.
    for number in [253, 254, 255, 143] {
        cases.push(row(format!("protocol {number}"), Ipv6::of(number).with(&udp()), ending(number)));
    }
    cases
}

fn fragments() -> Vec<FrameCase> {
    let packet = |offset, more| Ipv6::of(UDP).behind(FRAGMENT, fragment(offset, more)).with(&udp());
    let behind = |offset, number| {
        let chain = Ipv6::of(UDP).behind(FRAGMENT, fragment(offset, true));
        chain.behind(number, extension(0)).with(&udp())
    };
    let mut reserved = packet(0, false);
    reserved[43] |= 0x06;
    let middle_of_options = behind(1, DESTINATION_OPTIONS);
    let icmp = Ipv6::of(ICMPV6).behind(FRAGMENT, fragment(181, false)).with(&[128, 0]);
    vec![
        row("an atomic fragment", packet(0, false), Expected::ports),
        row("a first fragment of IPv6", packet(0, true), Expected::ports),
        row("a middle fragment of IPv6", packet(1, true), Expected::later_fragment),
        row("the last fragment of IPv6", packet(0x1fff, false), Expected::later_fragment),
        row("the reserved bits of a fragment header", reserved, Expected::ports),
        row("destination options in a first fragment", behind(0, DESTINATION_OPTIONS), Expected::ports),
        row("a fragment within a fragment", behind(0, FRAGMENT), |flow| {
            // Of the table's extension header the offset field is 0x0101: a later fragment.
            flow.later_fragment()
        }),
        row("a later fragment has no headers", middle_of_options, |flow| ending(60)(flow).later_fragment()),
        row("a later fragment of ICMPv6", icmp, |flow| ending(ICMPV6)(flow).later_fragment()),
    ]
}

fn chains() -> Vec<FrameCase> {
    let of_depth = |depth: usize, protocol| {
        let numbers = ORDINARY.iter().cycle().take(depth);
        numbers.fold(Ipv6::of(protocol), |ip, number| ip.behind(*number, extension(0)))
    };
    let mut cases = Vec::new();
    for depth in 2..=8 {
        let name = format!("{depth} extension headers");
        cases.push(row(name.clone(), of_depth(depth, UDP).with(&udp()), Expected::ports));
        cases.push(row(format!("{name}, ESP"), of_depth(depth, ESP).with(&udp()), ending(ESP)));
        let later = of_depth(depth - 1, UDP).behind(FRAGMENT, fragment(9, true)).with(&udp());
        cases.push(row(format!("{name}, a later fragment"), later, Expected::later_fragment));
    }
    // The ninth header's number is all that is known of what the packet carries.
    for (depth, ninth) in [(9, DESTINATION_OPTIONS), (12, DESTINATION_OPTIONS)] {
        let packet = of_depth(depth, UDP).with(&udp());
        let meaning = |flow| ending(ninth)(flow).headers_unread();
        cases.push(row(format!("{depth} extension headers"), packet, meaning));
    }
    let ninth_fragment = of_depth(8, UDP).behind(FRAGMENT, fragment(9, true)).with(&udp());
    let meaning = |flow| ending(FRAGMENT)(flow).headers_unread();
    cases.push(row("a ninth header that is a fragment header", ninth_fragment, meaning));
    let all = Ipv6::of(TCP)
        .behind(HOP_BY_HOP, extension(0))
        .behind(DESTINATION_OPTIONS, extension(1))
        .behind(ROUTING, extension(4))
        .behind(FRAGMENT, fragment(0, true))
        .behind(AUTHENTICATION, authentication(4))
        .behind(DESTINATION_OPTIONS, extension(0))
        .with(&tcp(0x12));
    let meaning = |flow| ending(TCP)(flow).ports().control_bits(0x12);
    cases.push(row("all headers in the order of RFC 8200", all, meaning));
    cases
}

/// Two extension headers and UDP, cut at every octet: 54 + 8 + 8 + 8.
fn cut_chains() -> Vec<FrameCase> {
    let mut cases = Vec::new();
    for second in [DESTINATION_OPTIONS, FRAGMENT, AUTHENTICATION] {
        let octets = match second {
            FRAGMENT => fragment(0, true),
            AUTHENTICATION => authentication(0),
            _ => extension(0),
        };
        let ip = Ipv6::of(UDP).behind(HOP_BY_HOP, extension(0)).behind(second, octets);
        let whole = plain_v6(&ip.with(&udp()));
        // The fragment header is read whole, of the others the first two octets.
        let readable = if second == FRAGMENT { 70 } else { 64 };
        for octets in 54..78 {
            let protocol = match octets {
                ..56 => HOP_BY_HOP,
                _ if octets < readable => second,
                _ => UDP,
            };
            let flow = ipv6(PLAIN, protocol, 64).short();
            let flow = match protocol {
                UDP if octets < 74 => flow.cut(),
                UDP => flow.ports(),
                _ => flow.headers_unread(),
            };
            let name = format!("hop-by-hop options and header {second} cut to {octets} octets");
            cases.push(case(name, cut(whole.clone(), octets), flow));
        }
    }
    cases
}

/// Headers are read within 512 octets of the frame.
fn limit() -> Vec<FrameCase> {
    // The Ethernet and IPv6 header take 54; an Authentication Header fills up to the offset.
    let at = |offset: usize, protocol: u8, payload: &[u8]| {
        let length = u8::try_from((offset - 54) / 4 - 2).expect("it has at most 1028 octets");
        let packet = Ipv6::of(protocol).behind(AUTHENTICATION, authentication(length)).with(payload);
        assert_eq!(14 + packet.len() - payload.len(), offset);
        packet
    };
    let far = |count: usize, length: u8| {
        let ip = (0..count).fold(Ipv6::of(UDP), |ip, _| ip.behind(DESTINATION_OPTIONS, extension(length)));
        ip.with(&udp())
    };
    let hidden_header = Ipv6::of(UDP)
        .behind(DESTINATION_OPTIONS, extension(55))
        .behind(AUTHENTICATION, authentication(1))
        .behind(DESTINATION_OPTIONS, extension(0))
        .with(&udp());
    let icmp = |kind| move |flow| ending(ICMPV6)(flow).icmp(kind, 3);
    let tcp_flow = |bits| move |flow| ending(TCP)(flow).ports().control_bits(bits);
    vec![
        row("ports that end at octet 510", at(506, UDP, &udp()), Expected::ports),
        row("ports that end at octet 514", at(510, UDP, &udp()), Expected::cut),
        row("ICMPv6 that ends at octet 512", at(510, ICMPV6, &[1, 3]), icmp(1)),
        row("ICMPv6 that ends at octet 516", at(514, ICMPV6, &[1, 3]), |flow| ending(ICMPV6)(flow).cut()),
        row("control bits that end at octet 512", at(498, TCP, &tcp(0x18)), tcp_flow(0x18)),
        row("control bits that end at octet 516", at(502, TCP, &tcp(0x18)), tcp_flow(0)),
        row("an extension header of 2048 octets", far(1, 255), Expected::cut),
        row("8 extension headers of 56 octets", far(8, 6), Expected::ports),
        row("8 extension headers of 64 octets", far(8, 7), Expected::cut),
        row("9 extension headers of 64 octets", far(9, 7), |flow| ending(60)(flow).headers_unread()),
        row("8 extension headers of 2048 octets", far(8, 255), |flow| ending(60)(flow).headers_unread()),
        row("a header behind octet 512", hidden_header, |flow| ending(60)(flow).headers_unread()),
    ]
}
