//! What the machine must bring along: Linux, rustup with its cargo first in PATH, a C linker.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::process;

pub fn check() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("netflow meters with XDP, which only Linux has: build it on Linux");
    }
    let Some(rustup) = process::find("rustup") else {
        bail!("rustup is not in PATH: install it, or run `. \"$HOME/.cargo/env\"`");
    };
    let Some(cargo) = process::find("cargo") else {
        bail!("cargo is not in PATH: run `. \"$HOME/.cargo/env\"`");
    };
    // rustup's cargo is rustup under another name; the distribution's would ignore the toolchain asked for.
    if cargo.parent() != rustup.parent() {
        let directory = rustup.parent().unwrap_or(Path::new("rustup")).display();
        bail!("the cargo in PATH is {}, not rustup's: put {directory} first", cargo.display());
    }
    if process::find("cc").is_none() {
        bail!(
            "there is no C compiler `cc` to link with: install gcc (Debian: apt-get install gcc libc6-dev)"
        );
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let btf = if Path::new("/sys/kernel/btf/vmlinux").exists() { "with" } else { "WITHOUT" };
    eprintln!("host: Linux {} {btf} BTF, rustup's cargo {}, cc", release.trim(), cargo.display());
    Ok(())
}
