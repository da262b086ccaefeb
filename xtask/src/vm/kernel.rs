//! Debian's kernels: fetched by apt from the mirror that this machine's own sources name, with lists and cache of their
//! own, and unpacked below the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process;
use crate::setup::debian;

/// The package that depends on the release's newest kernel.
const NEWEST: &str = "linux-image-amd64";

/// A kernel of an earlier release.
#[derive(Clone, Copy)]
pub struct OldKernel {
    /// Debian's name of the release.
    pub release: &'static str,
    /// The beginning of the kernel's own release.
    pub version: &'static str,
}

/// An unpacked kernel.
pub struct Unpacked {
    /// Such as 5.10.0-46-amd64.
    pub release: String,
    /// The image that boots.
    pub image: PathBuf,
    /// Its modules.
    pub modules: PathBuf,
}

impl OldKernel {
    /// The kernel, fetched and unpacked unless it lies there already. (Remove the directory to get a newer one.)
    pub fn unpacked(self, directory: &Path) -> Result<Unpacked> {
        let directory = directory.join(self.release);
        let tree = directory.join("tree");
        if let Ok(unpacked) = find(&tree, self.version) {
            return Ok(unpacked);
        }
        let package = self.fetch(&directory)?;
        let what = format!("unpacking {} of {}", NEWEST, self.release);
        // Unpacked under another name first: a tree that is there is whole.
        let partial = directory.join("partial");
        let _ = fs::remove_dir_all(&partial);
        process::step(&what, Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&partial))?;
        let _ = fs::remove_file(&package);
        fs::rename(&partial, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
        find(&tree, self.version)
    }

    /// Downloads the release's newest kernel; the package's file.
    fn fetch(self, directory: &Path) -> Result<PathBuf> {
        let apt = PrivateApt::new(directory, self.release)?;
        process::step(&format!("fetching the package lists of {}", self.release), apt.get().arg("update"))?;
        let depends = process::output(apt.command("apt-cache").args(["depends", NEWEST]))
            .with_context(|| format!("{} offers no {NEWEST}", self.release))?;
        let package = dependency(&depends, self.version)
            .with_context(|| format!("{NEWEST} of {} depends on no kernel {}", self.release, self.version))?;
        let what = format!("fetching {package}");
        process::step(&what, apt.get().current_dir(directory).args(["download", &package]))?;
        let file = fs::read_dir(directory)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&package)));
        file.with_context(|| format!("{package} was fetched and is not there"))
    }
}

/// The kernel package that the newest one stands for.
fn dependency(depends: &str, version: &str) -> Option<String> {
    let wanted = format!("linux-image-{version}.");
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with(&wanted))
        .map(str::to_owned)
}

fn find(tree: &Path, version: &str) -> Result<Unpacked> {
    let boot = tree.join("boot");
    for entry in fs::read_dir(&boot).with_context(|| format!("no {}", boot.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            ensure!(release.starts_with(version), "{} is not a kernel {version}", entry.path().display());
            let modules = tree.join("lib/modules").join(release);
            return Ok(Unpacked { release: release.to_owned(), image: entry.path(), modules });
        }
    }
    bail!("no kernel in {}", boot.display())
}

/// apt with one release as its only source: the machine's own lists, sources and cache stay as they are.
struct PrivateApt {
    options: Vec<String>,
}

impl PrivateApt {
    fn new(directory: &Path, release: &str) -> Result<Self> {
        let sources = debian::sources(release)?;
        for below in ["lists/partial", "cache/archives/partial"] {
            let below = directory.join(below);
            fs::create_dir_all(&below).with_context(|| format!("cannot make {}", below.display()))?;
        }
        let list = directory.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        let option = |name: &str, value: &str| format!("{name}={value}");
        let path = |below: &str| directory.join(below).display().to_string();
        let options = vec![
            option("Dir::Etc::sourcelist", &list.display().to_string()),
            option("Dir::Etc::sourceparts", "-"),
            option("Dir::State::lists", &path("lists")),
            option("Dir::Cache", &path("cache")),
            // The user of apt's sandbox may not see this directory.
            option("APT::Sandbox::User", if process::is_root() { "root" } else { "" }),
            option("Acquire::Retries", "3"),
        ];
        Ok(Self { options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    fn get(&self) -> Command {
        self.command("apt-get")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_names_the_kernel_of_that_version() {
        let depends = "linux-image-amd64\n  Depends: linux-image-5.10.0-46-amd64\n  Conflicts: x\n";
        assert_eq!(dependency(depends, "5.10").as_deref(), Some("linux-image-5.10.0-46-amd64"));
        assert_eq!(dependency(depends, "5.1"), None);
    }
}
