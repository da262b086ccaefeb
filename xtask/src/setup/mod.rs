//! `setup`: what builds the kernel program and the agent. Finds it or installs it, says which, and is quick when all is there.

pub mod apt;
pub mod debian;
mod host;
mod linker;
mod openssl;
pub mod packages;
pub mod python;
mod toolchain;

use std::time::Instant;

use anyhow::Result;

use crate::setup::apt::Apt;

/// What setup found or installed.
pub struct Setup {
    /// LLVM's major version in the compiler of the kernel program.
    pub llvm_major: u32,
    /// The package installer, which remembers that it has fetched the package lists.
    pub apt: Apt,
}

/// Finds or installs the toolchain and the linker of the kernel program, and the libraries of the agent.
pub fn setup() -> Result<Setup> {
    let started = Instant::now();
    host::check()?;
    let mut apt = Apt::default();
    let (toolchain, llvm_major) = toolchain::ensure(&mut apt)?;
    linker::ensure(llvm_major, &mut apt)?;
    openssl::ensure(&mut apt)?;
    eprintln!("set-up took {:.1} s; toolchain `{}`", started.elapsed().as_secs_f32(), toolchain.name());
    Ok(Setup { llvm_major, apt })
}
