//! OpenSSL's headers, and pkg-config to find them: DTLS is by the system's library.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::setup::apt::Apt;

const PACKAGES: [&str; 2] = ["libssl-dev", "pkg-config"];

/// Finds or installs what the `openssl` crate builds with.
pub fn ensure(apt: &mut Apt) -> Result<()> {
    let version = || process::output(Command::new("pkg-config").args(["--modversion", "openssl"]));
    if version().is_none() && Apt::is_here() {
        apt.install(&PACKAGES)?;
    }
    match version() {
        Some(version) => eprintln!("OpenSSL: found {}", version.trim()),
        // It may lie where only the crate's own variables lead.
        None if std::env::var_os("OPENSSL_DIR").is_some_and(|path| Path::new(&path).is_dir()) => {}
        None => eprintln!(
            "OpenSSL's development files are not found: install them with pkg-config, or build without DTLS by `--no-default-features`"
        ),
    }
    Ok(())
}
