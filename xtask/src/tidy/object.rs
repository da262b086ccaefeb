//! The kernel object: how long each program is, and that none calls a byte loop for each packet.
//!
//! Zeroing or copying a struct may compile to a call of memset or memcpy, which in BPF are loops over single octets:
//! 90 ns for a packet instead of 73.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, tidy};

const BYTE_LOOPS: [&str; 5] = ["memset", "memcpy", "memmove", "memcmp", "bcmp"];

/// Calls that are accepted: program, function, and the reason.
const ACCEPTED: [(&str, &str, &str); 0] = [];

/// The operation code of a call; its source register tells functions of the object from the kernel's helpers.
const CALL: u8 = 0x85;
const CALL_IN_OBJECT: u8 = 1;

/// A function of the object: how long it is and what it uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Function {
    section: String,
    /// First instruction, counted from the section's beginning.
    first: usize,
    instructions: usize,
    uses: Vec<Target>,
}

/// What a function calls or refers to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Named(String),
    At { section: String, instruction: usize },
}

/// Builds the object and checks each program in it.
pub fn check(llvm_major: u32) -> Result<()> {
    let Some(functions) = functions(llvm_major)? else { return Ok(()) };
    let mut refused = Vec::new();
    for program in programs(&functions)? {
        let reached = reached(&functions, program);
        let total = instructions_of(&functions, program);
        let section = functions.get(program).map_or("", |function| &function.section);
        eprintln!("kernel object: {program} ({section}): {total} instructions, functions: {}", reached.len());
        let loops = reached.into_iter().filter(|name| BYTE_LOOPS.contains(name));
        let loops =
            loops.filter(|name| !ACCEPTED.iter().any(|(p, function, _)| (*p, function) == (program, name)));
        refused.extend(loops.map(|name| format!("{program} calls {name}")));
    }
    if !refused.is_empty() {
        bail!("a loop over single octets for each packet: {}", refused.join(", "));
    }
    Ok(())
}

/// Builds the object; each program's name and how many instructions it has, those of the functions that it reaches
/// included. `None` where nothing can read it, which has been said.
pub fn instructions(llvm_major: u32) -> Result<Option<Vec<(String, u64)>>> {
    let Some(functions) = functions(llvm_major)? else { return Ok(None) };
    let counted = programs(&functions)?
        .into_iter()
        .map(|program| (program.to_owned(), instructions_of(&functions, program) as u64));
    Ok(Some(counted.collect()))
}

/// Builds the object and reads it; `None` where nothing can.
fn functions(llvm_major: u32) -> Result<Option<BTreeMap<String, Function>>> {
    let Some(objdump) = objdump(llvm_major) else {
        if tidy::is_ci() {
            bail!("llvm-objdump is needed to check the kernel object: install llvm-{llvm_major}");
        }
        eprintln!("kernel object: not checked, there is no llvm-objdump");
        return Ok(None);
    };
    let object = build()?;
    let text = process::output(Command::new(objdump).args(["-d", "-r"]).arg(&object))
        .with_context(|| format!("llvm-objdump cannot read {}", object.display()))?;
    Ok(Some(parse(&text)))
}

/// The entry points, by name.
fn programs(functions: &BTreeMap<String, Function>) -> Result<Vec<&str>> {
    let programs: Vec<&str> = functions
        .iter()
        .filter(|(_, function)| function.section != ".text")
        .map(|(name, _)| name.as_str())
        .collect();
    if programs.is_empty() {
        bail!("the kernel object holds no program");
    }
    Ok(programs)
}

fn instructions_of(functions: &BTreeMap<String, Function>, program: &str) -> usize {
    reached(functions, program)
        .into_iter()
        .filter_map(|name| functions.get(name))
        .map(|function| function.instructions)
        .sum()
}

fn objdump(llvm_major: u32) -> Option<PathBuf> {
    let packaged = PathBuf::from(format!("/usr/lib/llvm-{llvm_major}/bin/llvm-objdump"));
    if packaged.exists() { Some(packaged) } else { process::find("llvm-objdump") }
}

/// Lets the agent's build script make the object; where it lies.
fn build() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["check", "--package", "netflow-user", "--lib", "--message-format=json-render-diagnostics"]);
    cargo.stderr(std::process::Stdio::inherit());
    let messages = process::output(&mut cargo).context("the kernel object does not build")?;
    let directory = out_dir(&messages).context("cargo does not tell where the kernel object lies")?;
    Ok(PathBuf::from(directory).join("netflow-ebpf"))
}

