//! A collector over TCP that is away for a while under load, and an agent that is started anew meanwhile: every packet is in
//! what the connections brought, once, or in the books. `NETFLOW_OUTAGE=60` makes it a minute.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::process::{command, run};
use tests::raw::RawSender;
use tests::stream_sink::StreamSink;

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
        let traffic = scope.spawn(|| traffic(&lab, &stop_traffic));
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
        let more = scope.spawn(|| self::traffic(&lab, &stop_more));
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
        let (some, more) = by_tshark(&entry.unwrap().path()).unwrap();
        (packets, octets) = (packets + some, octets + more);
    }
    let all = first.1 + second.1;
    assert_eq!((packets, octets), (all, 100 * all));
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
}

/// Packets and octets of the records in one connection.
fn by_tshark(file: &Path) -> Result<(u64, u64)> {
    let fields = ["-T", "fields", "-e", "cflow.packets", "-e", "cflow.octets", "-e", "_ws.expert.message"];
    let name = file.to_str().context("a path is text")?;
    let text = run(command("tshark", ["-r", name].into_iter().chain(fields)))?.stdout;
    let mut sums = [0; 2];
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        ensure!(columns.get(2).is_none_or(|expert| expert.is_empty()), "{name}: {line}");
        for (sum, column) in sums.iter_mut().zip(&columns) {
            for number in column.split(',').filter(|number| !number.is_empty()) {
                *sum += number.parse::<u64>()?;
            }
        }
    }
    Ok((sums[0], sums[1]))
}

/// Sends packets of 100 octets, one flow after the other, until it is to stop. Says how many.
fn traffic(lab: &Lab, stop: &AtomicBool) -> Result<u64> {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    let frames: Vec<Vec<u8>> = (0..FLOWS)
        .map(|flow| frame(&udp((Ipv4Addr::new(10, 1, 0, 1), 1000 + flow).into(), to, &[0; 72])))
        .collect();
    let (mut sent, deadline) = (0, Instant::now() + TRAFFIC_LIMIT);
    for frame in frames.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if Instant::now() > deadline {
            bail!("nobody has stopped the traffic");
        }
        sender.send(frame)?;
        sent += 1;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(sent)
}

/// Says stop when it goes.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
