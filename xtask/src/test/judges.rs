//! The programs that tests use: collectors and dissectors as judges, tools that make networks and traffic.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::apt::Apt;
use crate::setup::packages::{self, Package, package};

const JUDGES: [Package; 15] = [
    package("nfdump", "nfcapd", &["nfdump.service"]),
    package(
        "pmacct",
        "nfacctd",
        &["nfacctd.service", "pmacctd.service", "sfacctd.service", "uacctd.service"],
    ),
    package("tshark", "tshark", &[]),
    // Brings libpcap, which compiles filters.
    package("tcpdump", "tcpdump", &[]),
    package("libfixbuf-tools", "ipfixDump", &[]),
    package("socat", "socat", &[]),
    package("openssl", "openssl", &[]),
    package("strace", "strace", &[]),
    package("tcpreplay", "tcpreplay", &[]),
    package("iperf3", "iperf3", &["iperf3.service"]),
    package("iputils-ping", "ping", &[]),
    package("bpftool", "bpftool", &[]),
    package("ethtool", "ethtool", &[]),
    package("iproute2", "ip", &[]),
    // For promtool, which checks metrics and alert rules.
    package("prometheus", "promtool", &["prometheus.service"]),
];

/// A decoder from the Python registry: no packages of its own, nothing but Python's library.
const NETFLUME: &str = "netflume==0.6.0";

/// Makes a Python environment with it in the target directory, where the tests look for it.
fn netflume(apt: &mut Apt) -> Result<()> {
    let environment = process::target_dir()?.join("netflume");
    let python = environment.join("bin/python");
    let is_here = || process::output(Command::new(&python).args(["-c", "import netflume"])).is_some();
    if is_here() {
        return Ok(());
    }
    let make = || process::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if make().is_none() {
        apt.install(&["python3-venv"])?;
        if make().is_none() {
            bail!("python3 -m venv {} failed", environment.display());
        }
    }
    process::step(
        &format!("installing {NETFLUME}"),
        Command::new(&python).args(["-m", "pip", "install", NETFLUME]),
    )
}

/// Installs the packages that are missing.
pub fn ensure(apt: &mut Apt) -> Result<()> {
    packages::ensure(apt, &JUDGES, "the tests")?;
    netflume(apt)
}
