//! tshark: the strictest decoder of fields and sequence numbers. dumpcap takes the packets, so that its count of
//! dropped ones is known; tshark reads the file afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use super::exported::{self, ExportedMessage};
use crate::lab::Namespace;
use crate::process::{Process, command, run};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(60);
/// Reading a million records takes tshark a while.
const READ: Duration = Duration::from_secs(300);
/// Severity of what is worth a word and is nothing amiss (PI_CHAT).
const CHAT: &str = "2097152";
/// Packets wait up to 250 ms in a ring block before dumpcap sees them.
const SETTLE: Duration = Duration::from_millis(600);

/// Packets being captured.
pub struct Tshark {
    process: Process,
    directory: TempDir,
}

/// A finished capture that can be asked.
pub struct TsharkCapture {
    directory: TempDir,
    /// Packets captured.
    pub packets: u64,
    decode_as: Vec<String>,
}

impl Tshark {
    /// Starts to capture on an interface of the namespace, and waits until it really does. It needs the templates:
    /// start it before the exporter.
    pub fn start(namespace: &Namespace, interface: &str, filter: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("netflow-tshark-").tempdir()?;
        let path = file(directory.path());
        let path = path.to_str().context("a temporary directory whose name is no text")?;
        if interface == "lo" {
            // Datagrams that were handed over together (UDP_SEGMENT) would be captured as one.
            namespace.run("ethtool", &["-K", "lo", "tx-udp-segmentation", "off"])?;
        }
        let mut process =
            namespace.spawn("dumpcap", &["-q", "-B", "64", "-i", interface, "-f", filter, "-w", path])?;
        // Said when the interface is open and the file has its header.
        process.wait_for_stderr("File: ", START)?;
        Ok(Self { process, directory })
    }

    /// Stops once no packet has come for a while. A dropped packet is an error: the judge would blame the exporter.
    pub fn stop(mut self) -> Result<TsharkCapture> {
        let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
        let path = file(self.directory.path());
        let deadline = Instant::now() + STOP;
        let mut last = (length(&path)?, Instant::now());
        while last.1.elapsed() < SETTLE {
            ensure!(Instant::now() < deadline, "packets keep coming");
            thread::sleep(SETTLE / 20);
            let now = length(&path)?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        self.process.signal(Signal::INT)?;
        let finished = self.process.finish(STOP)?;
        ensure!(finished.status.success(), "dumpcap: {}: {}", finished.status, finished.stderr);
        let (packets, dropped) =
            counts(&finished.stderr).with_context(|| format!("no counts in {}", finished.stderr))?;
        ensure!(dropped == 0, "dumpcap dropped {dropped} packets of {}", packets + dropped);
        Ok(TsharkCapture { directory: self.directory, packets, decode_as: Vec::new() })
    }
}

impl TsharkCapture {
    /// An IPFIX File, or what a connection brought, which is one.
    pub fn of_file(path: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("netflow-tshark-").tempdir()?;
        fs::copy(path, file(directory.path())).with_context(|| path.display().to_string())?;
        let mut capture = Self { directory, packets: 0, decode_as: Vec::new() };
        capture.packets = capture.fields(&["frame.number"])?.len() as u64;
        Ok(capture)
    }

    /// Reads what goes to a UDP port as NetFlow or IPFIX.
    pub fn decode_as_cflow(mut self, port: u16) -> Self {
        self.decode_as.extend(["-d".to_owned(), format!("udp.port=={port},cflow")]);
        self
    }

