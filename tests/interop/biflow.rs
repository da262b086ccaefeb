//! Captures through `netflow read --biflow`: nfdump reads in both directions of its records what it reads in the flows
//! of `netflow read`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::agent::AgentProcess;
use tests::captures::{self, Capture};
use tests::judges::Nfcapd;
use tests::lab::Namespace;

const PORT: u16 = 4739;
/// ICMP, since a query's reply has another type, which nfdump is not told; SCTP, since nfdump 1.7.1 shows no destination
/// port of it.
const WITHOUT_PORTS: [u64; 3] = [1, 58, 132];

/// Source, destination, protocol, ports.
type Direction = (String, String, u64, u64, u64);
/// Packets and octets.
type Counts = (u64, u64);

fn add(sums: &mut BTreeMap<Direction, Counts>, direction: Direction, (packets, octets): Counts) {
    if packets > 0 {
        let sum = sums.entry(direction).or_default();
        *sum = (sum.0 + packets, sum.1 + octets);
    }
}

/// What both directions of records have, and how many records have both.
fn directions(records: &[Value]) -> (BTreeMap<Direction, Counts>, usize) {
    let (mut sums, mut pairs) = (BTreeMap::new(), 0);
    for record in records {
        let number = |name: &str| record[name].as_u64().unwrap_or(0);
        let address = |which: &str| {
            let found =
                [record[&format!("{which}4_addr")].as_str(), record[&format!("{which}6_addr")].as_str()];
            found.into_iter().flatten().next().unwrap_or_default().to_owned()
        };
        let protocol = number("proto");
        let ports =
            if WITHOUT_PORTS.contains(&protocol) { (0, 0) } else { (number("src_port"), number("dst_port")) };
        let (source, destination) = (address("src"), address("dst"));
        let there = (source.clone(), destination.clone(), protocol, ports.0, ports.1);
        let back = (destination, source, protocol, ports.1, ports.0);
        add(&mut sums, there, (number("in_packets"), number("in_bytes")));
        add(&mut sums, back, (number("out_packets"), number("out_bytes")));
        pairs += usize::from(number("out_packets") > 0);
    }
    (sums, pairs)
}

fn records(capture: &Capture, arguments: &[&str]) -> Result<Vec<Value>> {
    let namespace = Namespace::new()?;
    let nfcapd = Nfcapd::start(&namespace, (Ipv4Addr::LOCALHOST, PORT).into())?;
    let url = format!("udp://127.0.0.1:{PORT}");
    let stopped = AgentProcess::read(&namespace, &capture.path, &[arguments, &["-c", &url]].concat())?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    nfcapd.stop()?.records()
}

#[test]
#[ignore = "needs root: network namespaces"]
fn both_directions_of_biflows_are_the_flows_of_the_captures() {
    let Some(captures) = captures::find().unwrap() else { return };
    let (mut wrong, mut biflows) = (Vec::new(), 0);
    for capture in &captures {
        let (flows, _) = directions(&records(capture, &[]).unwrap());
        let paired = records(capture, &["--biflow"]).unwrap();
        let (found, pairs) = directions(&paired);
        biflows += pairs;
        if found != flows {
            wrong.push(format!("{}: {found:?} instead of {flows:?}", capture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{biflows} biflows in {} captures", captures.len());
    assert!(biflows > 50, "{biflows} biflows");
}
