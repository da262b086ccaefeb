//! Each flowEndReason (RFC 5102 section 5.11.3), produced live and read back by tshark.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{ACK, FIN, PSH, RST, SYN, frame, tcp, udp};
use tests::judges::{ExportedRecord, IPFIX, NETFLOW_V9, Panel, sequence_errors};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::raw::RawSender;

const IDLE_TIMEOUT: u8 = 1;
const ACTIVE_TIMEOUT: u8 = 2;
const END_OF_FLOW_DETECTED: u8 = 3;
const FORCED_END: u8 = 4;
const LACK_OF_RESOURCES: u8 = 5;

/// The kernel's tick at its slowest (HZ=100), which is the step of a packet's time, and rounding to milliseconds.
const CLOCK_STEP: u64 = 12;

/// An agent that meters what is sent, exporting to both collectors.
struct Run {
    lab: Lab,
    panel: Panel,
    agent: AgentProcess,
    sender: RawSender,
    sent: u64,
}

/// When packets were sent and had arrived, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Span(u64, u64);

impl Span {
    /// Both ends of a record are between the packets' departure and their arrival, and in their order.
    fn holds(self, record: &ExportedRecord) -> bool {
        let Self(begin, end) = self;
        begin <= record.start_unix_millis + CLOCK_STEP
            && record.start_unix_millis <= record.end_unix_millis
            && record.end_unix_millis <= end + CLOCK_STEP
    }
}

impl Run {
    fn start(options: &[&str]) -> Result<Self> {
        let lab = Lab::new(LabOptions::default())?;
        let panel = Panel::start(&lab.monitor, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let collectors = panel.collectors();
        let arguments = ["-i", MONITOR_INTERFACE, "--xdp-mode", "native"];
        let collectors = collectors.each_ref().map(String::as_str);
        let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], options, &collectors].concat())?;
        let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
        Ok(Self { lab, panel, agent, sender, sent: 0 })
    }

    /// Sends packets and waits for their arrival.
    fn send(&mut self, packets: &[Vec<u8>]) -> Result<Span> {
        let begin = unix_millis()?;
        packets.iter().try_for_each(|packet| self.sender.send(&frame(packet)))?;
        self.sent += packets.len() as u64;
        self.lab.wait_for_packets(self.sent)?;
        Ok(Span(begin, unix_millis()?))
    }

    /// Waits until so many records have ended for this reason.
    fn wait_for_records(&self, reason: &str, records: u64) -> Result<()> {
        let pointer = format!("/records/end_reason/{reason}");
        self.agent.wait_for_ledger(reason, |ledger| Ok(ledger.number(&pointer)? >= records))?;
        Ok(())
    }

    /// Ends the agent. Its IPFIX records by their start, which hold all packets; v9 has the same with the same times.
    fn records(self) -> Result<Vec<ExportedRecord>> {
        let stopped = self.agent.stop(Signal::TERM)?;
        ensure!(stopped.exit_code == Some(0), "{stopped:?}");
        ensure!(stopped.ledger.context("no ledger")?.number("/packets/metered")? == self.sent);
        let verdict = self.panel.stop()?;
        ensure!(verdict.complaints.is_empty(), "{:?}", verdict.complaints);
        let records = |protocol| -> Result<Vec<ExportedRecord>> {
            let messages = verdict.messages_of(protocol, 1);
            let errors = sequence_errors(messages.iter().copied());
            ensure!(errors.is_empty(), "{errors:?}");
            let mut records: Vec<_> = messages.iter().flat_map(|message| message.records.clone()).collect();
            records.sort_by_key(|record| (record.start_unix_millis, record.source_port));
            Ok(records)
        };
        let (netflow_v9, ipfix) = (records(NETFLOW_V9)?, records(IPFIX)?);
        ensure!(netflow_v9.len() == ipfix.len(), "{netflow_v9:?} {ipfix:?}");
        for record in &ipfix {
            // v9 has no end reason, and the clocks are read again for its header.
            let same = |other: &&ExportedRecord| {
                other.start_unix_millis.abs_diff(record.start_unix_millis) <= 1
                    && other.end_unix_millis.abs_diff(record.end_unix_millis) <= 1
                    && (other.packets, other.octets) == (record.packets, record.octets)
                    && (other.source_port, other.source) == (record.source_port, record.source)
            };
            ensure!(netflow_v9.iter().filter(same).count() == 1, "{record:?} is not in {netflow_v9:?}");
        }
        ensure!(ipfix.iter().map(|record| record.packets).sum::<u64>() == self.sent, "{ipfix:?}");
        Ok(ipfix)
    }
}

