//! Environments of Python in the target directory, with packages of its registry: the system's own stays as it is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::apt::Apt;

/// Fails where a package is missing, or is there in another version.
const ARE_HERE: &str = "\
import importlib.metadata, sys
for wanted in sys.argv[1:]:
    name, version = wanted.split('==')
    assert importlib.metadata.version(name.split('[')[0]) == version
";

/// Makes the environment `name` with these packages (`NAME==VERSION`), unless it has them; its python.
pub fn environment(apt: &mut Apt, name: &str, wanted: &[&str]) -> Result<PathBuf> {
    let environment = process::target_dir()?.join(name);
    let python = environment.join("bin/python");
    if process::output(Command::new(&python).args(["-c", ARE_HERE]).args(wanted)).is_some() {
        return Ok(python);
    }
    let make = || process::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if make().is_none() {
        apt.install(&["python3-venv"])?;
        if make().is_none() {
            bail!("python3 -m venv {} failed", environment.display());
        }
    }
    process::step(
        &format!("installing {}", wanted.join(" ")),
        Command::new(&python).args(["-m", "pip", "install"]).args(wanted),
    )?;
    Ok(python)
}
