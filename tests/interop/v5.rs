//! Captures as NetFlow v5: nfdump reads of it what it reads of v9, as far as flows are IPv4; the others are counted.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::agent::AgentProcess;
use tests::captures::{self, Capture};
use tests::judges::{Nfcapd, Tshark};
use tests::lab::Namespace;

const V5: u16 = 9995;
const V9: u16 = 2055;

/// What v5 has of a flow, as nfdump writes it.
const FIELDS: [&str; 11] = [
    "src4_addr",
    "dst4_addr",
    "proto",
    "src_port",
    "dst_port",
    "in_packets",
    "in_bytes",
    "tcp_flags",
    "src_tos",
    "first",
    "last",
];

/// IPv4 records in order, and the packets of the others.
fn rows(records: &[Value]) -> (Vec<String>, u64) {
    let (ipv4, others): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["src4_addr"].as_str().is_some());
    let row = |record: &&Value| FIELDS.map(|field| record[field].to_string()).join(" ");
    let mut rows: Vec<_> = ipv4.iter().map(row).collect();
    rows.sort();
    (rows, others.iter().filter_map(|record| record["in_packets"].as_u64()).sum())
}

/// What is wrong with it, and how many records it has.
fn judge(capture: &Capture) -> Result<(Vec<String>, usize)> {
    let namespace = Namespace::new()?;
    let [v5, v9] = [V5, V9].map(|port| Nfcapd::start(&namespace, (Ipv4Addr::LOCALHOST, port).into()));
    let tshark = Tshark::start(&namespace, "lo", &format!("udp dst port {V5}"))?;
    let urls = [format!("udp://127.0.0.1:{V5}?protocol=v5"), format!("udp://127.0.0.1:{V9}?protocol=v9")];
    let stopped = AgentProcess::read(&namespace, &capture.path, &["-c", &urls[0], "-c", &urls[1]])?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let (v5, v9) = (v5?.stop()?, v9?.stop()?);
    let ((found, _), (expected, others)) = (rows(&v5.records()?), rows(&v9.records()?));
    let mut wrong = tshark.stop()?.decode_as_cflow(V5).expert_messages()?;
    if found != expected {
        let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
        let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
        wrong.push(format!("missing {missing:?}, surplus {surplus:?}"));
    }
    if (v5.summary.sequence_errors, v5.summary.bad_packets) != (0, 0) {
        wrong.push(format!("{:?}", v5.summary));
    }
    let ledger = stopped.ledger.expect("the agent writes its ledger");
    let not_said = ledger.number("/destinations/0/not_sent/not_in_protocol/packets")?;
    let sent = ledger.number("/destinations/0/sent/packets")?;
    let offered = ledger.number("/destinations/0/offered/packets")?;
    if (not_said, sent) != (others, offered - others) {
        wrong.push(format!("{offered} offered, {sent} sent, {not_said} not said; {others} of IPv6"));
    }
    Ok((wrong, found.len()))
}

#[test]
#[ignore = "needs root: network namespaces"]
fn netflow_v5_has_the_ipv4_flows_of_the_captures_and_counts_the_others() {
    // V5-REC-3, V5-HDR-3
    let Some(captures) = captures::find().unwrap() else { return };
    let (mut wrong, mut records) = (Vec::new(), 0);
    for capture in &captures {
        let (complaints, rows) = judge(capture).unwrap();
        wrong.extend(complaints.into_iter().map(|line| format!("{}: {line}", capture.name)));
        records += rows;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{records} records in {} captures", captures.len());
    assert!(records > 100, "{records} records");
}
