//! Files: the agent reaches those that its configuration names and those that names and certificates are looked up in,
//! where the kernel has Landlock (5.13).

use std::{
    env,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, make_bitflags, path_beneath_rules,
};
use nix::unistd::Uid;
use tracing::debug;

use super::User;

/// The newest rules that are known here; older kernels do what they can of them.
const RULES: ABI = ABI::V5;

/// What is read to look up names, users, certificates and CPUs, and to load what does it.
const READ: [&str; 30] = [
    "/etc/ca-certificates",
    "/etc/ethers",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/lib",
    "/lib64",
    "/proc/self",
    "/proc/sys",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];
/// Where certificates are, by the environment.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];

/// Makes a directory, where there is none, for the user that this process will run as. What cannot be made is missed later.
pub(super) fn make(directory: &Path, user: Option<&User>) {
    if directory.exists() {
        return;
    }
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    let given = made.and_then(|()| user.map_or(Ok(()), |user| user.give(directory)));
    if let Err(error) = given {
        debug!("{}: {error}", directory.display());
    }
}

/// Nothing else can be opened from now on, by any thread that is started. What is open stays open.
pub(super) fn confine(read: &[PathBuf], write: &[PathBuf]) {
    match restrict(read, write) {
        Ok(RulesetStatus::NotEnforced) => {
            debug!("this kernel has no Landlock, or not for this process: files are those of the user");
        }
        Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => {}
        Err(error) => debug!("files are those of the user: {error}"),
    }
}

fn restrict(read: &[PathBuf], write: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    // Name services' files are replaced now and then, and a rule is for a file or a directory and not for a name. Of root's own files
    // in /etc, some are nobody else's business.
    let whole_etc = (!Uid::effective().is_root()).then_some("/etc");
    let named = VARIABLES.into_iter().filter_map(env::var_os);
    let named: Vec<PathBuf> = named.flat_map(|paths| env::split_paths(&paths).collect::<Vec<_>>()).collect();
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .create()?
        .add_rules(path_beneath_rules(READ, reading))?
        .add_rules(path_beneath_rules(whole_etc, reading))?
        .add_rules(path_beneath_rules(read.iter().chain(&named), reading))?
        .add_rules(path_beneath_rules(DEVICES, reading | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(write, reading | writing()))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Files, directories and sockets are made, renamed within their directory, and removed.
fn writing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir})
}
