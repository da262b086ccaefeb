//! Files on a disk that is full for a while: what could not be written is counted, and export goes on when there is space.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;
use tests::agent::{self, AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::process::{command, run};
use tests::raw::RawSender;

/// Flows of a round: more than the rest of the disk takes.
const FLOWS: u16 = 8000;

/// A small disk, unmounted with it.
struct Disk(TempDir);

impl Disk {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let path = directory.path().to_str().unwrap_or_default().to_owned();
        run(command("mount", ["-t", "tmpfs", "-o", "size=16M", "netflow-test", &path]))?;
        let disk = Self(directory);
        // Nearly full from the start.
        fs::write(disk.filler(), vec![0; (16 << 20) - (256 << 10)])?;
        Ok(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(command("umount", ["--lazy", self.path().to_str().unwrap_or_default()]));
    }
}

/// Sends a packet of each of so many flows.
fn send(lab: &Lab, address: [u8; 4]) {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let to = "10.2.0.2:53".parse().unwrap();
    for port in 1..=FLOWS {
        sender.send(&frame(&udp((address, port).into(), to, b"question"))).unwrap();
    }
}

/// Packets of the flows in the files of one kind.
fn packets(disk: &Disk, suffix: &str) -> u64 {
    let mut all = 0;
    for entry in fs::read_dir(disk.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != suffix) {
            continue;
        }
        let text = match suffix {
            "json" => fs::read_to_string(&path).unwrap(),
            _ => {
                let program = agent::binary().unwrap();
                let arguments = ["collect", "--format", "json", path.to_str().unwrap()];
                let finished = run(command(program.to_str().unwrap(), arguments)).unwrap();
                // Whole messages only: what was not written shows in the sequence numbers alone.
                assert!(!finished.stderr.contains("malformed"), "{}", finished.stderr);
                finished.stdout
            }
        };
        let flows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all += flows.filter_map(|flow| flow["packetDeltaCount"].as_u64()).sum::<u64>();
    }
    all
}

/// Packets that tshark reads in IPFIX Files.
fn packets_by_tshark(disk: &Disk) -> u64 {
    let mut all = 0;
    for entry in fs::read_dir(disk.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ipfix") {
            let fields = ["-T", "fields", "-e", "cflow.packets"];
            let arguments = ["-r", path.to_str().unwrap()].into_iter().chain(fields);
            let text = run(command("tshark", arguments)).unwrap().stdout;
            let numbers = text.split([',', '\n']).filter(|number| !number.is_empty());
            all += numbers.map(|number| number.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    all
}

#[test]
#[ignore = "needs root: network namespaces, XDP and a disk of its own"]
fn what_a_full_disk_does_not_take_is_counted_and_export_goes_on_behind_it() {
    for (scheme, suffix) in [("file", "ipfix"), ("json", "json")] {
        let (lab, disk) = (Lab::new(LabOptions::default()).unwrap(), Disk::new().unwrap());
        let url = format!("{scheme}://{}/flows", disk.path().display());
        let arguments = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "--drain-interval", "200ms"];
        // Messages that are not too long to find some space.
        let export = ["--message-size", "4096", "-c", &url];
        let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], &export].concat()).unwrap();
        let all = u64::from(FLOWS);
        let sum = |ledger: &tests::ledger::Ledger, what: &str| {
            ledger.number(&format!("/destinations/0/{what}/packets"))
        };
        send(&lab, [10, 1, 0, 1]);
        agent
            .wait_for_ledger("a disk that is full", |ledger| {
                let (sent, failed) = (sum(ledger, "sent")?, sum(ledger, "not_sent/send_failed")?);
                Ok(sent > 0 && failed > 0 && sent + failed == all)
            })
            .unwrap();
        fs::remove_file(disk.filler()).unwrap();
        let before = sum(&agent.ledger().unwrap(), "sent").unwrap();
        send(&lab, [10, 1, 0, 2]);
        agent
            .wait_for_ledger("all of the second round", |ledger| Ok(sum(ledger, "sent")? == before + all))
            .unwrap();
        let stopped = agent.stop(Signal::TERM).unwrap();
        assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
        assert!(stopped.stderr.contains("records are not sent: cannot write"), "{}", stopped.stderr);
        let ledger = stopped.ledger.unwrap();
        assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
        let sent = sum(&ledger, "sent").unwrap();
        assert_eq!(sent + sum(&ledger, "not_sent/send_failed").unwrap(), 2 * all);
        assert_eq!(packets(&disk, suffix), sent, "{scheme}");
        if scheme == "file" {
            assert_eq!(packets_by_tshark(&disk), sent);
        }
        eprintln!("{scheme}: {sent} of {} packets were written", 2 * all);
    }
}
