//! `test` and `kernel-tests`: unit tests as the invoking user, then the tests that need root, in their own network
//! namespaces, with programs not written here as judges.

mod judges;
mod namespaces;

use std::env;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::setup::Setup;
use crate::{process, run, setup};

/// Sets up, then runs all tests whose names contain one of `filters`; without filters, all of them.
pub fn all(filters: &[String]) -> Result<()> {
    let setup = setup::setup()?;
    prepared(setup, filters, true)
}

/// Sets up, then runs only the tests that need root.
pub fn privileged_only(filters: &[String]) -> Result<()> {
    let setup = setup::setup()?;
    prepared(setup, filters, false)
}

/// Runs the tests on a machine that is set up.
pub fn prepared(mut setup: Setup, filters: &[String], unit_tests: bool) -> Result<()> {
    let started = Instant::now();
    if let Some(option) = filters.iter().find(|filter| filter.starts_with('-')) {
        bail!("tests are chosen by words of their names, `{option}` is an option");
    }
    judges::ensure(&mut setup.apt)?;
    namespaces::remove_orphans()?;
    run::release_binary()?;
    if unit_tests {
        eprintln!("unit tests");
        process::show(process::cargo().args(["test", "--workspace", "--"]).args(filters))?;
    }
    let outcome = privileged(filters);
    namespaces::remove_orphans()?;
    outcome?;
    eprintln!("all tests passed in {} s", started.elapsed().as_secs());
    Ok(())
}

fn privileged(filters: &[String]) -> Result<()> {
    let sudo = process::sudo("testing in network namespaces")?;
    eprintln!(
        "kernel, end-to-end and interoperation tests, one after the other; some send millions of packets"
    );
    let mut cargo = process::cargo();
    cargo.arg("test");
    if !sudo.is_empty() {
        // cargo builds as this user; only the finished test programs start through sudo.
        let path = env::var("PATH").context("PATH is not UTF-8")?;
        cargo.arg("--config").arg(runner(sudo, &path));
    }
    cargo.args([
        "--release",
        "--package",
        "tests",
        "--tests",
        "--no-fail-fast",
        "--",
        "--ignored",
        "--test-threads=1",
    ]);
    process::show(cargo.args(filters))
}

/// The setting that lets cargo start test programs through sudo; sudo would give them a `PATH` of its own.
fn runner(sudo: &[&str], path: &str) -> String {
    let path = format!("PATH={path}");
    let words: Vec<&str> = sudo.iter().copied().chain(["-E", "env", &path]).collect();
    format!("target.'cfg(target_os = \"linux\")'.runner = {words:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_a_list_of_words() {
        assert_eq!(
            runner(&["sudo"], "/usr/sbin:/my tools"),
            r#"target.'cfg(target_os = "linux")'.runner = ["sudo", "-E", "env", "PATH=/usr/sbin:/my tools"]"#
        );
    }
}
