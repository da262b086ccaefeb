//! TCP: the collector resets the connection, vanishes without a word, takes nothing, or is found elsewhere.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use tempfile::TempDir;
use tests::agent::AgentProcess;
use tests::judges::{Nfcapd, sums_of_file};
use tests::lab::Namespace;

use super::{COLLECTOR, Path, SENT, wait_for_sent};

pub(super) const PORT: u16 = 4739;
/// Of a collector that takes all.
const LIVING: u16 = 9995;
const FLOWS: u16 = 300;
const STEP: Duration = Duration::from_millis(20);

/// A collector that keeps what each connection brings, and can misbehave.
pub(super) struct Peer {
    state: Arc<State>,
    files: TempDir,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    /// It reads nothing.
    stalls: AtomicBool,
    /// Connections up to this one are reset.
    reset: AtomicUsize,
    connections: AtomicUsize,
}

impl Peer {
    pub(super) fn listen(namespace: &Namespace, host: Ipv4Addr) -> Result<Self> {
        let listener = namespace.enter(|| TcpListener::bind((host, PORT)))??;
        listener.set_nonblocking(true)?;
        // Little enough that a reader that stops is felt.
        set_socket_recv_buffer_size(&listener, 4096)?;
        let (state, files) = (Arc::new(State::default()), TempDir::new()?);
        let (shared, directory) = (Arc::clone(&state), files.path().to_owned());
        let task = thread::spawn(move || serve(&listener, &shared, &directory));
        Ok(Self { state, files, task: Some(task) })
    }

    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Resets the connections that there are.
    pub(super) fn reset(&self) {
        self.state.reset.store(self.connections(), Ordering::Relaxed);
    }

    pub(super) fn stall(&self, stalls: bool) {
        self.state.stalls.store(stalls, Ordering::Relaxed);
    }

    /// Ends it without further reading; packets of the records that tshark finds in what came: one in each.
    pub(super) fn end(&mut self) -> Result<u64> {
        self.state.stop.store(true, Ordering::Relaxed);
        self.task.take().map(JoinHandle::join).transpose().ok();
        let mut packets = 0;
        for entry in fs::read_dir(self.files.path())? {
            packets += sums_of_file(&entry?.path())?.0;
        }
        Ok(packets)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, state: &Arc<State>, directory: &FilePath) {
    let mut connections = Vec::new();
    while !state.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let number = state.connections.fetch_add(1, Ordering::Relaxed) + 1;
                let file = File::create(directory.join(format!("{number}.ipfix"))).unwrap();
                let state = Arc::clone(state);
                connections.push(thread::spawn(move || keep(stream, file, number, &state)));
            }
            Err(_) => thread::sleep(STEP),
        }
    }
    connections.into_iter().for_each(|connection| connection.join().unwrap());
}

