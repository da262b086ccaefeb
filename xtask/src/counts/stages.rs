//! What the agent's stages execute, as valgrind's callgrind counts it.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::setup::apt::Apt;
use crate::setup::packages::{self, Package, package};

const PROGRAMS: [Package; 1] = [package("valgrind", "valgrind", &[])];
/// Enough for a batch of everything, few enough for a second each.
const FLOWS: u64 = 20_000;
/// The cases of `netflow-user/examples/stages.rs`.
const CASES: [&str; 9] = [
    "merge-new",
    "merge-known",
    "expire",
    "new-flow-to-message",
    "encode-ipfix-ipv4",
    "encode-ipfix-ipv6",
    "encode-v9-ipv4",
    "encode-v9-ipv6",
    "encode-v5",
];
/// The C library's copies choose by the processor; none of these choices, and counts are everywhere the same.
const TUNABLES: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// Thousandths of instructions per flow, case by case.
pub fn count(apt: &mut Apt) -> Result<Vec<(&'static str, u64)>> {
    packages::ensure(apt, &PROGRAMS, "counting instructions")?;
    let example = ["build", "--release", "--package", "netflow-user", "--example", "stages"];
    process::show(process::cargo().args(example))?;
    let started = Instant::now();
    let counts: Result<Vec<_>> = CASES.into_iter().map(|case| Ok((case, count_case(case)?))).collect();
    eprintln!("counted the agent's stages in {:.1} s", started.elapsed().as_secs_f32());
    counts
}

fn count_case(case: &str) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted*"])
        .arg(process::target_dir()?.join("release/examples/stages"))
        .args(["count", case, &FLOWS.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .output()
        .context("valgrind does not start")?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let flows = said.trim().parse().unwrap_or(0);
    let collected = collected(&told).unwrap_or(0);
    if !output.status.success() || flows == 0 || collected == 0 {
        bail!("counting `{case}` failed ({}): {}", output.status, told.lines().last().unwrap_or_default());
    }
    Ok(collected * 1000 / flows)
}

/// `==123== Collected : 4567`: instructions.
fn collected(told: &str) -> Option<u64> {
    told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let told = "==7== Events    : Ir\n==7== Collected : 1234567\n==7==\n";
        assert_eq!(collected(told), Some(1_234_567));
        assert_eq!(collected("==7== nothing\n"), None);
    }
}
