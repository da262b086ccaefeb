//! Debian's mirrors, as the machine's own sources name them: for other releases than its own, and for roots of their own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// Where Debian keeps the keys that its releases are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The lines of a source list for a release.
pub fn sources(release: &str) -> Result<String> {
    let configured = process::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)",
        "Created-By: Packages",
    ]))
    .context(
        "apt-get is not here, or cannot tell its sources: what is needed comes from Debian's packages",
    )?;
    let sources = lines(&configured, release, Path::new(KEYRING).exists());
    ensure!(!sources.is_empty(), "apt's sources name no mirror of Debian (`apt-get update` may be needed)");
    Ok(sources)
}

/// The lines, on the mirrors that are configured for this machine's own release.
fn lines(configured: &str, release: &str, has_keyring: bool) -> String {
    let signed = if has_keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let mut lines: Vec<String> = Vec::new();
    for target in configured.lines() {
        let mut fields = target.splitn(4, '|');
        let (Some("Debian"), Some("main"), Some(codename), Some(mirror)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let suite = match codename.split_once('-') {
            None => release.to_owned(),
            Some((_, "security")) => format!("{release}-security"),
            Some(_) => continue,
        };
        let line = format!("deb {signed}{mirror} {suite} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_of_the_configured_sources() {
        let configured = "Debian|main|bookworm|http://mirror.example/debian/\n\
                          Debian|main|bookworm-updates|http://mirror.example/debian/\n\
                          Debian|main|bookworm-security|http://mirror.example/security/\n\
                          Debian|contrib|bookworm|http://mirror.example/debian/\n\
                          Others|main|stable|http://others.example/\n";
        assert_eq!(
            lines(configured, "bullseye", false),
            "deb http://mirror.example/debian/ bullseye main\n\
             deb http://mirror.example/security/ bullseye-security main\n"
        );
        assert!(lines(configured, "bullseye", true).starts_with("deb [signed-by=/usr/share/keyrings/"));
        assert_eq!(lines("Ubuntu|main|noble|http://mirror.example/\n", "bullseye", false), "");
    }
}
