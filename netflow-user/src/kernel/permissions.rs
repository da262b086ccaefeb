//! What the kernel and the process must have before anything is loaded, explained by name.

use std::{fmt, fs};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::KernelError;

/// A kernel release, such as 6.1 of "6.1.0-18-amd64".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelVersion {
    /// Major and minor number.
    pub major: u32,
    /// As above.
    pub minor: u32,
}

impl KernelVersion {
    /// The oldest kernel that is supported: ring buffer (5.8), BPF links for XDP (5.9), inner maps of
    /// other sizes than the template (5.10).
    pub const OLDEST: Self = Self { major: 5, minor: 10 };
    /// XDP programs for frames of several buffers.
    pub const XDP_FRAGMENTS: Self = Self { major: 5, minor: 18 };
    /// Links of TC programs.
    pub const TCX: Self = Self { major: 6, minor: 6 };

    /// The running kernel.
    pub fn running() -> Option<Self> {
        let uname = rustix::system::uname();
        Self::parse(&uname.release().to_string_lossy())
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Capabilities that loading and attaching need, with their bit (`linux/capability.h`).
const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON.
const SYS_ADMIN: u32 = 21;

/// The capabilities that this process lacks; `None` if it lacks none.
pub fn missing_capabilities() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    missing(u64::from_str_radix(line.trim(), 16).ok()?)
}

fn missing(effective: u64) -> Option<String> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    let lacking: Vec<&str> = NEEDED
        .iter()
        .filter(|(bit, _)| !has(*bit) && (*bit < 38 || !has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    (!lacking.is_empty()).then(|| lacking.join(", "))
}

/// Checks both; called before the load, whose own errors say only `EPERM` or `EINVAL`.
pub(super) fn check() -> Result<KernelVersion, KernelError> {
    if let Some(missing) = missing_capabilities() {
        return Err(KernelError::MissingCapabilities { missing });
    }
    let version = KernelVersion::running().unwrap_or(KernelVersion::OLDEST);
    supported(version)?;
    Ok(version)
}

/// Before 5.11 maps count as locked memory, of which a process may have 64 KiB by default.
pub fn lift_memory_limit() {
    if KernelVersion::running().is_none_or(|version| version < KernelVersion { major: 5, minor: 11 }) {
        let unlimited = Rlimit { current: None, maximum: None };
        // Without CAP_SYS_RESOURCE it stays as it is; the map that does not fit says so.
        let _ = setrlimit(Resource::Memlock, unlimited);
    }
}

/// Names what an old kernel lacks, and the first one that has it.
fn supported(version: KernelVersion) -> Result<(), KernelError> {
    let lacks =
        |feature, needed| Err(KernelError::KernelTooOld { found: version.to_string(), feature, needed });
    match (version.major, version.minor) {
        (..5, _) | (5, ..8) => lacks("a BPF ring buffer", "5.8"),
        (5, 8) => lacks("a BPF link for XDP", "5.9"),
        (5, 9) => lacks("a map of maps of any size", "5.10"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn kernel_releases_are_read_whatever_follows() {
        for (release, major, minor) in
            [("6.18.44-fc-v669", 6, 18), ("5.10.0-28-amd64", 5, 10), ("6.1", 6, 1), ("7.0-rc1", 7, 0)]
        {
            assert_eq!(KernelVersion::parse(release).unwrap(), KernelVersion { major, minor });
        }
        assert_eq!(KernelVersion::parse("unknown"), None);
    }

    #[test]
    fn what_an_old_kernel_lacks_is_named_with_the_version_that_has_it() {
        let version = |major, minor| KernelVersion { major, minor };
        for (old, text) in [
            (version(4, 19), "kernel 4.19 is too old: a BPF ring buffer needs 5.8 or newer, the meter 5.10"),
            (version(5, 7), "kernel 5.7 is too old: a BPF ring buffer needs 5.8 or newer, the meter 5.10"),
            (version(5, 8), "kernel 5.8 is too old: a BPF link for XDP needs 5.9 or newer, the meter 5.10"),
            (
                version(5, 9),
                "kernel 5.9 is too old: a map of maps of any size needs 5.10 or newer, the meter 5.10",
            ),
        ] {
            assert_eq!(supported(old).unwrap_err().to_string(), text);
        }
        for good in [KernelVersion::OLDEST, version(5, 15), version(6, 0), version(7, 1)] {
            assert!(supported(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing(u64::MAX), None);
        assert_eq!(missing(0).unwrap(), "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF");
        assert_eq!(missing(1 << 12 | 1 << 21), None);
        assert_eq!(missing(1 << 12 | 1 << 39).unwrap(), "CAP_PERFMON");
    }
}
