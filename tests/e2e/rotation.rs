//! IPFIX Files that are changed by time while an agent is killed and started anew, and when they are brought to disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal, binary};
use tests::captures;
use tests::frames::{frame, udp};
use tests::judges::{TsharkCapture, sequence_errors, sums_of_file};
use tests::lab::{Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::process::{COMMAND_TIMEOUT, run};
use tests::trickle::{OnDrop, trickle};

const FLOWS: u16 = 200;
const SENT: &str = "/destinations/0/sent/packets";
const TRAFFIC_LIMIT: Duration = Duration::from_secs(120);

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_part(path: &&PathBuf) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// Packets in files that can each be read alone: by tshark, which has nothing to say against any.
fn packets<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> u64 {
    let mut packets = 0;
    for file in files {
        assert!(file.extension().is_some_and(|extension| extension == "ipfix"), "{file:?}");
        let messages = TsharkCapture::of_file(file).unwrap().messages().unwrap();
        assert_eq!(sequence_errors(&messages), [""; 0], "{file:?}");
        packets += sums_of_file(file).unwrap().0;
    }
    packets
}

fn wait_for_files(directory: &Path, number: usize) {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    while files(directory).len() < number {
        assert!(Instant::now() < deadline, "{:?}", files(directory));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn files_change_by_time_and_what_a_killed_agent_leaves_is_whole_after_the_next_start() {
    // FILE-3
    let lab = Lab::new(LabOptions::default()).unwrap();
    let directory = TempDir::new().unwrap();
    let start = || {
        let url = format!("file://{}/flows?rotate-time=1s", directory.path().display());
        let times = ["-i", MONITOR_INTERFACE, "--active-timeout", "1s", "--drain-interval", "200ms"];
        AgentProcess::start(&lab.monitor, &[&times[..], &["-c", &url]].concat()).unwrap()
    };
    let stop = AtomicBool::new(false);
    let (killed, second, known) = thread::scope(|scope| {
        let ended = OnDrop(&stop);
        let traffic = scope.spawn(|| trickle(&lab, FLOWS, TRAFFIC_LIMIT, &stop));
        let mut agent = start();
        wait_for_files(directory.path(), 4);
        // In the midst of a file.
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        while files(directory.path()).iter().filter(is_part).count() == 0 {
            assert!(Instant::now() < deadline, "no file is being written");
            thread::sleep(Duration::from_millis(5));
        }
        agent.process().signal(Signal::KILL).unwrap();
        let killed = agent.finish(COMMAND_TIMEOUT).unwrap();
        assert_eq!(killed.exit_code, None);
        let left = files(directory.path());
        assert_eq!(left.iter().filter(is_part).count(), 1, "{left:?}");
        // As if the last write had not been all of it.
        let part = left.iter().find(is_part).unwrap();
        let mut octets = fs::read(part).unwrap();
        octets.extend([0, 10, 1, 0, 1, 2, 3]);
        fs::write(part, octets).unwrap();

        let agent = start();
        let known = files(directory.path());
        assert!(!known.contains(part), "{known:?}");
        wait_for_files(directory.path(), known.len() + 3);
        drop(ended);
        traffic.join().unwrap().unwrap();
        (killed, agent.stop(Signal::TERM).unwrap(), known)
    });
    assert_eq!(second.exit_code, Some(0), "{}", second.stderr);
    let all = files(directory.path());
    let is_known = |file: &&PathBuf| known.contains(*file) && !is_part(file);
    let (first, later): (Vec<_>, Vec<_>) = all.iter().partition(is_known);
    // The books were written at the last flip, files are written behind it.
    let written = packets(first);
    let books = killed.ledger.unwrap().number(SENT).unwrap();
    assert!(written >= books && books > 0, "{written} packets in files, {books} in the books");
    assert_eq!(packets(later), second.ledger.unwrap().number(SENT).unwrap());
}

#[test]
#[ignore = "needs root: network namespaces"]
fn files_are_brought_to_disk_when_the_operator_says_so() {
    const MESSAGES: usize = 20;
    let namespace = Namespace::new().unwrap();
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("flows.pcap");
    let to = "10.2.0.2:53".parse().unwrap();
    let flows = (1..=2000).map(|port| frame(&udp(([10, 1, 0, 1], port).into(), to, b"question")));
    captures::write(&capture, &flows.collect::<Vec<_>>(), Duration::from_millis(1)).unwrap();
    let netflow = binary().unwrap();
    // Calls about files of flows, by the name of the call.
    let calls = |sync: &str| {
        let trace = directory.path().join(format!("{sync}.trace"));
        let url = format!("file://{}/{sync}?sync={sync}", directory.path().display());
        let (trace, capture) = (trace.to_str().unwrap(), capture.to_str().unwrap());
        let watched = ["-f", "-y", "-e", "trace=fsync,fdatasync,rename", "-o", trace];
        let words = ["read", capture, "-c", &url, "--message-size", "1400"];
        let words = [&watched[..], &[netflow.to_str().unwrap()], &words].concat();
        let program = namespace.command("strace", &words);
        run(program).unwrap();
        let text = fs::read_to_string(trace).unwrap();
        let of = |call: &str| {
            let lines = text.lines().filter(|line| line.contains(&format!("{call}(")));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let messages = TsharkCapture::of_file(
            files(directory.path())
                .iter()
                .find(|file| file.to_string_lossy().contains(&format!("/{sync}-")))
                .unwrap(),
        );
        let messages = messages.unwrap().messages().unwrap().len();
        assert!(messages > MESSAGES, "{messages} messages");
        assert_eq!(of("rename").len(), 1, "{text}");
        (of("fdatasync").len(), of("fsync"), messages, text)
    };
    let (data, files, messages, text) = calls("message");
    assert_eq!((data, files.len()), (messages, 2), "{text}");
    // The file before it gets its name, the directory behind that.
    let (data, files, _, text) = calls("close");
    assert_eq!((data, files.len()), (0, 2), "{text}");
    let named = text.find("rename(").unwrap();
    assert!(text.find(".part>)").unwrap() < named && named < text.rfind("fsync(").unwrap(), "{text}");
    let (data, files, _, text) = calls("off");
    assert_eq!((data, files.len()), (0, 0), "{text}");
}
