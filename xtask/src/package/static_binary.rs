//! A binary that needs nothing of the system that it runs on, not even its C library: for distributions that are older or
//! newer than this one, and for roots that are empty.
//!
//! It is the GNU C library's and OpenSSL's static libraries of this distribution, with its fixes: musl has an allocator that
//! costs throughput, and would need an OpenSSL of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::distribution::DebianPackage;
use crate::process;

/// Libraries that are inside of it.
const CONTAINED: [&str; 3] = ["libc.a", "libssl.a", "libgcc_eh.a"];

/// Builds it.
pub fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let variable = |name: &str| {
        process::output(Command::new("pkg-config").args(["--variable", name, "openssl"]))
            .with_context(|| format!("pkg-config does not tell the {name} of openssl"))
    };
    let (libraries, headers) = (variable("libdir")?, variable("includedir")?);
    let libraries = libraries.trim();
    ensure!(
        Path::new(libraries).join("libssl.a").exists(),
        "{libraries} has no libssl.a to link statically: Debian's libssl-dev has one"
    );
    eprintln!("building the static release binary; the first time takes a minute or two");
    let mut build = process::cargo();
    build
        // With a target named, build scripts and procedural macros stay as they are.
        .args(["build", "--release", "--package", "netflow-user", "--bin", "netflow", "--target", &target])
        .env(rust_flags(&target), "--codegen target-feature=+crt-static")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("OPENSSL_STATIC", "1")
        .env("OPENSSL_LIB_DIR", libraries)
        .env("OPENSSL_INCLUDE_DIR", headers.trim());
    process::show(&mut build)?;
    Ok(process::target_dir()?.join(target).join("release/netflow"))
}

/// The variable that has the flags of one target.
fn rust_flags(target: &str) -> String {
    format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"))
}

/// Packages whose code is in it.
pub fn contained() -> Result<Vec<DebianPackage>> {
    let package_of = |library: &&str| {
        let place = process::output(Command::new("cc").arg(format!("-print-file-name={library}")));
        DebianPackage::of(Path::new(place.context("cc does not tell where libraries are")?.trim()))
    };
    CONTAINED.iter().map(package_of).collect()
}

/// Makes sure that it is static.
pub fn check(binary: &Path) -> Result<()> {
    // ldd fails for what is not dynamic, unless its place in memory may vary.
    let said = process::output(Command::new("ldd").env("LC_ALL", "C").arg(binary)).unwrap_or_default();
    ensure!(
        said.is_empty() || said.contains("statically linked"),
        "{} needs libraries: {said}",
        binary.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_target_have_their_variable() {
        assert_eq!(rust_flags("x86_64-unknown-linux-gnu"), "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS");
    }
}
