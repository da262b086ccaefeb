//! UDP: nobody listens, the path gets narrower, the route goes.

use tests::judges::{Nfcapd, Tshark, sequence_errors};

use super::{COLLECTOR, Path, SENT, not_sent, reasons};

const PORT: u16 = 4739;
const FLOWS: u16 = 300;
/// As many as fill some bursts.
const MANY: u16 = 3000;
/// Of the narrow link.
const NARROW: u64 = 800;
const IP_AND_UDP: u64 = 28;

fn url() -> String {
    format!("udp://{COLLECTOR}:{PORT}")
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_collector_that_is_there_only_later_has_all_from_then_on() {
    // UDP-ERR-1
    let mut path = Path::new().unwrap();
    let agent = path.start(&url()).unwrap();
    path.flows(&agent, FLOWS).unwrap();
    let refused = "/destinations/0/refused_datagrams";
    path.flows(&agent, FLOWS).unwrap();
    agent.wait_for_ledger("refusals", |ledger| Ok(ledger.number(refused)? > 0)).unwrap();
    let nfcapd = Nfcapd::start(&path.collector, (COLLECTOR, PORT).into()).unwrap();
    // It learns of templates after a while without refusals, or with the next refresh.
    std::thread::sleep(std::time::Duration::from_secs(4));
    path.flows(&agent, FLOWS).unwrap();
    agent.wait_for_ledger("all", |ledger| Ok(ledger.number(SENT)? == 3 * u64::from(FLOWS))).unwrap();
    let ledger = path.stop(agent).unwrap();
    assert_eq!(ledger.number(SENT).unwrap(), 3 * u64::from(FLOWS));
    assert!(ledger.number(refused).unwrap() > 0);
    let summary = nfcapd.stop().unwrap().summary;
    assert_eq!((summary.flows, summary.bad_packets), (FLOWS.into(), 0), "{summary:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_path_that_gets_narrower_gets_shorter_messages_and_no_fragments() {
    // UDP-MTU-1, UDP-CSUM-1
    let mut path = Path::new().unwrap();
    let nfcapd = Nfcapd::start(&path.collector, (COLLECTOR, PORT).into()).unwrap();
    let (before, behind) = (&path.lab.monitor, &path.collector);
    let filter = format!("udp and dst port {PORT}");
    let before = Tshark::start(before, "c0", &filter).unwrap();
    // Fragments have no ports.
    let behind = Tshark::start(behind, "k0", "udp").unwrap();
    let agent = path.start(&url()).unwrap();
    path.flows(&agent, FLOWS).unwrap();
    for (namespace, interface) in [(&path.router, "r1"), (&path.collector, "k0")] {
        namespace.ip(&["link", "set", interface, "mtu", &NARROW.to_string()]).unwrap();
    }
    for _ in 0..3 {
        path.flows(&agent, FLOWS).unwrap();
    }
    let ledger = path.stop(agent).unwrap();
    let (before, behind) = (before.stop().unwrap(), behind.stop().unwrap());
    let capture = before.decode_as_cflow(PORT);
    let messages = capture.messages().unwrap();
    assert_eq!(sequence_errors(&messages), [""; 0]);
    let lengths = capture.fields(&["udp.length", "ip.flags.mf", "ip.flags.df"]).unwrap();
    let mut records = [0, 0];
    let mut dropped = 0;
    let mut narrow_since = None;
    for (number, (message, packet)) in messages.iter().zip(&lengths).enumerate() {
        let length = packet[0][0].parse::<u64>().unwrap() - 8;
        assert_eq!((packet[1][0].as_str(), packet[2][0].as_str()), ("0", "1"), "a fragment");
        let fits = length + IP_AND_UDP <= NARROW;
        if !fits && number * 4 >= messages.len() {
            dropped += 1;
        }
        if !fits {
            narrow_since = None;
        } else if message.records.len() > 1 {
            narrow_since.get_or_insert(number);
        }
        records[usize::from(fits)] += message.records.len() as u64;
    }
    // The books say what was handed to the network, and it was all there.
    assert_eq!(records.iter().sum::<u64>(), ledger.number(SENT).unwrap());
    assert!(reasons(&ledger).unwrap().iter().all(|(_, records)| *records == 0));
    assert!(narrow_since.is_some(), "messages did not get shorter");
    // What was on the way when the path became narrow is what ICMP told of.
    assert!(ledger.number("/destinations/0/refused_datagrams").unwrap() > 0, "{dropped} were too long");
    let arrived = behind.fields(&["udp.length", "ip.flags.mf", "udp.checksum.status"]).unwrap();
    assert!(arrived.iter().all(|packet| packet[1][0] == "0"));
    // Right ones, and none that is left out.
    assert!(!arrived.is_empty() && arrived.iter().all(|packet| packet[2] == ["1"]), "{arrived:?}");
    let summary = nfcapd.stop().unwrap().summary;
    let lost = ledger.number(SENT).unwrap() - summary.flows;
    let longest = messages.iter().map(|message| message.records.len() as u64).max().unwrap();
    let told: u64 = ledger.number("/destinations/0/refused_datagrams").unwrap();
    assert!(lost > 0 && lost <= told * longest, "{lost} records lost, {told} messages told of");
    assert_eq!(summary.bad_packets, 0);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn messages_that_go_many_at_a_time_are_made_anew_where_the_path_gets_narrower_between_them() {
    // UDP-MTU-1
    let mut path = Path::new().unwrap();
    // Datagrams that go together are one to the pair that has this, and are parted by the router.
    path.lab
        .monitor
        .run("ethtool", &["-K", "c0", "tx", "on", "gso", "on", "tx-udp-segmentation", "on"])
        .unwrap();
    let nfcapd = Nfcapd::start(&path.collector, (COLLECTOR, PORT).into()).unwrap();
    let before = Tshark::start(&path.lab.monitor, "c0", &format!("udp and dst port {PORT}")).unwrap();
    let behind = Tshark::start(&path.collector, "k0", "udp").unwrap();
    // All that expires at once goes at once.
    let agent = path.start_with(&url(), &["--export-rate", "1000000"]).unwrap();
    path.flows(&agent, MANY).unwrap();
    for (namespace, interface) in [(&path.router, "r1"), (&path.collector, "k0")] {
        namespace.ip(&["link", "set", interface, "mtu", &NARROW.to_string()]).unwrap();
    }
    for _ in 0..2 {
        path.flows(&agent, MANY).unwrap();
    }
    let ledger = path.stop(agent).unwrap();
    let (before, behind) = (before.stop().unwrap(), behind.stop().unwrap());
    let longest = before.fields(&["udp.length"]).unwrap();
    let longest = longest.iter().filter_map(|packet| packet[0][0].parse::<u64>().ok()).max().unwrap();
    assert!(longest > 8 * NARROW, "nothing went together: {longest} octets at most");
    assert!(behind.fields(&["ip.flags.mf"]).unwrap().iter().all(|packet| packet[0][0] == "0"), "a fragment");
    let lengths = behind.fields(&["udp.length"]).unwrap();
    let messages = behind.decode_as_cflow(PORT).messages().unwrap();
    let narrow = lengths.iter().filter(|packet| packet[0][0].parse::<u64>().unwrap() + 20 <= NARROW);
    assert!(narrow.count() > 0 && !messages.is_empty());
    let sent = ledger.number(SENT).unwrap();
    assert_eq!(sent, 3 * u64::from(MANY));
    assert!(reasons(&ledger).unwrap().iter().all(|(_, records)| *records == 0));
    // What was on the way when the path became narrow is lost, and ICMP told of some of it; the collector knows by the gap how much.
    let arrived: usize = messages.iter().map(|message| message.records.len()).sum();
    assert!(arrived > 2 * usize::from(MANY), "{arrived} of {sent} records");
    assert!(ledger.number("/destinations/0/refused_datagrams").unwrap() > 0);
    let summary = nfcapd.stop().unwrap().summary;
    assert_eq!((summary.flows, summary.bad_packets), (arrived as u64, 0));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn without_a_route_records_are_counted_and_with_one_they_arrive_again() {
    let mut path = Path::new().unwrap();
    let nfcapd = Nfcapd::start(&path.collector, (COLLECTOR, PORT).into()).unwrap();
    let agent = path.start(&url()).unwrap();
    path.flows(&agent, FLOWS).unwrap();
    // Offered is not yet sent: what still waits would go the way of the next ones.
    agent.wait_for_ledger("records sent", |ledger| Ok(ledger.number(SENT)? == u64::from(FLOWS))).unwrap();
    path.route("del").unwrap();
    path.flows(&agent, FLOWS).unwrap();
    let failed = "/destinations/0/not_sent/send_failed/records";
    agent.wait_for_ledger("failures", |ledger| Ok(ledger.number(failed)? == u64::from(FLOWS))).unwrap();
    path.route("add").unwrap();
    path.flows(&agent, FLOWS).unwrap();
    let ledger = path.stop(agent).unwrap();
    assert_eq!(not_sent(&ledger, "send_failed"), u64::from(FLOWS));
    assert_eq!(ledger.number(SENT).unwrap(), 2 * u64::from(FLOWS));
    // And the collector learns of the gap by the sequence numbers.
    let summary = nfcapd.stop().unwrap().summary;
    assert_eq!((summary.flows, summary.bad_packets), (2 * u64::from(FLOWS), 0));
    assert!(summary.sequence_errors > 0);
}
