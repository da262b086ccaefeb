//! The programs that tests use: collectors and dissectors as judges, tools that make networks and traffic.

use anyhow::Result;

use crate::setup::apt::Apt;
use crate::setup::packages::{self, Package, package};
use crate::setup::python;

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

/// Installs the packages that are missing.
pub fn ensure(apt: &mut Apt) -> Result<()> {
    packages::ensure(apt, &JUDGES, "the tests")?;
    // The tests look for it there.
    python::environment(apt, "netflume", &[NETFLUME]).map(drop)
}
