//! Half a million flows that expire at once reach a collector whose socket has the default buffer.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::generator::{Generator, GeneratorOptions};
use tests::judges::{Nfcapd, Tshark};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};

const FLOWS: u64 = 500_000;
const PORT: u16 = 9995;

/// Sends one packet of each flow, waits until all have expired, and compares what nfcapd has.
fn burst(protocol: &str, options: &[&str]) -> Result<()> {
    let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() })?;
    let nfcapd = Nfcapd::start_with_default_buffer(&lab.monitor, (Ipv4Addr::LOCALHOST, PORT).into())?;
    let url = format!("udp://127.0.0.1:{PORT}?protocol={protocol}");
    // One map has room for all of them: they come by one CPU.
    let arguments = ["-i", MONITOR_INTERFACE, "--idle-timeout", "3s", "--map-size", "1048576", "-c", &url];
    let agent = AgentProcess::start(&lab.monitor, &[&arguments, options].concat())?;
    let generated = GeneratorOptions { flows: FLOWS, ..GeneratorOptions::default() };
    let octets = FLOWS * generated.packet_octets();
    Generator::new(&lab.generator, GENERATOR_INTERFACE, generated)?.send(FLOWS)?;
    lab.wait_for_packets(FLOWS)?;
    let sent = "/destinations/0/sent/records";
    agent.wait_for_ledger("all records", |ledger| Ok(ledger.number(sent)? == FLOWS))?;
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.expect("the agent writes its ledger");
    ensure!(ledger.number("/records/end_reason/idle_timeout")? == FLOWS, "{}", ledger.0);
    ensure!(ledger.sum("/destinations/0/not_sent")? == 0, "{}", ledger.0);
    let summary = nfcapd.stop()?.summary;
    eprintln!("{protocol} {options:?}: {summary:?}");
    ensure!((summary.sequence_errors, summary.bad_packets) == (0, 0), "{summary:?}");
    ensure!((summary.flows, summary.packets, summary.octets) == (FLOWS, FLOWS, octets), "{summary:?}");
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn half_a_million_flows_that_expire_at_once_reach_a_collector_with_the_default_buffer_by_v9() {
    burst("v9", &[]).unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn half_a_million_flows_that_expire_at_once_reach_a_collector_with_the_default_buffer_by_ipfix() {
    burst("ipfix", &[]).unwrap();
}

/// What may go at once: [`RATE`] is kept over time, and this much beyond it.
const AT_ONCE: f64 = 64.0;
const RATE: f64 = 1000.0;

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn in_no_stretch_of_time_are_there_more_records_on_the_wire_than_the_operator_allows() {
    // UDP-RATE-1
    const FLOWS: u64 = 3000;
    for protocol in ["v9", "ipfix"] {
        let lab = Lab::new(LabOptions::default()).unwrap();
        let nfcapd = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, PORT).into()).unwrap();
        let tshark = Tshark::start(&lab.monitor, "lo", &format!("udp and dst port {PORT}")).unwrap();
        let (url, rate) = (format!("udp://127.0.0.1:{PORT}?protocol={protocol}"), RATE.to_string());
        let arguments = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "--export-rate", &rate, "-c", &url];
        let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
        let generated = GeneratorOptions { flows: FLOWS, ..GeneratorOptions::default() };
        Generator::new(&lab.generator, GENERATOR_INTERFACE, generated).unwrap().send(FLOWS).unwrap();
        lab.wait_for_packets(FLOWS).unwrap();
        let sent = "/destinations/0/sent/records";
        agent.wait_for_ledger("all records", |ledger| Ok(ledger.number(sent)? == FLOWS)).unwrap();
        let stopped = agent.stop(Signal::TERM).unwrap();
        assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
        assert_eq!(nfcapd.stop().unwrap().summary.flows, FLOWS);
        let capture = tshark.stop().unwrap().decode_as_cflow(PORT);
        let packets = capture.fields(&["frame.time_epoch", "cflow.packets"]).unwrap();
        let messages: Vec<(f64, f64)> = packets
            .into_iter()
            .map(|packet| (packet[0][0].parse().unwrap(), packet[1].len() as f64))
            .filter(|(_, records)| *records > 0.0)
            .collect();
        assert_eq!(messages.iter().map(|(_, records)| records).sum::<f64>() as u64, FLOWS);
        let longest = messages.iter().fold(0.0, |longest: f64, (_, records)| longest.max(*records));
        for (place, (first, _)) in messages.iter().enumerate() {
            let mut records = 0.0;
            for (at, more) in &messages[place..] {
                records += more;
                // A message that goes pays afterwards, and the clock of a capture is not that of the pace.
                let allowed = (at - first + 0.01) * RATE + AT_ONCE + 2.0 * longest;
                assert!(records <= allowed, "{protocol}: {records} records in {} s", at - first);
            }
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn half_a_million_flows_go_at_the_rate_that_the_operator_gives() {
    burst("v9", &["--export-rate", "40000"]).unwrap();
    burst("ipfix", &["--export-rate", "40000"]).unwrap();
}
