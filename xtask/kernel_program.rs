//! What build scripts of this workspace share: building a kernel program with the toolchain that setup prepares.
//! The object is left in `OUT_DIR/NAME`, where `include_bytes_aligned!` finds it.

#[path = "src/bpf_toolchain.rs"]
#[allow(dead_code, reason = "setup uses more of it")]
mod bpf_toolchain;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use aya_build::{Package, Toolchain};

use self::bpf_toolchain::{BpfToolchain, find_command, rustup_home};

const REMEDY: &str = "run `cargo xtask setup`";

/// Builds the package `name` in `directory`. cargo does so again only when that directory, one of the further
/// `inputs` or the toolchain changes. Paths are relative to the workspace.
pub fn build(name: &str, directory: &str, inputs: &[&str]) -> ExitCode {
    build_with(name, directory, inputs, &[])
}

/// The same with features of that package.
pub fn build_with(name: &str, directory: &str, inputs: &[&str], features: &[&str]) -> ExitCode {
    match try_build(name, directory, inputs, features) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `cargo::error` prints one line, where a panic would print the script's whole output.
            println!("cargo::error={}", error.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn try_build(name: &str, directory: &str, inputs: &[&str], features: &[&str]) -> Result<(), String> {
    let toolchain = rustup_home()
        .and_then(|home| BpfToolchain::find(&home))
        .ok_or_else(|| format!("no toolchain can build the kernel program: {REMEDY}"))?;
    let linker = find_command("bpf-linker", &env::var_os("PATH").unwrap_or_default())
        .ok_or_else(|| format!("bpf-linker is not in PATH: {REMEDY}"))?;

    let here =
        env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set: this is a build script")?;
    let workspace = Path::new(&here).parent().ok_or("the package does not lie in the workspace")?;
    for input in inputs.iter().chain(&["Cargo.lock", ".cargo/config.toml"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    // A compiler or linker that the distribution replaced builds another object.
    for tool in [toolchain.root().join("bin/rustc"), linker] {
        println!("cargo::rerun-if-changed={}", tool.display());
    }

    let directory = workspace.join(directory);
    let root_dir = directory.to_str().ok_or("the workspace's path is not UTF-8")?;
    let package = Package { name, root_dir, features, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain.name()))
        .map_err(|error| format!("cannot build the kernel program: {error:#}"))
}
