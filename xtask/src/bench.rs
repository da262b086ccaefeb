//! `bench`: builds the agent and the bench in release, and starts the bench as root.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::setup::packages::{self, Package, package};
use crate::{process, run, setup};

/// What is measured beside the agent, and what measures.
const PROGRAMS: [Package; 6] = [
    package("iproute2", "ip", &[]),
    package("ethtool", "ethtool", &[]),
    package("iperf3", "iperf3", &["iperf3.service"]),
    package("softflowd", "softflowd", &["softflowd.service"]),
    package(
        "pmacct",
        "pmacctd",
        &["nfacctd.service", "pmacctd.service", "sfacctd.service", "uacctd.service"],
    ),
    package("fprobe", "fprobe", &["fprobe.service"]),
];

/// Sets up, builds, measures; `arguments` are the bench's own.
pub fn bench(arguments: &[String]) -> Result<ExitCode> {
    let mut setup = setup::setup()?;
    if let Err(missing) = packages::ensure(&mut setup.apt, &PROGRAMS, "the bench") {
        eprintln!("{missing:#}; what they are for is left out");
    }
    let agent = run::release_binary()?;
    process::show(process::cargo().args(["build", "--release", "--package", "netflow-bench"]))?;
    let bench = process::target_dir()?.join("release/netflow-bench");
    let asks_for_help = arguments.iter().any(|argument| argument == "-h" || argument == "--help");
    let mut command = if asks_for_help {
        Command::new(&bench)
    } else {
        process::as_root(&bench, "measuring in the kernel and in network namespaces")?
    };
    // Results are written where they are asked for from the workspace, wherever this was started.
    command.current_dir(process::root()).arg("--binary").arg(&agent).args(arguments);
    let status = command.status().with_context(|| format!("cannot start {}", bench.display()))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
