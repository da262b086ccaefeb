//! `bench`: builds the agent and the bench in release, and starts the bench as root.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::setup::packages::{self, Package, package};
use crate::{process, run, setup};

/// What is measured beside the agent, and what measures.
const PROGRAMS: [Package; 7] = [
    package("iproute2", "ip", &[]),
    package("ethtool", "ethtool", &[]),
    // It brings libpcap along, which compiles filters.
    package("tcpdump", "tcpdump", &[]),
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
    if needs_rustflow(arguments)
        && let Err(error) = rustflow()
    {
        eprintln!("{error:#}; rustflow is left out");
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

/// The one exporter beside the agent's that is not packaged.
const RUSTFLOW: [&str; 4] = ["rustflow_cli", "--version", "0.19.0", "--locked"];

/// Whether it is measured, and there is time to build it.
fn needs_rustflow(arguments: &[String]) -> bool {
    let is_short = |argument: &String| matches!(argument.as_str(), "--quick" | "-h" | "--help");
    let only =
        arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    !arguments.iter().any(is_short) && only.is_none_or(|parts| parts.contains('b'))
}

/// Builds it into the target directory, where the bench looks for it.
fn rustflow() -> Result<()> {
    let directory = process::target_dir()?.join("rivals");
    if directory.join("bin/rustflow").is_file() {
        return Ok(());
    }
    let mut install = process::cargo();
    // Set for the kernel program alone.
    install.env_remove("RUSTC_BOOTSTRAP").arg("install").args(RUSTFLOW).arg("--root").arg(&directory);
    process::step("building rustflow, which takes some minutes", &mut install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustflow_is_built_for_live_traffic_in_full_only() {
        let needs = |line: &str| needs_rustflow(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(needs("--output x") && needs("--only a,b"));
        assert!(!needs("--quick") && !needs("--only a,c") && !needs("--help"));
    }
}
