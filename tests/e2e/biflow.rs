//! Biflows live: both directions of an interface in one record, the initiator its source.

use std::net::Ipv4Addr;

use serde_json::Value;
use tests::agent::{AgentProcess, Signal};
use tests::judges::Nfcapd;
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};

const GENERATOR_ADDRESS: &str = "10.77.0.1";
const MONITOR_ADDRESS: &str = "10.77.0.2";
const COLLECTOR: u16 = 4739;
const IPERF3: u64 = 5201;

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or(0)
}

/// The packets of both directions that a record has: from source to destination, and back.
fn packets(record: &Value) -> (u64, u64) {
    (number(record, "in_packets"), number(record, "out_packets"))
}

#[test]
#[ignore = "needs root: network namespaces, XDP, iperf3, ping"]
fn connections_and_echoes_are_one_record_each_whose_source_began_them() {
    let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() }).unwrap();
    for (namespace, interface) in [(&lab.generator, GENERATOR_INTERFACE), (&lab.monitor, MONITOR_INTERFACE)] {
        namespace
            .run("ethtool", &["-K", interface, "tx", "on", "gso", "on", "gro", "on", "tso", "off"])
            .unwrap();
    }
    let nfcapd = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, COLLECTOR).into()).unwrap();
    let url = format!("udp://127.0.0.1:{COLLECTOR}");
    let arguments = ["-i", MONITOR_INTERFACE, "--xdp-mode", "tc", "--biflow", "--drain-interval", "200ms"];
    let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], &["-c", &url]].concat()).unwrap();
    let counters = || {
        let generator = lab.generator.counters(GENERATOR_INTERFACE).unwrap();
        (generator, lab.monitor.counters(MONITOR_INTERFACE).unwrap().tx_dropped)
    };
    let (before, dropped_before) = counters();
    let mut server = lab.monitor.spawn("iperf3", &["-s", "-1", "--forceflush"]).unwrap();
    for _ in 0..400 {
        if server.stdout().contains("listening") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    lab.generator.run("iperf3", &["-c", MONITOR_ADDRESS, "-t", "2", "--bidir"]).unwrap();
    server.signal(Signal::TERM).unwrap();
    lab.monitor.run("ping", &["-c", "3", "-i", "0.2", GENERATOR_ADDRESS]).unwrap();
    // The last acknowledgement of the closing connections.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (after, dropped) = counters();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    let records = nfcapd.stop().unwrap().records().unwrap();
    let (sent, received) = (
        after.tx_packets - before.tx_packets,
        after.rx_packets - before.rx_packets + dropped - dropped_before,
    );
    let from = |address: &str| {
        let of = |record: &Value| {
            let (forward, back) = packets(record);
            if record["src4_addr"] == address { forward } else { back }
        };
        records.iter().map(of).sum::<u64>()
    };
    eprintln!("{sent} and {received} packets sent, {} records", records.len());
    assert_eq!((from(GENERATOR_ADDRESS), from(MONITOR_ADDRESS)), (sent, received));
    assert_eq!(ledger.0["balanced"], true);
    assert_eq!(ledger.number("/packets/in_records").unwrap(), sent + received);
    assert_eq!(ledger.number("/destinations/0/sent/packets").unwrap(), sent + received);

    // One connection for control and two for data, all from the client's side, however their data flow.
    let tcp: Vec<_> = records.iter().filter(|record| record["proto"] == 6).collect();
    assert_eq!(tcp.len(), 3, "{tcp:?}");
    for record in tcp {
        assert_eq!((&record["src4_addr"], number(record, "dst_port")), (&GENERATOR_ADDRESS.into(), IPERF3));
        assert!(packets(record).0 > 0 && packets(record).1 > 0, "{record}");
    }
    let icmp: Vec<_> = records.iter().filter(|record| record["proto"] == 1).collect();
    assert_eq!(icmp.iter().map(|record| packets(record)).collect::<Vec<_>>(), [(3, 3)], "{icmp:?}");
    assert_eq!((&icmp[0]["src4_addr"], number(icmp[0], "icmp_type")), (&MONITOR_ADDRESS.into(), 8));
}
