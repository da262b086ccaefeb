//! bpf-linker, built on an LLVM not older than the compiler's: an older one cannot read the compiler's output.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::setup::apt::Apt;

const VERSION: &str = "0.13.0";
/// LLVM versions that this bpf-linker can be built on.
const KNOWN_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// What LLVM a bpf-linker was built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkedLlvm {
    /// A shared library, whose name tells.
    Shared(u32),
    /// Built in: nothing tells the version.
    BuiltIn,
}

/// Finds or installs a linker for a compiler with LLVM `needed`.
pub fn ensure(needed: u32, apt: &mut Apt) -> Result<()> {
    let found = installed();
    match &found {
        Some((file, version, LinkedLlvm::Shared(llvm))) if *llvm >= needed => {
            eprintln!("BPF linker: found {version}, LLVM {llvm}, {}", file.display());
            return Ok(());
        }
        Some((file, version, LinkedLlvm::BuiltIn)) => {
            eprintln!(
                "BPF linker: found {version}, LLVM built in (must be {needed} or newer), {}",
                file.display()
            );
            return Ok(());
        }
        Some((_, version, LinkedLlvm::Shared(llvm))) => {
            eprintln!("BPF linker: {version} has LLVM {llvm}, the compiler's is {needed}; building it anew");
        }
        None => eprintln!("BPF linker: none found; building it, which takes about a minute"),
    }
    let (prefix, llvm) = llvm_for(needed, apt)?;
    let mut install = process::cargo();
    install
        .env("LLVM_PREFIX", &prefix)
        // Set for the kernel program alone.
        .env_remove("RUSTC_BOOTSTRAP")
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}"), "--force"]);
    process::step("building bpf-linker", &mut install)?;
    if installed().is_none() {
        bail!(
            "bpf-linker is installed, but not in PATH: put cargo's bin directory there (`. \"$HOME/.cargo/env\"`)"
        );
    }
    Ok(())
}

/// The bpf-linker in PATH, if it starts.
fn installed() -> Option<(PathBuf, String, LinkedLlvm)> {
    let file = process::find("bpf-linker")?;
    let version = process::output(Command::new(&file).arg("--version"))?;
    let libraries = process::output(Command::new("ldd").arg(&file)).unwrap_or_default();
    Some((file, version.trim().to_owned(), linked_llvm(&libraries)))
}

/// LLVM's major version from what ldd prints: `libLLVM.so.22.1 => ...` or, before LLVM 18, `libLLVM-17.so.1 => ...`.
fn linked_llvm(libraries: &str) -> LinkedLlvm {
    libraries
        .lines()
        .find_map(|line| {
            let name = line.trim().strip_prefix("libLLVM")?;
            let version = name.strip_prefix(".so.").or_else(|| name.strip_prefix('-'))?;
            version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
        .map_or(LinkedLlvm::BuiltIn, LinkedLlvm::Shared)
}

/// An LLVM to build on: the one asked for by `LLVM_PREFIX`, one that is here, or one that apt offers.
fn llvm_for(needed: u32, apt: &mut Apt) -> Result<(PathBuf, u32)> {
    if needed > *KNOWN_LLVM.end() {
        bail!("bpf-linker {VERSION} knows LLVM up to {}, the compiler's is {needed}", KNOWN_LLVM.end());
    }
    if let Some(prefix) = env::var_os("LLVM_PREFIX").map(PathBuf::from) {
        let llvm =
            llvm_of(&prefix).with_context(|| format!("LLVM_PREFIX {} holds no LLVM", prefix.display()))?;
        return Ok((prefix, llvm));
    }
    let candidates = needed.max(*KNOWN_LLVM.start())..=*KNOWN_LLVM.end();
    let compression = |apt: &mut Apt| match Path::new("/usr/include/zstd.h").exists()
        && Path::new("/usr/include/zlib.h").exists()
    {
        false if Apt::is_here() => apt.install(&["zlib1g-dev", "libzstd-dev"]),
        _ => Ok(()),
    };
    for llvm in candidates.clone() {
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
        if prefix.join("include/llvm-c/Core.h").exists() {
            compression(apt)?;
            return Ok((prefix, llvm));
        }
    }
    for llvm in candidates {
        let package = format!("llvm-{llvm}-dev");
        if apt.offers(&[&package]) {
            apt.install(&[&package, "zlib1g-dev", "libzstd-dev"])?;
            return Ok((PathBuf::from(format!("/usr/lib/llvm-{llvm}")), llvm));
        }
    }
    bail!(
        "bpf-linker needs LLVM {needed}'s development files: install them and set LLVM_PREFIX to their directory"
    );
}

fn llvm_of(prefix: &Path) -> Option<u32> {
    let version = process::output(Command::new(prefix.join("bin/llvm-config")).arg("--version"))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_version_is_read_from_the_shared_library() {
        let text =
            "\tlinux-vdso.so.1 (0x0)\n\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x1)\n";
        assert_eq!(linked_llvm(text), LinkedLlvm::Shared(22));
        assert_eq!(linked_llvm("\tlibLLVM-17.so.1 => /lib/libLLVM-17.so.1 (0x1)\n"), LinkedLlvm::Shared(17));
    }

    #[test]
    fn a_linker_without_the_shared_library_has_llvm_built_in() {
        assert_eq!(linked_llvm("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), LinkedLlvm::BuiltIn);
        assert_eq!(linked_llvm("\tstatically linked\n"), LinkedLlvm::BuiltIn);
    }
}
