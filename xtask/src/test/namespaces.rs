//! Network namespaces that killed tests left behind. Tests name theirs `nft-PID-...`.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::process;

const DIRECTORY: &str = "/run/netns";

/// Removes the namespaces whose test no longer runs; others belong to somebody who is still at work.
pub fn remove_orphans() -> Result<()> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Ok(()) };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if !is_orphan(&name, |pid| Path::new("/proc").join(pid.to_string()).exists()) {
            continue;
        }
        let mut ip = process::as_root("ip", "removing network namespaces of earlier tests")?;
        let removed = process::output(ip.args(["netns", "delete", &name])).is_some();
        eprintln!(
            "{} network namespace {name} of an earlier test",
            if removed { "removed" } else { "cannot remove" }
        );
    }
    Ok(())
}

fn is_orphan(name: &str, runs: impl Fn(u32) -> bool) -> bool {
    let pid =
        name.strip_prefix("nft-").and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| !runs(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_ended_tests_are_orphans() {
        let runs = |pid| pid == 7;
        assert!(is_orphan("nft-8-collector", runs));
        assert!(is_orphan("nft-8", runs));
        assert!(!is_orphan("nft-7-collector", runs));
        assert!(!is_orphan("nft-x-8", runs));
        assert!(!is_orphan("lab-8", runs));
    }
}
