//! Later versions of the package: the same files with another number, and a configuration that has changed.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;

const CONFIGURATION: &str = "etc/netflow/netflow.toml";

/// Makes `1.deb`, the package itself, and two later ones.
pub fn make(deb: &Path, directory: &Path) -> Result<()> {
    fs::copy(deb, directory.join("1.deb")).with_context(|| format!("cannot copy {}", deb.display()))?;
    let tree = directory.join("later");
    process::show(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let first = fs::read_to_string(&control).with_context(|| format!("cannot read {}", control.display()))?;
    for number in ["2", "3"] {
        fs::write(&control, later(&first, number)?)
            .with_context(|| format!("cannot write {}", control.display()))?;
        let changed = OpenOptions::new().append(true).open(tree.join(CONFIGURATION));
        changed.and_then(|mut file| writeln!(file, "# of version {number}")).context(CONFIGURATION)?;
        // Not compressed: that is what takes its time.
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "-Znone", "--build"]).arg(&tree);
        process::show(build.arg(directory.join(format!("{number}.deb"))))?;
    }
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))
}

/// The control file of a later version.
fn later(control: &str, number: &str) -> Result<String> {
    let mut found = false;
    let lines = control.lines().map(|line| {
        let is_version = line.starts_with("Version: ");
        found |= is_version;
        if is_version { format!("{line}+{number}\n") } else { format!("{line}\n") }
    });
    let later = lines.collect();
    ensure!(found, "the package has no version");
    Ok(later)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_later_version_differs_in_its_number_only() {
        let control = "Package: x\nVersion: 0.1.0\nDescription: x\n Version: y\n";
        let expected = "Package: x\nVersion: 0.1.0+2\nDescription: x\n Version: y\n";
        assert_eq!(later(control, "2").unwrap(), expected);
        assert!(later("Package: x\n", "2").is_err());
    }
}
