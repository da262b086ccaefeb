//! What the kernel would do, by rules, tables, metrics, VRFs and nexthop objects.

use std::net::IpAddr;

use netflow_common::{Address, FlowKey, IpVersion};

use super::{
    super::{
        fib::{Change, Doubt, Fib, NextHop},
        link::Link,
        rule::{Action, Rule},
        table::Place,
        target::{Hop, Kind, Route, Target, Way},
    },
    family, prefix,
};
use crate::record;

const MAIN: u32 = 254;
const LOCAL: u32 = 255;

fn hop(interface: u32, gateway: &str) -> Hop {
    Hop { interface, gateway: gateway.parse().ok(), dead: false }
}

fn via(interface: u32, gateway: &str) -> Target {
    Target { kind: Kind::Unicast, way: Way::Hops(Box::new([hop(interface, gateway)])) }
}

fn of_kind(kind: Kind) -> Target {
    Target { kind, ..via(0, "") }
}

fn add(table: u32, text: &str, metric: u32, target: Target) -> Change {
    at_place(Place::First, table, text, metric, target)
}

fn at_place(place: Place, table: u32, text: &str, metric: u32, target: Target) -> Change {
    let route = Route { metric, target };
    Change::AddRoute { family: family(text), table, prefix: prefix(text), route, place }
}

fn remove(table: u32, text: &str, metric: u32, target: Target) -> Change {
    let route = Route { metric, target };
    Change::RemoveRoute { family: family(text), table, prefix: prefix(text), route }
}

fn rule4(rule: Rule) -> Change {
    Change::AddRule { family: family(""), rule }
}

/// Rules as a kernel has them at its start.
fn fib(changes: impl IntoIterator<Item = Change>) -> Fib {
    let mut fib = Fib::new();
    for text in ["", ":"] {
        let family = family(text);
        fib.apply(Rule::built_in(family).into_iter().map(|rule| Change::AddRule { family, rule }));
    }
    assert_eq!(fib.apply(changes), Doubt::default());
    fib
}

fn key(interface: u32, source: &str, destination: &str) -> FlowKey {
    let address = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(address) => Address::from_ipv4(address.octets()),
        IpAddr::V6(address) => Address::from_ipv6(address.octets()),
    };
    FlowKey {
        interface,
        source_address: address(source),
        destination_address: address(destination),
        ip_version: if source.contains(':') { IpVersion::V6 } else { IpVersion::V4 },
        ..FlowKey::default()
    }
}

/// Egress interface, next hop and destination prefix length.
fn forth(fib: &Fib, key: &FlowKey) -> (u32, String, u8) {
    let record::Route { egress_interface, next_hop, destination_prefix_length, .. } = fib.route(key);
    let next_hop = match key.is_ipv4() {
        _ if next_hop == Address::default() => String::new(),
        true => IpAddr::from(next_hop.ipv4_octets()).to_string(),
        false => IpAddr::from(next_hop.octets()).to_string(),
    };
    (egress_interface, next_hop, destination_prefix_length)
}

fn to(fib: &Fib, destination: &str) -> (u32, String, u8) {
    let source = if destination.contains(':') { "2001:db8:9::9" } else { "198.51.100.9" };
    forth(fib, &key(1, source, destination))
}

fn way(interface: u32, gateway: &str, length: u8) -> (u32, String, u8) {
    (interface, gateway.to_owned(), length)
}

fn link(name: &str) -> Link {
    Link { name: name.to_owned(), works: true, ..Link::default() }
}

