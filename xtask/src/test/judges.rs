//! The programs that tests use: collectors and dissectors as judges, tools that make networks and traffic.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::apt::Apt;

/// A package the tests use.
struct Judge {
    package: &'static str,
    /// A program of it whose presence shows that it is installed.
    program: &'static str,
    /// Services that the package starts on its own: they would take ports and meter interfaces of this machine.
    services: &'static [&'static str],
}

const JUDGES: [Judge; 13] = [
    judge("nfdump", "nfcapd", &["nfdump.service"]),
    judge("pmacct", "nfacctd", &["nfacctd.service", "pmacctd.service", "sfacctd.service", "uacctd.service"]),
    judge("tshark", "tshark", &[]),
    // Brings libpcap, which compiles filters.
    judge("tcpdump", "tcpdump", &[]),
    judge("libfixbuf-tools", "ipfixDump", &[]),
    judge("socat", "socat", &[]),
    judge("openssl", "openssl", &[]),
    judge("tcpreplay", "tcpreplay", &[]),
    judge("iperf3", "iperf3", &["iperf3.service"]),
    judge("iputils-ping", "ping", &[]),
    judge("bpftool", "bpftool", &[]),
    judge("ethtool", "ethtool", &[]),
    judge("iproute2", "ip", &[]),
];

const fn judge(package: &'static str, program: &'static str, services: &'static [&'static str]) -> Judge {
    Judge { package, program, services }
}

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
    packages(apt)?;
    netflume(apt)
}

fn packages(apt: &mut Apt) -> Result<()> {
    let missing: Vec<&Judge> = JUDGES.iter().filter(|judge| process::find(judge.program).is_none()).collect();
    if missing.is_empty() {
        eprintln!("test programs: all {} are here", JUDGES.len());
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|judge| judge.package).collect();
    if !Apt::is_here() {
        let programs: Vec<&str> = missing.iter().map(|judge| judge.program).collect();
        bail!("the tests need {}, and there is no apt-get to install them", programs.join(", "));
    }
    apt.install(&packages)?;
    // Only what this very run installed: whoever had the package before may want its service.
    let services: Vec<&str> = missing.iter().flat_map(|judge| judge.services).copied().collect();
    disable(&services)?;
    match missing.iter().find(|judge| process::find(judge.program).is_none()) {
        Some(judge) => bail!("package {} is installed, but {} is not in PATH", judge.package, judge.program),
        None => Ok(()),
    }
}

/// Stops the services and keeps them from starting again, where init is systemd. Elsewhere packages start nothing
/// that would outlive a container.
fn disable(services: &[&str]) -> Result<()> {
    if services.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    for service in services {
        let mut systemctl = process::as_root("systemctl", "disabling services of test programs")?;
        // A unit that this version of the package does not have is no reason to stop.
        if process::output(systemctl.args(["disable", "--now", service])).is_some() {
            eprintln!("disabled {service}, which its package starts");
        }
    }
    Ok(())
}
