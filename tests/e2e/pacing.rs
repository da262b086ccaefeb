//! Half a million flows that expire at once reach a collector whose socket has the default buffer.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::generator::{Generator, GeneratorOptions};
use tests::judges::Nfcapd;
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

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn half_a_million_flows_go_at_the_rate_that_the_operator_gives() {
    burst("v9", &["--export-rate", "40000"]).unwrap();
    burst("ipfix", &["--export-rate", "40000"]).unwrap();
}
