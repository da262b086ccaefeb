//! Messages as another crate writes them (nexthop objects, which it does not know, by hand), and damaged ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::{
    packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{InfoData, InfoKind, InfoVlan, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags,
            RouteType, RouteVia,
        },
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};

use super::{
    super::{
        fib::{Change, NextHop},
        link::Link,
        netlink::{List, Said, messages},
        prefix::Family,
        rule::{Action, Rule},
        table::Place,
        target::{Hop, Kind, Route, Target, Way},
    },
    Random, prefix,
};

fn octets(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    octets
}

fn read(octets: &[u8]) -> Said {
    let all: Vec<Said> =
        messages(octets).map(|message| message.map_or(Said::Unread, |message| message.read(false))).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn route4(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 8;
    message.header.table = 254;
    message.header.kind = kind;
    message.attributes = attributes;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, 0))));
    message
}

fn added(table: u32, place: Place, metric: u32, target: Target) -> Said {
    let (family, prefix) = (Family::V4, prefix("10.0.0.0/8"));
    Said::Change(Change::AddRoute { family, table, prefix, route: Route { metric, target }, place })
}

fn unicast(hops: &[Hop]) -> Target {
    Target { kind: Kind::Unicast, way: Way::Hops(hops.into()) }
}

#[test]
fn routes_are_read_with_table_metric_and_place() {
    let gateway = Ipv4Addr::new(192, 0, 2, 1);
    let hop = Hop { interface: 7, gateway: Some(gateway.into()), dead: false };
    let message = route4(
        RouteType::Unicast,
        vec![
            RouteAttribute::Table(1000),
            RouteAttribute::Priority(20),
            RouteAttribute::Oif(7),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        ],
    );
    for (flags, place) in [(0x400, Place::First), (0xc00, Place::Last), (0x500, Place::Replace)] {
        let octets = octets(RouteNetlinkMessage::NewRoute(message.clone()), flags);
        assert_eq!(read(&octets), added(1000, place, 20, unicast(&[hop])), "{flags:x}");
    }
    let gone = octets(RouteNetlinkMessage::DelRoute(message.clone()), 0);
    assert!(matches!(read(&gone), Said::Change(Change::RemoveRoute { table: 1000, .. })));

    // Of this interface alone: down, and with a gateway of the other family.
    let other: Ipv6Addr = "fe80::1".parse().unwrap();
    let mut message =
        route4(RouteType::Unicast, vec![RouteAttribute::Oif(7), RouteAttribute::Via(RouteVia::Inet6(other))]);
    message.header.flags = RouteFlags::Dead;
    let hop = Hop { interface: 7, gateway: Some(other.into()), dead: true };
    let octets = octets(RouteNetlinkMessage::NewRoute(message), 0);
    assert_eq!(read(&octets), added(254, Place::First, 0, unicast(&[hop])));
}

#[test]
fn every_way_and_every_kind_of_route_is_read() {
    let next = |interface, last: u8, flags| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = interface;
        hop.flags = flags;
        hop.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, last))));
        hop
    };
    let way = |interface, last, dead| Hop { interface, gateway: Some(IpAddr::from([192, 0, 2, last])), dead };
    let several = vec![next(3, 1, RouteNextHopFlags::Dead), next(4, 2, RouteNextHopFlags::empty())];
    let message = route4(RouteType::Unicast, vec![RouteAttribute::MultiPath(several)]);
    let target = unicast(&[way(3, 1, true), way(4, 2, false)]);
    assert_eq!(read(&octets(RouteNetlinkMessage::NewRoute(message), 0)), added(254, Place::First, 0, target));

    let message = route4(RouteType::Unicast, vec![RouteAttribute::Oif(3), RouteAttribute::NhId(42)]);
    let target = Target { kind: Kind::Unicast, way: Way::Object(42) };
    assert_eq!(read(&octets(RouteNetlinkMessage::NewRoute(message), 0)), added(254, Place::First, 0, target));

    let none = Hop { interface: 0, gateway: None, dead: false };
    for (theirs, kind) in [
        (RouteType::Local, Kind::Local),
        (RouteType::Broadcast, Kind::Broadcast),
        (RouteType::Anycast, Kind::Anycast),
        (RouteType::Multicast, Kind::Multicast),
        (RouteType::BlackHole, Kind::Blackhole),
        (RouteType::Unreachable, Kind::Unreachable),
        (RouteType::Prohibit, Kind::Prohibit),
        (RouteType::Throw, Kind::Throw),
    ] {
        let target = Target { kind, ..unicast(&[none]) };
        let octets = octets(RouteNetlinkMessage::NewRoute(route4(theirs, vec![])), 0);
        assert_eq!(read(&octets), added(254, Place::First, 0, target));
    }
    // Cached, for one ToS, for some sources.
    let mut passed_over = [(); 3].map(|()| route4(RouteType::Unicast, vec![]));
    passed_over[0].header.flags = RouteFlags::Cloned;
    passed_over[1].header.tos = 0x10;
    passed_over[2].header.source_prefix_length = 8;
    for message in passed_over {
        assert_eq!(read(&octets(RouteNetlinkMessage::NewRoute(message), 0)), Said::Nothing);
    }
}

