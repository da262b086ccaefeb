//! nfdump's collector: NetFlow v5, v9 and IPFIX over UDP. `lab.md` tells what it miscounts: an options data record
//! costs one sequence error in IPFIX.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::DecodedFlow;
use crate::lab::Namespace;
use crate::process::{Process, command, run};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(60);

/// A collector that listens.
pub struct Nfcapd {
    process: Process,
    files: TempDir,
}

/// What it counted, from its closing line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NfcapdSummary {
    /// Flow records.
    pub flows: u64,
    /// Packets in them.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
    /// Sequence numbers that were not the next.
    pub sequence_errors: u64,
    /// Datagrams it could not read.
    pub bad_packets: u64,
}

/// What it counted of one exporter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NfcapdExporter {
    /// The number that its records have as `export_sysid`.
    pub system: u64,
    /// 9 or 10.
    pub version: u16,
    /// Source ID or Observation Domain ID.
    pub domain: u32,
    /// Sequence numbers that were not the next.
    pub sequence_failures: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Flow records.
    pub flows: u64,
}

/// A collector that has stopped: its counts, and the records it kept.
pub struct NfcapdVerdict {
    /// Its counts.
    pub summary: NfcapdSummary,
    /// Everything it said.
    pub log: String,
    files: TempDir,
}

impl Nfcapd {
    /// Starts it on an address of the namespace, with room for a million records in its socket, and waits until it
    /// listens.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::start_with(namespace, address, &["-B", "4194304"])
    }

    /// The same with the receive buffer that sockets have by default.
    pub fn start_with_default_buffer(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::start_with(namespace, address, &[])
    }

    fn start_with(namespace: &Namespace, address: SocketAddr, buffer: &[&str]) -> Result<Self> {
        let files = tempfile::Builder::new().prefix("netflow-nfcapd-").tempdir()?;
        let directory = path_text(files.path())?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut arguments = vec!["-b", &host, "-p", &port, "-w", directory];
        // One file for the whole test.
        arguments.extend(["-t", "3600"]);
        arguments.extend(buffer);
        if address.is_ipv6() {
            arguments.push("-6");
        }
        let mut process = namespace.spawn("nfcapd", &arguments)?;
        process.wait_for_stderr("Startup nfcapd", START)?;
        Ok(Self { process, files })
    }

    /// Stops it; what has arrived by now is counted.
    pub fn stop(mut self) -> Result<NfcapdVerdict> {
        self.process.signal(Signal::TERM)?;
        let finished = self.process.finish(STOP)?;
        let log = finished.stderr + &finished.stdout;
        ensure!(finished.status.success(), "nfcapd: {}: {log}", finished.status);
        let summary =
            log.lines().filter_map(summary).next().with_context(|| format!("no counts in {log}"))?;
        Ok(NfcapdVerdict { summary, log, files: self.files })
    }
}