#[test]
fn the_longest_prefix_decides_and_says_its_length_both_ways() {
    let fib = fib([
        add(MAIN, "0.0.0.0/0", 0, via(2, "192.0.2.1")),
        add(MAIN, "10.0.0.0/8", 0, via(3, "192.0.2.3")),
        add(MAIN, "10.1.0.0/16", 0, via(4, "")),
        add(LOCAL, "192.0.2.2/32", 0, of_kind(Kind::Local)),
        add(LOCAL, "10.1.255.255/32", 0, of_kind(Kind::Broadcast)),
        add(MAIN, "2001:db8::/32", 1024, via(5, "fe80::1")),
    ]);
    assert_eq!(to(&fib, "10.1.2.3"), way(4, "", 16));
    assert_eq!(to(&fib, "10.2.2.3"), way(3, "192.0.2.3", 8));
    assert_eq!(to(&fib, "203.0.113.1"), way(2, "192.0.2.1", 0));
    assert_eq!(to(&fib, "2001:db8:1::1"), way(5, "fe80::1", 32));
    assert_eq!(to(&fib, "2001:db9::1"), way(0, "", 0));
    // This host takes these.
    assert_eq!(to(&fib, "192.0.2.2"), way(0, "", 32));
    assert_eq!(to(&fib, "10.1.255.255"), way(0, "", 32));
    assert_eq!(fib.route(&key(1, "10.9.9.9", "10.1.2.3")).source_prefix_length, 8);
}

#[test]
fn refused_packets_go_nowhere_and_thrown_ones_to_the_next_rule() {
    let kinds = [Kind::Blackhole, Kind::Unreachable, Kind::Prohibit];
    for kind in kinds {
        let fib = fib([add(MAIN, "0.0.0.0/0", 0, via(2, "")), add(MAIN, "10.0.0.0/8", 0, of_kind(kind))]);
        assert_eq!(to(&fib, "10.1.2.3"), way(0, "", 8), "{kind:?}");
    }
    let fib = fib([
        rule4(Rule::plain(100, Action::Table(7))),
        add(7, "0.0.0.0/0", 0, via(7, "")),
        add(7, "10.0.0.0/8", 0, of_kind(Kind::Throw)),
        add(MAIN, "10.0.0.0/9", 0, via(2, "")),
    ]);
    assert_eq!(to(&fib, "10.1.2.3"), way(2, "", 9));
    assert_eq!(to(&fib, "11.1.2.3"), way(7, "", 0));
}

#[test]
fn the_lowest_metric_wins_and_the_next_one_takes_over() {
    let low = via(2, "192.0.2.1");
    let mut fib = fib([
        add(MAIN, "10.0.0.0/8", 100, via(3, "")),
        add(MAIN, "10.0.0.0/8", 10, low.clone()),
        add(MAIN, "10.0.0.0/8", 50, via(4, "")),
    ]);
    assert_eq!(to(&fib, "10.1.2.3"), way(2, "192.0.2.1", 8));
    assert_eq!(fib.apply([remove(MAIN, "10.0.0.0/8", 10, low.clone())]), Doubt::default());
    assert_eq!(to(&fib, "10.1.2.3"), way(4, "", 8));
    assert!(fib.apply([remove(MAIN, "10.0.0.0/8", 10, low)]).unknown);
    assert_eq!(fib.routes(), 2);
}

#[test]
fn routes_of_one_metric_stand_as_the_kernel_puts_them() {
    let (a, b, c) = (via(2, ""), via(3, ""), via(4, ""));
    let text = "10.0.0.0/8";
    let mut fib = fib([add(MAIN, text, 0, a.clone())]);
    fib.apply([at_place(Place::Last, MAIN, text, 0, b.clone())]);
    assert_eq!((to(&fib, "10.0.0.1").0, fib.routes()), (2, 2));
    fib.apply([add(MAIN, text, 0, c.clone())]);
    assert_eq!((to(&fib, "10.0.0.1").0, fib.routes()), (4, 3));
    // What is told again stands there once.
    fib.apply([add(MAIN, text, 0, c.clone()), at_place(Place::Last, MAIN, text, 0, b.clone())]);
    assert_eq!((to(&fib, "10.0.0.1").0, fib.routes()), (4, 3));
    // The first is replaced, by one that stood further back.
    fib.apply([at_place(Place::Replace, MAIN, text, 0, b.clone())]);
    assert_eq!((to(&fib, "10.0.0.1").0, fib.routes()), (3, 2));
    assert_eq!(fib.apply([b, a].map(|gone| remove(MAIN, text, 0, gone))), Doubt::default());
    assert_eq!((to(&fib, "10.0.0.1").0, fib.routes()), (0, 0));
}

