//! `ci`: what a change has to pass before review, the quick checks first.

use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use anyhow::Result;

use crate::{conformance, counts, package, process, setup, test, tidy};

/// Runs every check.
pub fn ci() -> Result<()> {
    let started = Instant::now();
    components()?;
    heading("format");
    process::show(process::cargo().args(["fmt", "--all", "--check"]))?;
    heading("set-up");
    let mut setup = setup::setup()?;
    heading("clippy");
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::show(process::cargo().args(clippy))?;
    heading("tidy");
    tidy::prepared(&setup)?;
    heading("conformance");
    conformance::conformance()?;
    heading("instruction counts");
    counts::prepared(&mut setup, false)?;
    heading("documentation");
    let doc = ["doc", "--workspace", "--no-deps"];
    process::show(process::cargo().env("RUSTDOCFLAGS", "--deny warnings").args(doc))?;
    heading("packages");
    package::prepared(&mut setup)?;
    heading("tests");
    test::prepared(setup, &[], true)?;
    eprintln!("\nci: all checks passed in {} s", started.elapsed().as_secs());
    Ok(())
}

fn heading(name: &str) {
    eprintln!("\n== {name}");
}

/// rustup's minimal profile lacks rustfmt and clippy.
fn components() -> Result<()> {
    let cargo = env::var_os("CARGO").and_then(|cargo| fs::canonicalize(cargo).ok());
    let Some(directory) = cargo.as_deref().and_then(Path::parent) else { return Ok(()) };
    let missing: Vec<&str> = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")]
        .into_iter()
        .filter(|(program, _)| !directory.join(program).exists())
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("installing {}", missing.join(" and "));
    process::step(&what, std::process::Command::new("rustup").args(["component", "add"]).args(missing))
}
