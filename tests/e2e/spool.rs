//! A collector over TCP that is away for a while under load, and an agent that is started anew meanwhile: every packet is in
//! what the connections brought, once, or in the books. `NETFLOW_OUTAGE=60` makes it a minute, as in
//! continuous integration.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal};
use tests::judges::sums_of_file;
use tests::lab::{Lab, LabOptions, MONITOR_INTERFACE};
use tests::stream_sink::StreamSink;
use tests::trickle::{OnDrop, trickle};

/// Seconds without the collector, unless the environment says otherwise.
const OUTAGE: u64 = 10;
const TRAFFIC_LIMIT: Duration = Duration::from_secs(300);
const FLOWS: u16 = 500;
const SENT: &str = "/destinations/0/sent/records";
const SPOOLED: &str = "/destinations/0/spooled/records";

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_time_without_the_collector_and_a_restart_of_the_agent_lose_no_record() {
    let seconds = env::var("NETFLOW_OUTAGE").map_or(OUTAGE, |seconds| seconds.parse().unwrap());
    let outage = Duration::from_secs(seconds);
    let lab = Lab::new(LabOptions::default()).unwrap();
    let (files, spool) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, 4739).into();
    let sink = |name| StreamSink::start(&lab.monitor, address, files.path(), name).unwrap();
    let start = || {
        let url = format!("tcp://{address}?retry=1s&spool={}&spool-size=64MiB", spool.path().display());
        let arguments = ["-i", MONITOR_INTERFACE, "--active-timeout", "1s", "--drain-interval", "200ms"];
        AgentProcess::start(&lab.monitor, &[&arguments[..], &["-c", &url]].concat()).unwrap()
    };
    let [stop_traffic, stop_more] = [const { AtomicBool::new(false) }; 2];
    let (first, second) = thread::scope(|scope| {
        let ended = OnDrop(&stop_traffic);
        let before = sink("before");
        let agent = start();
        let traffic = scope.spawn(|| trickle(&lab, FLOWS, TRAFFIC_LIMIT, &stop_traffic));
        agent.wait_for_ledger("records", |ledger| Ok(ledger.number(SENT)? > 100)).unwrap();
        before.stop().unwrap();
        thread::sleep(outage);
        let waiting = agent.ledger().unwrap().number(SPOOLED).unwrap();
        assert!(waiting > 1000, "{waiting} records wait");
        drop(ended);
        let sent = traffic.join().unwrap().unwrap();
        lab.wait_for_packets(sent).unwrap();
        let first = agent.stop(Signal::TERM).unwrap();

        // The next agent finds them, and has packets of its own.
        let ended = OnDrop(&stop_more);
        let agent = start();
        let more = scope.spawn(|| trickle(&lab, FLOWS, TRAFFIC_LIMIT, &stop_more));
        agent.wait_for_ledger("records on disk", |ledger| Ok(ledger.number(SPOOLED)? > waiting)).unwrap();
        let after = sink("after");
        agent
            .wait_for_ledger("an empty spool", |ledger| {
                Ok(ledger.number(SPOOLED)? == 0 && ledger.number(SENT)? > waiting)
            })
            .unwrap();
        drop(ended);
        let more = more.join().unwrap().unwrap();
        lab.wait_for_packets(sent + more).unwrap();
        let second = agent.stop(Signal::TERM).unwrap();
        assert!(after.connections() >= 2, "files have connections of their own");
        after.stop().unwrap();
        ((first, sent), (second, more))
    });

    for (stopped, sent) in [&first, &second] {
        assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
        let ledger = stopped.ledger.as_ref().unwrap();
        assert_eq!(ledger.number("/packets/seen").unwrap(), *sent);
        assert_eq!(ledger.sum("/destinations/0/not_sent").unwrap(), 0, "{}", stopped.stderr);
        assert_eq!(ledger.sum("/destinations/0/queued").unwrap(), 0);
    }
    let number = |stopped: &tests::agent::StoppedAgent, line: &str| {
        stopped.ledger.as_ref().unwrap().number(&format!("/destinations/0/{line}/packets")).unwrap()
    };
    assert_eq!(number(&first.0, "sent") + number(&first.0, "spooled"), first.1);
    assert_eq!(number(&second.0, "inherited"), number(&first.0, "spooled"));
    assert_eq!(number(&second.0, "sent"), number(&second.0, "inherited") + second.1);
    // Each packet once, in the eyes of another program.
    let (mut packets, mut octets) = (0, 0);
    for entry in fs::read_dir(files.path()).unwrap() {
        let (some, more) = sums_of_file(&entry.unwrap().path()).unwrap();
        (packets, octets) = (packets + some, octets + more);
    }
    let all = first.1 + second.1;
    assert_eq!((packets, octets), (all, 100 * all));
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
}
