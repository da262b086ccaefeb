//! The exporter's own messages, which cross the interface that it meters.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::agent::{AgentProcess, Signal, StoppedAgent};
use tests::frames::{frame, udp};
use tests::judges::{Nfcapd, Tshark};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::ledger::Ledger;
use tests::process::{command, run};
use tests::raw::RawSender;
use tests::stream_sink::StreamSink;

const V9: u16 = 2055;
const IPFIX: u16 = 4739;
const FLOWS: u64 = 300;
const TIMES: &[&str] = &["--drain-interval", "200ms", "--idle-timeout", "500ms"];

/// Flows that the interface receives.
fn send_flows(sender: &RawSender, round: u8) {
    for flow in 0..FLOWS {
        let from = SocketAddr::from(([10, 1, round, 1], 1000 + flow as u16));
        sender.send(&frame(&udp(from, "10.2.0.2:9".parse().unwrap(), &[7; 50]))).unwrap();
    }
}

struct Outcome {
    stopped: StoppedAgent,
    /// Those of both collectors.
    records: Vec<Value>,
    /// What went over the wire, by tshark.
    datagrams: u64,
    /// Those of them that were sent before anything was attached: the first templates.
    early: u64,
}

impl Outcome {
    fn number(&self, pointer: &str) -> u64 {
        self.stopped.ledger.as_ref().unwrap().number(pointer).unwrap()
    }

    /// Records of flows to a collector.
    fn of_messages(&self) -> usize {
        let to = |port: u16| move |record: &&Value| record["dst_port"].as_u64() == Some(port.into());
        self.records.iter().filter(|record| to(V9)(record) || to(IPFIX)(record)).count()
    }
}

/// Messages that were sent and that the meter has not seen.
fn unseen(ledger: &Ledger) -> Result<u64> {
    let messages = ledger.number("/destinations/0/messages")? + ledger.number("/destinations/1/messages")?;
    messages.checked_sub(ledger.number("/packets/own_export")?).context("more seen than sent")
}

/// Meters with two collectors at a place until `done`, which is told of those that were sent early.
fn meter(
    lab: &Lab,
    collectors: (&Namespace, &str, &str),
    arguments: &[&str],
    done: impl Fn(&Ledger, u64) -> Result<bool>,
) -> Outcome {
    let (namespace, interface, host) = collectors;
    let address = |port: u16| SocketAddr::new(host.parse().unwrap(), port);
    let nfcapds = [V9, IPFIX].map(|port| Nfcapd::start(namespace, address(port)).unwrap());
    let tshark =
        Tshark::start(namespace, interface, &format!("udp dst port {V9} or udp dst port {IPFIX}")).unwrap();
    let urls = [format!("udp://{host}:{V9}?protocol=v9"), format!("udp://{host}:{IPFIX}?protocol=ipfix")];
    let arguments = [arguments, TIMES, &["-c", &urls[0], "-c", &urls[1]]].concat();
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    // Nothing happens yet.
    let calm = agent.wait_for_ledger("flips", |ledger| Ok(ledger.number("/flips")? > 3)).unwrap();
    let early = unseen(&calm).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    for round in 1..=2 {
        send_flows(&sender, round);
        let sent = FLOWS * u64::from(round);
        agent
            .wait_for_ledger("records", |ledger| Ok(ledger.number("/destinations/1/sent/records")? >= sent))
            .unwrap();
    }
    agent.wait_for_ledger("end", |ledger| done(ledger, early)).unwrap();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    assert_eq!(stopped.ledger.as_ref().unwrap().0["balanced"], true);
    let datagrams = tshark.stop().unwrap().packets;
    let records = nfcapds.into_iter().flat_map(|nfcapd| nfcapd.stop().unwrap().records().unwrap()).collect();
    Outcome { stopped, records, datagrams, early }
}