    /// The values of fields: for each packet, for each field, those it has, in the packet's order. A field that some
    /// records of a packet lack does not say which ones.
    pub fn fields(&self, fields: &[&str]) -> Result<Vec<Vec<Vec<String>>>> {
        let mut tshark = self.tshark(&["-T", "fields", "-E", "separator=/t", "-E", "aggregator=|"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let values = |text: &str| match text {
            "" => Vec::new(),
            text => text.split('|').map(str::to_owned).collect(),
        };
        let text = read(tshark)?;
        Ok(text.lines().map(|line| line.split('\t').map(values).collect()).collect())
    }

    /// The messages, of captures that hold nothing else.
    pub fn messages(&self) -> Result<Vec<ExportedMessage>> {
        exported::messages(&read(self.tshark(&["-T", "json", "-J", "frame udp cflow"]))?)
    }

    /// What it complains of: sequence gaps, unknown templates, malformed messages. None of it is right in a test.
    pub fn expert_messages(&self) -> Result<Vec<String>> {
        let packets = self.fields(&["_ws.expert.message", "_ws.expert.severity"])?;
        let messages = packets.into_iter().flat_map(|packet| {
            let [messages, severities] = <[Vec<String>; 2]>::try_from(packet).unwrap_or_default();
            messages.into_iter().zip(severities)
        });
        // "Possible traceroute", if the exporter's port happens to be one of those.
        let messages = messages.filter(|(_, severity)| severity != CHAT);
        Ok(messages.map(|(message, _)| message).collect())
    }

    /// Everything it knows of each packet, for messages of failed tests.
    pub fn text(&self) -> Result<String> {
        read(self.tshark(&["-V"]))
    }

    /// The captured packets, a pcapng file that lasts as long as this value.
    pub fn path(&self) -> PathBuf {
        file(self.directory.path())
    }

    fn tshark(&self, arguments: &[&str]) -> Command {
        let mut tshark = command("tshark", ["-n", "-r"]);
        tshark.env("TZ", "UTC").arg(self.path()).args(&self.decode_as);
        // Messages go over the loopback interface, where the kernel leaves UDP checksums out.
        if self.decode_as.is_empty() {
            for layer in ["ip", "tcp", "udp"] {
                tshark.args(["-o", &format!("{layer}.check_checksum:TRUE")]);
            }
        }
        if !self.decode_as.is_empty() {
            // Templates with more fields than 60 are left out otherwise.
            tshark.args(["-o", "cflow.max_template_fields:200"]);
        }
        tshark.args(arguments);
        tshark
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("capture.pcapng")
}

fn read(tshark: Command) -> Result<String> {
    let finished = Process::spawn(tshark)?.finish(READ)?;
    if !finished.status.success() {
        bail!("tshark: {}: {}", finished.status, finished.stderr);
    }
    Ok(finished.stdout)
}

/// `Packets received/dropped on interface 'Loopback: lo': 10/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0) (100.0%)`
fn counts(stderr: &str) -> Option<(u64, u64)> {
    let line = stderr.lines().find(|line| line.starts_with("Packets received/dropped"))?;
    let (_, counts) = line.rsplit_once("': ")?;
    let (received, dropped) = counts.split(' ').next()?.split_once('/')?;
    Some((received.parse().ok()?, dropped.parse().ok()?))
}

/// Packets and octets of the records in an IPFIX File, or in what a connection brought: perhaps nothing.
pub fn sums_of_file(file: &Path) -> Result<(u64, u64)> {
    if fs::metadata(file)?.len() == 0 {
        return Ok((0, 0));
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_closing_counts_are_read() {
        let text = "Packets captured: 9\nPackets received/dropped on interface 'Loopback: lo': 9/1 \
                    (pcap:1/dumpcap:0/flushed:0/ps_ifdrop:0) (90.0%)\n";
        assert_eq!(counts(text), Some((9, 1)));
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn it_reads_fields_of_several_records_and_complains_of_a_gap() {
        let namespace = Namespace::new().unwrap();
        let tshark = Tshark::start(&namespace, "lo", "udp port 9995").unwrap();
        // Data before any template, a template, two records, and a gap in the sequence.
        let message = |sequence: u32, set: &[u8]| {
            let length = u16::try_from(16 + set.len()).unwrap();
            let mut octets = vec![0, 10];
            octets.extend(length.to_be_bytes());
            octets.extend(1_700_000_000_u32.to_be_bytes());
            octets.extend(sequence.to_be_bytes());
            octets.extend([0, 0, 0, 7]);
            octets.extend(set);
            octets
        };
        let template = [0, 2, 0, 16, 1, 0, 0, 2, 0, 4, 0, 1, 0, 136, 0, 1];
        let data = [1, 0, 0, 8, 6, 3, 17, 1];
        let messages = [message(0, &data), message(0, &template), message(0, &data), message(9, &data)];
        namespace
            .enter(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                for message in &messages {
                    socket.send_to(message, "127.0.0.1:9995").unwrap();
                }
            })
            .unwrap();
        let capture = tshark.stop().unwrap().decode_as_cflow(9995);
        // The answers "port unreachable" are not UDP.
        assert_eq!(capture.packets, 4);
        let rows = capture.fields(&["cflow.protocol", "cflow.flow_end_reason"]).unwrap();
        assert_eq!(rows[1], [Vec::<String>::new(), Vec::new()]);
        assert_eq!(rows[2], [["6", "17"], ["3", "1"]]);
        let messages = capture.expert_messages().unwrap();
        assert!(messages.iter().any(|message| message.contains("expected 2, got 9")), "{messages:?}");
        assert!(capture.text().unwrap().contains("Observation Domain Id: 7"));
    }
}
