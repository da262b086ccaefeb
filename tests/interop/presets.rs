//! Presets, each judged by the collector that it is for.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{self, frame};
use tests::judges::{IPFIX, NETFLOW_V9, Nfacctd, Nfcapd, Tshark};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::raw::RawSender;

/// Where pmacct listens.
const PMACCT: u16 = 4001;

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn presets_spare_nfdump_and_pmacct_what_they_trip_over() {
    // TRAP-3, TRAP-16
    judged().unwrap();
}

fn judged() -> Result<()> {
    let lab = Lab::new(LabOptions::default())?;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let nfcapd = Nfcapd::start(&lab.monitor, at(IPFIX.1))?;
    let told_a_rate = Nfcapd::start(&lab.monitor, at(NETFLOW_V9.1))?;
    let pmacct = Nfacctd::start(&lab.monitor, at(PMACCT))?;
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and dst portrange 2000-5000")?;
    let urls = [
        format!("udp://127.0.0.1:{}?preset=nfdump", IPFIX.1),
        format!("udp://127.0.0.1:{PMACCT}?preset=pmacct"),
        format!("udp://127.0.0.1:{}?protocol=v9&preset=akvorado", NETFLOW_V9.1),
    ];
    let mut arguments = vec!["-i", MONITOR_INTERFACE, "--statistics-interval", "500ms", "--interface-table"];
    urls.iter().for_each(|url| arguments.extend(["-c", url]));
    let agent = AgentProcess::start(&lab.monitor, &arguments)?;
    let mut header = [0; 20];
    // Ports, five words, SYN and ECE and CWR.
    (header[1], header[3], header[12], header[13]) = (9, 80, 0x50, 0xc2);
    let source = Ipv4Addr::new(10, 1, 0, 1).into();
    let packet = frames::ip(source, Ipv4Addr::new(10, 2, 0, 2).into(), 6, &header);
    RawSender::open(&lab.generator, GENERATOR_INTERFACE)?.send(&frame(&packet))?;
    lab.wait_for_packets(1)?;
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let capture =
        tshark.stop()?.decode_as_cflow(IPFIX.1).decode_as_cflow(PMACCT).decode_as_cflow(NETFLOW_V9.1);
    let complaints = capture.expert_messages()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    let read = nfcapd.stop()?;
    ensure!((read.summary.flows, read.summary.packets) == (1, 1), "{}", read.log);
    // Nothing is sampled: of one packet there is one.
    let rates = capture.fields(&["udp.dstport", "cflow.sampling_interval"])?;
    let (to, rates): (Vec<_>, Vec<_>) = rates
        .into_iter()
        .flat_map(|packet| {
            packet[1].iter().map(|rate| (packet[0][0].clone(), rate.clone())).collect::<Vec<_>>()
        })
        .unzip();
    ensure!(!to.is_empty() && to.iter().all(|port| *port == NETFLOW_V9.1.to_string()), "{to:?}");
    ensure!(rates.iter().all(|rate| rate == "1"), "{rates:?}");
    let read = told_a_rate.stop()?;
    ensure!((read.summary.flows, read.summary.packets) == (1, 1), "{}", read.log);
    let read = pmacct.stop()?;
    let row = read.rows.first().context("pmacct has no row")?;
    ensure!(row["tcp_flags"] == "194" && row["packets"] == 1, "{row}");
    Ok(())
}