fn unix_millis() -> Result<u64> {
    Ok(Duration::as_millis(&SystemTime::now().duration_since(UNIX_EPOCH)?) as u64)
}

/// A packet of 100 octets, of the flow from this port.
fn udp_from(port: u16) -> Vec<u8> {
    let (source, destination) = ends(port);
    udp(source, destination, &[0; 72])
}

fn ends(port: u16) -> (SocketAddr, SocketAddr) {
    ((Ipv4Addr::new(10, 1, 0, 1), port).into(), (Ipv4Addr::new(10, 2, 0, 2), 53).into())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_flow_without_packets_for_the_idle_timeout_ends_for_that() {
    let mut run = Run::start(&["--idle-timeout", "1s"]).unwrap();
    let span = run.send(&vec![udp_from(1000); 3]).unwrap();
    run.wait_for_records("idle_timeout", 1).unwrap();
    let records = run.records().unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.end_reason, record.packets, record.octets), (Some(IDLE_TIMEOUT), 3, 300));
    assert!(span.holds(record), "{span:?} {record:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_flow_that_goes_on_is_reported_each_active_timeout_without_losing_a_packet() {
    let mut run = Run::start(&["--active-timeout", "2s", "--idle-timeout", "5m"]).unwrap();
    let mut spans = Vec::new();
    let reported = |run: &Run| run.agent.ledger()?.number("/records/end_reason/active_timeout");
    while reported(&run).unwrap() < 2 {
        spans.push(run.send(&[udp_from(1000)]).unwrap());
        assert!(spans.len() < 2000, "no active timeout");
        thread::sleep(Duration::from_millis(30));
    }
    spans.push(run.send(&[udp_from(1000)]).unwrap());
    let records = run.records().unwrap();

    assert!(records.len() >= 3, "{records:?}");
    let (last, ended) = records.split_last().unwrap();
    assert!(ended.iter().all(|record| record.end_reason == Some(ACTIVE_TIMEOUT)), "{records:?}");
    // If the machine is slow, the end falls on one more timeout.
    assert!(matches!(last.end_reason, Some(ACTIVE_TIMEOUT | FORCED_END)), "{last:?}");
    let mut spans = spans.into_iter();
    for record in &records {
        // The packets of a record are those sent next, the first and the last of them give its times.
        let packets: Vec<Span> = spans.by_ref().take(record.packets as usize).collect();
        let (first, last) = (packets[0], packets[packets.len() - 1]);
        assert!(Span(first.0, last.1).holds(record), "{packets:?} {record:?}");
        assert!(record.start_unix_millis <= first.1 + CLOCK_STEP, "{first:?} {record:?}");
        assert!(last.0 <= record.end_unix_millis + CLOCK_STEP, "{last:?} {record:?}");
        assert_eq!(record.octets, 100 * record.packets);
    }
    for pair in records.windows(2) {
        assert!(pair[0].end_unix_millis <= pair[1].start_unix_millis, "{pair:?}");
        assert!(pair[1].start_unix_millis + CLOCK_STEP >= pair[0].start_unix_millis + 2000, "{pair:?}");
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_connection_ends_when_its_fin_or_rst_has_lingered() {
    let mut run = Run::start(&["--end-linger", "500ms", "--idle-timeout", "5m"]).unwrap();
    let segment = |port, flags, payload: &[u8]| {
        let (source, destination) = ends(port);
        tcp(source, destination, flags, 7, payload)
    };
    let packets = [
        segment(1000, SYN, b""),
        segment(1000, ACK | PSH, &[0; 60]),
        segment(1000, ACK | FIN, b""),
        segment(2000, SYN, b""),
        segment(2000, RST, b""),
        // This one goes on.
        segment(3000, SYN, b""),
    ];
    let span = run.send(&packets).unwrap();
    run.wait_for_records("end_of_flow_detected", 2).unwrap();
    let mut records = run.records().unwrap();
    records.sort_by_key(|record| record.source_port);
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.end_reason, record.packets, record.octets, record.tcp_control_bits))
        .collect();
    let expected = [
        (Some(END_OF_FLOW_DETECTED), 3, 180, u16::from(SYN | ACK | PSH | FIN)),
        (Some(END_OF_FLOW_DETECTED), 2, 80, u16::from(SYN | RST)),
        (Some(FORCED_END), 1, 40, u16::from(SYN)),
    ];
    assert_eq!(found, expected);
    assert!(records.iter().all(|record| span.holds(record)), "{span:?} {records:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn flows_in_the_cache_end_with_the_agent() {
    let mut run = Run::start(&["--idle-timeout", "5m"]).unwrap();
    let (source, destination) = ("[2001:db8::1]:1000", "[2001:db8::2]:53");
    let packet6 = udp(source.parse().unwrap(), destination.parse().unwrap(), &[0; 52]);
    let span = run.send(&[udp_from(1000), packet6.clone(), packet6]).unwrap();
    let mut records = run.records().unwrap();
    records.sort_by_key(|record| record.packets);
    let found: Vec<_> =
        records.iter().map(|record| (record.end_reason, record.packets, record.octets)).collect();
    assert_eq!(found, [(Some(FORCED_END), 1, 100), (Some(FORCED_END), 2, 200)]);
    assert!(records.iter().all(|record| span.holds(record)), "{span:?} {records:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_full_cache_ends_the_flows_seen_least_recently() {
    let mut run = Run::start(&["--cache-size", "4", "--idle-timeout", "5m"]).unwrap();
    // Flow n has n packets.
    let packets = |ports: std::ops::RangeInclusive<u16>| -> Vec<Vec<u8>> {
        ports.flat_map(|port| vec![udp_from(port); usize::from(port)]).collect()
    };
    let old = run.send(&packets(1..=4)).unwrap();
    run.agent.wait_for_ledger("flows", |ledger| Ok(ledger.number("/flows/in_cache")? == 4)).unwrap();
    let new = run.send(&packets(5..=10)).unwrap();
    run.wait_for_records("lack_of_resources", 6).unwrap();
    let mut records = run.records().unwrap();
    records.sort_by_key(|record| record.source_port);

    let volumes: Vec<_> =
        records.iter().map(|record| (record.source_port, record.packets, record.octets)).collect();
    let expected: Vec<_> = (1..=10).map(|port| (port, u64::from(port), 100 * u64::from(port))).collect();
    assert_eq!(volumes, expected);
    // Which of the new ones had to go is the order in which the map gave them.
    let ended = |reason| records.iter().filter(|record| record.end_reason == Some(reason)).count();
    assert_eq!((ended(LACK_OF_RESOURCES), ended(FORCED_END)), (6, 4));
    assert!(records[..4].iter().all(|record| record.end_reason == Some(LACK_OF_RESOURCES)), "{records:?}");
    assert!(records[..4].iter().all(|record| old.holds(record)), "{old:?} {records:?}");
    assert!(records[4..].iter().all(|record| new.holds(record)), "{new:?} {records:?}");
}
