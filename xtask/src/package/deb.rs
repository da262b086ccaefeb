//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::tree::{Parts, Tree, fill};
use crate::process;

const MAINTAINER: &str = "The netflow authors <maintainers@netflow.example>";

/// Makes it; where it is.
pub fn make(parts: &Parts, directory: &Path) -> Result<PathBuf> {
    let tree = Tree::new(directory.join("deb"));
    fill(&tree, parts)?;
    let debian = parts.root.join("packaging/debian");
    tree.copy(&debian.join("copyright"), "/usr/share/doc/netflow/copyright", 0o644)?;
    let changelog = directory.join("changelog");
    fs::write(&changelog, changes()?)?;
    tree.compressed(&changelog, "/usr/share/doc/netflow/changelog")?;
    tree.copy(&parts.root.join("CHANGELOG.md"), "/usr/share/doc/netflow/CHANGELOG.md", 0o644)?;
    tree.copy(&parts.root.join("README.md"), "/usr/share/doc/netflow/README.md", 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        tree.copy(&debian.join(script), &format!("/DEBIAN/{script}"), 0o755)?;
    }
    tree.write(b"/etc/netflow/netflow.toml\n", "/DEBIAN/conffiles", 0o644)?;
    let architecture = process::output(Command::new("dpkg").arg("--print-architecture"))
        .context("dpkg does not tell the architecture")?;
    let control =
        control(architecture.trim(), &libraries(tree.root(), directory)?, octets(tree.root())? / 1024);
    tree.write(control.as_bytes(), "/DEBIAN/control", 0o644)?;
    tree.write(checksums(tree.root())?.as_bytes(), "/DEBIAN/md5sums", 0o644)?;
    let deb = directory.join(format!("netflow_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture.trim()));
    process::show(
        Command::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]).arg(tree.root()).arg(&deb),
    )?;
    Ok(deb)
}

/// The changelog in Debian's form, which says where the changes stand. Its date is that of the last commit.
fn changes() -> Result<String> {
    let date =
        process::output(Command::new("git").args(["log", "-1", "--format=%cD"]).current_dir(process::root()));
    let date = date.context("git does not tell the date of the last commit")?;
    let version = env!("CARGO_PKG_VERSION");
    let date = date.trim();
    Ok(format!(
        "netflow ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

fn control(architecture: &str, libraries: &str, kibibytes: u64) -> String {
    format!(
        "Package: netflow
Version: {version}
Section: net
Priority: optional
Architecture: {architecture}
Maintainer: {MAINTAINER}
Installed-Size: {kibibytes}
Depends: {libraries}, adduser, init-system-helpers (>= 1.54~)
Recommends: libpcap0.8
Description: flow exporter: every packet in a record, or counted with a reason
 XDP and TC programs count every packet of a network interface into flows,
 in the kernel; an agent exports them as NetFlow v5, v9 or IPFIX to any
 collector, over UDP, TCP, TLS, DTLS and SCTP, or writes them to files.
 Every packet seen is in exactly one exported record, or in a counter that
 says why not, and the operator can check that sum at any moment.
",
        version = env!("CARGO_PKG_VERSION")
    )
}

/// The libraries of the binary, with the versions that it needs.
fn libraries(root: &Path, directory: &Path) -> Result<String> {
    let place = directory.join("shlibdeps");
    fs::create_dir_all(place.join("debian"))?;
    fs::write(place.join("debian/control"), "Source: netflow\n\nPackage: netflow\nArchitecture: any\n")?;
    let mut shlibdeps = Command::new("dpkg-shlibdeps");
    shlibdeps.arg("-O").arg(format!("-e{}", root.join("usr/bin/netflow").display())).current_dir(&place);
    let said = process::output(&mut shlibdeps).context("dpkg-shlibdeps does not tell the libraries")?;
    let libraries =
        said.trim().strip_prefix("shlibs:Depends=").context("dpkg-shlibdeps says something else")?;
    Ok(libraries.to_owned())
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            match path.is_dir() {
                true if path.ends_with("DEBIAN") => {}
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn octets(root: &Path) -> Result<u64> {
    files(root)?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}

/// As `md5sum` writes them.
fn checksums(root: &Path) -> Result<String> {
    let files = files(root)?;
    let names = files.iter().filter_map(|file| file.strip_prefix(root).ok());
    let names: Vec<&Path> = names.filter(|name| !name.starts_with("etc")).collect();
    process::output(Command::new("md5sum").current_dir(root).args(names)).context("md5sum says nothing")
}
