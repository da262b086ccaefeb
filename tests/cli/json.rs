//! JSON lines as a destination: what they say, and readers that leave or sleep.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::agent::binary;
use tests::ledger::Ledger;
use tests::process::{Process, command};

use crate::support::{assert_refused, flows, netflow, wait, write_pcap};

fn file_of(directory: &Path, suffix: &str) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == suffix)).unwrap()
}

fn capture(directory: &Path, number: u16) -> String {
    let capture = directory.join("capture.pcap");
    write_pcap(&capture, &flows(number)).unwrap();
    capture.to_str().unwrap().to_owned()
}

#[test]
fn lines_in_files_and_on_standard_output_are_what_collect_prints_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let capture = capture(directory.path(), 1000);
    let (file, lines) = (format!("file://{place}/f"), format!("json://{place}/j"));
    let read = netflow(&["read", &capture, "-c", &file, "-c", &lines, "-c", "json:-"]);
    assert_eq!(read.status.code(), Some(0), "{}", read.stderr);
    let ipfix = file_of(directory.path(), "ipfix");
    let expected = netflow(&["collect", ipfix.to_str().unwrap(), "--format", "json"]).stdout;
    assert_eq!(expected.lines().count(), 1000);
    for line in expected.lines().take(1) {
        let flow: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&flow["octetDeltaCount"], &flow["protocolIdentifier"]), (&36.into(), &17.into()));
    }
    assert!(read.stdout == expected, "{}", read.stdout.lines().next().unwrap_or_default());
    assert!(fs::read_to_string(file_of(directory.path(), "json")).unwrap() == expected);
}

#[test]
fn standard_output_has_one_destination() {
    let refused = netflow(&["read", "x.pcap", "-c", "json:-", "-c", "json:-"]);
    assert_refused(&refused, 2, &["only one destination can have"]);
    let refused = netflow(&["read", "x.pcap", "-c", "json:relative"]);
    assert_refused(&refused, 2, &["absolute path"]);
}

#[test]
fn a_reader_that_leaves_ends_its_own_destination_with_counted_records() {
    let directory = tempfile::tempdir().unwrap();
    let capture = capture(directory.path(), 60_000);
    let ledger = directory.path().join("ledger.json");
    let script = "\"$0\" read \"$1\" -c json:- -c \"$2\" --ledger-file \"$3\" | head -1; echo \"code ${PIPESTATUS[0]}\"";
    let file = format!("file://{}/f", directory.path().display());
    let binary = binary().unwrap();
    let arguments = ["-c", script, binary.to_str().unwrap(), &capture, &file, ledger.to_str().unwrap()];
    let finished =
        Process::spawn(command("bash", arguments)).unwrap().finish(Duration::from_secs(60)).unwrap();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[1..], ["code 0"], "{}", finished.stderr);
    assert!(lines[0].contains("\"sourceIPv4Address\":\"10.1.0.1\""), "{}", lines[0]);
    assert!(finished.stderr.contains("cannot write to standard output: Broken pipe"), "{}", finished.stderr);
    let ledger = Ledger::read(&ledger).unwrap();
    let of = |what: &str| ledger.number(&format!("/destinations/{what}")).unwrap();
    assert_eq!(of("0/sent/records") + of("0/not_sent/send_failed/records"), 60_000, "{}", ledger.0);
    assert!(of("0/not_sent/send_failed/records") > 0, "{}", ledger.0);
    assert_eq!(of("1/sent/records"), 60_000);
}

#[test]
fn a_reader_that_takes_nothing_holds_up_neither_the_end_nor_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let capture = capture(directory.path(), 3000);
    let ledger = directory.path().join("ledger.json");
    let file = format!("file://{}/f", directory.path().display());
    let arguments =
        ["read", &capture, "-c", "json:-", "-c", &file, "--ledger-file", ledger.to_str().unwrap()];
    let mut child = command(binary().unwrap().to_str().unwrap(), arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ended = wait(&mut child, Duration::from_secs(60));
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "it hangs");
    let ledger = Ledger::read(&ledger).unwrap();
    let of = |what: &str| ledger.number(&format!("/destinations/{what}")).unwrap();
    assert_eq!(of("0/sent/records") + of("0/not_sent/shutdown/records"), 3000, "{}", ledger.0);
    assert!(of("0/not_sent/shutdown/records") > 0, "{}", ledger.0);
    assert_eq!(of("1/sent/records"), 3000);
}
