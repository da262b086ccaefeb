//! Collectors that share the records, as nfcapd got them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::judges::{Nfcapd, sums_of_file};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::ledger::Ledger;
use tests::raw::RawSender;
use tests::stream_sink::StreamSink;
use tests::trickle::OnDrop;

const PORTS: [u16; 2] = [4739, 4740];
const FLOWS: u16 = 500;

fn start(lab: &Lab, mode: &str) -> AgentProcess {
    let urls = PORTS.map(|port| format!("udp://127.0.0.1:{port}"));
    let times = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "--drain-interval", "200ms"];
    let arguments = [&times[..], &["-c", &urls[0], "-c", &urls[1], "--collector-mode", mode]].concat();
    AgentProcess::start(&lab.monitor, &arguments).unwrap()
}

/// The two ends of a flow, in one order.
fn flow(record: &Value) -> [(String, u64); 2] {
    let end = |address: &str, port: &str| {
        (record[address].as_str().unwrap_or_default().to_owned(), record[port].as_u64().unwrap_or_default())
    };
    let mut ends = [end("src4_addr", "src_port"), end("dst4_addr", "dst_port")];
    ends.sort();
    ends
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn of_a_balanced_group_each_record_is_at_one_collector_and_flows_are_not_split() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collectors =
        PORTS.map(|port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    let agent = start(&lab, "balance");
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let rounds = 2;
    for round in 1..=rounds {
        for number in 1..=FLOWS {
            let (from, to) = (([10, 1, 0, 1], 1000 + number).into(), ([10, 2, 0, 2], 53).into());
            sender.send(&frame(&udp(from, to, b"question"))).unwrap();
            sender.send(&frame(&udp(to, from, b"answer"))).unwrap();
        }
        // Each round has records of its own.
        let records = u64::from(FLOWS) * 2 * round;
        agent.wait_for_ledger("records", |ledger| Ok(ledger.number("/records/total")? == records)).unwrap();
    }
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    let of =
        |place: usize, what: &str| ledger.number(&format!("/destinations/{place}/{what}/records")).unwrap();
    let all = u64::from(FLOWS) * 2 * rounds;
    assert_eq!(of(0, "offered") + of(1, "offered"), all);
    let mut places: BTreeMap<[(String, u64); 2], (usize, u64)> = BTreeMap::new();
    for (place, collector) in collectors.into_iter().enumerate() {
        let verdict = collector.stop().unwrap();
        assert_eq!((verdict.summary.flows, verdict.summary.sequence_errors), (of(place, "sent"), 0));
        assert!(verdict.summary.flows > all / 3, "{} of {all} are an uneven share", verdict.summary.flows);
        for record in verdict.records().unwrap() {
            let found = places.entry(flow(&record)).or_insert((place, 0));
            assert_eq!(found.0, place, "{record} is of a flow at the other collector");
            found.1 += 1;
        }
    }
    assert_eq!(places.len(), usize::from(FLOWS));
    assert!(places.values().all(|(_, records)| *records == 2 * rounds), "{places:?}");
    eprintln!("{} and {} of {all} records", of(0, "sent"), of(1, "sent"));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn collectors_that_take_turns_have_equal_shares_and_each_record_once() {
    const ROUNDS: u64 = 8;
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collectors =
        PORTS.map(|port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    let agent = start(&lab, "round-robin");
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    for round in 1..=ROUNDS {
        for number in 0..FLOWS {
            let port = 1000 + FLOWS * round as u16 + number;
            let (from, to) = (([10, 1, 0, 1], port).into(), ([10, 2, 0, 2], 53).into());
            sender.send(&frame(&udp(from, to, b"question"))).unwrap();
        }
        let records = u64::from(FLOWS) * round;
        agent.wait_for_ledger("records", |ledger| Ok(ledger.number("/records/total")? == records)).unwrap();
    }
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    let all = u64::from(FLOWS) * ROUNDS;
    let (mut shares, mut ports) = (Vec::new(), BTreeSet::new());
    for (place, collector) in collectors.into_iter().enumerate() {
        let verdict = collector.stop().unwrap();
        let sent = ledger.number(&format!("/destinations/{place}/sent/records")).unwrap();
        assert_eq!((verdict.summary.flows, verdict.summary.sequence_errors), (sent, 0));
        shares.push(sent);
        ports.extend(verdict.records().unwrap().iter().map(|record| record["src_port"].as_u64().unwrap()));
    }
    assert_eq!((shares.iter().sum::<u64>(), ports.len() as u64), (all, all), "{shares:?}");
    // Turns are by batches, and a round is one or a few of them.
    let less = u64::from(FLOWS);
    assert!(shares.iter().all(|share| share + less >= all / 2), "{shares:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn records_fail_over_to_the_second_collector_and_return_to_the_first() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let nfcapd = |port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let (first, second) = (nfcapd(PORTS[0]), nfcapd(PORTS[1]));
    let agent = start(&lab, "failover");
    let offered = |place: usize| {
        agent.ledger().unwrap().number(&format!("/destinations/{place}/offered/records")).unwrap()
    };
    let wait_for_more = |place: usize| {
        let before = offered(place);
        agent
            .wait_for_ledger("records", |ledger| {
                Ok(ledger.number(&format!("/destinations/{place}/offered/records"))? > before + 100)
            })
            .unwrap();
    };
    let stop = AtomicBool::new(false);
    let (first_life, again) = thread::scope(|scope| {
        scope.spawn(|| traffic(&lab, &stop));
        let ended = OnDrop(&stop);
        wait_for_more(0);
        assert_eq!(offered(1), 0, "the first one is well");
        let first_life = first.stop().unwrap().summary;
        wait_for_more(1);
        let again = nfcapd(PORTS[0]);
        wait_for_more(0);
        let second_has = offered(1);
        wait_for_more(0);
        assert_eq!(offered(1), second_has, "the first one has them all again");
        drop(ended);
        (first_life, again)
    });
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    let of =
        |place: usize, what: &str| ledger.number(&format!("/destinations/{place}/{what}/records")).unwrap();
    assert_eq!(of(0, "offered") + of(1, "offered"), ledger.number("/records/total").unwrap());
    assert_eq!(of(0, "offered") + of(1, "offered"), of(0, "sent") + of(1, "sent"));
    let second = second.stop().unwrap().summary;
    assert_eq!((second.flows, second.sequence_errors), (of(1, "sent"), 0));
    let second_life = again.stop().unwrap().summary;
    let received = first_life.flows + second_life.flows;
    assert!(first_life.flows > 0 && second_life.flows > 0 && received <= of(0, "sent"));
    // Datagrams that nobody listened to, until ICMP said so: those of a drain or two.
    let unheard = of(0, "sent") - received;
    eprintln!(
        "{} + {} + {} records arrived, {unheard} were sent to nobody",
        first_life.flows, second.flows, second_life.flows
    );
    assert!(ledger.number("/destinations/0/refused_datagrams").unwrap() > 0);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn over_tcp_records_fail_over_too_and_none_is_lost() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let files = TempDir::new().unwrap();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let sink = |port, name| StreamSink::start(&lab.monitor, at(port), files.path(), name).unwrap();
    let (first, second) = (sink(PORTS[0], "first"), sink(PORTS[1], "second"));
    let urls = PORTS.map(|port| format!("tcp://127.0.0.1:{port}?retry=1s"));
    let times = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "--drain-interval", "200ms"];
    let arguments = [&times[..], &["-c", &urls[0], "-c", &urls[1], "--collector-mode", "failover"]].concat();
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let of = |ledger: &Ledger, place: usize, what: &str| {
        ledger.number(&format!("/destinations/{place}/{what}/records"))
    };
    let wait_for_more = |place: usize| {
        let before = of(&agent.ledger().unwrap(), place, "sent").unwrap();
        agent.wait_for_ledger("records", |ledger| Ok(of(ledger, place, "sent")? > before + 100)).unwrap()
    };
    let stop = AtomicBool::new(false);
    let again = thread::scope(|scope| {
        scope.spawn(|| traffic(&lab, &stop));
        let ended = OnDrop(&stop);
        assert_eq!(of(&wait_for_more(0), 1, "offered").unwrap(), 0, "the first one is well");
        first.stop().unwrap();
        wait_for_more(1);
        let again = sink(PORTS[0], "again");
        wait_for_more(0);
        let second_has = of(&wait_for_more(0), 1, "offered").unwrap();
        assert_eq!(
            of(&wait_for_more(0), 1, "offered").unwrap(),
            second_has,
            "the first one has them all again"
        );
        drop(ended);
        again
    });
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    let sum = |what| of(&ledger, 0, what).unwrap() + of(&ledger, 1, what).unwrap();
    assert_eq!((sum("offered"), sum("sent")), (ledger.number("/records/total").unwrap(), sum("offered")));
    assert_eq!((again.connections(), second.connections()), (1, 1));
    again.stop().unwrap();
    second.stop().unwrap();
    // Each packet once, in the eyes of another program.
    let brought = ["first-1", "second-1", "again-1"]
        .map(|name| sums_of_file(&files.path().join(format!("{name}.ipfix"))).unwrap().0);
    assert!(brought.iter().all(|packets| *packets > 100), "{brought:?}");
    assert_eq!(brought.iter().sum::<u64>(), ledger.number("/packets/in_records").unwrap(), "{brought:?}");
}

/// A packet of another flow every two milliseconds.
fn traffic(lab: &Lab, stop: &AtomicBool) {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    for port in (1024..=u16::MAX).cycle() {
        if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
            break;
        }
        let (from, to) = (([10, 1, 0, 1], port).into(), ([10, 2, 0, 2], 53).into());
        sender.send(&frame(&udp(from, to, b"question"))).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
}
