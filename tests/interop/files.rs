//! IPFIX Files: tshark reads each of them by itself, and all together have the packets of the capture; `netflow collect`
//! reads the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::agent::{self, AgentProcess};
use tests::captures::{self, Capture};
use tests::judges::sums_of_file;
use tests::lab::Namespace;
use tests::process::{command, run};

/// The same by `netflow collect`, in whose eyes nothing is missing.
fn by_netflow(file: &Path) -> Result<(u64, u64)> {
    let name = file.to_str().context("a path is text")?;
    let program = agent::binary()?;
    let finished =
        run(command(program.to_str().context("a path is text")?, ["collect", "--format", "json", name]))?;
    ensure!(finished.stderr.contains("nothing lost"), "{}", finished.stderr);
    let mut sums = (0, 0);
    for line in finished.stdout.lines() {
        let flow: Value = serde_json::from_str(line)?;
        if !flow["optionsTemplateId"].is_null() {
            continue;
        }
        let number = |field: &str| flow[field].as_u64().with_context(|| format!("{field} in {line}"));
        sums = (sums.0 + number("packetDeltaCount")?, sums.1 + number("octetDeltaCount")?);
    }
    Ok(sums)
}

/// What is wrong with it, and how many files there are.
fn judge(capture: &Capture) -> Result<(Vec<String>, usize)> {
    let (namespace, directory) = (Namespace::new()?, TempDir::new()?);
    let url = format!("file://{}/flows?rotate-size=3KiB", directory.path().display());
    let arguments = ["-c", &url, "--message-size", "1400"];
    let stopped = AgentProcess::read(&namespace, &capture.path, &arguments)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory.path())? {
        files.push(entry?.path());
    }
    let mut wrong = Vec::new();
    if let Some(other) = files.iter().find(|file| file.extension().is_none_or(|suffix| suffix != "ipfix")) {
        wrong.push(format!("{} is left", other.display()));
    }
    let expected = (capture.expected.ip_packets, capture.expected.ip_bytes);
    for (judge, read) in [("tshark", sums_of_file as fn(&Path) -> Result<_>), ("netflow", by_netflow)] {
        let mut sums = (0, 0);
        for file in &files {
            let (packets, octets) = read(file)?;
            sums = (sums.0 + packets, sums.1 + octets);
        }
        if sums != expected {
            wrong.push(format!("{judge} reads {sums:?} instead of {expected:?}"));
        }
    }
    Ok((wrong, files.len()))
}

#[test]
#[ignore = "needs root: network namespaces"]
fn every_file_is_read_by_itself_and_all_have_the_packets_of_the_capture() {
    // FILE-1, FILE-2, FILE-3
    let Some(captures) = captures::find().unwrap() else { return };
    let (mut wrong, mut files) = (Vec::new(), 0);
    for capture in &captures {
        let (complaints, written) = judge(capture).unwrap();
        wrong.extend(complaints.into_iter().map(|line| format!("{}: {line}", capture.name)));
        files += written;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{files} files of {} captures", captures.len());
    assert!(files > 2 * captures.len(), "{files} files: they are changed by size");
}
