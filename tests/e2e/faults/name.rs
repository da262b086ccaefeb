//! A collector's name that gets another address: the next connection goes there, and a connection that works ends for it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path as FilePath, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tests::agent::{AgentProcess, binary};
use tests::lab::MONITOR_INTERFACE;

use super::stream::{PORT, Peer};
use super::{COLLECTOR, Path, wait_for_sent};

const FLOWS: u16 = 300;
const NAME: &str = "collector.example";
/// Of the name, later.
pub(super) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 3);
/// Long enough for a look at the name, and for what follows from it.
const A_LOOK: Duration = Duration::from_secs(3);

/// What the agent reads as its /etc/hosts.
pub(super) struct Hosts {
    file: PathBuf,
    _directory: TempDir,
}

impl Hosts {
    /// The name has the first of the collector's addresses.
    pub(super) fn new(path: &Path) -> Result<Self> {
        path.collector.ip(&["addr", "add", &format!("{ELSEWHERE}/24"), "dev", "k0"])?;
        let directory = TempDir::new()?;
        let hosts = Self { file: directory.path().join("hosts"), _directory: directory };
        hosts.says(COLLECTOR);
        Ok(hosts)
    }

    /// It has this one.
    pub(super) fn says(&self, address: Ipv4Addr) {
        fs::write(&self.file, format!("{address} {NAME}\n")).unwrap();
    }

    /// Starts the agent with these names.
    pub(super) fn start(&self, path: &Path, scheme: &str, port: u16, options: &str) -> AgentProcess {
        // It can be changed in place.
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", self.file.display());
        let netflow = binary().unwrap();
        let words = ["--mount", "sh", "-c", &script, "sh", netflow.to_str().unwrap()];
        let url = format!("{scheme}://{NAME}:{port}?retry=1s&{options}");
        let arguments = ["-i", MONITOR_INTERFACE, "--direction", "ingress", "--idle-timeout", "1s"];
        let arguments = [&arguments[..], &["--drain-interval", "200ms", "-c", &url]].concat();
        AgentProcess::start_program(FilePath::new("unshare"), &path.lab.monitor, &words, &arguments).unwrap()
    }
}

fn peers(path: &Path) -> [Peer; 2] {
    [COLLECTOR, ELSEWHERE].map(|host| Peer::listen(&path.collector, host).unwrap())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_name_that_changes_is_followed_at_the_next_connection() {
    let mut path = Path::new().unwrap();
    let hosts = Hosts::new(&path).unwrap();
    let [mut first, mut second] = peers(&path);
    let agent = hosts.start(&path, "tcp", PORT, "resolve=1h");
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, FLOWS.into());
    thread::sleep(Duration::from_millis(200));
    hosts.says(ELSEWHERE);
    first.reset();
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, 2 * u64::from(FLOWS));
    path.stop(agent).unwrap();
    let at = |peer: &mut Peer| peer.end().unwrap();
    assert_eq!((at(&mut first), at(&mut second)), (FLOWS.into(), FLOWS.into()));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_connection_that_works_ends_for_a_name_that_changes_once_all_has_arrived() {
    let mut path = Path::new().unwrap();
    let hosts = Hosts::new(&path).unwrap();
    let [mut first, mut second] = peers(&path);
    let mut agent = hosts.start(&path, "tcp", PORT, "resolve=1s&timeout=5m");
    path.flows(&agent, FLOWS).unwrap();
    wait_for_sent(&agent, FLOWS.into());
    // As long as the name means the same, nothing happens.
    thread::sleep(A_LOOK);
    assert_eq!(first.connections(), 1);
    // The socket takes these, the collector does not.
    first.stall(true);
    path.flows(&agent, FLOWS).unwrap();
    hosts.says(ELSEWHERE);
    let said = "10.89.0.2:4739 is no longer its address";
    agent.process().wait_for_stderr(said, Duration::from_secs(20)).unwrap();
    path.flows(&agent, FLOWS).unwrap();
    thread::sleep(A_LOOK);
    assert_eq!(second.connections(), 0, "what is on its way has not arrived");
    first.stall(false);
    wait_for_sent(&agent, 3 * u64::from(FLOWS));
    path.stop(agent).unwrap();
    assert_eq!((first.connections(), second.connections()), (1, 1));
    let at = |peer: &mut Peer| peer.end().unwrap();
    assert_eq!((at(&mut first), at(&mut second)), (2 * u64::from(FLOWS), FLOWS.into()));
}
