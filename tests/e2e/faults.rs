//! What happens to a collector or on the way to it: each fault ends with books that close, `offered = sent + not_sent`, and
//! with a collector that has what was sent.

mod name;
mod secured;
mod stream;
mod udp;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp as packet};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::ledger::Ledger;
use tests::raw::RawSender;

/// The collector behind the router.
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 2);
const SENT: &str = "/destinations/0/sent/records";

/// The lab, and a way from the monitor over a router to a collector.
struct Path {
    lab: Lab,
    router: Namespace,
    collector: Namespace,
    sent: u64,
}

impl Path {
    fn new() -> Result<Self> {
        let lab = Lab::new(LabOptions::default())?;
        let (router, collector) = (Namespace::new()?, Namespace::new()?);
        let pair = |here: &Namespace, name: &str, there: &Namespace, other: &str| {
            let arguments =
                ["link", "add", name, "type", "veth", "peer", "name", other, "netns", there.name()];
            here.ip(&arguments)
        };
        pair(&lab.monitor, "c0", &router, "r0")?;
        pair(&router, "r1", &collector, "k0")?;
        let ends = [
            (&lab.monitor, "c0", "10.88.0.1/24"),
            (&router, "r0", "10.88.0.2/24"),
            (&router, "r1", "10.89.0.1/24"),
            (&collector, "k0", "10.89.0.2/24"),
        ];
        for (namespace, interface, address) in ends {
            namespace.ip(&["link", "set", interface, "up"])?;
            namespace.ip(&["addr", "add", address, "dev", interface])?;
            // Whole segments are of the MTU on the wire, checksums are real ones.
            namespace
                .run("ethtool", &["-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])?;
        }
        router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        collector.ip(&["route", "add", "10.88.0.0/24", "via", "10.89.0.1"])?;
        let path = Self { lab, router, collector, sent: 0 };
        path.route("add")?;
        Ok(path)
    }

    /// Adds or deletes the exporter's route to the collector.
    fn route(&self, verb: &str) -> Result<()> {
        self.lab.monitor.ip(&["route", verb, "10.89.0.0/24", "via", "10.88.0.2"])?;
        Ok(())
    }

    fn start(&self, url: &str) -> Result<AgentProcess> {
        self.start_with(url, &[])
    }

    fn start_with(&self, url: &str, options: &[&str]) -> Result<AgentProcess> {
        let arguments = ["-i", MONITOR_INTERFACE, "--direction", "ingress", "--idle-timeout", "1s"];
        let more = ["--drain-interval", "200ms", "-c", url];
        AgentProcess::start(&self.lab.monitor, &[&arguments[..], &more, options].concat())
    }

    /// Sends a packet of 100 octets of so many flows.
    fn packets(&mut self, flows: u16) -> Result<()> {
        let sender = RawSender::open(&self.lab.generator, GENERATOR_INTERFACE)?;
        let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
        for flow in 0..flows {
            sender.send(&frame(&packet((Ipv4Addr::new(10, 1, 0, 1), 1000 + flow).into(), to, &[0; 72])))?;
            self.sent += 1;
            // The pair's ring has 256 frames.
            if self.sent.is_multiple_of(64) {
                self.lab.wait_for_packets(self.sent)?;
            }
        }
        self.lab.wait_for_packets(self.sent)
    }

    /// Sends them and waits until their flows have ended, and so been offered.
    fn flows(&mut self, agent: &AgentProcess, flows: u16) -> Result<()> {
        self.packets(flows)?;
        let sent = self.sent;
        let pointer = "/destinations/0/offered/packets";
        agent.wait_for_ledger("all records", |ledger| Ok(ledger.number(pointer)? == sent))?;
        Ok(())
    }

    /// Ends the agent: its books close.
    fn stop(&self, agent: AgentProcess) -> Result<Ledger> {
        let stopped = agent.stop(Signal::TERM)?;
        ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
        let ledger = stopped.ledger.context("no ledger")?;
        ensure!(ledger.0["balanced"] == true, "{}", ledger.0);
        let of = |what: &str| ledger.number(&format!("/destinations/0/{what}/records"));
        let not_sent: u64 = reasons(&ledger)?.iter().map(|(_, records)| records).sum();
        let (offered, sent, queued) = (of("offered")?, of("sent")?, of("queued")?);
        ensure!(offered == sent + not_sent && queued == 0, "{}", ledger.0);
        ensure!(offered == ledger.number("/records/total")?, "{}", ledger.0);
        ensure!(ledger.number("/destinations/0/offered/packets")? == self.sent, "{}", ledger.0);
        Ok(ledger)
    }
}

fn wait_for_sent(agent: &AgentProcess, records: u64) {
    agent.wait_for_ledger("records sent", |ledger| Ok(ledger.number(SENT)? == records)).unwrap();
}

/// Records that were not sent, by reason.
fn reasons(ledger: &Ledger) -> Result<Vec<(String, u64)>> {
    let reasons = ledger.0.pointer("/destinations/0/not_sent").and_then(|value| value.as_object());
    let reasons = reasons.context("no reasons")?.iter();
    Ok(reasons.filter_map(|(name, volume)| Some((name.clone(), volume["records"].as_u64()?))).collect())
}

fn not_sent(ledger: &Ledger, reason: &str) -> u64 {
    ledger.number(&format!("/destinations/0/not_sent/{reason}/records")).unwrap()
}