#[test]
fn rules_are_read_with_what_selects_and_what_is_not_looked_at() {
    let rule = |action, attributes: Vec<RuleAttribute>| {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.action = action;
        message.attributes = attributes;
        message.attributes.push(RuleAttribute::Priority(100));
        message
    };
    let is = |message, rule| {
        let said = read(&octets(RouteNetlinkMessage::NewRule(message), 0));
        assert_eq!(said, Said::Change(Change::AddRule { family: Family::V4, rule }));
    };
    let plain = Rule::plain(100, Action::Table(7));
    let mut message = rule(
        RuleAction::ToTable,
        vec![
            RuleAttribute::Source(IpAddr::from([10, 1, 0, 0])),
            RuleAttribute::Destination(IpAddr::from([10, 2, 3, 0])),
            RuleAttribute::Iifname("eth1".to_owned()),
            RuleAttribute::SuppressPrefixLen(0),
            RuleAttribute::Table(7),
        ],
    );
    (message.header.src_len, message.header.dst_len, message.header.flags) = (16, 24, RuleFlags::Invert);
    is(
        message,
        Rule {
            invert: true,
            from: Some(prefix("10.1.0.0/16")),
            to: Some(prefix("10.2.3.0/24")),
            interface: Some("eth1".to_owned()),
            suppress: Some(0),
            ..plain.clone()
        },
    );
    // Marked packets are others; this mask leaves nothing of the mark.
    let marked = |mark, mask| {
        let more = vec![RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask), RuleAttribute::Table(7)];
        rule(RuleAction::ToTable, more)
    };
    is(marked(0x10, 0xff), Rule { elsewhere: true, ..plain.clone() });
    is(marked(0, 0xff), plain.clone());
    // The kernel lists what is not used as all ones.
    let unused = vec![
        RuleAttribute::Table(7),
        RuleAttribute::SuppressPrefixLen(u32::MAX),
        RuleAttribute::SuppressIfGroup(u32::MAX),
    ];
    is(rule(RuleAction::ToTable, unused), plain.clone());
    let group = vec![RuleAttribute::Table(7), RuleAttribute::SuppressIfGroup(2)];
    is(rule(RuleAction::ToTable, group), Rule { unread: true, ..plain.clone() });
    let output = vec![RuleAttribute::Table(7), RuleAttribute::Oifname("eth2".to_owned())];
    is(rule(RuleAction::ToTable, output), Rule { elsewhere: true, ..plain.clone() });
    is(rule(RuleAction::ToTable, vec![RuleAttribute::L3MDev(true)]), Rule::plain(100, Action::Vrf));
    is(rule(RuleAction::Goto, vec![RuleAttribute::Goto(200)]), Rule::plain(100, Action::GoTo(200)));
    is(rule(RuleAction::Prohibit, vec![]), Rule::plain(100, Action::Refuse));
    is(rule(RuleAction::Nop, vec![]), Rule::plain(100, Action::Nothing));
}

#[test]
fn interfaces_are_read_with_their_vrf_and_vlan() {
    let link = |flags, attributes| {
        let mut message = LinkMessage::default();
        message.header.index = 5;
        message.header.flags = flags;
        message.attributes = attributes;
        RouteNetlinkMessage::NewLink(message)
    };
    let name = LinkAttribute::IfName("x0".to_owned());
    let is = |message, link| {
        assert_eq!(read(&octets(message, 0)), Said::Change(Change::SetLink { index: 5, link }));
    };
    let plain = Link { name: "x0".to_owned(), ..Link::default() };
    let works = LinkFlags::Up | LinkFlags::LowerUp;
    is(
        link(works, vec![name.clone(), LinkAttribute::Controller(9)]),
        Link { controller: 9, works: true, ..plain.clone() },
    );
    let info = |kind, data| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]);
    let vrf = info(InfoKind::Vrf, InfoData::Vrf(vec![InfoVrf::TableId(110)]));
    is(link(LinkFlags::Up, vec![name.clone(), vrf]), Link { vrf_table: Some(110), ..plain.clone() });
    let vlan = info(InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(100)]));
    is(
        link(works, vec![name, LinkAttribute::Link(3), vlan]),
        Link { vlan: Some((3, 100)), works: true, ..plain },
    );
    // A bridge about its port.
    let mut port = LinkMessage::default();
    port.header.interface_family = AddressFamily::Bridge;
    assert_eq!(read(&octets(RouteNetlinkMessage::DelLink(port), 0)), Said::Nothing);
}

