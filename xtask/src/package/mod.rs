//! `package`: what is handed out, under `target/package`: a Debian package, a tarball with a static binary, the root of a
//! container, with man pages, completions, units, examples and bills of materials.

mod chroot;
mod clean_root;
mod container;
mod deb;
pub mod distribution;
mod files;
mod sbom;
mod static_binary;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup::Setup;
use crate::setup::packages::{self, Package, package as program};
use crate::{process, run, setup};

/// What makes and checks a Debian package.
const PROGRAMS: [Package; 3] = [
    program("dpkg-dev", "dpkg-shlibdeps", &[]),
    program("lintian", "lintian", &[]),
    program("gzip", "gzip", &[]),
];

/// Builds and makes all of it; with `--check`, starts each as its users will.
pub fn package(arguments: &[String]) -> Result<()> {
    let with_checks = match arguments {
        [] => false,
        [one] if one == "--check" => true,
        _ => bail!("`package` knows `--check` and nothing else"),
    };
    let mut setup = setup::setup()?;
    let directory = directory()?;
    let (parts, deb) = debian_package(&mut setup, &directory)?;
    let container = container::make(&mut setup, &parts, &directory)?;
    eprintln!("made {}", container.display());
    let (static_parts, tarball) = tarball(&parts, &directory)?;
    eprintln!("made {}", tarball.display());
    files::check_sboms(&mut setup, &[&static_parts.sbom, &directory.join("container.cdx.json")])?;
    if with_checks {
        clean_root::check(&mut setup, &deb, &directory)?;
        chroot::check("the container", &container)?;
        chroot::check("the static binary", &alone(&static_parts, &directory)?)?;
        eprintln!(
            "{}, {} and {} are as they should be",
            deb.display(),
            container.display(),
            tarball.display()
        );
    }
    Ok(())
}

/// Makes the Debian package, and checks what takes no time: for `ci`.
pub fn prepared(setup: &mut Setup) -> Result<()> {
    debian_package(setup, &directory()?).map(drop)
}

fn debian_package(setup: &mut Setup, directory: &Path) -> Result<(tree::Parts, PathBuf)> {
    packages::ensure(&mut setup.apt, &PROGRAMS, "packages")?;
    let binary = run::release_binary()?;
    let manuals = directory.join("manuals");
    let example = ["run", "--quiet", "--package", "netflow-user", "--example", "manuals", "--"];
    process::show(process::cargo().args(example).arg(&manuals))?;
    let sbom = directory.join("netflow.cdx.json");
    sbom::write(&sbom, &[])?;
    let parts = tree::Parts { binary, manuals, sbom, root: process::root() };
    files::check(setup, &parts, directory)?;
    files::check_sboms(setup, &[&parts.sbom])?;
    let deb = deb::make(&parts, directory)?;
    eprintln!("made {}", deb.display());
    process::show(
        Command::new("lintian").args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(&deb),
    )
    .context("lintian has something to say")?;
    Ok((parts, deb))
}

fn tarball(parts: &tree::Parts, directory: &Path) -> Result<(tree::Parts, PathBuf)> {
    let binary = static_binary::build()?;
    static_binary::check(&binary)?;
    let sbom = directory.join("static.cdx.json");
    sbom::write(&sbom, &static_binary::contained()?)?;
    let parts = tree::Parts { binary, sbom, ..parts.clone() };
    let tarball = tree::tarball(&parts, directory)?;
    Ok((parts, tarball))
}

/// A root with nothing but the static binary and a configuration.
fn alone(parts: &tree::Parts, directory: &Path) -> Result<PathBuf> {
    let tree = tree::Tree::new(directory.join("alone"));
    tree::binary(&tree, &parts.binary)?;
    tree::configuration(&tree, parts)?;
    for below in container::DIRECTORIES {
        let below = tree.root().join(below);
        fs::create_dir_all(&below).with_context(|| format!("cannot make {}", below.display()))?;
    }
    Ok(tree.root().to_owned())
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
