//! Boots a kernel and reads the result from its serial console.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernel::Unpacked;
use crate::process;

/// A machine that takes longer hangs. It takes half a minute where nothing else runs.
const LIMIT: Duration = Duration::from_secs(600);
/// What `vm-guest` begins its last line with.
const PASSED: &str = "vm-guest passed: ";
const FAILED: &str = "vm-guest failed: ";
const TAIL_LINES: usize = 15;

/// Runs the machine to its end; what its tests say.
pub fn run(kernel: &Unpacked, initramfs: &Path) -> Result<String> {
    let qemu = process::find("qemu-system-x86_64").context("qemu-system-x86_64 is not in PATH")?;
    let console = initramfs.with_file_name(format!("console-{}", kernel.release));
    let output = File::create(&console).with_context(|| format!("cannot write {}", console.display()))?;
    let errors = output.try_clone().context("cannot share the console's file")?;
    eprintln!("booting Linux {} ...", kernel.release);
    let started = Instant::now();
    let mut machine = Command::new(qemu)
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-no-reboot", "-nographic", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        // A panic ends the machine.
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context("cannot start qemu")?;
    let status = loop {
        if let Some(status) = machine.try_wait().context("cannot wait for qemu")? {
            break Some(status);
        }
        if started.elapsed() > LIMIT {
            machine.kill().context("cannot end qemu")?;
            machine.wait().context("cannot wait for qemu")?;
            break None;
        }
        thread::sleep(Duration::from_millis(100));
    };
    let said = fs::read(&console).with_context(|| format!("cannot read {}", console.display()))?;
    let said = String::from_utf8_lossy(&said);
    eprintln!(
        "  ended after {:.0} s; its console is in {}",
        started.elapsed().as_secs_f32(),
        console.display()
    );
    if let Some(outcome) = outcome(&said) {
        return outcome;
    }
    let lines: Vec<&str> = said.lines().collect();
    eprintln!("{}", lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"));
    match status {
        None => bail!("no result within {} s", LIMIT.as_secs()),
        Some(status) => bail!("the machine ended without a result ({status})"),
    }
}

/// What the last line says, if there is a result.
fn outcome(said: &str) -> Option<Result<String>> {
    said.lines().rev().find_map(|line| {
        // The kernel may have written to the same line.
        let after = |mark: &str| line.find(mark).map(|at| line[at + mark.len()..].trim().to_owned());
        after(PASSED).map(Ok).or_else(|| after(FAILED).map(|why| Err(anyhow::anyhow!("{why}"))))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_result_is_found_among_what_a_console_says() {
        let passed = outcome("Booting\r\n[ 1.0] x\r\nvm-guest passed: all\r\n[ 9.9] reboot: Power down\r\n");
        assert_eq!(passed.unwrap().unwrap(), "all");
        let failed = outcome("[ 3.0] vm-guest failed: why\n").unwrap().unwrap_err();
        assert_eq!(failed.to_string(), "why");
        assert!(outcome("Kernel panic").is_none());
    }
}
