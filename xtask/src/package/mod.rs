//! `package`: what is handed out, under `target/package`: a Debian package and a tarball, with man pages, completions,
//! units and examples.

mod deb;
mod tree;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::packages::{self, Package, package as program};
use crate::{process, run, setup};

/// What makes and checks a Debian package.
const PROGRAMS: [Package; 3] = [
    program("dpkg-dev", "dpkg-shlibdeps", &[]),
    program("lintian", "lintian", &[]),
    program("gzip", "gzip", &[]),
];

/// Builds, makes both, checks the Debian package.
pub fn package() -> Result<()> {
    let mut setup = setup::setup()?;
    packages::ensure(&mut setup.apt, &PROGRAMS, "packages")?;
    let binary = run::release_binary()?;
    let directory = directory()?;
    let manuals = directory.join("manuals");
    let example = ["run", "--quiet", "--package", "netflow-user", "--example", "manuals", "--"];
    process::show(process::cargo().args(example).arg(&manuals))?;
    let parts = tree::Parts { binary, manuals, root: process::root() };
    let deb = deb::make(&parts, &directory)?;
    eprintln!("made {}", deb.display());
    process::show(
        Command::new("lintian").args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(&deb),
    )
    .context("lintian has something to say")?;
    let tarball = tree::tarball(&parts, &directory)?;
    eprintln!("made {}", tarball.display());
    Ok(())
}

/// An empty directory for it.
fn directory() -> Result<PathBuf> {
    let directory = process::target_dir()?.join("package");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}
