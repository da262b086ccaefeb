//! A minimal Debian: what is essential, systemd, and what the package depends on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;
use crate::setup::debian;

/// The release that packages are made for.
const RELEASE: &str = "bookworm";
/// What boots it, and what its script calls.
const PROGRAMS: [&str; 3] = ["systemd-sysv", "iproute2", "iputils-ping"];
/// Nobody reads there.
const LEFT_OUT: [&str; 4] =
    ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// Makes it in this directory, unless it is there with all that the package needs; where it is.
pub fn ensure(directory: &Path, deb: &Path) -> Result<PathBuf> {
    let depends = process::output(Command::new("dpkg-deb").arg("--field").arg(deb).arg("Depends"))
        .with_context(|| format!("{} does not say what it depends on", deb.display()))?;
    let wanted: Vec<&str> = PROGRAMS.into_iter().chain(names(&depends)).collect();
    let wanted = wanted.join(",");
    let (tree, stamp) = (directory.join("tree"), directory.join("packages"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(tree);
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let _ = fs::remove_file(&stamp);
    process::show(process::as_root("rm", "making a root")?.args(["-rf", "--one-file-system"]).arg(&tree))?;
    let mut mmdebstrap = process::as_root("mmdebstrap", "making a root")?;
    mmdebstrap.args(["--mode=root", "--variant=apt", "--format=directory"]);
    mmdebstrap.arg(format!("--include={wanted}"));
    mmdebstrap.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    // What is installed there later is installed whole.
    mmdebstrap.arg("--customize-hook=rm -f \"$1\"/etc/dpkg/dpkg.cfg.d/*mmdebstrap*");
    mmdebstrap.arg(RELEASE).arg(&tree);
    let sources = debian::sources(RELEASE)?;
    process::step(&format!("making a root of {RELEASE}"), mmdebstrap.args(sources.lines()))?;
    fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(tree)
}

/// The packages of a dependency field, the first of each alternative.
fn names(depends: &str) -> impl Iterator<Item = &str> {
    depends.trim().split(',').filter_map(|one| one.split(['|', '(']).next()?.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_the_first_of_each_alternative_without_versions() {
        let depends = "libc6 (>= 2.34), adduser | sysusers, libssl3(>= 3.0.0),init-system-helpers\n";
        let found: Vec<&str> = names(depends).collect();
        assert_eq!(found, ["libc6", "adduser", "libssl3", "init-system-helpers"]);
        assert_eq!(names("").count(), 0);
    }
}
