//! Builds the generator's kernel half and leaves the object where `include_bytes_aligned!` finds it.

use std::process::Command;

use aya_build::{Package, Toolchain};

fn main() -> aya_build::Result<()> {
    let linked = Command::new("rustup")
        .args(["toolchain", "list"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim() == "bpf"));
    let toolchain = if linked { Toolchain::Custom("bpf") } else { Toolchain::Nightly };
    let root_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/generator-ebpf");
    aya_build::build_ebpf([Package { name: "generator-ebpf", root_dir, ..Package::default() }], toolchain)
}
