//! `tidy`: the rules of this project that no other tool knows, checked on every file of the tree and on the built
//! kernel object.

pub mod object;
mod rooms;
mod source;
mod words;

use std::env;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::setup::{self, Setup};
use crate::tidy::source::Source;

/// Above this many lines a Rust file has a second idea that wants a file of its own.
const LINES_TO_LOOK_AT: usize = 400;
const LINES_AT_MOST: usize = 600;
/// Files beyond this size are data.
const TEXT_AT_MOST: u64 = 1 << 20;

/// Something that a check found.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    line: usize,
    text: String,
    is_error: bool,
}

impl Finding {
    fn error(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into(), is_error: true }
    }
}

/// Sets up, then checks the tree and the kernel object.
pub fn tidy() -> Result<()> {
    prepared(&setup::setup()?)
}

/// Checks the tree and the kernel object on a machine that is set up.
pub fn prepared(setup: &Setup) -> Result<()> {
    let started = Instant::now();
    let root = process::root();
    let mut files = Vec::new();
    collect(&root, &mut files, "")?;
    let (mut errors, mut warnings) = (0, 0);
    for name in &files {
        let path = root.join(name);
        let Some(text) = read_text(&path)? else { continue };
        for finding in check(name, text, &root.to_string_lossy()) {
            let kind = if finding.is_error { "error" } else { "warning" };
            *(if finding.is_error { &mut errors } else { &mut warnings }) += 1;
            eprintln!("{kind}: {name}:{}: {}", finding.line, finding.text);
        }
    }
    eprintln!(
        "tidy: {} files, {errors} errors, {warnings} warnings in {:.1} s",
        files.len(),
        started.elapsed().as_secs_f32()
    );
    dependencies()?;
    object::check(setup.llvm_major)?;
    if errors > 0 {
        bail!("tidy found {errors} errors");
    }
    Ok(())
}

/// All checks of one file.
fn check(name: &str, text: String, checkout: &str) -> Vec<Finding> {
    let mut findings = words::check_paths(&text, checkout);
    if name.ends_with(".rs") {
        findings.extend(check_length(&text));
        let source = Source::new(name, text);
        findings.extend(words::check(&source));
        findings.extend(rooms::check(&source));
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

fn check_length(text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let is_error = lines > LINES_AT_MOST;
    let text = if is_error {
        format!("{lines} lines, {LINES_AT_MOST} is the limit")
    } else {
        format!("{lines} lines: look for the second idea in this file")
    };
    (lines > LINES_TO_LOOK_AT).then_some(Finding { line: lines, text, is_error })
}

/// Names of all files below `directory`, relative to the workspace; build output and git's own files left out.
fn collect(directory: &Path, files: &mut Vec<String>, prefix: &str) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().context("cannot list the workspace")?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().with_context(|| format!("cannot tell what {name} is"))?;
        if kind.is_file() {
            files.push(name);
        } else if kind.is_dir()
            && !entry.path().join("CACHEDIR.TAG").exists()
            && name != ".git"
            && name != "target"
        {
            collect(&entry.path(), files, &format!("{name}/"))?;
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<Option<String>> {
    let told = || format!("cannot read {}", path.display());
    if fs::metadata(path).with_context(told)?.len() > TEXT_AT_MOST {
        return Ok(None);
    }
    Ok(String::from_utf8(fs::read(path).with_context(told)?).ok())
}

/// Licences, sources and duplicates of dependencies, where cargo-deny is installed: building it takes minutes.
fn dependencies() -> Result<()> {
    if process::find("cargo-deny").is_none() {
        eprintln!("dependencies: not checked against deny.toml, cargo-deny is not installed");
        return Ok(());
    }
    let deny = ["deny", "--workspace", "--offline", "check", "bans", "licenses", "sources"];
    process::show(process::cargo().args(deny))
}

/// Whether this runs unattended, where a check that cannot be made is a failure.
fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_named_and_too_long_ones_refused() {
        assert_eq!(check_length(&"x\n".repeat(LINES_TO_LOOK_AT)), None);
        assert!(check_length(&"x\n".repeat(LINES_TO_LOOK_AT + 1)).is_some_and(|finding| !finding.is_error));
        assert!(check_length(&"x\n".repeat(LINES_AT_MOST + 1)).is_some_and(|finding| finding.is_error));
    }

    #[test]
    fn findings_of_a_file_come_in_the_order_of_its_lines() {
        let text = "use crate::transport::Udp;\nfn f() { todo!() }\n".to_owned();
        let findings = check("netflow-user/src/message/mod.rs", text, "/home/me/netflow");
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1, 2], "{findings:?}");
    }
}