#[test]
fn of_several_ways_it_is_the_first_that_lives() {
    let several = |hops: &[Hop]| Target { kind: Kind::Unicast, way: Way::Hops(hops.into()) };
    let (first, second) = (hop(2, "192.0.2.1"), hop(3, "192.0.2.5"));
    let dead = Hop { dead: true, ..first };
    let mut fib =
        fib([add(MAIN, "0.0.0.0/0", 0, via(9, "")), add(MAIN, "10.0.0.0/8", 0, several(&[first, second]))]);
    assert_eq!(to(&fib, "10.1.2.3"), way(2, "192.0.2.1", 8));
    fib.apply([at_place(Place::Last, MAIN, "10.0.0.0/8", 0, several(&[dead, second]))]);
    assert_eq!((to(&fib, "10.1.2.3"), fib.routes()), (way(3, "192.0.2.5", 8), 2));
    fib.apply([at_place(Place::Last, MAIN, "10.0.0.0/8", 0, several(&[dead, Hop { dead: true, ..second }]))]);
    // A route without a way out is none.
    assert_eq!((to(&fib, "10.1.2.3"), fib.routes()), (way(9, "", 0), 2));
}

#[test]
fn hops_of_an_ipv6_route_come_and_go_one_by_one() {
    let several = |hops: &[Hop]| Target { kind: Kind::Unicast, way: Way::Hops(hops.into()) };
    let text = "2001:db8:1::/48";
    let (a, b, c) = (hop(2, "fe80::a"), hop(3, "fe80::b"), hop(4, "fe80::c"));
    let mut fib = fib([add(MAIN, text, 1024, several(&[a]))]);
    // The news of a hop has all of them, itself first.
    fib.apply([add(MAIN, text, 1024, several(&[b, a])), add(MAIN, text, 1024, several(&[c, a, b]))]);
    assert_eq!((to(&fib, "2001:db8:1::1"), fib.routes()), (way(2, "fe80::a", 48), 1));
    assert_eq!(fib.apply([remove(MAIN, text, 1024, several(&[a]))]), Doubt::default());
    assert_eq!((to(&fib, "2001:db8:1::1"), fib.routes()), (way(3, "fe80::b", 48), 1));
    assert!(fib.apply([remove(MAIN, text, 1024, several(&[a, b]))]).unknown);
    assert_eq!(fib.apply([remove(MAIN, text, 1024, several(&[b, c]))]), Doubt::default());
    assert_eq!(fib.routes(), 0);
    // Those without a gateway stand side by side: each link has its own fe80::/64.
    fib.apply([add(MAIN, "fe80::/64", 256, via(2, "")), add(MAIN, "fe80::/64", 256, via(3, ""))]);
    assert_eq!(fib.routes(), 2);
    // For one link alone: not forwarded.
    assert_eq!(to(&fib, "fe80::1"), way(0, "", 64));
}

#[test]
fn nexthop_objects_are_looked_up_when_asked() {
    let object = |id| Target { kind: Kind::Unicast, way: Way::Object(id) };
    let set = |id, next_hop| Change::SetNextHop { id, next_hop };
    let mut fib = fib([
        add(MAIN, "0.0.0.0/0", 0, via(9, "")),
        set(1, NextHop::Hop(hop(2, "192.0.2.1"))),
        set(2, NextHop::Hop(hop(3, "fe80::5"))),
        set(3, NextHop::Group(vec![1, 2])),
        set(4, NextHop::Blackhole),
        add(MAIN, "10.0.0.0/8", 0, object(1)),
        add(MAIN, "11.0.0.0/8", 0, object(3)),
        add(MAIN, "12.0.0.0/8", 0, object(4)),
        add(MAIN, "13.0.0.0/8", 0, object(2)),
    ]);
    assert_eq!(to(&fib, "10.1.2.3"), way(2, "192.0.2.1", 8));
    assert_eq!(to(&fib, "11.1.2.3"), way(2, "192.0.2.1", 8));
    assert_eq!(to(&fib, "12.1.2.3"), way(0, "", 8));
    // An IPv4 route by an IPv6 gateway: a record of IPv4 has no place for it.
    assert_eq!(to(&fib, "13.1.2.3"), way(3, "", 8));
    fib.apply([set(1, NextHop::Hop(hop(4, "192.0.2.9")))]);
    assert_eq!(to(&fib, "10.1.2.3"), way(4, "192.0.2.9", 8));
    assert_eq!(to(&fib, "11.1.2.3"), way(4, "192.0.2.9", 8));
    // The kernel drops its routes and says nothing.
    assert!(fib.apply([Change::RemoveNextHop { id: 1 }]).silent);
    assert_eq!(to(&fib, "10.1.2.3"), way(9, "", 0));
    // A group that names itself ends.
    fib.apply([set(3, NextHop::Group(vec![3]))]);
    assert_eq!(to(&fib, "11.1.2.3"), way(9, "", 0));
}

