//! Runs the binary to its end, and looks at what it left on an interface.

use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use tests::agent::{AgentProcess, StoppedAgent, binary};
use tests::captures;
use tests::frames::{frame, tcp, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::process::{COMMAND_TIMEOUT, Finished, Process, command};
use tests::raw::RawSender;

/// Runs the tool to its end; a hang is an error.
pub fn netflow(arguments: &[&str]) -> Finished {
    let process = Process::spawn(command(binary().unwrap().to_str().unwrap(), arguments)).unwrap();
    process.finish(COMMAND_TIMEOUT).unwrap()
}

/// Runs the tool in a namespace to its end.
pub fn netflow_in(namespace: &Namespace, arguments: &[&str]) -> Finished {
    let process = namespace.spawn(binary().unwrap().to_str().unwrap(), arguments).unwrap();
    process.finish(COMMAND_TIMEOUT).unwrap()
}

/// Demands an exit code and one line of the tool's own that holds all of `texts`, after log lines if any.
#[track_caller]
pub fn assert_refused(finished: &Finished, code: i32, texts: &[&str]) {
    let Finished { status, stdout, stderr } = finished;
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert_eq!(stdout, "", "only flows belong to standard output");
    assert_last_line(stderr, texts);
}

/// Demands that the last line of standard error is the one that says why, and that only the log is before it.
#[track_caller]
pub fn assert_last_line(stderr: &str, texts: &[&str]) {
    let (log, said): (Vec<&str>, Vec<&str>) =
        stderr.lines().partition(|line| line.contains(" INFO ") || line.contains(" WARN "));
    let [line] = said.as_slice() else { panic!("not one line but {}:\n{stderr}", said.len()) };
    assert!(line.starts_with("netflow: "), "{line}");
    assert!(stderr.trim_end().ends_with(line), "the log goes on after it:\n{stderr}");
    for text in texts {
        assert!(line.contains(text), "'{text}' is not in: {line}");
    }
    assert!(log.iter().all(|line| !line.contains("panicked")), "{stderr}");
}

/// A lab whose monitor can be looked at.
pub fn lab() -> Lab {
    Lab::new(LabOptions::default()).unwrap()
}

fn shown(namespace: &Namespace, interface: &str) -> Value {
    let shown = namespace.ip(&["-j", "-d", "link", "show", "dev", interface]).unwrap();
    serde_json::from_str::<Value>(&shown.stdout).unwrap()[0].take()
}

/// The id of the XDP program on an interface, by netlink.
pub fn program(namespace: &Namespace, interface: &str) -> Option<u64> {
    shown(namespace, interface)["xdp"]["prog"]["id"].as_u64()
}

/// Whether the interface is in promiscuous mode.
pub fn promiscuous(namespace: &Namespace, interface: &str) -> bool {
    shown(namespace, interface)["promiscuity"].as_u64().unwrap() > 0
}

/// Demands that nothing is attached in the namespace, in any mode, and nothing is promiscuous.
#[track_caller]
pub fn assert_clean(namespace: &Namespace) {
    let links = namespace.ip(&["-j", "-d", "link", "show"]).unwrap().stdout;
    let links: Value = serde_json::from_str(&links).unwrap();
    for link in links.as_array().unwrap() {
        assert!(link["xdp"].is_null(), "a program is left: {link}");
        assert!(link["promiscuity"] == 0 || !link["master"].is_null(), "promiscuous mode is left: {link}");
    }
    let net = namespace.run("bpftool", &["-j", "net", "show"]).unwrap().stdout;
    let net: Value = serde_json::from_str(&net).unwrap();
    assert_eq!(net[0]["xdp"].as_array().map(Vec::len), Some(0), "{net}");
}

/// How a program ended by itself within a time; if not, it is ended.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let ended = child.try_wait().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    ended
}

/// Waits until something holds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the agent's books have seen so many packets.
#[track_caller]
pub fn wait_until_seen(agent: &AgentProcess, packets: u64) {
    wait_until("packets in the books", || {
        agent.ledger().and_then(|ledger| ledger.number("/packets/seen")).is_ok_and(|seen| seen >= packets)
    });
}

/// Sends 20 packets of 10 flows, 5 of UDP and 5 of TCP.
pub fn send_ten_flows(lab: &Lab) {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    for port in 1001..=1005 {
        let (from, to) = (format!("10.1.0.1:{port}").parse().unwrap(), "10.2.0.2:53".parse().unwrap());
        for _ in 0..2 {
            sender.send(&frame(&udp(from, to, b"question"))).unwrap();
            sender.send(&frame(&tcp(from, to, tests::frames::SYN, 1, b""))).unwrap();
        }
    }
}

/// Packets of [`send_ten_flows`].
pub const TEN_FLOWS_PACKETS: u64 = 20;

/// Demands that an agent stopped as asked: exit code 0, last books there and balanced, `seen` packets in them.
#[track_caller]
pub fn assert_stopped(stopped: &StoppedAgent, seen: u64) {
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    assert!(
        !stopped.stderr.contains(" ERROR ") && !stopped.stderr.contains("panicked"),
        "{}",
        stopped.stderr
    );
    let ledger = stopped.ledger.as_ref().expect("a ledger");
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    assert_eq!(ledger.number("/packets/seen").unwrap(), seen, "{}", ledger.0);
    assert_eq!(ledger.number("/packets/in_cache").unwrap(), 0, "{}", ledger.0);
}

/// Starts the agent on the monitor's interface.
pub fn start(lab: &Lab, arguments: &[&str]) -> Result<AgentProcess> {
    AgentProcess::start(&lab.monitor, &[&["-i", MONITOR_INTERFACE], arguments].concat())
}

/// Writes a pcap file of Ethernet frames, one a millisecond.
pub fn write_pcap(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    captures::write(path, frames, Duration::from_millis(1))
}

/// So many frames of as many UDP flows.
pub fn flows(number: u16) -> Vec<Vec<u8>> {
    let to = "10.2.0.2:53".parse().unwrap();
    let from = |number| std::net::SocketAddr::from(([10, 1, 0, 1], number));
    (1..=number).map(|number| frame(&udp(from(number), to, b"question"))).collect()
}
