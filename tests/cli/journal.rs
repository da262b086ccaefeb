//! The log in systemd's journal: another socket stands in for it, in a mount namespace of the program's own.

use std::os::unix::net::UnixDatagram;

use tests::agent::binary;
use tests::process::{COMMAND_TIMEOUT, Finished, Process, command};

/// Runs what follows with the journal's socket where `$0` says, or none where it says nothing.
const WITH_JOURNAL: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
     if [ -n \"$0\" ]; then ln -s \"$0\" /run/systemd/journal/socket; fi && exec \"$@\"";
/// The same, as a service whose standard error leads to the journal.
const AS_SERVICE: &str = "export JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr);";

fn read_nothing(script: &str, socket: &str, options: &[&str]) -> Finished {
    let binary = binary().unwrap();
    let program = [binary.to_str().unwrap(), "read", "/nonexistent\nforged.pcap"];
    let arguments = [&["--mount", "sh", "-c", script, socket], &program[..], options].concat();
    Process::spawn(command("unshare", &arguments)).unwrap().finish(COMMAND_TIMEOUT).unwrap()
}

/// A field of the journal's own form: name, line feed, 8 octets of length (little-endian), value.
fn field(entry: &[u8], name: &str) -> String {
    let name = format!("{name}\n");
    let at = entry.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len();
    let length = u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    String::from_utf8(entry[at + 8..at + 8 + usize::try_from(length).unwrap()].to_vec()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn entries_of_the_journal_have_priority_identifier_and_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(COMMAND_TIMEOUT)).unwrap();
    let path = path.to_str().unwrap();
    let service = format!("{AS_SERVICE} {WITH_JOURNAL}");
    for (script, options) in [
        (WITH_JOURNAL, &["--log-format", "journal"][..]),
        (&service, &[]),
        (&service, &["--log-format", "auto"]),
    ] {
        let finished = read_nothing(script, path, options);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert_eq!(finished.stderr, "", "nothing is written beside the journal");
        let mut entry = [0; 4096];
        // Before it there are empty ones: whether anybody is there.
        let length =
            std::iter::repeat_with(|| socket.recv(&mut entry).unwrap()).find(|length| *length > 0).unwrap();
        let entry = &entry[..length];
        assert_eq!(field(entry, "PRIORITY"), "3");
        assert_eq!(field(entry, "SYSLOG_IDENTIFIER"), "netflow");
        assert!(field(entry, "MESSAGE").contains("/nonexistent"), "{}", field(entry, "MESSAGE"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_journal_the_log_is_text_unless_the_journal_was_asked_for() {
    let finished = read_nothing(WITH_JOURNAL, "", &[]);
    assert_eq!(finished.status.code(), Some(1));
    assert_eq!(finished.stderr.lines().count(), 1, "whatever names hold: {}", finished.stderr);
    assert!(finished.stderr.starts_with("netflow: "), "{}", finished.stderr);
    let finished = read_nothing(WITH_JOURNAL, "", &["--log-format", "journal"]);
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.starts_with("netflow: cannot log to the journal: "), "{}", finished.stderr);
}
