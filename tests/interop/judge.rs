//! The judgement on one capture: every judge, both protocols.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use tests::agent::StoppedAgent;
use tests::captures::Capture;
use tests::judges::{AnonymisedElement, ExportedMessage, IPFIX, NETFLOW_V9, PanelVerdict, sequence_errors};

use crate::rows::{self, Compared, Key, Rows};

const SCTP: u8 = 132;

/// Packets that this project reads otherwise than the reference count, on purpose.
struct ReadOtherwise {
    capture: &'static str,
    source_port: u16,
    tcp_control_bits: u16,
    reason: &'static str,
}

const CUT_TCP_HEADER: &str = "a first fragment ends after 16 of the 20 octets of the TCP header: the control bits are \
                              there and are read; the reference wants the whole header";

const READ_OTHERWISE: [ReadOtherwise; 2] = [
    ReadOtherwise {
        capture: "ndpi-ip-fragmented-garbage.pcap",
        source_port: 16417,
        tcp_control_bits: 0xa26,
        reason: CUT_TCP_HEADER,
    },
    ReadOtherwise {
        capture: "ndpi-ip-fragmented-garbage.pcap",
        source_port: 24102,
        tcp_control_bits: 0x023,
        reason: CUT_TCP_HEADER,
    },
];

/// A capture that an agent of its own has metered and exported from its own observation domain.
pub struct Metered<'a> {
    pub capture: &'a Capture,
    pub domain: u32,
    pub agent: StoppedAgent,
    /// Whether the records' times are the capture's.
    pub on_the_captures_clock: bool,
    /// What the agent was to make of addresses; nothing where there is none.
    pub anonymisation: Option<&'a Anonymisation>,
}

/// What the agent was to make of addresses.
pub struct Anonymisation {
    /// What becomes of each, as others than the agent find it.
    pub of: Box<dyn Fn(IpAddr) -> IpAddr>,
    /// anonymizationTechnique of IPv4 and of IPv6 addresses, which IPFIX collectors are told; 1 (none) is not.
    pub techniques: [u16; 2],
}

/// What is wrong with it: nothing, or lines.
pub fn complaints(metered: &Metered, verdict: &PanelVerdict) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    ledger(metered, &mut wrong)?;
    for protocol in [NETFLOW_V9, IPFIX] {
        let mut found = Vec::new();
        exported(metered, verdict, protocol, &mut found)
            .with_context(|| format!("{} version {}", metered.capture.name, protocol.0))?;
        wrong.extend(found.into_iter().map(|line| format!("version {}: {line}", protocol.0)));
    }
    Ok(wrong.into_iter().map(|line| format!("{}: {line}", metered.capture.name)).collect())
}

fn ledger(metered: &Metered, wrong: &mut Vec<String>) -> Result<()> {
    let Metered { agent, capture, .. } = metered;
    if agent.exit_code != Some(0) {
        wrong.push(format!("exit code {:?}: {}", agent.exit_code, agent.stderr));
    }
    let ledger = agent.ledger.as_ref().context("no ledger")?;
    if ledger.0["balanced"] != true {
        wrong.push(format!("not balanced: {}", ledger.0["last_imbalance"]));
    }
    let expected = &capture.expected;
    let counts = [
        ("seen", ledger.number("/packets/seen")?, expected.packets),
        ("not IP", ledger.sum("/packets/not_ip")?, expected.non_ip_packets),
        ("bad IP headers", ledger.sum("/packets/bad_ip")?, expected.bad_ip_header_packets),
        ("lost", ledger.sum("/packets/lost")?, 0),
        ("in records", ledger.number("/packets/in_records")?, expected.ip_packets),
        ("octets in records", ledger.number("/octets/in_records")?, expected.ip_bytes),
        ("sent", ledger.number("/destinations/0/sent/packets")?, expected.ip_packets),
        ("sent to the other", ledger.number("/destinations/1/sent/packets")?, expected.ip_packets),
    ];
    equal("ledger", &counts, wrong);
    Ok(())
}

fn exported(
    metered: &Metered,
    verdict: &PanelVerdict,
    protocol: (u16, u16),
    wrong: &mut Vec<String>,
) -> Result<()> {
    let expected = &metered.capture.expected;
    let messages = verdict.messages_of(protocol, metered.domain);
    wrong.extend(sequence_errors(messages.iter().copied()));
    announced(metered, protocol, &messages, wrong);
    if let Some(message) = messages.iter().find(|message| message.version != protocol.0) {
        wrong.push(format!("a message of version {}", message.version));
    }

    let records: Vec<_> = messages.iter().flat_map(|message| &message.records).collect();
    let found = rows::of_records(records.iter().copied());
    let reference = reference(metered)?;
    let compared = Compared {
        tcp_control_bits: if protocol == NETFLOW_V9 { 0xff } else { 0xffff },
        times: metered.on_the_captures_clock,
        ttls: true,
    };
    wrong.extend(rows::differences(&reference, &found, compared));
    let counts = [
        ("packets", records.iter().map(|record| record.packets).sum(), expected.ip_packets),
        ("octets", records.iter().map(|record| record.octets).sum(), expected.ip_bytes),
    ];
    equal("tshark", &counts, wrong);
    // Addresses that are cut become one, and their flows with them.
    if metered.anonymisation.is_none() {
        let counts = [
            ("flows", rows::flows(&found, |_| ()), expected.flows_5tuple),
            (
                "flows with ICMP",
                rows::flows(&found, |key| key.icmp_type_code),
                expected.flows_5tuple_icmp_typecode,
            ),
            ("flows with VLAN", rows::flows(&found, |key| key.vlan), expected.flows_5tuple_vlan),
        ];
        equal("tshark", &counts, wrong);
    }

    let nfcapd = verdict.nfcapd(protocol);
    let exporters = nfcapd.exporters()?;
    let Some(exporter) = exporters.iter().find(|exporter| exporter.domain == metered.domain) else {
        // It lists only those that sent flows.
        equal("nfcapd", &[("records", 0, records.len() as u64)], wrong);
        return Ok(());
    };
    let counts = [
        ("version", exporter.version.into(), protocol.0.into()),
        ("sequence failures", exporter.sequence_failures, options_missed(&messages)),
        ("records", exporter.flows, records.len() as u64),
        ("messages", exporter.datagrams, messages.len() as u64),
    ];
    equal("nfcapd", &counts, wrong);
    let kept = rows::of_nfdump(&nfcapd.records()?, exporter.system)?;
    let reference = reference.into_iter().map(|(key, row)| (shown_by_nfdump(key, protocol), row)).collect();
    let compared = Compared { tcp_control_bits: 0xff, ttls: false, ..compared };
    let differences = rows::differences(&reference, &kept, compared);
    wrong.extend(differences.into_iter().map(|line| format!("nfdump: {line}")));
    Ok(())
}

