//! Capture files and ledger files that are not what they should be.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::agent::{Signal, binary};
use tests::ledger::Ledger;
use tests::process::{COMMAND_TIMEOUT, Process, command};

use crate::support::{assert_last_line, assert_refused, flows, netflow, write_pcap};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn foreign_capture_files_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, octets: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, octets).unwrap();
        path
    };
    let cases = [
        (
            file("text", b"This is no capture, but a text of some length.\n"),
            "is neither a pcap nor a pcapng file",
        ),
        (file("empty", b""), "is empty"),
        (file("short", &[0xd4, 0xc3]), ""),
        (file("gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), "is gzip-compressed, unpack it first"),
        (directory.path().to_owned(), "is a directory, not a capture file"),
        (directory.path().join("missing"), "No such file or directory"),
    ];
    for (path, reason) in &cases {
        let refused = netflow(&["read", text(path)]);
        assert_refused(&refused, 1, &[text(path), reason]);
    }
}

#[test]
fn of_a_file_that_is_cut_in_a_packet_the_whole_packets_are_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.pcap");
    write_pcap(&path, &flows(7)).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let finished = netflow(&["read", "--format", "json", text(&path)]);
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert_last_line(&finished.stderr, &[text(&path), "is cut off after 6 whole packets"]);
    let flows: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(flows.len(), 6);
    assert!(flows.iter().all(|flow| flow["packetDeltaCount"] == 1), "{flows:?}");
}

#[test]
fn ledger_files_that_cannot_be_written_are_refused_and_nothing_is_left_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(1)).unwrap();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let cases = [
        (directory.path().join("missing/ledger.json"), "No such file or directory"),
        (place.clone(), "no regular file"),
        (Path::new("/dev/null").to_owned(), "no regular file"),
    ];
    for (path, reason) in &cases {
        let refused = netflow(&["read", text(&capture), "--ledger-file", text(path)]);
        assert_refused(&refused, 1, &["cannot write the ledger to", text(path), reason]);
    }
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(fs::metadata("/dev/null").unwrap().len() == 0 && !Path::new("/dev/null.new").exists());
}

#[test]
fn a_signal_ends_reading_with_closed_books() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    let ledger = directory.path().join("ledger.json");
    write_pcap(&capture, &flows(60_000)).unwrap();
    // A minute's work.
    let arguments = ["read", text(&capture), "--export-rate", "1000", "--ledger-file", text(&ledger)];
    let mut reading = Process::spawn(command(binary().unwrap().to_str().unwrap(), arguments)).unwrap();
    reading.wait_for_stderr("reading", COMMAND_TIMEOUT).unwrap();
    reading.signal(Signal::INT).unwrap();
    let finished = reading.finish(Duration::from_secs(40)).unwrap();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let ledger = Ledger::read(&ledger).unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    assert!(ledger.number("/destinations/0/sent/records").unwrap() < 60_000, "{}", ledger.0);
    assert_eq!(ledger.number("/destinations/0/queued/records").unwrap(), 0, "{}", ledger.0);
}
