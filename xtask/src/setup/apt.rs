//! Packages by apt-get: without questions, without removing anything, patient with another apt at work.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::process;

const PATIENCE: [&str; 4] = ["-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"];
/// Nothing asks, nothing is removed for a package's sake: a conflict is an answer, not a reason to uninstall.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

/// apt-get, if the machine has it.
#[derive(Default)]
pub struct Apt {
    has_fresh_lists: bool,
}

impl Apt {
    /// Whether there is apt-get at all.
    pub fn is_here() -> bool {
        process::find("apt-get").is_some()
    }

    /// Whether `packages` could be installed: known, and in conflict with nothing. Fetches the lists first.
    pub fn offers(&mut self, packages: &[&str]) -> bool {
        if !Self::is_here() {
            return false;
        }
        self.update();
        let mut rehearsal = Command::new("apt-get");
        rehearsal.env("LC_ALL", "C").arg("--simulate").args(INSTALL).args(packages);
        process::output(&mut rehearsal).is_some()
    }

    /// Installs `packages`.
    pub fn install(&mut self, packages: &[&str]) -> Result<()> {
        self.update();
        let what = format!("installing {}", packages.join(" "));
        process::step(&what, apt_get()?.args(INSTALL).args(packages))
    }

    /// Fetches the package lists, once per run: versions move with security updates, and old ones vanish.
    fn update(&mut self) {
        if self.has_fresh_lists {
            return;
        }
        self.has_fresh_lists = true;
        let update = || process::step("fetching the package lists", apt_get()?.arg("update"));
        if let Err(first) = update() {
            eprintln!("{first:#}; trying once more");
            // The lists have a lock that no option waits for.
            thread::sleep(Duration::from_secs(10));
            if let Err(second) = update() {
                eprintln!("{second:#}; going on with the lists that are here");
            }
        }
    }
}

fn apt_get() -> Result<Command> {
    let mut command = process::as_root("env", "installing packages")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get"]).args(PATIENCE);
    Ok(command)
}
