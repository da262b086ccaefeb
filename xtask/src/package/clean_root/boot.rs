//! Boots the root: systemd as the first process of a container, with a network of its own, on top of the root, which
//! stays as it is.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// A boot that takes longer hangs; it takes half a minute.
const LIMIT: &str = "600";
const SAYS: &str = "check: ";
const PASSED: &str = "check: passed";

/// Runs the script of `inside` there, to its end.
pub fn run(root: &Path, inside: &Path) -> Result<()> {
    let console = process::target_dir()?.join("xtask/clean-root/console");
    let output = File::create(&console).with_context(|| format!("cannot write {}", console.display()))?;
    let errors = output.try_clone().context("cannot share the console's file")?;
    eprintln!("booting the clean root; its console is in {}", console.display());
    let mut machine = process::as_root("timeout", "booting a root")?;
    machine.args(["--kill-after=10", LIMIT, "systemd-nspawn", "--quiet", "--boot"]);
    machine.args(["--machine=netflow-check", "--register=no", "--console=read-only"]);
    if !Path::new("/run/systemd/system").exists() {
        // There is no systemd to ask for a scope.
        machine.arg("--keep-unit");
    }
    machine.args(["--private-network", "--volatile=overlay", "--link-journal=no", "--resolv-conf=off"]);
    // What the host's root has; the service itself gives up what it does not need.
    machine.args(["--capability=all", "--system-call-filter=bpf perf_event_open"]);
    machine.arg(format!("--bind-ro={}:/check", inside.display()));
    machine.arg("--directory").arg(root);
    // As on the command line of a kernel: runs it, then ends the machine. Nobody is there to be asked anything.
    machine.args(["systemd.run=/check/guest.sh", "systemd.run_success_action=exit"]);
    machine.args(["systemd.run_failure_action=exit", "systemd.firstboot=off"]);
    let status = machine.stdin(Stdio::null()).stdout(output).stderr(errors).status();
    let status = status.context("cannot start systemd-nspawn")?;
    let said = fs::read(&console).with_context(|| format!("cannot read {}", console.display()))?;
    let said = String::from_utf8_lossy(&said);
    said.lines().filter(|line| line.contains(SAYS)).for_each(|line| eprintln!("{line}"));
    if !said.contains(PASSED) {
        bail!("the clean root has no good end ({status}); its console tells why");
    }
    Ok(())
}
