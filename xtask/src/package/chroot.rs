//! Starts the binary of a root that is handed out, by chroot, in namespaces of its own.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process;

/// What is done there, and what must hold.
const SCRIPT: &str = include_str!("chroot.sh");

/// Meters packets there, with the capabilities that README names and no others.
pub fn check(what: &str, root: &Path) -> Result<()> {
    let mut unshare = process::as_root("timeout", "starting what is in a root")?;
    unshare.args([
        "--kill-after=5",
        "120",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    unshare.args(["sh", "-c", SCRIPT, "chroot.sh"]).arg(root);
    process::step(&format!("starting {what} in its root"), &mut unshare)
        .with_context(|| format!("{what} does not run in {}", root.display()))
}
