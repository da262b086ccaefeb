//! The compiler of the kernel program: one that brings `core` for the BPF target, or a nightly that builds it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bpf_toolchain::{BpfToolchain, LINKED, has_prebuilt_core, rustup_home};
use crate::process;
use crate::setup::apt::Apt;

/// Debian's second Rust: a newer compiler, with `core` for BPF ready-made. It does not disturb rustup's own.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
/// Where the distribution's toolchain lies.
const DISTRIBUTION: &str = "/usr";

/// The toolchain and its LLVM's major version.
pub fn ensure(apt: &mut Apt) -> Result<(BpfToolchain, u32)> {
    let home = rustup_home().context("neither RUSTUP_HOME nor HOME is set")?;
    if let Some(found) = BpfToolchain::find(&home) {
        return describe("found", found);
    }
    install(apt)?;
    let installed = BpfToolchain::find(&home)
        .with_context(|| format!("no toolchain for the kernel program in {}", home.display()))?;
    describe("installed", installed)
}

fn install(apt: &mut Apt) -> Result<()> {
    if has_prebuilt_core(Path::new(DISTRIBUTION)) {
        eprintln!("BPF toolchain: the distribution's compiler is here, rustup does not know it yet");
        return link();
    }
    eprintln!("BPF toolchain: none found; asking for the distribution's packages");
    if apt.offers(&DEBIAN_PACKAGES) {
        apt.install(&DEBIAN_PACKAGES)?;
        return link();
    }
    eprintln!(
        "no such packages here (or they conflict with others): taking rustup's nightly with its source"
    );
    let mut rustup = Command::new("rustup");
    if process::output(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])).is_some() {
        rustup.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    } else {
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    }
    process::step("installing rustup's nightly with rust-src", &mut rustup)
}

fn link() -> Result<()> {
    process::step(
        "linking the distribution's compiler into rustup",
        Command::new("rustup").args(["toolchain", "link", LINKED, DISTRIBUTION]),
    )
}

fn describe(how: &str, toolchain: BpfToolchain) -> Result<(BpfToolchain, u32)> {
    let rustc = toolchain.root().join("bin/rustc");
    let version = process::output(Command::new(&rustc).arg("-vV"))
        .with_context(|| format!("{} does not tell its version", rustc.display()))?;
    let Some((release, llvm_major)) = versions(&version) else {
        bail!("{} -vV names no LLVM version", rustc.display());
    };
    let core = match toolchain {
        BpfToolchain::Linked { .. } => "core ready-made",
        BpfToolchain::Nightly { .. } => "core built from its source",
    };
    eprintln!("BPF toolchain: {how} `{}`, rustc {release}, LLVM {llvm_major}, {core}", toolchain.name());
    Ok((toolchain, llvm_major))
}

/// Release and LLVM major version, from what `rustc -vV` prints.
fn versions(text: &str) -> Option<(&str, u32)> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let llvm = value("LLVM version")?;
    Some((value("release")?, llvm.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_verbose_answer() {
        let text =
            "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(versions(text), Some(("1.96.0", 22)));
        assert_eq!(versions("release: 1.97.0-nightly\nLLVM version: 23.0\n"), Some(("1.97.0-nightly", 23)));
        assert_eq!(versions("rustc 1.96.0\n"), None);
    }
}
