//! A spool at its bound: the oldest goes and is counted, what is left outlives the agent's end and its being killed, and goes
//! to the collector in order and no faster than it may.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal, StoppedAgent};
use tests::certificates::{Authority, Leaf};
use tests::generator::{Generator, GeneratorOptions};
use tests::judges::TsharkCapture;
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::ledger::Ledger;
use tests::process::{COMMAND_TIMEOUT, Process};
use tests::stream_sink::StreamSink;

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4740);
/// Records of a second, and a few times as many packets.
const FLOWS: u64 = 4_000;
const LOAD: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);
/// Octets: of the spool, and of what goes from it in a second.
const SIZE: u64 = 1 << 20;
const RATE: u64 = 256 << 10;
/// How far records of one drain may be apart: idle flows and active ones, and the drain's interval.
const DRAIN: u64 = 2000;
/// A message of each file goes before its turn.
const MESSAGE: u64 = 16_384;
const SPOOLED: &str = "/destinations/0/spooled/packets";

/// Packets, and what became of the agents' records of them.
struct Scene {
    lab: Lab,
    directory: TempDir,
    url: String,
    packets: u64,
    given_up: u64,
}

impl Scene {
    fn new(scheme: &str, options: &str) -> Self {
        let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() }).unwrap();
        let directory = TempDir::new().unwrap();
        let spool = directory.path().join("spool");
        fs::create_dir(&spool).unwrap();
        let bounds = format!("spool={}&spool-size={SIZE}&spool-rate={RATE}", spool.display());
        let ca = directory.path().join("ca.pem");
        let options = options.replace("CA", &ca.display().to_string());
        let url = format!("{scheme}://{ADDRESS}?retry=1s&{bounds}{options}");
        Self { lab, directory, url, packets: 0, given_up: 0 }
    }

    fn start(&self) -> AgentProcess {
        let times = ["--active-timeout", "1s", "--idle-timeout", "1s", "--drain-interval", "200ms"];
        let arguments = ["-i", MONITOR_INTERFACE, "--direction", "ingress", "-c", &self.url];
        AgentProcess::start(&self.lab.monitor, &[&arguments[..], &times].concat()).unwrap()
    }

    /// Sends packets until more records were given up than the spool holds, and until all flows have ended.
    fn fill(&mut self, agent: &AgentProcess) -> Ledger {
        let options = GeneratorOptions { flows: FLOWS, ..GeneratorOptions::default() };
        let mut generator = Generator::new(&self.lab.generator, GENERATOR_INTERFACE, options).unwrap();
        let (begin, mut sent) = (Instant::now(), 0);
        loop {
            sent += generator.send(FLOWS).unwrap().packets;
            thread::sleep(PAUSE);
            let full = agent.ledger().unwrap().number("/destinations/0/not_sent/spool_full/records").unwrap();
            if full > 0 && begin.elapsed() > LOAD {
                break;
            }
            assert!(begin.elapsed() < COMMAND_TIMEOUT, "it never was full");
        }
        self.packets += sent;
        self.lab.wait_for_packets(self.packets).unwrap();
        agent
            .wait_for_ledger("all on disk", |ledger| {
                let queued = ledger.number("/destinations/0/queued/packets")?;
                Ok(ledger.number("/destinations/0/offered/packets")? == sent && queued == 0)
            })
            .unwrap()
    }

    /// An agent has ended with these books: the spool holds what it can, what was too much is counted.
    fn ended(&mut self, ledger: &Ledger, packets: u64, inherited: u64) -> u64 {
        let of = |line: &str| ledger.number(&format!("/destinations/0/{line}/packets")).unwrap();
        let sum = |line: &str| ledger.sum(&format!("/destinations/0/{line}")).unwrap();
        assert_eq!(sum("not_sent"), sum("not_sent/spool_full"), "{}", ledger.0);
        let (spooled, given_up) = (of("spooled"), of("not_sent/spool_full"));
        assert_eq!((of("sent"), of("inherited")), (0, inherited));
        assert_eq!(spooled + given_up, inherited + packets, "{}", ledger.0);
        assert!(given_up > 0, "{}", ledger.0);
        let files = fs::read_dir(self.directory.path().join("spool")).unwrap();
        let octets: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(octets <= SIZE && octets > SIZE / 2, "{octets} octets on disk");
        self.given_up += given_up;
        spooled
    }

    /// The collector is there: what the spool has goes to it, at the rate, and the agent ends.
    fn empty(&self, agent: AgentProcess, inherited: u64) -> StoppedAgent {
        let begin = Instant::now();
        let before = agent.ledger().unwrap();
        assert!(before.number(SPOOLED).unwrap() > 0, "{}", before.0);
        agent.wait_for_ledger("an empty spool", |ledger| Ok(ledger.number(SPOOLED)? == 0)).unwrap();
        let took = begin.elapsed().as_millis() as u64;
        let stopped = agent.stop(Signal::TERM).unwrap();
        assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
        let ledger = stopped.ledger.as_ref().unwrap();
        assert_eq!(ledger.number("/destinations/0/sent/packets").unwrap(), inherited);
        let octets = ledger.number("/destinations/0/message_octets").unwrap();
        assert!(octets > SIZE / 2, "{octets} octets went");
        // The rate is a bound: never faster, however long a busy machine takes.
        let least = (octets - MESSAGE) * 1000 / RATE;
        assert!(took >= least, "{octets} octets in {took} ms, not {least}");
        assert_eq!(fs::read_dir(self.directory.path().join("spool")).unwrap().count(), 0);
        stopped
    }
}

