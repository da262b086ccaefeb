//! netflume: a decoder of NetFlow v5, v9 and IPFIX in Python. `cargo xtask test` installs it into the target directory.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::DecodedFlow;
use crate::lab::Namespace;
use crate::process::Process;

const SCRIPT: &str = include_str!("netflume.py");
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(60);

/// A collector that listens.
pub struct Netflume(Process);

/// What it decoded.
pub struct NetflumeVerdict {
    /// Records of flows, with its names of fields.
    pub records: Vec<Value>,
    /// Of so many packets one is in a record, as it knew then: of each record.
    pub rates: Vec<u64>,
    /// Records of options data, with the observation domain that they came from.
    pub options: Vec<(u64, Value)>,
    /// What it complains of: gaps, what could not be decoded.
    pub complaints: Vec<String>,
}

/// Its Python: NETFLOW_NETFLUME, or the one that xtask made beside this test.
fn python() -> Result<PathBuf> {
    let python = match env::var_os("NETFLOW_NETFLUME") {
        Some(python) => PathBuf::from(python),
        None => {
            let test = env::current_exe()?;
            let mut above = test.ancestors().skip(1).filter(|path| !path.ends_with("deps"));
            above.nth(1).context("the test is not in a target directory")?.join("netflume/bin/python")
        }
    };
    ensure!(
        python.is_file(),
        "{} is missing: cargo xtask test makes it, or set NETFLOW_NETFLUME",
        python.display()
    );
    Ok(python)
}

impl Netflume {
    /// Starts it on an address of the namespace and waits until it listens.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let python = python()?;
        let python = python.to_str().context("a path that is no text")?;
        let mut process = namespace.spawn(python, &["-c", SCRIPT, &host, &port])?;
        process.wait_for_stderr("listening", START)?;
        Ok(Self(process))
    }

    /// Stops it once nothing comes.
    pub fn stop(mut self) -> Result<NetflumeVerdict> {
        self.0.signal(Signal::TERM)?;
        let finished = self.0.finish(STOP)?;
        ensure!(finished.status.success(), "netflume: {}: {}", finished.status, finished.stderr);
        let said = finished.stderr.lines().filter(|line| !["listening", "stopped"].contains(line));
        let complaints = said.map(str::to_owned).collect();
        let mut verdict =
            NetflumeVerdict { records: Vec::new(), rates: Vec::new(), options: Vec::new(), complaints };
        for line in finished.stdout.lines() {
            let mut line: Value = serde_json::from_str(line)?;
            if line["flow"].is_object() {
                verdict.rates.push(line["rate"].as_u64().context("a record without a rate")?);
                verdict.records.push(line["flow"].take());
            } else {
                let domain = line["domain"].as_u64().context("options data without a domain")?;
                verdict.options.push((domain, line["options"].take()));
            }
        }
        Ok(verdict)
    }
}

impl NetflumeVerdict {
    /// The flows of its records: those of biflows are two.
    pub fn flows(&self) -> Vec<DecodedFlow> {
        self.records.iter().flat_map(flows).collect()
    }

    /// The values of a field of options data, in the order in which they came, with their observation domains.
    pub fn told(&self, name: &str) -> Vec<(u64, Value)> {
        let of = self.options.iter().filter(|(_, record)| !record[name].is_null());
        of.map(|(domain, record)| (*domain, record[name].clone())).collect()
    }
}

/// Reverse elements (RFC 5103) have no names here.
fn flows(record: &Value) -> Vec<DecodedFlow> {
    let number = |name: &str| record[name].as_u64().unwrap_or(0);
    let address = |name: &str| record[name].as_str().and_then(|text| text.parse().ok());
    let flow = DecodedFlow {
        source: address("src_addr"),
        destination: address("dst_addr"),
        protocol: number("proto") as u8,
        source_port: number("src_port") as u16,
        destination_port: number("dst_port") as u16,
        packets: number("packets"),
        octets: number("octets"),
    };
    flow.with_reverse(number("e29305.2"), number("e29305.1"))
}
