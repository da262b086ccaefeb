//! Files that are handed out as they are: units, the manifest for Kubernetes, bills of materials; each by the judgement of
//! its own tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::tree::Parts;
use crate::process;
use crate::setup::Setup;
use crate::setup::packages::{self, Package, package};
use crate::setup::python;

const PROGRAMS: [Package; 1] = [package("systemd", "systemd-analyze", &[])];
const UNITS: [&str; 2] = ["netflow.service", "netflow@.service"];
/// What `systemd-analyze security` may give a unit at most, in tenths: 0 is confined, 100 is not.
const EXPOSURE: &str = "--threshold=18";

/// Brings the schemas of Kubernetes, by version.
const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";
/// Versions of Kubernetes that the manifest has to be right for.
const KUBERNETES: [&str; 2] = ["1.28", "1.37"];
const MANIFEST: &str = "packaging/kubernetes/netflow.yaml";
/// Prints the configuration in the manifest's ConfigMap, and the image in its DaemonSet.
const PARTS_OF_MANIFEST: &str = "\
import sys, yaml
parts = {part['kind']: part for part in yaml.safe_load_all(open(sys.argv[1]))}
print(parts['DaemonSet']['spec']['template']['spec']['containers'][0]['image'])
print(parts['ConfigMap']['data']['netflow.toml'])
";

/// Brings the schemas of CycloneDX.
const CYCLONEDX: &str = "cyclonedx-python-lib[json-validation]==11.12.0";
const VALIDATE_CYCLONEDX: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
for name in sys.argv[1:]:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(name).read())
    if error:
        sys.exit(f'{name}: {error}')
";

/// Checks units and the manifest, with a directory for what that takes.
pub fn check(setup: &mut Setup, parts: &Parts, directory: &Path) -> Result<()> {
    packages::ensure(&mut setup.apt, &PROGRAMS, "units")?;
    let started = directory.join("units");
    fs::create_dir_all(&started).with_context(|| format!("cannot make {}", started.display()))?;
    UNITS.iter().try_for_each(|unit| check_unit(unit, parts, &started))?;
    check_manifest(setup, parts, directory)
}

fn check_unit(name: &str, parts: &Parts, directory: &Path) -> Result<()> {
    let unit = parts.root.join("packaging/systemd").join(name);
    let text = fs::read_to_string(&unit).with_context(|| format!("cannot read {}", unit.display()))?;
    // What a unit starts has to be there.
    let here = directory.join(name);
    fs::write(&here, text.replace("/usr/bin/netflow", &parts.binary.to_string_lossy()))
        .with_context(|| format!("cannot write {}", here.display()))?;
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here).output();
    let verified = verified.context("cannot start systemd-analyze")?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // A key that it does not know is said, and no failure. It may say something of this machine's own units.
    if !verified.status.success() || said.contains(name) {
        bail!("systemd-analyze verify {name}: {}", said.trim());
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", EXPOSURE]).arg(&unit);
    ensure!(
        process::output(&mut security).is_some(),
        "systemd-analyze security {name}: exposed beyond {EXPOSURE}"
    );
    Ok(())
}

fn check_manifest(setup: &mut Setup, parts: &Parts, directory: &Path) -> Result<()> {
    let manifest = parts.root.join(MANIFEST);
    let python = python::environment(&mut setup.apt, "kubernetes", &[KUBERNETES_VALIDATE])?;
    for version in KUBERNETES {
        let mut validate = Command::new(python.with_file_name("kubernetes-validate"));
        validate.args(["--strict", "--quiet", "--kubernetes-version", version]).arg(&manifest);
        process::show(&mut validate).with_context(|| format!("{MANIFEST} is not of Kubernetes {version}"))?;
    }
    let printed = process::output(Command::new(&python).args(["-c", PARTS_OF_MANIFEST]).arg(&manifest))
        .with_context(|| format!("{MANIFEST} has no configuration or no image"))?;
    let (image, configuration) = printed.split_once('\n').context("no line for the image")?;
    let expected = concat!("netflow:", env!("CARGO_PKG_VERSION"));
    ensure!(image == expected, "{MANIFEST} has the image {image}, this is {expected}");
    let file = directory.join("kubernetes.toml");
    fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
    process::show(Command::new(&parts.binary).args(["config", "check"]).arg(&file))
}

/// Checks bills of materials against their schema.
pub fn check_sboms(setup: &mut Setup, files: &[&Path]) -> Result<()> {
    let python = python::environment(&mut setup.apt, "cyclonedx", &[CYCLONEDX])?;
    process::show(Command::new(python).args(["-c", VALIDATE_CYCLONEDX]).args(files))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use super::*;

    fn text(name: &str) -> String {
        fs::read_to_string(process::root().join(name)).unwrap()
    }

    /// The words behind each mark, up to what is not of a word.
    fn behind(text: &str, mark: &str) -> BTreeSet<String> {
        let words = text.split(mark).skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_uppercase()
        });
        words.collect()
    }

    #[test]
    fn containers_have_the_same_capabilities_wherever_they_are_named() {
        let named = ["BPF", "NET_ADMIN", "PERFMON", "SYS_NICE"].map(str::to_owned);
        let expected: BTreeSet<String> = named.into();
        assert_eq!(behind(&text("packaging/container/Containerfile"), "--cap-add "), expected);
        assert_eq!(behind(&text("README.md"), "--cap-add "), expected);
        let manifest = text(MANIFEST);
        let added = manifest.lines().find_map(|line| line.trim().strip_prefix("add: [")).unwrap();
        assert_eq!(
            behind(&added.replace('"', "+"), "+")
                .into_iter()
                .filter(|one| !one.is_empty())
                .collect::<BTreeSet<_>>(),
            expected
        );
        // What is tried, less what chroot itself needs.
        let script = include_str!("chroot.sh");
        let tried = script.lines().find_map(|line| line.strip_prefix("capabilities=")).unwrap();
        let mut tried = behind(tried, "+");
        assert!(tried.remove("SYS_CHROOT"));
        assert_eq!(tried, expected);
    }
}
