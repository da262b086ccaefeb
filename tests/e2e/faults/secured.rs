//! TLS and DTLS: the same faults of the collector and of the way to it, behind encryption, with OpenSSL's own server.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::agent::Signal;
use tests::certificates::{Authority, Leaf};
use tests::judges::{TsharkCapture, sums_of_file};
use tests::process::{COMMAND_TIMEOUT, Process};

use super::name::{ELSEWHERE, Hosts};
use super::{COLLECTOR, Path, SENT, reasons, wait_for_sent};

const PORT: u16 = 4740;
const FLOWS: u16 = 300;
const ALL: u64 = FLOWS as u64;
const STEP: Duration = Duration::from_millis(50);
/// Octets that the buffers of a connection have here.
const BUFFER: &str = "4096 16384 32768";

/// The way to the collector, and certificates.
struct Scene {
    path: Path,
    directory: TempDir,
}

/// A collector that takes one connection and ends with it.
struct Server {
    process: Process,
    output: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let authority = Authority::new("authority")?;
        authority.write(directory.path(), "ca")?;
        authority.issue(&Leaf::SERVER)?.write(directory.path(), "server")?;
        Ok(Self { path: Path::new()?, directory })
    }

    fn options(&self) -> String {
        format!("name=localhost&ca={}/ca.pem", self.directory.path().display())
    }

    fn url(&self, scheme: &str, timeout: &str) -> String {
        format!("{scheme}://{COLLECTOR}:{PORT}?retry=1s&timeout={timeout}&{}", self.options())
    }

    fn serve(&self, host: Ipv4Addr, name: &str, version: &str) -> Result<Server> {
        let output = self.directory.path().join(format!("{name}.ipfix"));
        let certificate = format!("{}/server.pem", self.directory.path().display());
        let listen = format!("exec openssl s_server -quiet -naccept 1 -accept {host}:{PORT} {version}");
        // It ends with its standard input.
        let files = format!("-cert {certificate} -key {certificate} > {} < <(sleep 60)", output.display());
        let process = self.path.collector.spawn("bash", &["-c", &format!("{listen} {files}")])?;
        let kind = if version.starts_with("-dtls") { "-Hlun" } else { "-Hltn" };
        let filter = format!("src = {host}:{PORT}");
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        while self.path.collector.run("ss", &[kind, &filter])?.stdout.is_empty() {
            ensure!(Instant::now() < deadline, "nobody listens: {}", process.stderr());
            thread::sleep(STEP);
        }
        Ok(Server { process, output })
    }
}

impl Server {
    /// Waits until it has so many packets in whole messages.
    fn has(&self, packets: u64) {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        loop {
            match sums_of_file(&self.output) {
                Ok((found, _)) if found == packets => return,
                found => assert!(Instant::now() < deadline, "{found:?}, not {packets}"),
            }
            thread::sleep(STEP);
        }
    }

