//! What a binary is made of, as CycloneDX 1.6 (ECMA-424): the crates that are in the agent and in the kernel's program, with
//! their checksums, and packages of the distribution that come along. What only builds them (build scripts, procedural
//! macros) is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId, TargetKind};
use serde_json::{Value, json};

use super::distribution::DebianPackage;
use crate::process;

/// Where it lies on a system.
pub const PLACE: &str = "/usr/share/doc/netflow/netflow.cdx.json";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const AGENT: &str = "netflow-user";
/// The member that is a kernel program, and the processor that it is for.
const KERNEL: &str = "netflow-ebpf";
const KERNEL_TARGET: &str = "bpfel-unknown-none";

/// Components by their references, and what each of them uses.
#[derive(Default)]
struct Crates {
    components: BTreeMap<String, Value>,
    uses: BTreeMap<String, BTreeSet<String>>,
}

/// Writes it.
pub fn write(file: &Path, contained: &[DebianPackage]) -> Result<()> {
    let lock = process::root().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let checksums = checksums(&lock);
    let mut crates = Crates::default();
    let agent = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    for (member, target) in [(AGENT, agent.as_str()), (KERNEL, KERNEL_TARGET)] {
        let mut command = MetadataCommand::new();
        command.current_dir(process::root());
        command.other_options(["--locked", "--filter-platform", target].map(str::to_owned));
        let metadata = command.exec().with_context(|| format!("cargo does not tell what {member} uses"))?;
        crates.add(&metadata, member, &checksums)?;
    }
    let time = Command::new("git").args(["log", "-1", "--format=%cI"]).current_dir(process::root()).output();
    let time = String::from_utf8(time.context("git is not here")?.stdout).unwrap_or_default();
    let text = serde_json::to_string_pretty(&document(crates, contained, time.trim()))?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn document(crates: Crates, contained: &[DebianPackage], time: &str) -> Value {
    let Crates { components, mut uses } = crates;
    let this = reference("netflow", VERSION);
    let parts = uses.entry(this.clone()).or_default();
    // The kernel's object is in the agent.
    parts.extend([AGENT, KERNEL].map(|member| reference(member, VERSION)));
    parts.extend(contained.iter().map(DebianPackage::purl));
    let contained = contained.iter().map(|package| {
        let purl = package.purl();
        json!({
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "purl": purl,
        })
    });
    let components: Vec<Value> = components.into_values().chain(contained).collect();
    let uses: Vec<Value> = uses.iter().map(|(it, used)| json!({"ref": it, "dependsOn": used})).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "authors": [{"name": "The netflow authors"}],
            "component": {
                "type": "application",
                "bom-ref": this,
                "name": "netflow",
                "version": VERSION,
                "licenses": [{"expression": "MIT"}],
            },
        },
        "components": components,
        "dependencies": uses,
    })
}

impl Crates {
    /// Takes a member, and all that is compiled for it.
    fn add(&mut self, metadata: &Metadata, member: &str, checksums: &BTreeMap<String, String>) -> Result<()> {
        let nodes = &metadata.resolve.as_ref().context("cargo tells no dependencies")?.nodes;
        let nodes: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();
        let packages: BTreeMap<&PackageId, &Package> =
            metadata.packages.iter().map(|package| (&package.id, package)).collect();
        let first = metadata.packages.iter().find(|package| package.name.as_str() == member);
        let mut left = vec![first.with_context(|| format!("no member {member}"))?];
        let mut seen = BTreeSet::new();
        while let Some(package) = left.pop() {
            if !seen.insert(&package.id) {
                continue;
            }
            let name = reference_of(package);
            self.components.insert(name.clone(), component(package, checksums));
            let uses = self.uses.entry(name).or_default();
            for used in nodes.get(&package.id).into_iter().flat_map(|node| &node.deps) {
                let is_normal = used.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
                let Some(package) = packages.get(&used.pkg).filter(|package| !is_macro(package)) else {
                    continue;
                };
                if is_normal {
                    uses.insert(reference_of(package));
                    left.push(package);
                }
            }
        }
        Ok(())
    }
}

fn component(package: &Package, checksums: &BTreeMap<String, String>) -> Value {
    let (name, version) = (package.name.as_str(), package.version.to_string());
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(name, &version),
        "name": name,
        "version": version,
        "scope": "required",
    });
    if let Some(license) = &package.license {
        // How alternatives were written once.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if package.source.as_ref().is_some_and(|source| source.is_crates_io()) {
        component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
    }
    if let Some(checksum) = checksums.get(&reference(name, &version)) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// What identifies a component within the document.
fn reference(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

fn reference_of(package: &Package) -> String {
    reference(package.name.as_str(), &package.version.to_string())
}

fn is_macro(package: &Package) -> bool {
    package.targets.iter().any(|target| target.kind.contains(&TargetKind::ProcMacro))
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let found = lock.split("[[package]]").filter_map(|package| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            line.strip_suffix('"')
        };
        Some((reference(value("name")?, value("version")?), value("checksum")?.to_owned()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_packages_from_a_registry() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"x\"\nchecksum = \"00ff\"\n\n\
                    [[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n";
        let expected: BTreeMap<String, String> = [("a@1.0.0".to_owned(), "00ff".to_owned())].into();
        assert_eq!(checksums(lock), expected);
    }

    #[test]
    fn the_document_has_what_is_contained_and_who_uses_it() {
        let mut crates = Crates::default();
        crates.components.insert("a@1".to_owned(), json!({"bom-ref": "a@1"}));
        crates.uses.insert("netflow-user@0".to_owned(), ["a@1".to_owned()].into());
        let package = DebianPackage { name: "libssl3".to_owned(), version: "3.0+x~1".to_owned() };
        let document = document(crates, &[package], "2026-01-01T00:00:00Z");
        assert_eq!(document["components"].as_array().map(Vec::len), Some(2));
        let uses = document["dependencies"].as_array().cloned().unwrap_or_default();
        let of_all = uses.iter().find(|uses| uses["ref"] == document["metadata"]["component"]["bom-ref"]);
        let of_all = of_all.map(|uses| uses["dependsOn"].to_string()).unwrap_or_default();
        assert!(
            of_all.contains("netflow-ebpf@") && of_all.contains("pkg:deb/debian/libssl3@3.0%2Bx~1"),
            "{of_all}"
        );
    }
}
