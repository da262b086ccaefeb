//! Files of this machine's distribution that are handed out with the binary: which libraries it needs, and which packages
//! they are of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// A package, by its name and its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DebianPackage {
    pub name: String,
    pub version: String,
}

impl DebianPackage {
    /// An installed one.
    pub fn installed(name: &str) -> Result<Self> {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", "--showformat=${Package} ${Version}", name]);
        let answer = process::output(&mut query).with_context(|| format!("{name} is not installed"))?;
        let (name, version) = answer.split_once(' ').context("dpkg-query says something else")?;
        Ok(Self { name: name.to_owned(), version: version.to_owned() })
    }

    /// Whose file this is.
    pub fn of(file: &Path) -> Result<Self> {
        // dpkg knows files by the names that they had before /lib became a part of /usr.
        let real = fs::canonicalize(file).with_context(|| format!("no {}", file.display()))?;
        let merged = real.strip_prefix("/usr").ok().map(|inner| Path::new("/").join(inner));
        let answer = [Some(real.clone()), merged].into_iter().flatten().find_map(|name| {
            process::output(Command::new("dpkg-query").env("LC_ALL", "C").arg("--search").arg(name))
        });
        let answer = answer.with_context(|| format!("{} is of no package", real.display()))?;
        let name = answer.split(": ").next().unwrap_or_default();
        Self::installed(name.split(',').next().unwrap_or_default())
    }

    /// As others name it: <https://github.com/package-url/purl-spec>.
    pub fn purl(&self) -> String {
        let version = self.version.replace('+', "%2B").replace(':', "%3A");
        format!("pkg:deb/debian/{}@{version}", self.name)
    }
}

/// The shared libraries of a program or a library, the loader among them.
pub fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = process::output(Command::new("ldd").env("LC_ALL", "C").arg(program));
    let listed = listed.with_context(|| format!("ldd cannot tell the libraries of {}", program.display()))?;
    Ok(paths(&listed))
}

fn paths(listed: &str) -> BTreeSet<PathBuf> {
    listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_names() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected: BTreeSet<PathBuf> =
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from).into();
        assert_eq!(paths(listed), expected);
    }
}