/// Whether everything that was sent has been seen, and nothing is left to send.
fn quiet(ledger: &Ledger, early: u64) -> Result<bool> {
    Ok(ledger.number("/packets/in_cache")? == 0 && unseen(ledger)? == early)
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn messages_that_the_metered_interface_sends_are_counted_and_not_metered() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collectors = (&lab.generator, GENERATOR_INTERFACE, "10.77.0.1");
    let outcome = meter(&lab, collectors, &["-i", MONITOR_INTERFACE], quiet);
    let own = outcome.number("/packets/own_export");
    assert!(own > 20, "{own}");
    assert!(outcome.early <= 2, "{}", outcome.early);
    assert_eq!(own, outcome.datagrams - outcome.early);
    assert_eq!(outcome.of_messages(), 0);
    assert_eq!(outcome.number("/packets/in_records"), 2 * FLOWS);
    assert_eq!(outcome.records.len() as u64, 2 * 2 * FLOWS);
    assert_eq!(outcome.number("/packets/seen"), own + 2 * FLOWS);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn messages_are_metered_where_that_is_asked_for() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collectors = (&lab.generator, GENERATOR_INTERFACE, "10.77.0.1");
    let arguments = ["-i", MONITOR_INTERFACE, "--direction", "both", "--exclude-own-export", "off"];
    // Messages make flows, which make messages.
    let outcome = meter(&lab, collectors, &arguments, |ledger, _| {
        Ok(ledger.number("/destinations/0/sent/records")? >= 2 * FLOWS + 2)
    });
    assert_eq!(outcome.number("/packets/own_export"), 0);
    assert!(outcome.of_messages() >= 2, "{}", outcome.of_messages());
    assert!(outcome.number("/packets/in_records") > 2 * FLOWS);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn messages_over_loopback_are_counted_and_not_metered() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collectors = (&lab.monitor, "lo", "127.0.0.1");
    let arguments = ["-i", MONITOR_INTERFACE, "-i", "lo"];
    let outcome = meter(&lab, collectors, &arguments, quiet);
    let own = outcome.number("/packets/own_export");
    assert!(own > 20, "{own}");
    assert!(outcome.early <= 2, "{}", outcome.early);
    assert_eq!((own, outcome.of_messages()), (outcome.datagrams - outcome.early, 0));
    assert_eq!(outcome.number("/packets/in_records"), 2 * FLOWS);
    let said = &outcome.stopped.stderr;
    assert!(said.contains("each packet between programs of this host is metered\n"), "{said}");
}

/// Over TCP: the socket is there only when the meter runs already, and each new connection has another.
#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn segments_of_each_new_connection_are_counted_and_not_metered() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let address = SocketAddr::new("10.77.0.1".parse().unwrap(), IPFIX);
    let url = format!("tcp://{address}?retry=1s");
    let arguments = [&["-i", MONITOR_INTERFACE], TIMES, &["-c", &url]].concat();
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    for round in 1..=2 {
        let sink = StreamSink::start(&lab.generator, address, files.path(), &round.to_string()).unwrap();
        let own = agent.ledger().unwrap().number("/packets/own_export").unwrap();
        send_flows(&sender, round);
        agent
            .wait_for_ledger("records", |ledger| {
                let sent = ledger.number("/destinations/0/sent/records")?;
                Ok(sent >= FLOWS * u64::from(round) && ledger.number("/packets/own_export")? > own)
            })
            .unwrap();
        sink.stop().unwrap();
    }
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.ledger.as_ref().unwrap().0["balanced"], true, "{}", stopped.stderr);
    let mut packets = 0;
    for entry in std::fs::read_dir(files.path()).unwrap() {
        let path = entry.unwrap().path();
        let program = tests::agent::binary().unwrap();
        let arguments = ["collect", "--format", "json", path.to_str().unwrap()];
        let lines = run(command(program.to_str().unwrap(), arguments)).unwrap().stdout;
        for line in lines.lines() {
            let flow: Value = serde_json::from_str(line).unwrap();
            if flow["destinationTransportPort"].as_u64() == Some(IPFIX.into()) {
                packets += flow["packetDeltaCount"].as_u64().unwrap();
            }
        }
    }
    // What opens and ends a connection is no message: SYN, ACK, FIN, and their like for attempts that were refused.
    assert!(packets <= 20, "{packets} packets to the collector were metered");
}
