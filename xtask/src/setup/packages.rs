//! Packages whose programs this project's tests and measurements use, with the services that they bring along.

use std::path::Path;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::apt::Apt;

/// A package of which a program is used.
pub struct Package {
    name: &'static str,
    /// A program of it whose presence shows that it is installed.
    program: &'static str,
    /// Services that the package starts on its own: they would take ports and meter interfaces of this machine.
    services: &'static [&'static str],
}

/// By its name, one of its programs, and the services that it starts.
pub const fn package(
    name: &'static str,
    program: &'static str,
    services: &'static [&'static str],
) -> Package {
    Package { name, program, services }
}

/// Installs those of `wanted` that are missing, for `whom`.
pub fn ensure(apt: &mut Apt, wanted: &[Package], whom: &str) -> Result<()> {
    let missing: Vec<&Package> =
        wanted.iter().filter(|package| process::find(package.program).is_none()).collect();
    if missing.is_empty() {
        eprintln!("programs of {whom}: all {} are here", wanted.len());
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !Apt::is_here() {
        let programs: Vec<&str> = missing.iter().map(|package| package.program).collect();
        bail!("{whom} need {}, and there is no apt-get to install them", programs.join(", "));
    }
    apt.install(&packages)?;
    // Only what this very run installed: whoever had the package before may want its service.
    let services: Vec<&str> = missing.iter().flat_map(|package| package.services).copied().collect();
    disable(&services)?;
    match missing.iter().find(|package| process::find(package.program).is_none()) {
        Some(Package { name, program, .. }) => {
            bail!("package {name} is installed, but {program} is not in PATH")
        }
        None => Ok(()),
    }
}

/// Stops the services and keeps them from starting again, where init is systemd. Elsewhere packages start nothing
/// that would outlive a container.
fn disable(services: &[&str]) -> Result<()> {
    if services.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    for service in services {
        let mut systemctl = process::as_root("systemctl", "disabling services of packages")?;
        // A unit that this version of the package does not have is no reason to stop.
        if process::output(systemctl.args(["disable", "--now", service])).is_some() {
            eprintln!("disabled {service}, which its package starts");
        }
    }
    Ok(())
}
