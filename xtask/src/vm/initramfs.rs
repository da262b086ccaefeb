//! The machines' whole system: busybox, the modules that are needed, the programs under test and what they call, with
//! the shared libraries of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kernel::Unpacked;
use crate::package::distribution::libraries;
use crate::process;

/// What tests call (`tests/support/lab.rs`).
const PROGRAMS: [&str; 3] = ["ip", "ethtool", "nsenter"];
/// Modules that are loaded, below the kernel's own, each behind those that it needs.
const MODULES: [&str; 3] = ["drivers/net/veth.ko", "net/sched/sch_ingress.ko", "net/sched/cls_bpf.ko"];
/// Those of SCTP; which of them are built in depends on the kernel.
const SCTP_MODULES: [&str; 5] = [
    "crypto/crc32c_generic.ko",
    "lib/libcrc32c.ko",
    "net/ipv4/udp_tunnel.ko",
    "net/ipv6/ip6_udp_tunnel.ko",
    "net/sctp/sctp.ko",
];

/// The first process: mounts what the tests need, runs them, and ends the machine.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/tools:/bin NETFLOW_BINARY=/tools/netflow
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
for module in /modules/*; do insmod $module; done
vm-guest
poweroff -f
";

/// The programs under test.
pub struct Guest {
    /// The tests' `vm-guest`.
    pub test: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// Builds the archive for a kernel; its file.
pub fn build(directory: &Path, kernel: &Unpacked, guest: &Guest) -> Result<PathBuf> {
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    for below in ["bin", "tools", "modules", "proc", "sys", "dev", "tmp", "run"] {
        let below = root.join(below);
        fs::create_dir_all(&below).with_context(|| format!("cannot make {}", below.display()))?;
    }
    copy(&found("busybox")?, &root.join("bin/busybox"))?;
    let mut programs = vec![guest.test.clone(), guest.agent.clone()];
    for name in PROGRAMS {
        programs.push(found(name)?);
    }
    for program in &programs {
        let name = program.file_name().context("a program without a name")?;
        let copied = root.join("tools").join(name);
        copy(program, &copied)?;
        // Not for correctness: the machine unpacks all of it, instruction by instruction.
        let _ = process::output(Command::new("strip").arg(&copied));
        for library in libraries(program)? {
            let place = root.join(library.strip_prefix("/").unwrap_or(&library));
            if !place.exists() {
                copy(&library, &place)?;
            }
        }
    }
    let file = |module: &str| kernel.modules.join("kernel").join(module);
    let sctp = SCTP_MODULES.iter().filter(|module| file(module).exists());
    for (number, module) in MODULES.iter().chain(sctp).enumerate() {
        let file = file(module);
        let name = module.rsplit('/').next().unwrap_or(module);
        copy(&file, &root.join(format!("modules/{number}-{name}")))?;
    }
    let init = root.join("init");
    fs::write(&init, INIT).with_context(|| format!("cannot write {}", init.display()))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("cannot make init executable")?;

    let archive = directory.join(format!("initramfs-{}", kernel.release));
    let pack = "find . | cpio --create --format=newc --quiet --owner=0:0 > \"$0\"";
    let what = format!("packing the system for {}", kernel.release);
    process::step(&what, Command::new("sh").current_dir(&root).args(["-c", pack]).arg(&archive))?;
    Ok(archive)
}

fn found(program: &str) -> Result<PathBuf> {
    process::find(program).with_context(|| format!("{program} is not in PATH"))
}

/// Copies what the path leads to.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
