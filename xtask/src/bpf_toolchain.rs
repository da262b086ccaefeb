//! Which Rust toolchain builds the kernel program, told from what lies on the disk.
//!
//! Plain std and no process started: `cargo xtask setup` and netflow-user's build script share this file, so that
//! what the one prepares is what the other takes.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Name under which rustup knows the distribution's compiler.
pub const LINKED: &str = "bpf";

/// Name of the target the kernel program is built for.
pub const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// A toolchain that can build `core` for the BPF target, or has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BpfToolchain {
    /// A toolchain linked into rustup as [`LINKED`] that brings `core` for the BPF target ready-made.
    Linked {
        /// Where the toolchain lies.
        root: PathBuf,
    },
    /// rustup's nightly with the library's source, from which cargo builds `core`.
    Nightly {
        /// Where the toolchain lies.
        root: PathBuf,
    },
}

impl BpfToolchain {
    /// The toolchain that rustup at `rustup_home` offers. The linked one comes first: nothing has to be built for
    /// it, and it moves only with the distribution's updates.
    pub fn find(rustup_home: &Path) -> Option<Self> {
        let toolchains = rustup_home.join("toolchains");
        let linked = toolchains.join(LINKED);
        if has_prebuilt_core(&linked) {
            return Some(Self::Linked { root: linked });
        }
        let root = nightly(&toolchains)?;
        root.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file().then_some(Self::Nightly { root })
    }

    /// What `rustup run` calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linked { .. } => LINKED,
            Self::Nightly { .. } => "nightly",
        }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        match self {
            Self::Linked { root } | Self::Nightly { root } => root,
        }
    }
}

/// Whether the toolchain below `root` has a compiler and a ready-made `core` for the BPF target.
pub fn has_prebuilt_core(root: &Path) -> bool {
    let libraries = root.join("lib/rustlib").join(TARGET).join("lib");
    root.join("bin/rustc").is_file()
        && libraries.read_dir().is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
}

/// rustup's nightly of this machine's kind, dated nightlies left aside: `rustup run nightly` does not mean those.
fn nightly(toolchains: &Path) -> Option<PathBuf> {
    let prefix = format!("nightly-{}-", env::consts::ARCH);
    let mut entries = toolchains.read_dir().ok()?.flatten();
    entries.find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path())
}

/// Where rustup keeps its toolchains.
pub fn rustup_home() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("RUSTUP_HOME").or_else(|| Some(set("HOME")?.join(".rustup")))
}

/// The file that the command `name` means, looked up in `path`, a value like that of `PATH`.
pub fn find_command(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
