//! One flow at several interfaces: each of them meters what it received, and no packet counts twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::judges::Nfcapd;
use tests::lab::Namespace;
use tests::raw::RawSender;

const COLLECTOR: &str = "127.0.0.1:4739";
/// The ends of one pair, their ifIndex, and how many packets they receive of the one flow.
const ENDS: [(&str, u64, u64); 2] = [("point0", 301, 5), ("point1", 302, 7)];

/// Packets of the records by ifIndex, where the agent meters what these options say.
fn records(options: &[&str], expected: u64) -> Result<Vec<(u64, u64)>> {
    let namespace = Namespace::new()?;
    let [(first, first_index, _), (second, second_index, _)] =
        ENDS.map(|(name, index, _)| (name, index.to_string(), 0));
    let pair = ["link", "add", first, "index", &first_index, "type", "veth"];
    namespace.ip(&[&pair[..], &["peer", "name", second, "index", &second_index]].concat())?;
    for (name, ..) in ENDS {
        namespace.ip(&["link", "set", name, "up"])?;
    }
    let nfcapd = Nfcapd::start(&namespace, COLLECTOR.parse()?)?;
    let common = ["-i", "point*", "--direction", "ingress", "--drain-interval", "200ms", "-c", COLLECTOR];
    let agent = AgentProcess::start(&namespace, &[&common, options].concat())?;
    let same = frame(&udp("10.1.0.1:1000".parse()?, "10.2.0.2:53".parse()?, &[0; 72]));
    for (place, (name, _, packets)) in ENDS.iter().enumerate() {
        let before = namespace.counters(name)?.rx_packets;
        let sender = RawSender::open(&namespace, ENDS[1 - place].0)?;
        (0..*packets).try_for_each(|_| sender.send(&same))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while namespace.counters(name)?.rx_packets < before + packets {
            ensure!(Instant::now() < deadline, "packets do not arrive");
        }
    }
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.context("no ledger")?;
    ensure!(ledger.0["balanced"] == true && ledger.number("/packets/metered")? == expected, "{}", ledger.0);
    std::thread::sleep(Duration::from_millis(200));
    let records = nfcapd.stop()?.records()?;
    let number =
        |record: &serde_json::Value, name: &str| record[name].as_u64().with_context(|| record.to_string());
    let mut records: Vec<_> = records
        .iter()
        .map(|record| Ok((number(record, "input_snmp")?, number(record, "in_packets")?)))
        .collect::<Result<_>>()?;
    records.sort_unstable();
    Ok(records)
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn one_flow_at_both_ends_of_a_pair_is_two_records_and_each_packet_counts_once() {
    // METER-KEY-2, METER-CNT-5
    let both = ENDS.map(|(_, index, packets)| (index, packets));
    assert_eq!(records(&[], 12).unwrap(), both);
    // Copies can be left out.
    assert_eq!(records(&["--exclude-interface", "point1"], 5).unwrap(), both[..1]);
}
