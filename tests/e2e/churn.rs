//! Interfaces that come and go: nothing is lost of what they saw, and nothing of one counts for another, although
//! names, indexes and flows are the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, kill_process};
use tests::agent::{AgentProcess, Signal, StoppedAgent};
use tests::frames::{frame, udp};
use tests::judges::{Nfcapd, NfcapdVerdict};
use tests::lab::Namespace;
use tests::raw::RawSender;

/// The interface that is metered.
const METERED: &str = "churn0";
/// Its ifIndex, each time.
const INDEX: &str = "77";
/// The other end, where packets come from.
const SENDING: &str = "peer0";

const COLLECTOR: &str = "127.0.0.1:4739";
/// For one step, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two namespaces and an agent that meters what matches, where there is nothing yet.
struct Churn {
    from: Namespace,
    to: Namespace,
    nfcapd: Nfcapd,
    agent: AgentProcess,
    sent: u64,
}

impl Churn {
    fn start(interfaces: &[&str]) -> Result<Self> {
        let (from, to) = (Namespace::new()?, Namespace::new()?);
        let nfcapd = Nfcapd::start(&to, COLLECTOR.parse()?)?;
        let options = ["--idle-timeout", "10m", "--drain-interval", "200ms", "-c", COLLECTOR];
        let agent = AgentProcess::start(&to, &[interfaces, &options].concat())?;
        Ok(Self { from, to, nfcapd, agent, sent: 0 })
    }

    /// Makes the pair, with the index that it always has.
    fn create(&self) -> Result<()> {
        let pair = ["link", "add", METERED, "index", INDEX, "type", "veth", "peer", "name", SENDING];
        self.to.ip(&[&pair[..], &["netns", self.from.name()]].concat())?;
        self.to.ip(&["link", "set", METERED, "up"])?;
        self.from.ip(&["link", "set", SENDING, "up"])?;
        Ok(())
    }