impl NfcapdVerdict {
    /// Its records, as nfdump writes them in JSON.
    pub fn records(&self) -> Result<Vec<Value>> {
        let text = self.nfdump("json")?;
        // Where there are none, the text is no JSON.
        if text.contains(NO_FLOWS) { Ok(Vec::new()) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// The flows of its records: those of biflows are two. nfdump shows ICMP's type and code apart from ports.
    pub fn flows(&self) -> Result<Vec<DecodedFlow>> {
        Ok(self.records()?.iter().flat_map(flows).collect())
    }

    /// Its records in another of nfdump's formats: `csv`, `raw` (the only one with end reasons) or `fmt:...`.
    pub fn lines(&self, format: &str) -> Result<Vec<String>> {
        let text = self.nfdump(format)?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.contains(NO_FLOWS));
        Ok(lines.map(str::to_owned).collect())
    }

    /// The exporters that sent it flows, each with an observation domain of its own.
    pub fn exporters(&self) -> Result<Vec<NfcapdExporter>> {
        let mut exporters = Vec::new();
        for file in fs::read_dir(self.files.path())? {
            let file = file?.path();
            let shown = run(command("nfdump", ["-E", path_text(&file)?]))?.stdout;
            exporters.extend(shown.lines().filter_map(exporter));
        }
        Ok(exporters)
    }

    fn nfdump(&self, format: &str) -> Result<String> {
        let mut arguments = vec!["-R", path_text(self.files.path())?, "-N", "-o", format];
        // With -q the JSON would lack its brackets.
        if format != "json" {
            arguments.push("-q");
        }
        let mut nfdump = command("nfdump", arguments);
        nfdump.env("TZ", "UTC");
        Ok(run(nfdump)?.stdout)
    }
}

fn flows(record: &Value) -> Vec<DecodedFlow> {
    let number = |name: &str| record[name].as_u64().unwrap_or(0);
    let address = |which: &str| {
        let text = record[format!("{which}4_addr")].as_str().or(record[format!("{which}6_addr")].as_str());
        text.and_then(|text| text.parse().ok())
    };
    let flow = DecodedFlow {
        source: address("src"),
        destination: address("dst"),
        protocol: number("proto") as u8,
        source_port: number("src_port") as u16,
        destination_port: number("dst_port") as u16,
        packets: number("in_packets"),
        octets: number("in_bytes"),
    };
    flow.with_reverse(number("out_packets"), number("out_bytes"))
}

const NO_FLOWS: &str = "No matching flows";

/// `Ident: 'none' Flows: 1, Packets: 2, Bytes: 3, Sequence Errors: 0, Bad Packets: 0`
fn summary(line: &str) -> Option<NfcapdSummary> {
    let (_, counts) = line.split_once("Ident: 'none' ")?;
    Some(NfcapdSummary {
        flows: count(counts, "Flows:")?,
        packets: count(counts, "Packets:")?,
        octets: count(counts, "Bytes:")?,
        sequence_errors: count(counts, "Sequence Errors:")?,
        bad_packets: count(counts, "Bad Packets:")?,
    })
}

/// `SysID: 1, IP:  127.0.0.1, version: 10, ID:  7, Sequence failures: 0, packets: 6, flows: 55`
fn exporter(line: &str) -> Option<NfcapdExporter> {
    let counts = line.trim().strip_prefix("SysID:").map(|_| line)?;
    Some(NfcapdExporter {
        system: count(counts, "SysID:")?,
        version: count(counts, "version:")?.try_into().ok()?,
        domain: count(counts, ", ID:")?.try_into().ok()?,
        sequence_failures: count(counts, "Sequence failures:")?,
        datagrams: count(counts, "packets:")?,
        flows: count(counts, "flows:")?,
    })
}

fn count(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(name)?;
    rest.split(',').next()?.trim().parse().ok()
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary directory whose name is no text")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_closing_line_is_read() {
        let line =
            "Ident: 'none' Flows: 10000, Packets: 100000, Bytes: 4600000, Sequence Errors: 2, Bad Packets: 1";
        let expected = NfcapdSummary {
            flows: 10_000,
            packets: 100_000,
            octets: 4_600_000,
            sequence_errors: 2,
            bad_packets: 1,
        };
        assert_eq!(summary(line), Some(expected));
        assert_eq!(summary("Startup nfcapd."), None);
        let line =
            "SysID: 2, IP:   127.0.0.1, version: 10, ID:  7, Sequence failures: 1, packets: 4, flows: 63";
        let expected = NfcapdExporter {
            system: 2,
            version: 10,
            domain: 7,
            sequence_failures: 1,
            datagrams: 4,
            flows: 63,
        };
        assert_eq!(exporter(line), Some(expected));
        assert_eq!(exporter("SysID: 4, IP: 127.0.0.1, version: 10, ID:  9 - no flows sent"), None);
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn a_datagram_becomes_records_at_both_loopback_addresses() {
        let namespace = Namespace::new().unwrap();
        for address in ["127.0.0.1:9995", "[::1]:9996"] {
            let address: SocketAddr = address.parse().unwrap();
            let nfcapd = Nfcapd::start(&namespace, address).unwrap();
            let sent = namespace.enter(|| {
                let socket = UdpSocket::bind((address.ip(), 0))?;
                socket.send_to(&netflow_v5(), address)
            });
            sent.unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(200));
            let verdict = nfcapd.stop().unwrap();
            let expected = NfcapdSummary { flows: 1, packets: 3, octets: 180, ..NfcapdSummary::default() };
            assert_eq!(verdict.summary, expected);
            let records = verdict.records().unwrap();
            assert_eq!(records.len(), 1);
            assert_eq!(
                (&records[0]["src4_addr"], &records[0]["in_packets"]),
                (&"10.0.0.1".into(), &3.into())
            );
            assert_eq!(verdict.lines("fmt:%sa %pkt %byt").unwrap().len(), 1);
        }
        let idle = Nfcapd::start(&namespace, "127.0.0.1:9995".parse().unwrap()).unwrap().stop().unwrap();
        assert_eq!((idle.summary, idle.records().unwrap().len()), (NfcapdSummary::default(), 0));
        assert_eq!(idle.lines("csv").unwrap().len(), 0);
    }

    /// One flow of 3 packets and 180 octets.
    fn netflow_v5() -> Vec<u8> {
        let mut octets = vec![0, 5, 0, 1];
        octets.extend([0, 0, 0x27, 0x10]);
        octets.extend(1_700_000_000_u32.to_be_bytes());
        octets.extend([0; 12]);
        octets.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 2]);
        octets.extend([0, 0, 0, 3, 0, 0, 0, 180]);
        octets.extend([0, 0, 0x13, 0x88, 0, 0, 0x1b, 0x58]);
        octets.extend([0x04, 0, 0, 53, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        octets
    }
}
