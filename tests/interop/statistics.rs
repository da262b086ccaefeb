//! What the agent says of itself in options data, against its books and against what collectors got.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::judges::{IPFIX, NETFLOW_V9, Nfacctd, Nfcapd, Tshark, TsharkCapture};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::ledger::Ledger;
use tests::raw::RawSender;

const PACKETS: u64 = 300;
const BAD: u64 = 7;
/// Where pmacct listens.
const PMACCT: u16 = 4001;

/// The last value of each field in the messages to a port.
fn last<const N: usize>(capture: &TsharkCapture, port: u16, fields: [&str; N]) -> Result<[u64; N]> {
    let asked: Vec<&str> = ["udp.dstport"].into_iter().chain(fields).collect();
    let mut found = [None; N];
    for packet in capture.fields(&asked)? {
        if packet[0] == [port.to_string()] {
            for (found, values) in found.iter_mut().zip(&packet[1..]) {
                if let Some(text) = values.last() {
                    // sys_init_time is a date.
                    *found = Some(text.parse().unwrap_or(1));
                }
            }
        }
    }
    let mut values = [0; N];
    for (place, value) in found.into_iter().enumerate() {
        values[place] = value.with_context(|| format!("no {}", fields[place]))?;
    }
    Ok(values)
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn statistics_say_what_collectors_got_and_what_was_not_metered() {
    // STAT-CNT-1, STAT-CNT-2, STAT-CNT-4, STAT-CNT-5, STAT-MP-1, STAT-MPR-1, STAT-EPR-1, CONF-5
    said().unwrap();
}

fn said() -> Result<()> {
    let lab = Lab::new(LabOptions::default())?;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let nfcapd = [NETFLOW_V9.1, IPFIX.1].map(|port| Nfcapd::start(&lab.monitor, at(port)));
    let pmacct = Nfacctd::start(&lab.monitor, at(PMACCT))?;
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and dst portrange 2000-5000")?;
    let urls = [
        format!("udp://127.0.0.1:{}?protocol=v9", NETFLOW_V9.1),
        format!("udp://127.0.0.1:{}", IPFIX.1),
        format!("udp://127.0.0.1:{PMACCT}"),
    ];
    let mut arguments =
        vec!["-i", MONITOR_INTERFACE, "--statistics-interval", "500ms", "--idle-timeout", "1s"];
    urls.iter().for_each(|url| arguments.extend(["-c", url]));
    let agent = AgentProcess::start(&lab.monitor, &arguments)?;
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let to = SocketAddr::from((Ipv4Addr::new(10, 2, 0, 2), 53));
    let from = |port| SocketAddr::from((Ipv4Addr::new(10, 1, 0, 1), port));
    let mut octets = 0;
    for packet in 0..PACKETS {
        let frame = frame(&udp(from(1000 + (packet % 30) as u16), to, &[0; 72]));
        octets += frame.len() as u64 - 14;
        sender.send(&frame)?;
    }
    for _ in 0..BAD {
        let mut frame = frame(&udp(from(9), to, &[0; 72]));
        // A header of four words.
        frame[14] = 0x44;
        sender.send(&frame)?;
    }
    lab.wait_for_packets(PACKETS + BAD)?;
    let while_running = agent.wait_for_ledger("statistics", |ledger| {
        Ok(ledger.number("/flows/in_cache")? + ledger.number("/records/total")? == 30)
    })?;
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ports = [NETFLOW_V9.1, IPFIX.1, PMACCT];
    let capture = ports.into_iter().fold(tshark.stop()?, TsharkCapture::decode_as_cflow);
    let complaints = capture.expert_messages()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    let ledger = stopped.ledger.context("no ledger")?;
    let records = ledger.number("/records/total")?;
    ensure!(ledger.number("/packets/in_records")? == PACKETS, "{}", ledger.0);
    for (place, port) in ports.into_iter().enumerate() {
        let [messages, flows, sent] =
            last(&capture, port, ["cflow.packetsexp", "cflow.flowsexp", "cflow.octetsexp"])?;
        let of = |name: &str| ledger.number(&format!("/destinations/{place}/{name}"));
        // The message that carries them is not in them.
        ensure!(
            flows == records && messages + 1 == of("messages")?,
            "{port}: {flows} {messages} {}",
            ledger.0
        );
        ensure!(sent < of("message_octets")?, "{port}: {sent}");
    }
    // What the books have of each session, and of the cache.
    let whole = |ledger: &Ledger| -> Result<u64> {
        Ok(ledger.number("/flows/in_cache")? + ledger.number("/flows/unused_in_cache")?)
    };
    ensure!(whole(&ledger)? > 0 && whole(&ledger)? == whole(&while_running)?, "{}", ledger.0);
    let templates = capture.fields(&["udp.dstport", "cflow.template_id"])?;
    let now = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    for (place, port) in ports.into_iter().enumerate() {
        let session = |ledger: &Ledger| ledger.0["destinations"][place]["session"].clone();
        ensure!(session(&while_running)["is_active"] == true && session(&ledger)["is_active"] == false);
        let session = session(&ledger);
        let of = |name: &str| session[name].as_u64().with_context(|| format!("no {name}: {session}"));
        let told = templates.iter().filter(|packet| packet[0] == [port.to_string()]);
        let told: usize = told.map(|packet| packet[1].len()).sum();
        ensure!((of("templates")? + of("options_templates")?) as usize == told, "{port}: {told} {session}");
        ensure!((now - 60_000..now).contains(&of("began")?) && of("discarded_messages")? == 0, "{session}");
    }
    for port in [IPFIX.1, PMACCT] {
        let fields =
            ["cflow.ignore_packets", "cflow.notsent_flows", "cflow.notsent_packets", "cflow.sys_init_time"];
        let [ignored, not_sent, not_sent_packets, _] = last(&capture, port, fields)?;
        ensure!((ignored, not_sent, not_sent_packets) == (BAD, 0, 0), "{port}: {ignored} {not_sent}");
        // Packets on the wire are those of records and those that were not metered.
        ensure!(ledger.number("/packets/seen")? == PACKETS + ignored, "{}", ledger.0);
    }
    for (nfcapd, version) in nfcapd.into_iter().zip([9, 10]) {
        let read = nfcapd?.stop()?;
        let summary = (read.summary.flows, read.summary.packets, read.summary.octets);
        ensure!(summary == (records, PACKETS, octets), "nfdump, version {version}: {}", read.log);
        ensure!(read.summary.bad_packets == 0, "{}", read.log);
    }
    let read = pmacct.stop()?;
    let sums = (read.sum("packets"), read.sum("bytes"));
    ensure!(sums == (PACKETS, octets), "pmacct: {:?} {}", read.rows, read.log);
    Ok(())
}
