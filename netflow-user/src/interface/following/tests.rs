#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::interface::link::Layer;

fn following(interfaces: &[&str], exclusions: &[&str]) -> Following {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Following::new(Selection::new(&owned(interfaces), &owned(exclusions)).unwrap())
}

fn link(index: u32, name: &str) -> Interface {
    Interface::test(index, name)
}

/// What there is to do, in words; attempts succeed, by a program with the number 9.
fn done(following: &mut Following, changes: Vec<Change>) -> Vec<String> {
    let words = changes.into_iter().map(|change| match change {
        Change::Attach { ticket, interface } => {
            following.attached(interface.index, ticket, Attempt::Metered(Some(9)));
            format!("attach {} {}", interface.index, interface.name)
        }
        Change::Detach { index, name, cause } => format!("detach {index} {name}: {cause:?}"),
        Change::Renamed { from, to, .. } => format!("rename {from} {to}"),
        Change::Down { name } => format!("down {name}"),
        Change::Up { name } => format!("up {name}"),
        Change::PassedOver { name, .. } => format!("pass over {name}"),
        Change::CountedTwice { name, below } => format!("twice {name} {}", below.unwrap_or_default()),
    });
    words.collect()
}

/// One that is attached to by the program 9, as a dump shows it.
fn with_program(link: Interface) -> Interface {
    Interface { programs: vec![9], ..link }
}

enum Event {
    Link(Interface),
    Gone(u32),
    All(Vec<Interface>),
}
use Event::{All, Gone, Link};

#[track_caller]
fn check(interfaces: &[&str], exclusions: &[&str], events: Vec<(Event, &[&str])>) {
    let mut following = following(interfaces, exclusions);
    for (number, (event, expected)) in events.into_iter().enumerate() {
        let changes = match event {
            Link(link) => following.changed(link),
            Gone(index) => following.removed(index),
            All(links) => following.replaced(links),
        };
        assert_eq!(done(&mut following, changes), expected, "event {number} of {interfaces:?}");
    }
}

#[test]
fn interfaces_that_come_and_go_are_followed() {
    check(
        &["eth*", "wan"],
        &["eth9"],
        vec![
            (All(vec![link(1, "lo"), link(2, "eth0")]), &["attach 2 eth0"]),
            (Link(link(3, "eth9")), &[]),
            (Link(link(4, "wan")), &["attach 4 wan"]),
            (Link(link(4, "wan")), &[]),
            (Gone(2), &["detach 2 eth0: Gone"]),
            (Gone(2), &[]),
            (Gone(3), &[]),
            (Link(link(2, "eth0")), &["attach 2 eth0"]),
            (Gone(4), &["detach 4 wan: Gone"]),
            // The same index, another interface.
            (Link(link(4, "eth1")), &["attach 4 eth1"]),
        ],
    );
}

#[test]
fn an_interface_that_goes_down_and_up_stays() {
    let down = |index, name| Interface { up: false, ..link(index, name) };
    check(
        &["*"],
        &[],
        vec![
            (Link(down(2, "eth0")), &["attach 2 eth0"]),
            // The first time up is no news.
            (Link(link(2, "eth0")), &[]),
            (Link(down(2, "eth0")), &["down eth0"]),
            (Link(link(2, "eth0")), &["up eth0"]),
            (Link(Interface { mtu: 9000, ..link(2, "eth0") }), &[]),
        ],
    );
}

#[test]
fn a_renamed_interface_goes_on_unless_it_is_excluded_or_was_never_up() {
    let down = |index, name| Interface { up: false, ..link(index, name) };
    check(
        &["eth*"],
        &["secret*"],
        vec![
            (Link(link(2, "eth0")), &["attach 2 eth0"]),
            (Link(down(2, "eth0")), &["down eth0"]),
            (Link(down(2, "wan")), &["rename eth0 wan"]),
            (Link(link(2, "wan")), &["up wan"]),
            // Its old name is free.
            (Link(link(3, "eth0")), &["attach 3 eth0"]),
            (Link(link(2, "secret2")), &["rename wan secret2", "detach 2 secret2: Excluded"]),
            (Link(link(2, "eth2")), &["attach 2 eth2"]),
            // As udev does it with a new one.
            (Link(down(4, "eth1")), &["attach 4 eth1"]),
            (Link(down(4, "lan4")), &["rename eth1 lan4", "detach 4 lan4: Unasked"]),
            (Link(link(4, "lan4")), &[]),
            // A name that is asked for from now on.
            (Link(link(4, "eth4")), &["attach 4 eth4"]),
        ],
    );
}

