//! Where files lie on a system, and the tarball of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::sbom;
use crate::process;

/// What packages are made of.
#[derive(Clone)]
pub struct Parts {
    /// The release binary.
    pub binary: PathBuf,
    /// What the example `manuals` wrote.
    pub manuals: PathBuf,
    /// What the binary is made of.
    pub sbom: PathBuf,
    /// The workspace.
    pub root: PathBuf,
}

/// Files for a system, to be put where they belong below some directory.
pub struct Tree(PathBuf);

impl Tree {
    /// Below this directory.
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Copies a file to a place, an absolute path, with these permissions.
    pub fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<PathBuf> {
        let octets = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(&octets, to, mode)
    }

    /// Writes a file.
    pub fn write(&self, octets: &[u8], to: &str, mode: u32) -> Result<PathBuf> {
        let place = self.0.join(to.trim_start_matches('/'));
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(&place, octets).with_context(|| format!("cannot write {}", place.display()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))?;
        Ok(place)
    }

    /// Copies a file and compresses it, always to the same octets.
    pub fn compressed(&self, from: &Path, to: &str) -> Result<()> {
        let place = self.copy(from, to, 0o644)?;
        process::show(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(place))
    }
}

/// What every package has.
pub fn fill(tree: &Tree, parts: &Parts) -> Result<()> {
    binary(tree, &parts.binary)?;
    for page in fs::read_dir(parts.manuals.join("man"))? {
        let page = page?;
        let to = format!("/usr/share/man/man1/{}", page.file_name().to_string_lossy());
        tree.compressed(&page.path(), &to)?;
    }
    for (from, to) in [
        ("bash/netflow.bash", "/usr/share/bash-completion/completions/netflow"),
        ("zsh/_netflow", "/usr/share/zsh/vendor-completions/_netflow"),
        ("fish/netflow.fish", "/usr/share/fish/vendor_completions.d/netflow.fish"),
    ] {
        tree.copy(&parts.manuals.join(from), to, 0o644)?;
    }
    let packaging = parts.root.join("packaging");
    for (from, to) in [
        ("systemd/netflow.service", "/lib/systemd/system/netflow.service"),
        ("systemd/netflow@.service", "/lib/systemd/system/netflow@.service"),
        ("systemd/netflow.sysusers", "/usr/lib/sysusers.d/netflow.conf"),
        ("systemd/mirror-port.conf", "/usr/share/doc/netflow/examples/mirror-port.conf"),
        ("grafana/netflow.json", "/usr/share/doc/netflow/examples/grafana.json"),
        ("prometheus/netflow.rules.yml", "/usr/share/doc/netflow/examples/netflow.rules.yml"),
        ("kubernetes/netflow.yaml", "/usr/share/doc/netflow/examples/kubernetes.yaml"),
    ] {
        tree.copy(&packaging.join(from), to, 0o644)?;
    }
    tree.copy(&parts.sbom, sbom::PLACE, 0o644)?;
    configuration(tree, parts)
}

/// The program; where it is.
pub fn binary(tree: &Tree, built: &Path) -> Result<PathBuf> {
    let binary = tree.copy(built, "/usr/bin/netflow", 0o755)?;
    // What it weighs otherwise is line tables.
    process::show(
        Command::new("strip").args(["--strip-unneeded", "--remove-section=.comment"]).arg(&binary),
    )?;
    Ok(binary)
}

/// A configuration that runs.
pub fn configuration(tree: &Tree, parts: &Parts) -> Result<()> {
    let mut configuration = fs::read_to_string(parts.manuals.join("netflow.toml"))?;
    configuration.push_str(&fs::read_to_string(parts.root.join("packaging/debian/collector.toml"))?);
    tree.write(configuration.as_bytes(), "/etc/netflow/netflow.toml", 0o644).map(drop)
}

/// The same files as a tarball, for other distributions: its binary is a static one.
pub fn tarball(parts: &Parts, directory: &Path) -> Result<PathBuf> {
    let name = format!("netflow-{}-{}-static", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let tree = Tree::new(directory.join(&name));
    fill(&tree, parts)?;
    tree.copy(&parts.root.join("README.md"), "/README.md", 0o644)?;
    tree.copy(&parts.root.join("LICENSE"), "/LICENSE", 0o644)?;
    let tarball = directory.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--gzip",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--sort=name",
        "--directory",
    ]);
    process::show(tar.arg(directory).arg("--file").arg(&tarball).arg(&name))?;
    Ok(tarball)
}
