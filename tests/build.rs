//! Builds the kernel half of the tests' packet generator.

#[path = "../xtask/kernel_program.rs"]
mod kernel_program;

use std::process::ExitCode;

fn main() -> ExitCode {
    kernel_program::build("generator-ebpf", "tests/generator-ebpf", &[])
}
