//! The root of a container: the binary, the libraries that it needs and that it loads, the authorities that the distribution
//! trusts, and nothing that could be run beside it. The licence of each library lies beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::distribution::{self, DebianPackage};
use super::sbom;
use super::tree::{Parts, Tree};
use crate::setup::Setup;
use crate::setup::apt::Apt;

/// Compiles filters; loaded when there is one.
const LIBPCAP: (&str, &str) = ("libpcap0.8", "libpcap.so.0.8");
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Accounts, so that numbers have names; where names of hosts are looked up.
const FILES: [(&str, &str); 3] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\nnetflow:x:65532:65532:netflow:/var/lib/netflow:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\nnetflow:x:65532:\n"),
    ("/etc/nsswitch.conf", "hosts: files dns\n"),
];
/// Where something is mounted.
pub const DIRECTORIES: [&str; 6] = ["proc", "sys", "dev", "run/netflow", "tmp", "var/lib/netflow"];

/// Makes it; where it is.
pub fn make(setup: &mut Setup, parts: &Parts, directory: &Path) -> Result<PathBuf> {
    let tree = Tree::new(directory.join("container"));
    let binary = super::tree::binary(&tree, &parts.binary)?;
    let mut libraries = distribution::libraries(&binary)?;
    let libpcap = libpcap(&mut setup.apt)?;
    libraries.extend(distribution::libraries(&libpcap)?);
    libraries.insert(libpcap);
    let mut packages = BTreeSet::new();
    for library in &libraries {
        tree.copy(library, &library.to_string_lossy(), 0o755)?;
        packages.insert(DebianPackage::of(library)?);
    }
    if !Path::new(AUTHORITIES).exists() {
        setup.apt.install(&["ca-certificates"])?;
    }
    tree.copy(Path::new(AUTHORITIES), AUTHORITIES, 0o644)?;
    packages.insert(DebianPackage::installed("ca-certificates")?);
    for package in &packages {
        let copyright = format!("/usr/share/doc/{}/copyright", package.name);
        tree.copy(Path::new(&copyright), &copyright, 0o644)?;
    }
    tree.copy(&parts.root.join("LICENSE"), "/usr/share/doc/netflow/LICENSE", 0o644)?;
    for (name, text) in FILES {
        tree.write(text.as_bytes(), name, 0o644)?;
    }
    for below in DIRECTORIES {
        let below = tree.root().join(below);
        fs::create_dir_all(&below).with_context(|| format!("cannot make {}", below.display()))?;
    }
    super::tree::configuration(&tree, parts)?;
    let packages: Vec<DebianPackage> = packages.into_iter().collect();
    sbom::write(&directory.join("container.cdx.json"), &packages)?;
    tree.copy(&directory.join("container.cdx.json"), sbom::PLACE, 0o644)?;
    Ok(tree.root().to_owned())
}

/// The library, where the loader finds it.
fn libpcap(apt: &mut Apt) -> Result<PathBuf> {
    let (package, name) = LIBPCAP;
    let place = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)).join(name);
    if !place.exists() {
        apt.install(&[package])?;
    }
    anyhow::ensure!(place.exists(), "{package} has no {}", place.display());
    Ok(place)
}