fn keep(mut stream: TcpStream, mut file: File, number: usize, state: &State) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(STEP)).unwrap();
    let mut octets = vec![0; 1 << 16];
    while !state.stop.load(Ordering::Relaxed) {
        if state.reset.load(Ordering::Relaxed) >= number {
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            return;
        }
        if state.stalls.load(Ordering::Relaxed) {
            thread::sleep(STEP);
            continue;
        }
        match stream.read(&mut octets) {
            Ok(0) => return,
            Ok(length) => file.write_all(&octets[..length]).unwrap(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn url(timeout: &str) -> String {
    format!("tcp://{COLLECTOR}:{PORT}?retry=1s&timeout={timeout}")
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn after_a_reset_records_go_over_the_next_connection() {
    // TCP-CONN-4, TCP-TMPL-1, IPFIX-SEQ-6
    let mut path = Path::new().unwrap();
    let mut peer = Peer::listen(&path.collector, COLLECTOR).unwrap();
    let agent = path.start(&url("30s")).unwrap();
    for round in 1..=3 {
        path.flows(&agent, FLOWS).unwrap();
        wait_for_sent(&agent, round * u64::from(FLOWS));
        // What has been acknowledged has been read by now: nothing is lost with the connection.
        thread::sleep(10 * STEP);
        peer.reset();
    }
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, 4 * u64::from(FLOWS));
    let ledger = path.stop(agent).unwrap();
    assert_eq!(ledger.number(SENT).unwrap(), path.sent);
    assert!(peer.connections() >= 4, "{} connections", peer.connections());
    assert_eq!(peer.end().unwrap(), path.sent);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_peer_that_vanished_without_a_word_is_noticed_and_its_records_go_to_the_next_one() {
    // TCP-CONN-6
    let mut path = Path::new().unwrap();
    let mut first = Peer::listen(&path.collector, COLLECTOR).unwrap();
    let agent = path.start(&url("3s")).unwrap();
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, FLOWS.into());
    thread::sleep(10 * STEP);
    // Nothing passes in either direction while it ends: its farewell is lost as well.
    path.router.ip(&["link", "set", "r1", "down"]).unwrap();
    let records = first.end().unwrap();
    path.flows(&agent, FLOWS).unwrap();
    let flips = |agent: &AgentProcess| agent.ledger().unwrap().number("/flips").unwrap();
    let before = flips(&agent);
    thread::sleep(Duration::from_secs(4));
    assert!(flips(&agent) > before + 4, "the drain stands still");
    let ledger = agent.ledger().unwrap();
    assert_eq!(ledger.number(SENT).unwrap(), records);
    let mut second = Peer::listen(&path.collector, COLLECTOR).unwrap();
    path.router.ip(&["link", "set", "r1", "up"]).unwrap();
    wait_for_sent(&agent, 2 * u64::from(FLOWS));
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, 3 * u64::from(FLOWS));
    path.stop(agent).unwrap();
    assert_eq!((records, second.end().unwrap()), (FLOWS.into(), 2 * u64::from(FLOWS)));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_peer_that_takes_nothing_delays_nobody_and_has_all_of_it_when_it_goes_on() {
    // TCP-BUF-2, TCP-FRAME-2
    let mut path = Path::new().unwrap();
    let mut peer = Peer::listen(&path.collector, COLLECTOR).unwrap();
    peer.stall(true);
    let agent = path.start(&url("5m")).unwrap();
    let flips = |agent: &AgentProcess| agent.ledger().unwrap().number("/flips").unwrap();
    // More than all buffers on the way take.
    for _ in 0..3 {
        path.flows(&agent, 40_000).unwrap();
    }
    let ledger = agent.ledger().unwrap();
    assert!(ledger.number(SENT).unwrap() < path.sent, "the buffers have taken all of it: {}", ledger.0);
    assert!(ledger.number("/destinations/0/queued/records").unwrap() > 0);
    let before = flips(&agent);
    thread::sleep(Duration::from_secs(3));
    assert!(flips(&agent) > before + 3, "the drain stands still");
    peer.stall(false);
    wait_for_sent(&agent, path.sent);
    path.stop(agent).unwrap();
    assert_eq!((peer.connections(), peer.end().unwrap()), (1, path.sent));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_collector_that_takes_nothing_delays_none_beside_it() {
    // TRANS-5
    let mut path = Path::new().unwrap();
    // Little is under way.
    path.lab.monitor.run("sysctl", &["-qw", "net.ipv4.tcp_wmem=4096 16384 32768"]).unwrap();
    let mut stalled = Peer::listen(&path.collector, COLLECTOR).unwrap();
    stalled.stall(true);
    let living = Nfcapd::start(&path.collector, (COLLECTOR, LIVING).into()).unwrap();
    let agent =
        path.start_with(&url("5m"), &["-c", &format!("udp://{COLLECTOR}:{LIVING}?protocol=v9")]).unwrap();
    path.flows(&agent, 10_000).unwrap();
    let all = path.sent;
    let sent = "/destinations/1/sent/records";
    let ledger = agent.wait_for_ledger("all at the living one", |ledger| Ok(ledger.number(sent)? == all));
    let ledger = ledger.unwrap();
    assert!(ledger.number("/destinations/0/queued/records").unwrap() > 0, "{}", ledger.0);
    // It has them while the other one still has not.
    let summary = living.stop().unwrap().summary;
    assert_eq!((summary.flows, summary.sequence_errors, summary.bad_packets), (all, 0, 0), "{summary:?}");
    assert!(agent.ledger().unwrap().number(SENT).unwrap() < all);
    stalled.stall(false);
    wait_for_sent(&agent, all);
    path.stop(agent).unwrap();
    assert_eq!(stalled.end().unwrap(), all);
}
