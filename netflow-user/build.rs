//! Builds the kernel program that the agent carries.

#[path = "../xtask/kernel_program.rs"]
mod kernel_program;

use std::process::ExitCode;

fn main() -> ExitCode {
    kernel_program::build("netflow-ebpf", "netflow-ebpf", &["netflow-common"])
}