    fn ended(&mut self) {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        while self.process.ended().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it has not noticed");
            thread::sleep(STEP);
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn after_a_reset_of_tls_records_go_over_the_next_connection() {
    // TCP-CONN-4, TCP-TMPL-1, IPFIX-SEQ-6
    let mut scene = Scene::new().unwrap();
    let mut first = scene.serve(COLLECTOR, "first", "-tls1_3").unwrap();
    let agent = scene.path.start(&scene.url("tls", "30s")).unwrap();
    scene.path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, ALL);
    first.has(ALL);
    // Both ends are reset, as by a firewall.
    scene.path.collector.run("ss", &["-K", "state", "established", &format!("sport = :{PORT}")]).unwrap();
    first.ended();
    scene.path.flows(&agent, FLOWS).unwrap();
    let second = scene.serve(COLLECTOR, "second", "-tls1_2").unwrap();
    wait_for_sent(&agent, 2 * ALL);
    scene.path.stop(agent).unwrap();
    first.has(ALL);
    second.has(ALL);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_tls_peer_that_vanished_without_a_word_is_noticed_and_its_records_go_to_the_next_one() {
    // TCP-CONN-6
    let mut scene = Scene::new().unwrap();
    let first = scene.serve(COLLECTOR, "first", "-tls1_3").unwrap();
    let agent = scene.path.start(&scene.url("tls", "3s")).unwrap();
    scene.path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, ALL);
    first.has(ALL);
    // Nothing passes in either direction while it ends: its farewell is lost as well.
    scene.path.router.ip(&["link", "set", "r1", "down"]).unwrap();
    let Server { process, output } = first;
    drop(process);
    scene.path.flows(&agent, FLOWS).unwrap();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(agent.ledger().unwrap().number(SENT).unwrap(), ALL);
    let second = scene.serve(COLLECTOR, "second", "-tls1_3").unwrap();
    scene.path.router.ip(&["link", "set", "r1", "up"]).unwrap();
    wait_for_sent(&agent, 2 * ALL);
    scene.path.stop(agent).unwrap();
    assert_eq!(sums_of_file(&output).unwrap().0, ALL);
    second.has(ALL);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_tls_peer_that_takes_nothing_delays_nobody_and_has_all_of_it_when_it_goes_on() {
    // TCP-BUF-2
    let mut scene = Scene::new().unwrap();
    for (namespace, buffer) in [(&scene.path.collector, "tcp_rmem"), (&scene.path.lab.monitor, "tcp_wmem")] {
        namespace.run("sysctl", &["-qw", &format!("net.ipv4.{buffer}={BUFFER}")]).unwrap();
    }
    let mut server = scene.serve(COLLECTOR, "all", "-tls1_3").unwrap();
    let agent = scene.path.start(&scene.url("tls", "5m")).unwrap();
    scene.path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, ALL);
    server.process.signal(Signal::STOP).unwrap();
    // More than all buffers on the way take.
    scene.path.flows(&agent, 40 * FLOWS).unwrap();
    let ledger = agent.ledger().unwrap();
    assert!(ledger.number("/destinations/0/queued/records").unwrap() > 0, "{}", ledger.0);
    let flips = || agent.ledger().unwrap().number("/flips").unwrap();
    let before = flips();
    thread::sleep(Duration::from_secs(2));
    assert!(flips() > before + 2, "the drain stands still");
    server.process.signal(Signal::CONT).unwrap();
    wait_for_sent(&agent, 41 * ALL);
    scene.path.stop(agent).unwrap();
    server.has(41 * ALL);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn dtls_on_a_path_that_gets_narrower_has_shorter_messages_that_arrive() {
    // UDP-MTU-1, DTLS-2
    let mut scene = Scene::new().unwrap();
    let server = scene.serve(COLLECTOR, "all", "-dtls1_2").unwrap();
    let agent = scene.path.start(&scene.url("dtls", "30s")).unwrap();
    scene.path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, ALL);
    server.has(ALL);
    for (namespace, interface) in [(&scene.path.router, "r1"), (&scene.path.collector, "k0")] {
        namespace.ip(&["link", "set", interface, "mtu", "800"]).unwrap();
    }
    for _ in 0..3 {
        scene.path.flows(&agent, FLOWS).unwrap();
    }
    let ledger = scene.path.stop(agent).unwrap();
    let sent = ledger.number(SENT).unwrap();
    assert!(reasons(&ledger).unwrap().iter().all(|(_, records)| *records == 0), "{}", ledger.0);
    // What was on its way when the path became narrow is what ICMP told of, one message at a time.
    let told = ledger.number("/destinations/0/refused_datagrams").unwrap();
    assert!(told > 0, "{}", ledger.0);
    let records = || -> Result<u64> {
        let rows = TsharkCapture::of_file(&server.output)?.fields(&["cflow.packets"])?;
        Ok(rows.iter().map(|row| row[0].len() as u64).sum())
    };
    let longest = 1500 / 40;
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    while records().unwrap_or(0) + told * longest < sent {
        assert!(Instant::now() < deadline, "{:?} of {sent} arrived, {told} were told of", records());
        thread::sleep(STEP);
    }
    assert!(records().unwrap() > ALL, "nothing arrived on the narrow path");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn over_dtls_a_name_that_changes_is_followed_at_the_next_session() {
    let mut scene = Scene::new().unwrap();
    let hosts = Hosts::new(&scene.path).unwrap();
    let first = scene.serve(COLLECTOR, "first", "-dtls1_2").unwrap();
    let second = scene.serve(ELSEWHERE, "second", "-dtls1_2").unwrap();
    let options = format!("resolve=5s&timeout=10s&{}", scene.options());
    let mut agent = hosts.start(&scene.path, "dtls", PORT, &options);
    scene.path.flows(&agent, FLOWS).unwrap();
    hosts.says(ELSEWHERE);
    first.has(ALL);
    let said = format!("collector {ELSEWHERE}:{PORT}: connected");
    agent.process().wait_for_stderr(&said, Duration::from_secs(30)).unwrap();
    scene.path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, 2 * ALL);
    scene.path.stop(agent).unwrap();
    second.has(ALL);
}