/// The agent's output directory in cargo's messages: one JSON object a line, whose strings here hold no escapes.
fn out_dir(messages: &str) -> Option<&str> {
    let message = messages
        .lines()
        .find(|line| line.contains(r#""reason":"build-script-executed""#) && line.contains("netflow-user"))?;
    message.split_once(r#""out_dir":""#)?.1.split('"').next()
}

/// Reads what `llvm-objdump -d -r` prints: section headings, function headings, instructions, and behind an
/// instruction the symbol that it refers to.
fn parse(text: &str) -> BTreeMap<String, Function> {
    let mut functions = BTreeMap::new();
    let mut section = "";
    let mut current: Option<(String, Function)> = None;
    let mut immediate = 0;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Disassembly of section ") {
            section = name.trim_end_matches(':');
        } else if let Some((first, name)) = heading(line) {
            functions.extend(current.take());
            current = Some((
                name.to_owned(),
                Function { section: section.to_owned(), first, ..Function::default() },
            ));
        } else if let Some((_, function)) = &mut current {
            if let Some((index, octets)) = instruction(line) {
                function.instructions = index + octets.len() / 8 - function.first;
                immediate = i32::from_le_bytes([octets[4], octets[5], octets[6], octets[7]]);
                if octets[0] == CALL && octets[1] >> 4 == CALL_IN_OBJECT && immediate != -1 {
                    let to = usize::try_from(i64::from(immediate) + 1 + index as i64).unwrap_or_default();
                    function.uses.push(Target::At { section: section.to_owned(), instruction: to });
                }
            } else if let Some(symbol) = relocation(line) {
                // A symbol overrules the distance in the instruction, which then counts from the symbol.
                if matches!(function.uses.last(), Some(Target::At { .. })) && symbol.starts_with('.') {
                    function.uses.pop();
                }
                function.uses.push(match symbol.starts_with('.') {
                    true => {
                        let instruction = usize::try_from(i64::from(immediate) + 1).unwrap_or_default();
                        Target::At { section: symbol.to_owned(), instruction }
                    }
                    false => Target::Named(symbol.to_owned()),
                });
            }
        }
    }
    functions.extend(current);
    functions
}

/// `0000000000000058 <memmove>:`: first instruction and name.
fn heading(line: &str) -> Option<(usize, &str)> {
    let (address, rest) = line.split_once(" <")?;
    Some((usize::from_str_radix(address, 16).ok()? / 8, rest.strip_suffix(">:")?))
}

/// `       6:\t85 10 00 00 ff ff ff ff\tcall -0x1`: number and octets.
fn instruction(line: &str) -> Option<(usize, Vec<u8>)> {
    let (index, rest) = line.split_once(":\t")?;
    let octets: Option<Vec<u8>> =
        rest.split('\t').next()?.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    Some((index.trim().parse().ok()?, octets.filter(|octets| octets.len() >= 8)?))
}

/// `\t\t0000000000000030:  R_BPF_64_32\tmemset`: the symbol.
fn relocation(line: &str) -> Option<&str> {
    let (kind, symbol) = line.split_once("R_BPF_64_")?.1.split_once('\t')?;
    matches!(kind, "32" | "64").then(|| symbol.trim())
}

/// All functions that the program can reach, itself included.
fn reached<'a>(functions: &'a BTreeMap<String, Function>, program: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![program];
    while let Some(name) = open.pop() {
        let Some((name, function)) = functions.get_key_value(name) else { continue };
        if reached.insert(name.as_str()) {
            open.extend(function.uses.iter().filter_map(|target| named(functions, target)));
        }
    }
    reached
}

fn named<'a>(functions: &'a BTreeMap<String, Function>, target: &'a Target) -> Option<&'a str> {
    match target {
        Target::Named(name) => Some(name),
        Target::At { section, instruction } => functions
            .iter()
            .find(|(_, f)| f.section == *section && (f.first..f.first + f.instructions).contains(instruction))
            .map(|(name, _)| name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISASSEMBLY: &str = "
object:\tfile format elf64-bpf

Disassembly of section .text:

0000000000000000 <memset>:
       0:\tb7 00 00 00 00 00 00 00\tr0 = 0x0
       1:\t95 00 00 00 00 00 00 00\texit

0000000000000010 <walk>:
       2:\t85 10 00 00 fd ff ff ff\tcall -0x3
       3:\t95 00 00 00 00 00 00 00\texit

0000000000000020 <memcpy>:
       4:\t95 00 00 00 00 00 00 00\texit

Disassembly of section xdp:

0000000000000000 <clean>:
       0:\t18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00\tr1 = 0x0 ll
\t\t0000000000000000:  R_BPF_64_64\tFLOWS
       2:\t85 00 00 00 01 00 00 00\tcall 0x1
       3:\t95 00 00 00 00 00 00 00\texit

Disassembly of section xdp.frags:

0000000000000000 <by_section>:
       0:\t85 10 00 00 01 00 00 00\tcall 0x1
\t\t0000000000000000:  R_BPF_64_32\t.text
       1:\t95 00 00 00 00 00 00 00\texit

0000000000000010 <by_name>:
       2:\t85 10 00 00 ff ff ff ff\tcall -0x1
\t\t0000000000000010:  R_BPF_64_32\tmemcpy
       3:\t95 00 00 00 00 00 00 00\texit
";

    fn names(program: &str) -> Vec<String> {
        reached(&parse(DISASSEMBLY), program).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn calls_of_kernel_helpers_and_maps_reach_no_function() {
        assert_eq!(names("clean"), ["clean"]);
    }

    #[test]
    fn calls_are_followed_by_section_by_distance_and_by_name() {
        assert_eq!(names("by_section"), ["by_section", "memset", "walk"]);
        assert_eq!(names("by_name"), ["by_name", "memcpy"]);
    }

    #[test]
    fn instructions_are_counted_in_words_of_eight_octets() {
        let functions = parse(DISASSEMBLY);
        assert_eq!(functions.get("clean").map(|function| function.instructions), Some(4));
        assert_eq!(
            functions.get("walk").map(|function| (function.first, function.instructions)),
            Some((2, 2))
        );
    }

    #[test]
    fn the_output_directory_is_read_from_cargo_messages() {
        let messages = r#"{"reason":"build-script-executed","package_id":"libc","out_dir":"/t/libc"}
{"reason":"compiler-artifact","package_id":"netflow-user","filenames":[]}
{"reason":"build-script-executed","package_id":"path+file:///x/netflow-user#0.1.0","env":[],"out_dir":"/t/out"}"#;
        assert_eq!(out_dir(messages), Some("/t/out"));
        assert_eq!(out_dir(""), None);
    }
}
