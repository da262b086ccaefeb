//! Files that are changed, cut short and shared.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// 2026-01-01 00:00:00 UTC.
const SECOND: u64 = 1_767_225_600;

fn at(seconds: u64) -> Instant {
    Instant {
        monotonic: MonotonicNanos(seconds * 1_000_000_000),
        unix_nanos: (SECOND + seconds) * 1_000_000_000,
    }
}

fn message(length: u16) -> Vec<u8> {
    let mut octets = vec![7; length.into()];
    octets[..2].copy_from_slice(&[0, 10]);
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    octets
}

fn target(directory: &Path) -> FileTarget {
    FileTarget {
        prefix: directory.join("flows"),
        rotate_size: Some(100),
        rotate_time: Some(Duration::from_secs(60)),
        sync: Sync::Close,
        content: Content::Ipfix,
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn directory() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("netflow-files-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn a_file_has_its_name_when_it_is_complete_by_size_or_by_age() {
    let directory = directory();
    let mut transport = FileTransport::open(target(&directory), None).unwrap();
    transport.send(&message(40), at(0)).unwrap();
    assert_eq!(names(&directory), ["flows-20260101T000000Z.ipfix.part"]);
    assert!(!transport.is_complete(at(59).monotonic));
    assert!(transport.is_complete(at(60).monotonic));
    assert_eq!(transport.deadline(), Some(at(60).monotonic));
    transport.send(&message(60), at(0)).unwrap();
    assert!(transport.is_complete(at(0).monotonic));
    transport.complete().unwrap();
    assert_eq!(names(&directory), ["flows-20260101T000000Z.ipfix"]);
    // In the same second.
    transport.send(&message(40), at(0)).unwrap();
    drop(transport);
    assert_eq!(names(&directory), ["flows-20260101T000000Z-1.ipfix", "flows-20260101T000000Z.ipfix"]);
    assert_eq!(
        fs::read(directory.join("flows-20260101T000000Z.ipfix")).unwrap(),
        [message(40), message(60)].concat()
    );
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_a_crash_left_behind_is_cut_to_whole_messages_and_named() {
    let directory = directory();
    let left = |name: &str, octets: &[u8]| fs::write(directory.join(name), octets).unwrap();
    left("flows-20260101T000000Z.ipfix.part", &[&message(40)[..], &message(50), &message(60)[..59]].concat());
    left("flows-20260101T000001Z.ipfix.part", &message(40)[..30]);
    left("flows-20260101T000002Z.ipfix.part", b"");
    left("other-20260101T000000Z.ipfix.part", b"not ours");
    left("flowsother.ipfix.part", b"not ours");
    drop(FileTransport::open(target(&directory), None).unwrap());
    assert_eq!(
        names(&directory),
        ["flows-20260101T000000Z.ipfix", "flowsother.ipfix.part", "other-20260101T000000Z.ipfix.part"]
    );
    assert_eq!(
        fs::read(directory.join("flows-20260101T000000Z.ipfix")).unwrap(),
        [message(40), message(50)].concat()
    );
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn lines_left_behind_are_cut_to_whole_ones() {
    let directory = directory();
    let long = [&b"{}\n".repeat(3000)[..], &[b'x'; 9000]].concat();
    for (name, octets) in [("1", &long[..]), ("2", b"{\"a\""), ("3", b"{}\n")] {
        fs::write(directory.join(format!("flows-{name}.json.part")), octets).unwrap();
    }
    let target = FileTarget { content: Content::JsonLines, ..target(&directory) };
    drop(FileTransport::open(target, None).unwrap());
    assert_eq!(names(&directory), ["flows-1.json", "flows-3.json"]);
    assert_eq!(fs::read(directory.join("flows-1.json")).unwrap(), b"{}\n".repeat(3000));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn two_processes_do_not_write_files_of_one_name() {
    let directory = directory();
    let mut first = FileTransport::open(target(&directory), None).unwrap();
    first.send(&message(40), at(0)).unwrap();
    let refused = FileTransport::open(target(&directory), None).unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("another process"), "{cause}");
    drop(first);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_directory_that_is_not_there_is_an_error_with_its_path() {
    let refused = FileTransport::open(target(Path::new("/no/such/directory")), None).unwrap_err();
    assert!(refused.to_string().contains("/no/such/directory"), "{refused}");
}