#[test]
fn rules_select_by_prefix_and_interface_and_marked_packets_are_others() {
    let mut fib = fib((1..=7).map(|table| add(table, "0.0.0.0/0", 0, via(table, ""))));
    fib.apply([
        Change::SetLink { index: 51, link: link("eth1") },
        add(MAIN, "0.0.0.0/0", 0, via(100, "")),
        add(MAIN, "10.0.0.0/8", 0, via(101, "")),
    ]);
    let plain = |priority, table| Rule::plain(priority, Action::Table(table));
    fib.apply(
        [
            Rule { from: Some(prefix("10.1.0.0/16")), ..plain(10, 1) },
            Rule { to: Some(prefix("10.2.0.0/16")), ..plain(20, 2) },
            Rule { interface: Some("eth1".to_owned()), ..plain(30, 3) },
            // By a mark, and by something that is not looked at.
            Rule { elsewhere: true, ..plain(40, 4) },
            Rule { unread: true, invert: true, ..plain(50, 5) },
            // As wg-quick has it: all but its own packets, which are marked; but more than the default route of main.
            Rule { suppress: Some(0), ..plain(60, MAIN) },
            Rule { elsewhere: true, invert: true, ..plain(70, 7) },
        ]
        .map(rule4),
    );
    let out =
        |interface, source, destination| fib.route(&key(interface, source, destination)).egress_interface;
    assert_eq!(out(1, "10.1.0.1", "10.2.0.1"), 1);
    assert_eq!(out(1, "10.9.0.1", "10.2.0.1"), 2);
    assert_eq!(out(51, "10.9.0.1", "10.3.0.1"), 3);
    assert_eq!(out(1, "10.9.0.1", "10.3.0.1"), 101);
    assert_eq!(out(1, "10.9.0.1", "192.0.2.1"), 7);
}

#[test]
fn rules_lead_on_forward_only_and_can_refuse() {
    let go_to = |priority, target| rule4(Rule::plain(priority, Action::GoTo(target)));
    let fib = fib([
        add(8, "0.0.0.0/0", 0, via(8, "")),
        add(9, "0.0.0.0/0", 0, via(9, "")),
        // To where there is no rule, back, and on.
        go_to(10, 15),
        go_to(20, 5),
        go_to(30, 50),
        rule4(Rule::plain(40, Action::Table(8))),
        rule4(Rule { to: Some(prefix("10.0.0.0/8")), ..Rule::plain(50, Action::Refuse) }),
        rule4(Rule::plain(55, Action::Nothing)),
        rule4(Rule::plain(60, Action::Table(9))),
    ]);
    assert_eq!(to(&fib, "192.0.2.1"), way(9, "", 0));
    assert_eq!(to(&fib, "10.0.0.1"), way(0, "", 0));
}

