//! The Debian package in a clean Debian: a small root that is made once, booted with systemd in a container of its own, in
//! which a script installs, runs, reloads, upgrades, removes and purges. Nothing that happens there stays.

mod boot;
mod root;
mod versions;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process;
use crate::setup::Setup;
use crate::setup::packages::{self, Package, package};

/// What makes the root, and what boots it.
const PROGRAMS: [Package; 2] =
    [package("mmdebstrap", "mmdebstrap", &[]), package("systemd-container", "systemd-nspawn", &[])];
/// What is done there, and what must hold.
const GUEST: &str = include_str!("guest.sh");

/// Runs all of it with this package, which lies in `directory`.
pub fn check(setup: &mut Setup, deb: &Path, directory: &Path) -> Result<()> {
    packages::ensure(&mut setup.apt, &PROGRAMS, "the clean root")?;
    let root = root::ensure(&process::target_dir()?.join("xtask/clean-root"), deb)?;
    let inside = directory.join("check");
    fs::create_dir_all(&inside).with_context(|| format!("cannot make {}", inside.display()))?;
    versions::make(deb, &inside)?;
    let guest = inside.join("guest.sh");
    fs::write(&guest, GUEST).with_context(|| format!("cannot write {}", guest.display()))?;
    fs::set_permissions(&guest, fs::Permissions::from_mode(0o755))?;
    boot::run(&root, &inside)?;
    fs::remove_dir_all(&inside).with_context(|| format!("cannot remove {}", inside.display()))
}
