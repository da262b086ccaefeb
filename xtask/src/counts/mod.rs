//! `counts`: how many instructions the kernel's programs have, and how many the agent's stages execute, against what is
//! recorded: a regression shows on any machine, however busy. Time is the bench's business.
//!
//! Programs are counted as the object has them: what a kernel makes of them is another one's on each kernel. Stages are
//! counted by valgrind while `netflow-user/examples/stages.rs` does the same work each time.

mod record;
mod stages;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::record::{Count, Counts};
use crate::setup::{self, Setup};
use crate::{process, tidy};

/// What is recorded, in the workspace.
const RECORDED: &str = "xtask/counts.txt";

/// Sets up, counts, compares; with `--update` records what was counted.
pub fn counts(arguments: &[String]) -> Result<()> {
    let update = match arguments {
        [] => false,
        [only] if only == "--update" => true,
        _ => bail!("`counts` takes --update and nothing else"),
    };
    prepared(&mut setup::setup()?, update)
}

/// The same on a machine that is set up.
pub fn prepared(setup: &mut Setup, update: bool) -> Result<()> {
    let mut counted = Counts { compilers: compilers(setup)?, counts: Vec::new() };
    for (name, count) in tidy::object::instructions(setup.llvm_major)?.unwrap_or_default() {
        counted.counts.push(Count { name: format!("program {name}"), count });
    }
    for (name, count) in stages::count(&mut setup.apt)? {
        counted.counts.push(Count { name: format!("stage {name}"), count });
    }
    let file = process::root().join(RECORDED);
    if update {
        fs::write(&file, counted.to_string()).with_context(|| format!("cannot write {RECORDED}"))?;
        eprintln!("counts: {} recorded in {RECORDED}; commit it", counted.counts.len());
        return Ok(());
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {RECORDED}"))?;
    let recorded = Counts::parse(&text).with_context(|| format!("{RECORDED} is not what --update writes"))?;
    let findings = recorded.compare(&counted);
    findings.lines.iter().for_each(|line| eprintln!("{line}"));
    if !findings.wrong.is_empty() {
        bail!(
            "{}; if that is as it should be: `cargo xtask counts --update`, and say in the commit why",
            findings.wrong.join("; ")
        );
    }
    Ok(())
}

/// What the counts depend on beside the source: rustc and the LLVM of the kernel program's compiler.
fn compilers(setup: &Setup) -> Result<String> {
    let version = process::output(Command::new("rustc").arg("--version")).context("rustc does not start")?;
    let release = version.split_whitespace().nth(1).context("rustc does not tell its version")?;
    Ok(format!("rustc {release}, LLVM {} for the kernel", setup.llvm_major))
}