/// Sequence numbers that nfcapd misses: it does not count options data records, so the message behind some is not
/// the one that it expects, once it has seen a flow.
fn options_missed(messages: &[&ExportedMessage]) -> u64 {
    let mut flows = 0;
    let missed = messages.windows(2).filter(|pair| {
        flows += pair[0].records.len();
        !pair[0].anonymised.is_empty() && flows > 0
    });
    missed.count() as u64
}

/// What is done to addresses is told in the first message, for each Template and element, and nowhere else said
/// otherwise (conformance ANON-1 and ANON-2).
fn announced(
    metered: &Metered,
    protocol: (u16, u16),
    messages: &[&ExportedMessage],
    wrong: &mut Vec<String>,
) {
    // Stability class "stable"; nothing where there is no statement.
    let flags = |technique| if technique > 1 { 3 } else { 0 };
    let mut expected = Vec::new();
    if let (Some(anonymisation), IPFIX) = (metered.anonymisation, protocol) {
        for ((template, elements), technique) in
            [(256, [8, 12, 15]), (257, [27, 28, 62])].into_iter().zip(anonymisation.techniques)
        {
            let one = |element| AnonymisedElement { template, element, flags: flags(technique), technique };
            expected.extend(elements.into_iter().filter(|_| technique != 1).map(one));
        }
    }
    for (number, message) in messages.iter().enumerate() {
        let said = &message.anonymised;
        if *said != expected && (number == 0 || !said.is_empty()) {
            wrong.push(format!("message {number} says {said:?} of anonymisation, not {expected:?}"));
        }
    }
}

/// The reference count, but for what is read otherwise and what addresses become.
fn reference(metered: &Metered) -> Result<Rows> {
    let &Metered { capture, anonymisation, .. } = metered;
    let mut rows = rows::of_reference(&capture.flows()?);
    for other in READ_OTHERWISE.iter().filter(|other| other.capture == capture.name) {
        let mut packets = rows.iter_mut().filter(|(key, _)| key.source_port == other.source_port);
        let (key, row) = packets.next().with_context(|| format!("no packet for which {}", other.reason))?;
        ensure!(row.tcp_control_bits == 0, "{key:?} is not read otherwise: {}", other.reason);
        row.tcp_control_bits = other.tcp_control_bits;
    }
    Ok(match anonymisation {
        None => rows,
        Some(anonymisation) => rows::with_addresses(&rows, &anonymisation.of),
    })
}

/// nfdump 1.7.1 puts the ICMP type and code of an IPFIX record, here 0, in the place of SCTP's destination port.
fn shown_by_nfdump(mut key: Key, protocol: (u16, u16)) -> Key {
    if protocol == IPFIX && key.protocol == SCTP {
        key.destination_port = 0;
    }
    key
}

/// The sums of a collector over all captures, by its own closing line.
pub fn closing_lines(all: &[Metered], verdict: &PanelVerdict) -> Vec<String> {
    let mut wrong = verdict.complaints.clone();
    for protocol in [NETFLOW_V9, IPFIX] {
        let summary = verdict.nfcapd(protocol).summary;
        let messages = verdict.messages.iter().filter(|message| message.port == protocol.1);
        let missed = all.iter().map(|metered| options_missed(&verdict.messages_of(protocol, metered.domain)));
        let sum = |of: fn(&Metered) -> u64| all.iter().map(of).sum();
        let counts = [
            ("flows", summary.flows, messages.map(|message| message.records.len() as u64).sum()),
            ("packets", summary.packets, sum(|metered| metered.capture.expected.ip_packets)),
            ("octets", summary.octets, sum(|metered| metered.capture.expected.ip_bytes)),
            ("sequence errors", summary.sequence_errors, missed.sum()),
            ("bad packets", summary.bad_packets, 0),
        ];
        equal(&format!("nfcapd's closing line, version {}", protocol.0), &counts, &mut wrong);
    }
    wrong
}

fn equal(judge: &str, counts: &[(&str, u64, u64)], wrong: &mut Vec<String>) {
    for (what, found, expected) in counts {
        if found != expected {
            wrong.push(format!("{judge}: {what}: expected {expected}, found {found}"));
        }
    }
}
