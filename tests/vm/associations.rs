//! SCTP associations that fail: what the collector's kernel has not acknowledged goes again over the next one, and nothing else.

use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::agent::{AgentProcess, Signal, binary};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::ledger::Ledger;
use tests::raw::RawSender;
use tests::sctp_sink::SctpSink;

use crate::send_frame;

const COLLECTOR: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
const RECORDS: usize = 1000;
const SENT: &str = "/destinations/0/sent/records";

/// The lab, and a way from the monitor to a collector of its own.
struct Scene<'a> {
    lab: Lab,
    collector: Namespace,
    frames: std::slice::Chunks<'a, Vec<u8>>,
    sent: u64,
}

impl<'a> Scene<'a> {
    fn new(frames: &'a [Vec<u8>]) -> Result<Self> {
        let (lab, collector) = (Lab::new(LabOptions::default())?, Namespace::new()?);
        lab.monitor.ip(&[
            "link",
            "add",
            "c0",
            "type",
            "veth",
            "peer",
            "name",
            "k0",
            "netns",
            collector.name(),
        ])?;
        for (namespace, interface, address) in
            [(&lab.monitor, "c0", "10.88.0.1/24"), (&collector, "k0", "10.88.0.2/24")]
        {
            namespace.ip(&["addr", "add", address, "dev", interface])?;
            namespace.ip(&["link", "set", interface, "up"])?;
        }
        Ok(Self { lab, collector, frames: frames.chunks(RECORDS), sent: 0 })
    }

    fn link(&self, state: &str) -> Result<()> {
        self.collector.ip(&["link", "set", "k0", state])?;
        Ok(())
    }

    fn sink(&self) -> Result<SctpSink> {
        SctpSink::start(&self.collector, (COLLECTOR, 4739).into())
    }

    /// Sends packets of flows that have not been, and waits until they have ended.
    fn flows(&mut self, agent: &AgentProcess) -> Result<()> {
        let sender = RawSender::open(&self.lab.generator, GENERATOR_INTERFACE)?;
        for frame in self.frames.next().context("no more flows")? {
            send_frame(&sender, frame)?;
            self.sent += 1;
            if self.sent.is_multiple_of(64) {
                self.lab.wait_for_packets(self.sent)?;
            }
        }
        let sent = self.sent;
        let offered = |ledger: &Ledger| Ok(ledger.number("/destinations/0/offered/records")? == sent);
        agent.wait_for_ledger("records", offered)?;
        Ok(())
    }

    fn wait_for_sent(&self, agent: &AgentProcess) -> Result<()> {
        agent.wait_for_ledger("records sent", |ledger| Ok(ledger.number(SENT)? == self.sent))?;
        Ok(())
    }
}

/// A collector that goes while records are on their way to it, and one that ends its association at once. With a spool they
/// go to disk first. Says how many records came in all.
pub fn broken(frames: &[Vec<u8>], with_spool: bool) -> Result<u64> {
    // SCTP-7
    let mut scene = Scene::new(frames)?;
    let spool = tempfile::tempdir()?;
    let options = if with_spool { format!("&spool={}", spool.path().display()) } else { String::new() };
    let url = format!("sctp://{COLLECTOR}?retry=1s&timeout=3s{options}");
    let times = ["--idle-timeout", "1s", "--drain-interval", "200ms", "--kernel-memory", "64MiB"];
    let arguments = ["-i", MONITOR_INTERFACE, "--direction", "ingress", "-c", &url];
    let first = scene.sink()?;
    let mut agent = AgentProcess::start(&scene.lab.monitor, &[&arguments[..], &times].concat())?;
    scene.flows(&agent)?;
    scene.wait_for_sent(&agent)?;

    // The socket takes them, and nobody gets them. Its farewell is lost as well.
    scene.link("down")?;
    scene.flows(&agent)?;
    thread::sleep(Duration::from_secs(1));
    let sent = agent.ledger()?.number(SENT)?;
    ensure!(sent == RECORDS as u64, "{sent} records are said to be sent, {RECORDS} have arrived");
    let mut messages = first.abort()?;
    agent.process().wait_for_stderr("records wait", Duration::from_secs(60))?;
    if with_spool {
        let spooled = "/destinations/0/spooled/records";
        agent.wait_for_ledger("records on disk", |ledger| Ok(ledger.number(spooled)? == RECORDS as u64))?;
    }
    scene.link("up")?;
    let second = scene.sink()?;
    scene.wait_for_sent(&agent)?;
    scene.flows(&agent)?;
    scene.wait_for_sent(&agent)?;

    // All of it is acknowledged, and read.
    thread::sleep(Duration::from_millis(500));
    messages.extend(second.abort()?);
    let third = scene.sink()?;
    scene.flows(&agent)?;
    scene.wait_for_sent(&agent)?;
    let stopped = agent.stop(Signal::INT)?;
    ensure!(stopped.exit_code == Some(0), "the agent failed: {}", stopped.stderr);
    let ledger = stopped.ledger.context("the agent left no books")?;
    ensure!(ledger.0["balanced"] == true, "the agent's books do not balance: {}", ledger.0);
    ensure!(ledger.sum("/destinations/0/not_sent")? == 0, "something was not sent: {}", ledger.0);
    ensure!(ledger.number(SENT)? == scene.sent, "not all was sent: {}", ledger.0);
    ensure!(fs::read_dir(spool.path())?.count() == 0, "something is left of the spool");
    messages.extend(third.finish()?);

    let file = spool.path().join("all.ipfix");
    fs::write(&file, messages.concat())?;
    let arguments = ["collect", "--format", "json", file.to_str().context("a path is text")?];
    let binary = binary()?;
    let collected = scene.lab.monitor.run(&binary.to_string_lossy(), &arguments)?;
    let records: Vec<serde_json::Value> =
        collected.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let sources: HashSet<String> =
        records.iter().map(|record| record["sourceIPv4Address"].to_string()).collect();
    let (came, different) = (records.len() as u64, sources.len() as u64);
    ensure!(
        (came, different) == (scene.sent, scene.sent),
        "{came} records came, {different} different ones of {}",
        scene.sent
    );
    Ok(came)
}
