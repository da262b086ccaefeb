//! `--filter` on a wire: what matches is exported, the rest is counted, at every hook.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tests::agent::{AgentProcess, Signal};
use tests::frames::{ETHERTYPE_IPV4, ETHERTYPE_VLAN, ethernet, frame, udp, vlan};
use tests::judges::Nfcapd;
use tests::lab::{
    FOREIGN_MAC, GENERATOR_INTERFACE, GENERATOR_MAC, Lab, LabOptions, MONITOR_INTERFACE, Namespace,
};
use tests::raw::RawSender;

const COLLECTOR: u16 = 4739;
/// Other ports each way, tags at the end: behind `vlan` everything is four octets further.
const EXPRESSION: &str =
    "(inbound and udp dst port 2001) or (outbound and udp dst port 2002) or (vlan 101 and udp dst port 2003)";
const OUTSIDE: &str = "10.1.0.1";
const INSIDE: &str = "10.2.0.2";
/// IP octets of each packet.
const OCTETS: u64 = 20 + 8 + 100;

/// Frames each way: how often, tag, destination port.
const FRAMES: [(u64, u16, u16); 6] =
    [(10, 0, 2001), (20, 0, 2002), (3, 0, 2003), (5, 101, 2003), (6, 102, 2003), (7, 101, 2001)];
/// Frames each way that are not IP.
const FOREIGN: u64 = 4;

fn send(sender: &RawSender, from: &str, to: &str) {
    for (times, tag, port) in FRAMES {
        let packet =
            udp(format!("{from}:1000").parse().unwrap(), format!("{to}:{port}").parse().unwrap(), &[7; 100]);
        let octets = match tag {
            0 => frame(&packet),
            tag => ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_VLAN, &vlan(tag, ETHERTYPE_IPV4, &packet)),
        };
        (0..times).for_each(|_| sender.send(&octets).unwrap());
    }
    (0..FOREIGN).for_each(|_| sender.send(&ethernet(FOREIGN_MAC, GENERATOR_MAC, 0x88b5, &[0; 50])).unwrap());
}

/// What nfdump has of each source address and destination port: packets, octets.
type Found = BTreeMap<(String, u64), (u64, u64)>;

fn metered(arguments: &[&str], directions: u64, said: &str) -> Found {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let nfcapd = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, COLLECTOR).into()).unwrap();
    let url = format!("udp://127.0.0.1:{COLLECTOR}");
    let options = ["-i", MONITOR_INTERFACE, "-c", &url, "--filter", EXPRESSION];
    let mut agent = AgentProcess::start(&lab.monitor, &[&options, arguments].concat()).unwrap();
    let log = agent.process().stderr();
    assert!(log.contains(said), "{log}");
    send(&RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap(), OUTSIDE, INSIDE);
    send(&RawSender::open(&lab.monitor, MONITOR_INTERFACE).unwrap(), INSIDE, OUTSIDE);
    let packets = FRAMES.iter().map(|(times, ..)| times).sum::<u64>();
    let seen = directions * (packets + FOREIGN);
    agent.wait_for_ledger("packets", |ledger| Ok(ledger.number("/packets/seen")? == seen)).unwrap();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    let number = |pointer: &str| ledger.number(pointer).unwrap();
    let mut found = Found::new();
    for record in nfcapd.stop().unwrap().records().unwrap() {
        let number = |name: &str| record[name].as_u64().unwrap();
        let from = record["src4_addr"].as_str().unwrap().to_owned();
        let sums = found.entry((from, number("dst_port"))).or_default();
        *sums = (sums.0 + number("in_packets"), sums.1 + number("in_bytes"));
    }
    let matched: u64 = found.values().map(|(packets, _)| packets).sum();
    assert_eq!(ledger.0["balanced"], true);
    assert_eq!(
        (number("/packets/seen"), ledger.sum("/packets/not_ip").unwrap()),
        (seen, directions * FOREIGN)
    );
    assert_eq!(number("/packets/in_records"), matched);
    assert_eq!(number("/packets/filtered"), directions * packets - matched);
    assert_eq!(number("/octets/filtered"), number("/packets/filtered") * OCTETS);
    found
}

fn expected(directions: &[(&str, u64, u64)]) -> Found {
    let sums = |packets: u64| (packets, packets * OCTETS);
    let of = |(from, port, packets): &(&str, u64, u64)| {
        [(((*from).to_owned(), *port), sums(*packets)), (((*from).to_owned(), 2003), sums(5))]
    };
    directions.iter().flat_map(of).collect()
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn native_xdp_meters_what_matches_and_counts_the_rest() {
    let arguments = ["--xdp-mode", "native", "--direction", "ingress"];
    assert_eq!(metered(&arguments, 1, "m0 is metered by native XDP"), expected(&[(OUTSIDE, 2001, 10)]));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn both_directions_are_filtered_each_by_its_own_part_of_the_expression() {
    let both = expected(&[(OUTSIDE, 2001, 10), (INSIDE, 2002, 20)]);
    assert_eq!(
        metered(&["--xdp-mode", "tc"], 2, "m0 is metered by TC (tcx), what it sends by TC (tcx)"),
        both
    );
    assert_eq!(metered(&[], 2, "m0 is metered by native XDP, what it sends by TC (tcx)"), both);
    assert_eq!(metered(&["--direction", "egress"], 1, "TC (tcx)"), expected(&[(INSIDE, 2002, 20)]));
}

/// What there is no header for can be asked of no packet: nothing is metered by half.
#[test]
#[ignore = "needs root: network namespaces, /dev/net/tun"]
fn an_expression_about_ethernet_is_refused_for_an_interface_without_it() {
    let namespace = Namespace::new().unwrap();
    namespace.ip(&["tuntap", "add", "tun6", "mode", "tun"]).unwrap();
    namespace.ip(&["link", "set", "tun6", "up"]).unwrap();
    let agent = AgentProcess::spawn(&namespace, &["-i", "tun6", "--filter", "ether host 02:00:00:00:00:01"]);
    let stopped = agent.unwrap().finish(Duration::from_secs(20)).unwrap();
    assert_eq!(stopped.exit_code, Some(1));
    let line = stopped.stderr.lines().last().unwrap();
    let refused = "is refused for packets without an Ethernet header";
    assert!(line.starts_with("netflow: --filter") && line.contains(refused), "{line}");
    let agent =
        AgentProcess::start(&namespace, &["-i", "tun6", "--filter", "outbound and net 10.0.0.0/8"]).unwrap();
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
}
