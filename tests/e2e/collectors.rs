//! Several collectors of one agent: what happens to one of them is not felt by the others.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tests::agent::{AgentProcess, Signal};
use tests::judges::{ExportedMessage, Nfcapd, Tshark, sequence_errors};
use tests::lab::{Lab, LabOptions, MONITOR_INTERFACE};
use tests::trickle::{OnDrop, trickle};

const ALIVE_V9: u16 = 2055;
const ALIVE_IPFIX: u16 = 4739;
const RESTARTED: u16 = 4740;
const DEAD_V9: u16 = 2056;
const DEAD_IPFIX: u16 = 4741;
/// In the order in which the agent is told of them, and so of the ledger.
const PORTS: [(u16, &str); 5] =
    [(ALIVE_V9, "v9"), (ALIVE_IPFIX, "ipfix"), (RESTARTED, "ipfix"), (DEAD_V9, "v9"), (DEAD_IPFIX, "ipfix")];

const DRAIN_INTERVAL: Duration = Duration::from_millis(200);
const TEMPLATE_PERIOD: Duration = Duration::from_secs(2);
/// What a busy machine may add to it.
const DELAY: Duration = Duration::from_secs(5);
const FLOWS: u16 = 100;
const TRAFFIC_LIMIT: Duration = Duration::from_secs(120);

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_dead_and_a_restarted_collector_do_not_disturb_the_living_ones() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let nfcapd = |port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and dst portrange 2000-5000").unwrap();
    let (alive_v9, alive_ipfix, killed) = (nfcapd(ALIVE_V9), nfcapd(ALIVE_IPFIX), nfcapd(RESTARTED));
    let agent = start(&lab).unwrap();

    let number = |pointer: &str| agent.ledger().unwrap().number(pointer).unwrap();
    let (stop, begin) = (AtomicBool::new(false), Instant::now());
    let (sent, first_life, restarted, restarted_at) = thread::scope(|scope| {
        let traffic = scope.spawn(|| trickle(&lab, FLOWS, TRAFFIC_LIMIT, &stop));
        // A panic here must end the traffic, or the scope would wait for it.
        let ended = OnDrop(&stop);
        let sent_records = "/destinations/2/sent/records";
        agent.wait_for_ledger("records", |ledger| Ok(ledger.number(sent_records)? > 200)).unwrap();
        let first_life = killed.stop().unwrap();
        let refused = "/destinations/2/refused_datagrams";
        agent.wait_for_ledger("refusals", |ledger| Ok(ledger.number(refused)? > 2)).unwrap();
        let restarted = nfcapd(RESTARTED);
        let (at, since) = (unix_millis(), Instant::now());
        let records = number(sent_records);
        agent
            .wait_for_ledger("records after the restart", |ledger| {
                Ok(since.elapsed() > 2 * TEMPLATE_PERIOD && ledger.number(sent_records)? > records + 200)
            })
            .unwrap();
        drop(ended);
        (traffic.join().unwrap().unwrap(), first_life, restarted, at)
    });
    lab.wait_for_packets(sent).unwrap();
    let elapsed = begin.elapsed();
    let stopped = agent.stop(Signal::TERM).unwrap();
    let mut capture = tshark.stop().unwrap();
    for (port, _) in PORTS {
        capture = capture.decode_as_cflow(port);
    }
    let messages = capture.messages().unwrap();
    let to = |port: u16| messages.iter().filter(move |message| message.port == port);

    // The living ones have every packet, in an unbroken sequence.
    for (nfcapd, port) in [(alive_v9, ALIVE_V9), (alive_ipfix, ALIVE_IPFIX)] {
        let summary = nfcapd.stop().unwrap().summary;
        assert_eq!((summary.packets, summary.octets), (sent, sent * 100), "port {port}");
        assert_eq!((summary.sequence_errors, summary.bad_packets), (0, 0), "port {port}");
        assert_eq!(summary.flows, records(to(port)), "port {port}");
    }
    // Every collector was sent the same, whether it was there or not.
    assert_eq!(capture.expert_messages().unwrap(), [""; 0]);
    for (port, _) in PORTS {
        assert_eq!(sequence_errors(to(port)), [""; 0], "port {port}");
        let packets = to(port).flat_map(|message| &message.records).map(|record| record.packets);
        assert_eq!(packets.sum::<u64>(), sent, "port {port}");
    }

    // The restarted one decodes again from the first templates on, and these come in time.
    assert!(first_life.summary.flows > 0);
    assert_eq!(first_life.summary.sequence_errors, 0);
    let second_life = restarted.stop().unwrap().summary;
    let decodable: Vec<&ExportedMessage> = to(RESTARTED)
        .filter(|message| message.captured_unix_millis >= restarted_at)
        .skip_while(|message| message.templates.is_empty())
        .collect();
    let waited = Duration::from_millis(decodable[0].captured_unix_millis - restarted_at);
    assert!(waited <= TEMPLATE_PERIOD + DELAY, "templates came after {waited:?}");
    let expected = records(decodable.iter().copied());
    assert!(expected > 0 && second_life.flows >= expected, "{second_life:?}, {expected} decodable");

    // The books close, nothing was turned away or waits, and refusals were noticed only where there were any.
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true);
    assert_eq!(ledger.number("/packets/seen").unwrap(), sent);
    for (place, (port, _)) in PORTS.iter().enumerate() {
        let of = |what: &str| ledger.sum(&format!("/destinations/{place}/{what}")).unwrap();
        assert_eq!(of("sent/packets"), sent, "port {port}");
        assert_eq!((of("queued"), of("not_sent")), (0, 0), "port {port}");
        assert_eq!(of("refused_datagrams") > 0, ![ALIVE_V9, ALIVE_IPFIX].contains(port), "port {port}");
    }
    // It went on draining: a stall would have cost most of the flips. A busy machine may take some.
    let flips = u128::from(ledger.number("/flips").unwrap());
    assert!(flips > elapsed.as_millis() / DRAIN_INTERVAL.as_millis() / 5, "{flips} flips in {elapsed:?}");
}

fn start(lab: &Lab) -> Result<AgentProcess> {
    let (drain, template) =
        (format!("{}ms", DRAIN_INTERVAL.as_millis()), format!("{}s", TEMPLATE_PERIOD.as_secs()));
    let mut arguments = vec!["-i", MONITOR_INTERFACE, "--active-timeout", "1s", "--drain-interval", &drain];
    // Templates by time alone: their period is what is tested.
    arguments.extend(["--template-refresh", &template, "--template-refresh-packets", "1000000"]);
    let urls = PORTS.map(|(port, protocol)| format!("udp://127.0.0.1:{port}?protocol={protocol}"));
    arguments.extend(urls.iter().flat_map(|url| ["-c", url]));
    AgentProcess::start(&lab.monitor, &arguments)
}

fn records<'a>(messages: impl IntoIterator<Item = &'a ExportedMessage>) -> u64 {
    messages.into_iter().map(|message| message.records.len() as u64).sum()
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
