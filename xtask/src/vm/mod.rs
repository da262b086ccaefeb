//! `vm`: boots Debian's old kernels in qemu, without hardware acceleration, and runs the tests' `vm-guest` on each: it
//! loads every program, meters packets on a veth pair and demands that the books balance. Kernels and machines stay
//! in the target directory; nothing of them is installed.

mod boot;
mod initramfs;
mod kernel;

use anyhow::{Result, bail};

use self::kernel::OldKernel;
use crate::setup::Setup;
use crate::{process, setup};

/// Debian's releases, and the kernels that they have.
const KERNELS: [OldKernel; 2] =
    [OldKernel { release: "bullseye", version: "5.10" }, OldKernel { release: "bookworm", version: "6.1" }];

/// What is needed beside the kernels: a package, and a program of it.
const PACKAGES: [(&str, &str); 5] = [
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("busybox-static", "busybox"),
    ("cpio", "cpio"),
    ("iproute2", "ip"),
    ("ethtool", "ethtool"),
];

/// Boots every kernel; ends with one line for each.
pub fn vm() -> Result<()> {
    let mut setup = setup::setup()?;
    install_missing(&mut setup)?;
    let guest = guest_programs()?;
    let directory = process::target_dir()?.join("xtask/vm");
    let mut lines = Vec::new();
    let mut failed = 0;
    for kernel in KERNELS {
        let outcome = kernel.unpacked(&directory).and_then(|unpacked| {
            let initramfs = initramfs::build(&directory, &unpacked, &guest)?;
            let outcome = boot::run(&unpacked, &initramfs)?;
            Ok(format!("Linux {}: {outcome}", unpacked.release))
        });
        failed += usize::from(outcome.is_err());
        lines.push(outcome.unwrap_or_else(|error| format!("Linux {} FAILED: {error:#}", kernel.version)));
    }
    eprintln!();
    for line in &lines {
        println!("{line}");
    }
    if failed > 0 {
        bail!("{failed} of {} kernels failed", KERNELS.len());
    }
    Ok(())
}

fn install_missing(setup: &mut Setup) -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| process::find(program).is_none())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() { Ok(()) } else { setup.apt.install(&missing) }
}

/// Builds what runs in the machines.
fn guest_programs() -> Result<initramfs::Guest> {
    let build =
        ["build", "--package", "tests", "--bin", "vm-guest", "--package", "netflow-user", "--bin", "netflow"];
    process::show(process::cargo().args(build))?;
    let built = process::target_dir()?.join("debug");
    Ok(initramfs::Guest { test: built.join("vm-guest"), agent: built.join("netflow") })
}
