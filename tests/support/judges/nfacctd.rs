//! pmacct's collector: NetFlow v5, v9 and IPFIX over UDP.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::Namespace;
use crate::process::Process;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(60);

/// A collector that listens.
pub struct Nfacctd {
    process: Process,
    files: TempDir,
}

/// What it made of the flows.
pub struct NfacctdVerdict {
    /// A row for each flow of other times or another key.
    pub rows: Vec<Value>,
    /// Everything it said.
    pub log: String,
}

impl Nfacctd {
    /// Starts it on an address of the namespace and waits until it listens.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let files = tempfile::Builder::new().prefix("netflow-nfacctd-").tempdir()?;
        let path = |name: &str| files.path().join(name);
        let configuration = format!(
            "daemonize: false\nnfacctd_ip: {}\nnfacctd_port: {}\nnfacctd_disable_checks: false\nplugins: print[p]\n\
             aggregate[p]: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, in_iface, vlan, \
             timestamp_start, timestamp_end, sampling_rate\nprint_output[p]: json\nprint_output_file[p]: {}\n\
             print_output_file_append[p]: true\nprint_refresh_time[p]: 1\ntimestamps_rfc3339: true\npidfile: {}\n",
            address.ip(),
            address.port(),
            path("rows.json").display(),
            path("pid").display(),
        );
        fs::write(path("configuration"), configuration)?;
        let configuration = path("configuration");
        let configuration = configuration.to_str().context("a path of a temporary directory is text")?;
        let mut process = namespace.spawn("nfacctd", &["-f", configuration])?;
        process.wait_for_stderr("waiting for NetFlow", START)?;
        Ok(Self { process, files })
    }

    /// Stops it; what has arrived by now is written.
    pub fn stop(mut self) -> Result<NfacctdVerdict> {
        // What waits in its socket is read within the time between two of its looks.
        std::thread::sleep(Duration::from_secs(2));
        self.process.signal(Signal::INT)?;
        let finished = self.process.finish(STOP)?;
        let text = fs::read_to_string(self.files.path().join("rows.json")).unwrap_or_default();
        let rows = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(NfacctdVerdict {
            rows: rows.with_context(|| text.clone())?,
            log: finished.stderr + &finished.stdout,
        })
    }
}

impl NfacctdVerdict {
    /// The sum of a number over the rows: `packets`, `bytes`.
    pub fn sum(&self, name: &str) -> u64 {
        self.rows.iter().filter_map(|row| row[name].as_u64()).sum()
    }
}