/// A message with a header and attributes of these types and values.
fn by_hand(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut octets = vec![0; 16];
    octets[4..6].copy_from_slice(&kind.to_ne_bytes());
    octets.extend(header);
    for (kind, value) in attributes {
        octets.extend((4 + value.len() as u16).to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend(*value);
        octets.resize(octets.len().next_multiple_of(4), 0);
    }
    let length = octets.len() as u32;
    octets[..4].copy_from_slice(&length.to_ne_bytes());
    octets
}

#[test]
fn nexthop_objects_are_read_alone_in_groups_and_as_blackholes() {
    let id = 42_u32.to_ne_bytes();
    let set = |next_hop| Said::Change(Change::SetNextHop { id: 42, next_hop });
    let alone =
        by_hand(104, &[2, 0, 0, 0, 0, 0, 0, 0], &[(1, &id), (5, &7_u32.to_ne_bytes()), (6, &[192, 0, 2, 1])]);
    let gateway = Some(IpAddr::from([192, 0, 2, 1]));
    assert_eq!(read(&alone), set(NextHop::Hop(Hop { interface: 7, gateway, dead: false })));
    let members = [1_u32.to_ne_bytes(), [9, 0, 0, 0], 2_u32.to_ne_bytes(), [0; 4]].concat();
    assert_eq!(read(&by_hand(104, &[0; 8], &[(1, &id), (2, &members)])), set(NextHop::Group(vec![1, 2])));
    assert_eq!(read(&by_hand(104, &[0; 8], &[(1, &id), (4, &[])])), set(NextHop::Blackhole));
    assert_eq!(read(&by_hand(105, &[0; 8], &[(1, &id)])), Said::Change(Change::RemoveNextHop { id: 42 }));
}

#[test]
fn lists_end_or_fail() {
    assert_eq!(read(&by_hand(3, &0_i32.to_ne_bytes(), &[])), Said::Done);
    assert_eq!(read(&by_hand(3, &(-95_i32).to_ne_bytes(), &[])), Said::Failed(95));
    assert_eq!(read(&by_hand(2, &(-1_i32).to_ne_bytes(), &[])), Said::Failed(1));
    assert_eq!(List::Routes(Family::V6).request(7), by_hand_request(26, 10, 12));
    assert_eq!(List::Links.request(7), by_hand_request(18, 0, 16));
}

fn by_hand_request(kind: u16, family: u8, header: usize) -> Vec<u8> {
    let mut octets = by_hand(kind, &[&[family][..], &vec![0; header - 1]].concat(), &[]);
    octets[6..8].copy_from_slice(&0x301_u16.to_ne_bytes());
    octets[8..12].copy_from_slice(&7_u32.to_ne_bytes());
    octets
}

#[test]
fn damaged_messages_are_refused_and_harm_nothing() {
    let hop =
        [&16_u16.to_ne_bytes()[..], &[0, 0], &7_u32.to_ne_bytes(), &[8, 0, 5, 0, 192, 0, 2, 1]].concat();
    let whole = [
        by_hand(24, &[2, 8, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], &[(1, &[10, 0, 0, 0]), (9, &hop)]),
        by_hand(32, &[2, 8, 8, 0, 254, 0, 0, 1, 0, 0, 0, 0], &[(1, &[10, 0, 0, 0]), (3, b"eth0\0")]),
        by_hand(16, &[0; 16], &[(3, b"eth0\0"), (18, &[8, 0, 1, 0, b'v', b'r', b'f', 0])]),
        by_hand(104, &[0; 8], &[(1, &[1, 0, 0, 0]), (2, &[0; 16])]),
    ];
    assert!(whole.iter().all(|octets| matches!(read(octets), Said::Change(_))));
    // Too short for what it says, or with an address of the wrong length.
    assert_eq!(read(&whole[0][..40]), Said::Unread);
    assert_eq!(read(&by_hand(24, &[2, 8, 0, 0], &[])), Said::Unread);
    let header = [2, 8, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    assert_eq!(read(&by_hand(24, &header, &[(1, &[10, 0])])), Said::Unread);
    assert_eq!(read(&by_hand(24, &header, &[(9, &[3, 0, 0, 0])])), Said::Unread);
    assert_eq!(read(&by_hand(24, &header, &[(9, &[0; 8])])), Said::Unread);

    let mut random = Random(3);
    for round in 0..20_000 {
        let mut octets = whole[round % whole.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(octets.len() as u64) as usize;
            octets[at] = random.next() as u8;
        }
        octets.truncate(octets.len() - random.below(8) as usize);
        for message in messages(&octets).flatten() {
            message.read(false);
        }
    }
}