    /// Waits until the agent has said this so many times.
    fn wait_for(&mut self, text: &str, times: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.agent.process().stderr();
            if said.matches(text).count() >= times {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not {times} times '{text}':\n{said}");
            ensure!(self.agent.process().ended()?.is_none(), "the agent has ended:\n{said}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait_until_metered(&mut self, times: usize) -> Result<()> {
        self.wait_for(&format!("{METERED} is metered by native XDP"), times)
    }

    /// Sends packets of 100 octets of the flows from these ports, and waits until the interface has received them.
    fn send(&mut self, flows: &[(u16, u64)]) -> Result<()> {
        let before = self.to.counters(METERED)?.rx_packets;
        let sender = RawSender::open(&self.from, SENDING)?;
        let mut packets = 0;
        for &(port, number) in flows {
            let frame = frame(&udp(([10, 1, 0, 1], port).into(), ([10, 2, 0, 2], 53).into(), &[0; 72]));
            (0..number).try_for_each(|_| sender.send(&frame))?;
            packets += number;
        }
        let deadline = Instant::now() + PATIENCE;
        while self.to.counters(METERED)?.rx_packets < before + packets {
            ensure!(Instant::now() < deadline, "packets do not arrive");
        }
        self.sent += packets;
        Ok(())
    }

    /// Ends the agent, whose books must hold what was sent, and the collector, which must have all of it.
    fn stop(self) -> Result<(StoppedAgent, NfcapdVerdict)> {
        let stopped = self.agent.stop(Signal::TERM)?;
        ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
        let ledger = stopped.ledger.as_ref().context("no ledger")?;
        ensure!(ledger.0["balanced"] == true, "{}", ledger.0);
        ensure!(ledger.number("/packets/seen")? == self.sent, "{} sent: {}", self.sent, ledger.0);
        ensure!(ledger.number("/packets/metered")? == self.sent, "{}", ledger.0);
        ensure!(!stopped.stderr.contains(" ERROR "), "{}", stopped.stderr);
        std::thread::sleep(Duration::from_millis(200));
        let verdict = self.nfcapd.stop()?;
        ensure!(verdict.summary.packets == self.sent, "{:?}", verdict.summary);
        ensure!(verdict.summary.sequence_errors + verdict.summary.bad_packets == 0, "{:?}", verdict.summary);
        Ok((stopped, verdict))
    }
}

/// Packets of each record by the port of its flow, in the order of the records' beginnings.
fn records(verdict: &NfcapdVerdict) -> Result<BTreeMap<u64, Vec<u64>>> {
    let mut records = Vec::new();
    for record in verdict.records()? {
        let number = |name: &str| record[name].as_u64().with_context(|| format!("no {name} in {record}"));
        let first = record["first"].as_str().with_context(|| format!("no first in {record}"))?.to_owned();
        ensure!(number("input_snmp")?.to_string() == INDEX, "{record}");
        ensure!(number("in_bytes")? == 100 * number("in_packets")?, "{record}");
        records.push((first, number("src_port")?, number("in_packets")?));
    }
    records.sort();
    let mut by_port: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (_, port, packets) in records {
        by_port.entry(port).or_default().push(packets);
    }
    Ok(by_port)
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_interface_that_is_made_anew_a_hundred_times_loses_and_mixes_nothing() {
    const TIMES: u16 = 100;
    /// A flow that each of them has.
    const COMMON: u16 = 999;
    let own = |number: u16| 50 + u64::from(number);
    let common = |number: u16| 3 + u64::from(number % 7);

    let mut churn = Churn::start(&["-i", "churn*"]).unwrap();
    churn.wait_for("metering no interface yet, waiting for 'churn*'", 1).unwrap();
    for number in 0..TIMES {
        churn.create().unwrap();
        churn.wait_until_metered(usize::from(number) + 1).unwrap();
        churn.send(&[(COMMON, common(number)), (1000 + number, own(number))]).unwrap();
        churn.to.ip(&["link", "del", METERED]).unwrap();
    }
    churn.wait_for(&format!("{METERED} is metered no longer; 2 flows ended"), usize::from(TIMES)).unwrap();
    let (stopped, verdict) = churn.stop().unwrap();
    let ledger = stopped.ledger.unwrap();
    assert_eq!(
        ledger.number("/records/end_reason/forced_end").unwrap(),
        2 * u64::from(TIMES),
        "{}",
        ledger.0
    );
    assert_eq!(stopped.stderr.matches("interface churn0 is gone").count(), usize::from(TIMES));

    let mut records = records(&verdict).unwrap();
    let found = records.remove(&u64::from(COMMON)).unwrap();
    assert_eq!(found, (0..TIMES).map(common).collect::<Vec<_>>());
    let expected: BTreeMap<_, _> =
        (0..TIMES).map(|number| (u64::from(1000 + number), vec![own(number)])).collect();
    assert_eq!(records, expected);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn packets_on_their_way_while_an_interface_is_made_anew_count_for_the_one_that_received_them() {
    const TIMES: u16 = 25;
    let mut churn = Churn::start(&["-i", "churn*"]).unwrap();
    for number in 0..TIMES {
        churn.create().unwrap();
        churn.wait_until_metered(usize::from(number) + 1).unwrap();
        // The same flow each time, and packets of another length: a record with packets of two would show it.
        let packet = udp(
            "10.1.0.1:999".parse().unwrap(),
            "10.2.0.2:53".parse().unwrap(),
            &vec![0; 72 + usize::from(number)],
        );
        let (frame, sender) = (frame(&packet), RawSender::open(&churn.from, SENDING).unwrap());
        std::thread::scope(|scope| {
            // Until there is nothing to send from any more.
            let sending = scope.spawn(move || while sender.send(&frame).is_ok() {});
            let deadline = Instant::now() + PATIENCE;
            while churn.to.counters(METERED).unwrap().rx_packets < 100 && Instant::now() < deadline {}
            churn.to.ip(&["link", "del", METERED]).unwrap();
            sending.join().unwrap();
        });
    }
    let ended = |ledger: &tests::ledger::Ledger| {
        Ok(ledger.number("/records/end_reason/forced_end")? == u64::from(TIMES))
    };
    let ledger = churn.agent.wait_for_ledger("end of all flows", ended).unwrap();
    churn.sent = ledger.number("/packets/seen").unwrap();
    let (_, verdict) = churn.stop().unwrap();
    let mut records: Vec<(String, u64, u64)> = verdict
        .records()
        .unwrap()
        .iter()
        .map(|record| {
            let number = |name: &str| record[name].as_u64().unwrap();
            (record["first"].as_str().unwrap().to_owned(), number("in_packets"), number("in_bytes"))
        })
        .collect();
    records.sort();
    assert_eq!(records.len(), usize::from(TIMES), "{records:?}");
    for (length, (_, packets, octets)) in (100..).zip(&records) {
        assert!(*packets >= 100 && *octets == packets * length, "{length} octets each: {records:?}");
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_renamed_interface_keeps_its_flows_and_one_that_moves_away_ends_them() {
    let mut churn = Churn::start(&["-i", "churn*"]).unwrap();
    churn.create().unwrap();
    churn.wait_until_metered(1).unwrap();
    churn.send(&[(1000, 5)]).unwrap();
    churn.to.ip(&["link", "set", METERED, "down"]).unwrap();
    churn.to.ip(&["link", "set", METERED, "name", "other0"]).unwrap();
    churn.wait_for("interface churn0 is called other0 now; its flows go on", 1).unwrap();
    churn.to.ip(&["link", "set", "other0", "up"]).unwrap();
    churn.wait_for("interface other0 is up again", 1).unwrap();
    churn.to.ip(&["link", "set", "other0", "name", METERED]).unwrap();
    churn.send(&[(1000, 6)]).unwrap();

    // The meter must not stay on an interface that is another namespace's.
    churn.to.ip(&["link", "set", METERED, "netns", churn.from.name()]).unwrap();
    churn.wait_for("churn0 is metered no longer; 1 flows ended", 1).unwrap();
    let shown = churn.from.ip(&["-j", "-d", "link", "show", "dev", METERED]).unwrap().stdout;
    assert!(!shown.contains("\"xdp\""), "{shown}");
    churn.from.ip(&["link", "set", METERED, "netns", churn.to.name()]).unwrap();
    churn.to.ip(&["link", "set", METERED, "up"]).unwrap();
    churn.wait_until_metered(2).unwrap();
    churn.send(&[(1000, 7)]).unwrap();

    let (_, verdict) = churn.stop().unwrap();
    assert_eq!(records(&verdict).unwrap(), BTreeMap::from([(1000, vec![11, 7])]));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn after_more_changes_than_netlink_keeps_an_interface_made_anew_is_found() {
    let mut churn = Churn::start(&["-i", "chur[n]0"]).unwrap();
    churn.create().unwrap();
    churn.wait_until_metered(1).unwrap();
    churn.send(&[(1000, 5)]).unwrap();
    churn.to.ip(&["link", "add", "noise0", "type", "ifb"]).unwrap();
    // Of what is down the kernel tells less.
    churn.to.ip(&["link", "set", "noise0", "up"]).unwrap();

    let pid = i32::try_from(churn.agent.process().id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // Each a message of more than a kilobyte, of which 8 MiB may wait.
    let lines: String = (0..12_000).map(|number| format!("link set noise0 alias a{number}\n")).collect();
    let batch = churn.agent.process().directory().join("batch");
    std::fs::write(&batch, lines).unwrap();
    let changed = churn.to.ip(&["-batch", batch.to_str().unwrap()]);
    let again = churn.to.ip(&["link", "del", METERED]).and_then(|_| churn.create());
    kill_process(pid, Signal::CONT).unwrap();
    changed.unwrap();
    again.unwrap();

    churn.wait_for("changes of interfaces were missed", 1).unwrap();
    churn.wait_for("interface churn0 was removed and made again", 1).unwrap();
    churn.wait_until_metered(2).unwrap();
    churn.send(&[(1000, 6)]).unwrap();
    let (_, verdict) = churn.stop().unwrap();
    assert_eq!(records(&verdict).unwrap(), BTreeMap::from([(1000, vec![5, 6])]));
}
