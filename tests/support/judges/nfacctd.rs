//! pmacct's collector: NetFlow v5, v9 and IPFIX over UDP. Records with the same key and times are one row of it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::DecodedFlow;
use crate::lab::Namespace;
use crate::process::Process;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);
/// It knows reverse elements by their numbers only.
const PRIMITIVES: &str = "name=reverse_octets field_type=29305:1 len=8 semantics=u_int\n\
                          name=reverse_packets field_type=29305:2 len=8 semantics=u_int\n";

/// A collector that listens.
pub struct Nfacctd {
    process: Process,
    directory: TempDir,
}

/// What it decoded.
pub struct NfacctdVerdict {
    /// Its rows.
    pub rows: Vec<Value>,
    /// Everything it said.
    pub log: String,
}

impl Nfacctd {
    /// Starts it on an address of the namespace and waits until it listens.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("netflow-nfacctd-").tempdir()?;
        let path = |file: &str| directory.path().join(file).display().to_string();
        fs::write(path("primitives"), PRIMITIVES)?;
        let settings = [
            "daemonize: false".to_owned(),
            format!("nfacctd_ip: {}", address.ip()),
            format!("nfacctd_port: {}", address.port()),
            "nfacctd_disable_checks: false".to_owned(),
            "nfacctd_pipe_size: 4194304".to_owned(),
            format!("aggregate_primitives: {}", path("primitives")),
            "plugins: print[p]".to_owned(),
            "plugin_pipe_size: 16777216".to_owned(),
            "aggregate[p]: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, in_iface, vlan, \
             timestamp_start, timestamp_end, sampling_rate, reverse_octets, reverse_packets, flows"
                .to_owned(),
            "print_output[p]: json".to_owned(),
            format!("print_output_file[p]: {}", path("rows")),
            "print_output_file_append[p]: true".to_owned(),
            "print_refresh_time[p]: 3600".to_owned(),
            "timestamps_rfc3339: true".to_owned(),
            format!("pidfile: {}", path("pid")),
        ];
        fs::write(path("settings"), settings.join("\n") + "\n")?;
        let mut process = namespace.spawn("nfacctd", &["-f", &path("settings")])?;
        process.wait_for_stderr("waiting for NetFlow/IPFIX data", START)?;
        Ok(Self { process, directory })
    }

    /// Stops it; what has arrived by now is written.
    pub fn stop(mut self) -> Result<NfacctdVerdict> {
        // What waits in its socket is read within the time between two of its looks.
        std::thread::sleep(Duration::from_secs(2));
        self.process.signal(Signal::INT)?;
        let finished = self.process.finish(STOP)?;
        let log = finished.stderr + &finished.stdout;
        ensure!(finished.status.success(), "nfacctd: {}: {log}", finished.status);
        // Without flows there is no file.
        let text = fs::read_to_string(self.directory.path().join("rows")).unwrap_or_default();
        let rows = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(NfacctdVerdict { rows: rows.with_context(|| text.clone())?, log })
    }
}

impl NfacctdVerdict {
    /// The sum of a number over the rows: `packets`, `bytes`.
    pub fn sum(&self, name: &str) -> u64 {
        self.rows.iter().filter_map(|row| row[name].as_u64()).sum()
    }

    /// Records in all rows.
    pub fn records(&self) -> u64 {
        self.rows.iter().filter_map(|row| row["flows"].as_u64()).sum()
    }

    /// The flows of its rows: those of biflows are two.
    pub fn flows(&self) -> Vec<DecodedFlow> {
        self.rows.iter().flat_map(flows).collect()
    }
}

/// Protocols have names in its rows, those without are numbers.
const PROTOCOLS: [(&str, u8); 13] = [
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("l2tp", 115),
    ("sctp", 132),
];

fn protocol(row: &Value) -> u8 {
    let name = row["ip_proto"].as_str().unwrap_or_default();
    let known = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| name.parse().ok()).unwrap_or(u8::MAX)
}

fn flows(row: &Value) -> Vec<DecodedFlow> {
    // Its own primitives are text.
    let number = |name: &str| {
        row[name].as_u64().or_else(|| row[name].as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
    };
    let address = |name: &str| row[name].as_str().and_then(|text| text.parse().ok());
    let flow = DecodedFlow {
        source: address("ip_src"),
        destination: address("ip_dst"),
        protocol: protocol(row),
        source_port: number("port_src") as u16,
        destination_port: number("port_dst") as u16,
        packets: number("packets"),
        octets: number("bytes"),
    };
    // They are part of the key of a row, and so the same in all its records.
    let records = number("flows");
    flow.with_reverse(records * number("reverse_packets"), records * number("reverse_octets"))
}