/// Packets in what came, by tshark; records have to stand in the order of their flows' ends, and messages in that of
/// their export.
fn packets_in_order(files: &[PathBuf]) -> u64 {
    let (mut packets, mut latest, mut first, mut exported) = (0, 0, u64::MAX, 0);
    for file in files.iter().filter(|file| file.metadata().unwrap().len() > 0) {
        for message in TsharkCapture::of_file(file).unwrap().messages().unwrap() {
            assert!(message.export_seconds >= exported, "a message from before");
            exported = message.export_seconds;
            for record in &message.records {
                let end = record.end_unix_millis;
                assert!(end + DRAIN >= latest, "{end} behind {latest}");
                (latest, first) = (latest.max(end), first.min(end));
                packets += record.packets;
            }
        }
    }
    assert!(latest > first + DRAIN, "all of it ended at once: nothing is shown of its order");
    packets
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_full_spool_gives_up_its_oldest_and_outlives_the_agent_by_any_death_and_goes_in_order_at_its_rate() {
    let mut scene = Scene::new("tcp", "");
    let mut agent = scene.start();
    let books = scene.fill(&agent);
    let first = scene.packets;
    agent.process().signal(Signal::KILL).unwrap();
    assert_eq!(agent.finish(COMMAND_TIMEOUT).unwrap().exit_code, None);
    let spooled = scene.ended(&books, first, 0);

    let agent = scene.start();
    scene.fill(&agent);
    let second = scene.packets - first;
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let spooled = scene.ended(&stopped.ledger.unwrap(), second, spooled);

    let sink = StreamSink::start(&scene.lab.monitor, ADDRESS, scene.directory.path(), "all").unwrap();
    let agent = scene.start();
    scene.empty(agent, spooled);
    let connections = sink.connections();
    sink.stop().unwrap();
    let file = |number| scene.directory.path().join(format!("all-{number}.ipfix"));
    let files: Vec<PathBuf> = (1..=connections).map(file).collect();
    assert_eq!(packets_in_order(&files), spooled);
    assert_eq!(spooled + scene.given_up, scene.packets);
}

/// OpenSSL's own server, for one connection after the other.
fn serve(scene: &Scene, output: &Path) -> Process {
    let certificate = scene.directory.path().join("server.pem");
    let (certificate, output) = (certificate.display(), output.display());
    let listen = format!("exec openssl s_server -quiet -accept {ADDRESS} -tls1_3");
    let files = format!("-cert {certificate} -key {certificate} > {output} < <(sleep 60)");
    scene.lab.monitor.spawn("bash", &["-c", &format!("{listen} {files}")]).unwrap()
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn over_tls_a_full_spool_outlives_a_killed_agent_and_goes_in_order_at_its_rate() {
    let mut scene = Scene::new("tls", "&name=localhost&ca=CA");
    let authority = Authority::new("authority").unwrap();
    authority.write(scene.directory.path(), "ca").unwrap();
    authority.issue(&Leaf::SERVER).unwrap().write(scene.directory.path(), "server").unwrap();
    let mut agent = scene.start();
    let books = scene.fill(&agent);
    agent.process().signal(Signal::KILL).unwrap();
    agent.finish(COMMAND_TIMEOUT).unwrap();
    let packets = scene.packets;
    let spooled = scene.ended(&books, packets, 0);
    let output = scene.directory.path().join("all.ipfix");
    let _server = serve(&scene, &output);
    let agent = scene.start();
    scene.empty(agent, spooled);
    assert_eq!(packets_in_order(&[output]), spooled);
    assert_eq!(spooled + scene.given_up, packets);
}