#[test]
fn an_interface_that_comes_up_while_it_is_attached_to_was_up() {
    let mut following = following(&["eth*"], &[]);
    let down = |name| Interface { up: false, ..link(2, name) };
    let changes = following.changed(down("eth0"));
    let [Change::Attach { ticket, .. }] = changes[..] else { panic!("{changes:?}") };
    assert_eq!(following.changed(link(2, "eth0")), []);
    following.attached(2, ticket, Attempt::Metered(Some(9)));
    let mut then = |link| {
        let changes = following.changed(link);
        done(&mut following, changes)
    };
    assert_eq!(then(down("eth0")), ["down eth0"]);
    assert_eq!(then(down("wan")), ["rename eth0 wan"]);
    assert_eq!(then(link(2, "wan")), ["up wan"]);
}

#[test]
fn the_lowest_of_a_stack_is_metered_and_the_upper_ones_are_told_once() {
    let bridge = || Interface { layered: Some(Layer::Controller), ..link(5, "br0") };
    let port = |index, name| Interface { controller: Some(5), ..link(index, name) };
    check(
        &["*"],
        &[],
        vec![
            (All(vec![link(2, "eth0"), bridge()]), &["pass over br0", "attach 2 eth0"]),
            (Link(port(2, "eth0")), &[]),
            (Link(Interface { mtu: 1400, ..bridge() }), &[]),
            (Link(Interface { lower: Some(2), ..link(6, "eth0.100") }), &["pass over eth0.100"]),
            // What gets ports is no longer the lowest, of whatever kind it is.
            (Link(link(7, "odd0")), &["attach 7 odd0"]),
            (
                Link(Interface { controller: Some(7), ..link(8, "eth1") }),
                &[r#"detach 7 odd0: OnTop(Ports(Some("eth1")))"#, "attach 8 eth1"],
            ),
        ],
    );
}

#[test]
fn named_devices_of_a_stack_are_metered_with_a_warning() {
    let vlan = || Interface { lower: Some(2), ..link(6, "eth0.100") };
    let tunnel = || Interface { layered: Some(Layer::Tunnel), ..link(7, "gre1") };
    check(
        &["eth?", "eth0.100", "gre1"],
        &[],
        vec![
            (
                All(vec![link(2, "eth0"), vlan()]),
                &["attach 2 eth0", "twice eth0.100 eth0", "attach 6 eth0.100"],
            ),
            (Link(tunnel()), &["twice gre1 ", "attach 7 gre1"]),
            (Gone(6), &["detach 6 eth0.100: Gone"]),
            (Gone(2), &["detach 2 eth0: Gone"]),
            (Link(vlan()), &["attach 6 eth0.100"]),
            (Link(link(2, "eth0")), &["twice eth0.100 eth0", "attach 2 eth0"]),
        ],
    );
    check(&["eth0.100"], &[], vec![(All(vec![link(2, "eth0"), vlan()]), &["attach 6 eth0.100"])]);
}

#[test]
fn after_missed_changes_what_is_not_the_same_interface_begins_anew() {
    let before = || vec![link(2, "eth0"), link(3, "eth1"), link(4, "eth2"), link(5, "eth3")];
    check(
        &["eth*"],
        &[],
        vec![
            (All(before()), &["attach 2 eth0", "attach 3 eth1", "attach 4 eth2", "attach 5 eth3"]),
            (
                // One is the same, one was made again, one is gone, one has another name; one is new.
                All(vec![
                    with_program(link(2, "eth0")),
                    link(3, "eth1"),
                    with_program(link(5, "eth7")),
                    link(8, "eth8"),
                ]),
                &[
                    "detach 4 eth2: Gone",
                    "detach 3 eth1: Replaced",
                    "rename eth3 eth7",
                    "attach 3 eth1",
                    "attach 8 eth8",
                ],
            ),
        ],
    );
}

#[test]
fn attempts_under_way_while_changes_are_missed_begin_anew() {
    let mut following = following(&["eth*"], &[]);
    let changes = following.changed(link(2, "eth0"));
    let [Change::Attach { ticket: first, .. }] = changes[..] else { panic!("{changes:?}") };
    let changes = following.replaced(vec![with_program(link(2, "eth0"))]);
    let [Change::Detach { cause: Cause::Replaced, .. }, Change::Attach { ticket: second, .. }] = changes[..]
    else {
        panic!("{changes:?}")
    };
    assert_eq!(following.attached(2, first, Attempt::Metered(Some(9))), News::Void);
    assert!(following.metered_names().is_empty() && !following.is_idle());
    let interface = with_program(link(2, "eth0"));
    assert_eq!(following.attached(2, second, Attempt::Metered(Some(9))), News::Metered { interface });
    assert_eq!(following.metered_names(), ["eth0"]);
}

#[test]
fn what_cannot_be_attached_to_is_tried_again_when_it_changes_and_told_once() {
    let mut following = following(&["eth*"], &[]);
    let failed = |reason: &str| Attempt::Failed(reason.to_owned());
    let news = |reason: &str| News::Failed { name: "eth0".to_owned(), reason: reason.to_owned() };
    let ticket = |changes: Vec<Change>| match changes[..] {
        [Change::Attach { ticket, .. }] => ticket,
        _ => panic!("{changes:?}"),
    };
    let down = Interface { up: false, ..link(2, "eth0") };
    let first = ticket(following.changed(down.clone()));
    assert!(!following.is_idle());
    assert_eq!(following.attached(2, first, failed("down")), news("down"));
    assert!(following.is_idle());
    assert_eq!(following.changed(down.clone()), []);
    let second = ticket(following.changed(Interface { mtu: 9000, ..down }));
    assert_eq!(following.attached(2, second, failed("down")), News::Void);
    let third = ticket(following.changed(link(2, "eth0")));
    assert_eq!(following.attached(2, third, failed("MTU")), news("MTU"));
    let fourth = ticket(following.changed(Interface { mtu: 1400, ..link(2, "eth0") }));
    // It changes while the attempt is made.
    assert_eq!(following.changed(link(2, "eth0")), []);
    let News::Again(again) = following.attached(2, fourth, failed("MTU")) else { panic!("not again") };
    let fifth = ticket(vec![again]);
    assert!(matches!(following.attached(2, fifth, Attempt::Metered(None)), News::Metered { .. }));
    assert_eq!(following.metered_names(), ["eth0"]);
    assert!(matches!(following.removed(2)[..], [Change::Detach { .. }]));
    assert!(following.is_idle());
}

#[test]
fn outcomes_of_an_interface_that_is_gone_are_void() {
    let mut following = following(&["eth*"], &[]);
    let changes = following.changed(link(2, "eth0"));
    let [Change::Attach { ticket, .. }] = changes[..] else { panic!("{changes:?}") };
    following.removed(2);
    assert_eq!(following.attached(2, ticket, Attempt::Failed("gone".to_owned())), News::Void);
    following.changed(link(2, "eth0"));
    assert_eq!(following.attached(2, ticket, Attempt::Metered(None)), News::Void);
    assert!(following.metered_names().is_empty());
}

#[test]
fn another_selection_keeps_what_both_have() {
    let mut following = following(&["eth0", "lan*"], &[]);
    let links = [link(2, "eth0"), link(3, "eth1"), link(4, "lan0"), link(5, "lan1")];
    let changes = following.replaced(links.to_vec());
    assert_eq!(done(&mut following, changes), ["attach 2 eth0", "attach 4 lan0", "attach 5 lan1"]);
    // Its new name is none that anybody asked for; while nothing else is asked for it goes on.
    let changes = following.changed(link(5, "old"));
    assert_eq!(done(&mut following, changes), ["rename lan1 old"]);
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let selection = Selection::new(&owned(&["eth*"]), &owned(&["eth9"])).unwrap();
    let changes = following.select(selection);
    assert_eq!(
        done(&mut following, changes),
        ["detach 4 lan0: Unasked", "detach 5 old: Unasked", "attach 3 eth1"]
    );
    let changes = following.select(Selection::new(&owned(&["*"]), &owned(&["eth1"])).unwrap());
    assert_eq!(done(&mut following, changes), ["detach 3 eth1: Excluded", "attach 4 lan0", "attach 5 old"]);
}