#[test]
fn a_vrf_has_tables_of_its_own_and_its_number_is_told() {
    let vrf = |name: &str, table| Link { vrf_table: Some(table), ..link(name) };
    let below = |name: &str, controller| Link { controller, ..link(name) };
    let fib = fib([
        rule4(Rule::plain(1000, Action::Vrf)),
        Change::SetLink { index: 10, link: vrf("red", 110) },
        Change::SetLink { index: 20, link: vrf("blue", 120) },
        Change::SetLink { index: 11, link: below("eth1", 10) },
        Change::SetLink { index: 12, link: below("eth2", 10) },
        Change::SetLink { index: 21, link: below("eth3", 20) },
        // A VLAN on a bond in the blue VRF, and a bridge with a port in it.
        Change::SetLink { index: 30, link: below("eth4", 31) },
        Change::SetLink { index: 31, link: link("bond0") },
        Change::SetLink { index: 32, link: Link { vlan: Some((31, 100)), ..below("bond0.100", 20) } },
        add(110, "10.0.0.0/8", 0, via(12, "192.0.2.1")),
        add(120, "10.0.0.0/8", 0, via(21, "192.0.2.2")),
        add(120, "11.0.0.0/8", 0, via(12, "")),
        add(MAIN, "10.0.0.0/8", 0, via(1, "")),
        add(MAIN, "10.9.0.0/16", 0, via(1, "")),
    ]);
    let of = |interface, vlan_id, destination| {
        let key = FlowKey { vlan_id, ..key(interface, "10.9.9.9", destination) };
        let route = fib.route(&key);
        (route.egress_interface, route.ingress_vrf, route.egress_vrf, route.source_prefix_length)
    };
    assert_eq!(of(11, 0, "10.1.1.1"), (12, 110, 110, 8));
    assert_eq!(of(21, 0, "10.1.1.1"), (21, 120, 120, 8));
    // Leaked from one to the other.
    assert_eq!(of(21, 0, "11.1.1.1"), (12, 120, 110, 8));
    assert_eq!(of(99, 0, "10.1.1.1"), (1, 0, 0, 16));
    assert_eq!(of(30, 100, "10.1.1.1"), (21, 120, 120, 8));
    assert_eq!(of(30, 0, "10.1.1.1"), (1, 0, 0, 16));
}

#[test]
fn what_goes_out_has_its_interface_and_the_next_hop_of_its_way() {
    let fib = fib([
        Change::SetLink { index: 10, link: Link { vrf_table: Some(110), ..link("red") } },
        Change::SetLink { index: 2, link: Link { controller: 10, ..link("eth0") } },
        add(110, "10.0.0.0/8", 0, via(2, "192.0.2.1")),
        rule4(Rule::plain(1000, Action::Vrf)),
        add(MAIN, "10.0.0.0/8", 0, via(3, "192.0.2.3")),
    ]);
    let out = |interface| fib.route(&FlowKey { direction: 1, ..key(interface, "192.0.2.7", "10.0.0.1") });
    let route = out(2);
    assert_eq!((route.egress_interface, route.egress_vrf, route.ingress_vrf), (2, 110, 0));
    assert_eq!(route.next_hop, Address::from_ipv4([192, 0, 2, 1]));
    // It went another way than it would now.
    assert_eq!((out(4).egress_interface, out(4).next_hop), (4, Address::default()));
}

#[test]
fn groups_and_broadcasts_to_all_are_not_looked_up() {
    let fib = fib([
        add(MAIN, "0.0.0.0/0", 0, via(2, "192.0.2.1")),
        add(MAIN, "::/0", 0, via(2, "fe80::1")),
        add(LOCAL, "ff00::/8", 256, Target { kind: Kind::Multicast, ..via(2, "") }),
    ]);
    for destination in ["224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0", "ff02::1", "::"] {
        assert_eq!(to(&fib, destination), way(0, "", 0), "{destination}");
    }
}

#[test]
fn an_interface_that_stops_or_goes_makes_doubt_and_one_that_is_renamed_does_not() {
    let mut fib = fib([Change::SetLink { index: 2, link: link("eth0") }]);
    let set = |link| Change::SetLink { index: 2, link };
    assert_eq!(fib.apply([set(link("lan0"))]), Doubt::default());
    assert!(fib.apply([set(Link { works: false, ..link("lan0") })]).silent);
    assert!(fib.apply([Change::RemoveLink { index: 2 }]).silent);
    assert_eq!(fib.apply([Change::RemoveLink { index: 2 }]), Doubt::default());
}
