//! Builds the bench's kernel half, and the meter's program over flow maps of other kinds.

#[path = "../xtask/kernel_program.rs"]
mod kernel_program;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

/// The object's file, and the feature that makes it.
const OTHERS: [(&str, &[&str]); 3] = [
    ("netflow-ebpf-hash", &[]),
    ("netflow-ebpf-lru-hash", &["bench-lru-hash"]),
    ("netflow-ebpf-percpu-hash", &["bench-percpu-hash"]),
];

fn main() -> ExitCode {
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else { return ExitCode::FAILURE };
    for (file, features) in OTHERS {
        let built = kernel_program::build_with("netflow-ebpf", "netflow-ebpf", &["netflow-common"], features);
        if built != ExitCode::SUCCESS || fs::rename(out.join("netflow-ebpf"), out.join(file)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    kernel_program::build("vary-ebpf", "bench/vary-ebpf", &[])
}
