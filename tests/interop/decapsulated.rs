//! Captures with tunnels, tags, labels and fragments through `netflow read --decapsulate all`, exported as IPFIX: the
//! records are those of the innermost packets that tshark reads in the captures themselves.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use netflow_common::Tunnel;
use tests::agent::AgentProcess;
use tests::captures::{self, Capture};
use tests::judges::{IPFIX, Tshark, layers};
use tests::lab::Namespace;

use crate::facts::{Decapsulate, Facts, told};
use crate::rows::{self, Compared, Key, Row, Rows};

const CAPTURES: [&str; 11] = [
    "zeek-6in6in6.pcap",
    "zeek-geneve-many-options.pcap",
    "zeek-gre-sample.pcap",
    "zeek-gtp1-fragmentation.pcap",
    "zeek-http-qinq.pcap",
    "zeek-ipv4-fragmented-3.pcap",
    "zeek-ipv6-http-atomic-frag.pcap",
    "zeek-mixed-vlan-mpls.pcap",
    "zeek-pppoe-over-qinq.pcap",
    "zeek-vlan-qinqinq.pcap",
    "zeek-vxlan-http.pcap",
];
const GROUPS: &str = "l2,size,opts,spi,igmp,mpls,frag,ttl,tos,fragments,tunnel";
/// The example enterprise of RFC 5612.
const EXAMPLE: &str = "32473";

#[test]
#[ignore = "needs root: network namespaces"]
fn inner_flows_of_captures_are_exported_as_tshark_reads_them() {
    let Some(captures) = captures::find().unwrap() else { return };
    let named: Vec<_> = captures.iter().filter(|capture| CAPTURES.contains(&capture.name.as_str())).collect();
    assert_eq!(named.len(), CAPTURES.len(), "captures are missing");
    let wrong: Vec<_> = named
        .into_iter()
        .flat_map(|capture| complaints(capture).with_context(|| capture.name.clone()).unwrap())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn complaints(capture: &Capture) -> Result<Vec<String>> {
    let packets = layers(&capture.path)?;
    let facts: Vec<Facts> = packets.iter().filter_map(|layers| told(layers, Decapsulate::All)).collect();

    let namespace = Namespace::new()?;
    let tshark = Tshark::start(&namespace, "lo", &format!("udp dst port {}", IPFIX.1))?;
    let url = format!("udp://127.0.0.1:{}", IPFIX.1);
    let arguments = ["--decapsulate", "all", "--fragments", "separate", "--group", GROUPS];
    let arguments = [&arguments[..], &["--enterprise-number", EXAMPLE, "-c", &url]].concat();
    let stopped = AgentProcess::read(&namespace, &capture.path, &arguments)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let exported = tshark.stop()?.decode_as_cflow(IPFIX.1);

    let mut wrong = exported.expert_messages()?;
    let messages = exported.messages()?;
    let found = rows::of_records(messages.iter().flat_map(|message| &message.records));
    let compared = Compared { tcp_control_bits: 0xffff, times: false, ttls: true };
    wrong.extend(rows::differences(&of_facts(&facts), &found, compared));

    let values = exported.fields(&["cflow.layer2_octet_delta_count", "cflow.layer2_segment_id"])?;
    let column = |column: usize| values.iter().filter_map(move |row| row.get(column)).flatten();
    let octets: u64 = column(0).filter_map(|octets| octets.parse::<u64>().ok()).sum();
    let expected: u128 = facts.iter().map(|facts| fact(facts, "frame length")).sum();
    if u128::from(octets) != expected {
        wrong.push(format!("layer-2 octets: expected {expected}, found {octets}"));
    }
    // The lower 24 bits; above them it says what kind of segment it is.
    let segments = column(1).filter_map(|segment| segment.parse::<u128>().ok()).filter(|id| *id != 0);
    let segments: BTreeSet<u128> = segments.map(|segment| segment & 0xff_ffff).collect();
    // The registry of layer2SegmentId has no kind for Geneve: its ids have an own element, which tshark cannot name.
    let is_vxlan = |facts: &&Facts| fact(facts, "tunnel") == Tunnel::Vxlan as u128;
    let tunnelled = facts.iter().filter(is_vxlan);
    let expected: BTreeSet<u128> = tunnelled.map(|facts| fact(facts, "tunnel id")).collect();
    if segments != expected {
        wrong.push(format!("segments: expected {expected:?}, found {segments:?}"));
    }
    println!("{}: {} packets, {} flows", capture.name, facts.len(), found.len());
    Ok(wrong.into_iter().map(|line| format!("{}: {line}", capture.name)).collect())
}

fn fact(facts: &Facts, name: &str) -> u128 {
    facts.get(name).copied().unwrap_or(0)
}

/// The packets added up by flow.
fn of_facts(packets: &[Facts]) -> Rows {
    let mut rows = Rows::new();
    for facts in packets {
        let number = |name| fact(facts, name);
        let address = |name| match number("IP version") {
            4 => IpAddr::from(Ipv4Addr::from(number(name) as u32)),
            _ => IpAddr::from(Ipv6Addr::from(number(name))),
        };
        let protocol = number("protocol") as u8;
        let (ports, icmp) = (number("destination port") as u16, matches!(protocol, 1 | 58));
        let key = Key {
            source: address("source address"),
            destination: address("destination address"),
            protocol,
            source_port: number("source port") as u16,
            destination_port: if icmp { 0 } else { ports },
            icmp_type_code: if icmp { ports } else { 0 },
            vlan: number("VLAN id") as u16,
        };
        let row = Row {
            packets: 1,
            octets: number("octets") as u64,
            tcp_control_bits: number("TCP control bits") as u16,
            minimum_ttl: number("TTL") as u8,
            maximum_ttl: number("TTL") as u8,
            first: 0,
            last: 0,
        };
        rows::add(&mut rows, key, row);
    }
    rows
}
