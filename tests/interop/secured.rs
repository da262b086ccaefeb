//! TLS and DTLS to programs not written here, and to peers that must not get a record.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal, StoppedAgent};
use tests::captures;
use tests::certificates::{Authority, Leaf};
use tests::frames::{frame, udp};
use tests::judges::Tshark;
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::process::{COMMAND_TIMEOUT, Process, command, run};
use tests::raw::RawSender;

const FLOWS: u16 = 300;
/// Addresses of every record in clear text.
const ADDRESSES: [u8; 8] = [10, 1, 0, 1, 10, 2, 0, 2];
const FIRST_PORT: u16 = 24_740;
const SEQUENCE: &str = "out of sequence";
const SILENT: &str = "it did not answer in time";

/// Certificates, files of peers, and a namespace for them.
struct Scene {
    namespace: Namespace,
    directory: TempDir,
    authority: Authority,
    capture: PathBuf,
}

/// Who listens, and where it writes what it got.
struct Peer {
    port: u16,
    output: PathBuf,
    _process: Process,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let authority = Authority::new("authority")?;
        authority.write(directory.path(), "ca")?;
        authority.issue(&Leaf::SERVER)?.write(directory.path(), "server")?;
        authority.issue(&Leaf::CLIENT)?.write(directory.path(), "client")?;
        let capture = directory.path().join("flows.pcap");
        let to = "10.2.0.2:53".parse()?;
        let from = |port| std::net::SocketAddr::from(([10, 1, 0, 1], port));
        let frames: Vec<_> = (1..=FLOWS).map(|port| frame(&udp(from(port), to, b"question"))).collect();
        captures::write(&capture, &frames, Duration::from_millis(1))?;
        Ok(Self { namespace: Namespace::new()?, directory, authority, capture })
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The certificate is made, and its file returned.
    fn issue(&self, authority: &Authority, leaf: &Leaf<'_>, name: &str) -> Result<String> {
        Ok(authority.issue(leaf)?.write(self.directory.path(), name)?.display().to_string())
    }

    /// Starts a listener. `how` gives its command line from port and output.
    fn peer(&self, port: u16, udp: bool, how: impl Fn(u16, &str) -> Vec<String>) -> Result<Peer> {
        self.peer_in(&self.namespace, port, udp, how)
    }

    /// The same in another namespace.
    fn peer_in(
        &self,
        namespace: &Namespace,
        port: u16,
        udp: bool,
        how: impl Fn(u16, &str) -> Vec<String>,
    ) -> Result<Peer> {
        let output = self.directory.path().join(format!("{port}.ipfix"));
        fs::write(&output, "")?;
        let words = how(port, output.to_str().context("a path is text")?);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (program, arguments) = words.split_first().context("a program")?;
        let process = namespace.spawn(program, arguments)?;
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let (kind, filter) = (if udp { "-Hlun" } else { "-Hltn" }, format!("sport = :{port}"));
        while namespace.run("ss", &[kind, &filter])?.stdout.is_empty() {
            ensure!(Instant::now() < deadline, "nobody listens on {port}: {}", process.stderr());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Peer { port, output, _process: process })
    }

    /// Exports the capture to the URLs.
    fn export(&self, urls: &[String]) -> Result<StoppedAgent> {
        let arguments: Vec<&str> = urls.iter().flat_map(|url| ["-c", url]).collect();
        AgentProcess::read(&self.namespace, &self.capture, &arguments)
    }
}

/// socat with this address, which writes what comes.
fn socat(address: &str) -> impl Fn(u16, &str) -> Vec<String> + use<> {
    let address = address.to_owned();
    move |port, output| {
        let address = address.replace("PORT", &format!("{port},bind=127.0.0.1"));
        ["socat", "-u", &address, &format!("OPEN:{output},creat,append")].map(str::to_owned).into()
    }
}

/// OpenSSL's own server with this certificate and key.
fn s_server(pem: &str, version: &str) -> impl Fn(u16, &str) -> Vec<String> + use<> {
    let arguments = format!("-cert {pem} -key {pem} {version}");
    move |port, output| {
        // It ends with its standard input.
        let listen = format!("exec openssl s_server -quiet -accept 127.0.0.1:{port}");
        ["bash", "-c", &format!("{listen} {arguments} > {output} < <(sleep 120)")].map(str::to_owned).into()
    }
}

/// Packets in the records of a stream of messages, by ipfixDump, which must find nothing wrong: of so many Transport Sessions at most.
fn packets(file: &Path, sessions: usize) -> Result<u64> {
    let dump = run(command("ipfixDump", ["-d", "-i", file.to_str().context("a path is text")?]))?;
    // A file of several sessions has several beginnings.
    let complaints = dump.stderr.lines().filter(|line| line.contains("WARNING") && !line.contains(SEQUENCE));
    let complaints: Vec<&str> = complaints.collect();
    let breaks = dump.stderr.lines().filter(|line| line.contains(SEQUENCE)).count();
    ensure!(complaints.is_empty() && breaks < sessions, "{}", dump.stderr);
    let values = dump.stdout.lines().filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.trim_end().ends_with(" packetDeltaCount").then(|| value.trim().parse::<u64>().ok())?
    });
    Ok(values.sum())
}

/// Waits until a peer has written so many packets.
fn wait_for_packets(peer: &Peer, sessions: usize, expected: u64) -> Result<()> {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    loop {
        let found = packets(&peer.output, sessions).unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} of {expected} packets on port {}", found, peer.port);
        thread::sleep(Duration::from_millis(50));
    }
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn openssl_and_socat_read_all_records_and_the_wire_shows_none() {
    // TLS-1, TLS-2, TLS-5, DTLS-1, DTLS-3, DTLS-6
    let scene = Scene::new().unwrap();
    let tshark = Tshark::start(&scene.namespace, "lo", "tcp or udp").unwrap();
    let (ca, server, client) = (scene.file("ca.pem"), scene.file("server.pem"), scene.file("client.pem"));
    let mutual = socat(&format!("OPENSSL-LISTEN:PORT,cert={server},cafile={ca},verify=1"));
    let dtls = socat(&format!("OPENSSL-DTLS-SERVER:PORT,pf=ip4,cert={server},cafile={ca},verify=1"));
    let peers = [
        ("tls", scene.peer(FIRST_PORT, false, mutual).unwrap()),
        ("tls", scene.peer(FIRST_PORT + 1, false, s_server(&server, "-tls1_2")).unwrap()),
        ("tls", scene.peer(FIRST_PORT + 2, false, s_server(&server, "-tls1_3")).unwrap()),
        ("dtls", scene.peer(FIRST_PORT + 3, true, dtls).unwrap()),
        ("dtls", scene.peer(FIRST_PORT + 4, true, s_server(&server, "-dtls1_2")).unwrap()),
    ];
    let url = |(scheme, peer): &(&str, Peer)| {
        format!("{scheme}://127.0.0.1:{}?ca={ca}&cert={client}&name=localhost", peer.port)
    };
    let stopped = scene.export(&peers.each_ref().map(url)).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    for (place, (_, peer)) in peers.iter().enumerate() {
        wait_for_packets(peer, 1, FLOWS.into()).unwrap();
        let sent = ledger.number(&format!("/destinations/{place}/sent/packets")).unwrap();
        assert_eq!(sent, u64::from(FLOWS), "{}", stopped.stderr);
    }
    let wire = tshark.stop().unwrap();
    assert!(wire.packets > 10);
    assert!(!contains(&fs::read(wire.path()).unwrap(), &ADDRESSES), "records in clear text");
    // DTLS-2: no datagram is longer than an Ethernet frame takes.
    let lengths = wire.fields(&["ip.proto", "ip.len", "ip.flags.mf"]).unwrap();
    let udp: Vec<_> = lengths.iter().filter(|packet| packet[0] == ["17"]).collect();
    assert!(
        udp.iter().all(|packet| packet[1][0].parse::<u32>().unwrap() <= 1500 && packet[2] == ["0"]),
        "{udp:?}"
    );
    assert!(udp.iter().any(|packet| packet[1][0].parse::<u32>().unwrap() > 1400), "{udp:?}");
    // What they would look like.
    assert!(contains(&fs::read(&peers[0].1.output).unwrap(), &ADDRESSES));
}

#[test]
#[ignore = "needs root: network namespaces"]
fn peers_that_are_not_who_they_should_be_get_no_record_and_the_books_say_so() {
    // TLS-3, TLS-6, TLS-7, TLS-10, TLS-11, TLS-12
    let scene = Scene::new().unwrap();
    let stranger = Authority::new("stranger").unwrap();
    let (ca, server) = (scene.file("ca.pem"), scene.file("server.pem"));
    let issue = |leaf: &Leaf<'_>, name: &str| scene.issue(&scene.authority, leaf, name).unwrap();
    let alone = Leaf::SERVER.self_signed().unwrap().write(scene.directory.path(), "alone").unwrap();
    let certificates = [
        (issue(&Leaf::EXPIRED, "expired"), "its certificate has expired"),
        (issue(&Leaf::NOT_YET_VALID, "future"), "its certificate is not valid yet"),
        (issue(&Leaf::WRONG_NAME, "name"), "its certificate is not for 'localhost'"),
        (issue(&Leaf::COMMON_NAME_ONLY, "cn"), "its certificate is not for 'localhost'"),
        (issue(&Leaf::WRONG_USAGE, "usage"), "its certificate is not one for servers"),
        (
            scene.issue(&stranger, &Leaf::SERVER, "stranger").unwrap(),
            "no authority that is trusted vouches for its certificate",
        ),
        (alone.display().to_string(), "no authority that is trusted vouches for its certificate"),
    ];
    let tls = |certificate: &str, more: &str| format!("OPENSSL-LISTEN:PORT,fork,cert={certificate},{more}");
    let dtls =
        |certificate: &str, more: &str| format!("OPENSSL-DTLS-SERVER:PORT,pf=ip4,cert={certificate},{more}");
    let demanding = format!("verify=1,cafile={ca}");
    let wants = "wants a certificate of this exporter";
    let old = |version: &str| format!("verify=0,openssl-max-proto-version={version},cipher=ALL:@SECLEVEL=0");
    let mut cases = vec![
        ("tls", tls(&server, &demanding), wants),
        ("dtls", dtls(&server, &demanding), wants),
        ("tls", tls(&server, &old("TLS1.1")), "it speaks neither TLS 1.2 nor TLS 1.3"),
        ("dtls", dtls(&server, &old("DTLS1.0")), "it sees no common way, which is DTLS 1.2 here"),
        ("tls", "TCP4-LISTEN:PORT,fork".to_owned(), SILENT),
        ("dtls", "UDP4-RECV:PORT".to_owned(), SILENT),
    ];
    for (certificate, reason) in &certificates {
        cases.push(("tls", tls(certificate, "verify=0"), reason));
        cases.push(("dtls", dtls(certificate, "verify=0"), reason));
    }
    let tshark = Tshark::start(&scene.namespace, "lo", "tcp or udp").unwrap();
    let peers: Vec<Peer> = (FIRST_PORT..)
        .zip(&cases)
        .map(|(port, (scheme, address, _))| scene.peer(port, *scheme == "dtls", socat(address)).unwrap())
        .collect();
    let url = |(peer, (scheme, ..)): (&Peer, &(&str, String, &str))| {
        format!("{scheme}://127.0.0.1:{}?ca={ca}&name=localhost&retry=1s&timeout=3s", peer.port)
    };
    let urls: Vec<String> = peers.iter().zip(&cases).map(url).collect();
    let stopped = scene.export(&urls).unwrap();
    let reasons: Vec<&str> = cases.iter().map(|(_, _, reason)| *reason).collect();
    assert_nothing_sent(&stopped, &peers, &reasons);
    let wire = tshark.stop().unwrap();
    assert!(wire.packets > 10);
    assert!(!contains(&fs::read(wire.path()).unwrap(), &ADDRESSES), "records in clear text");
}

/// Each peer is told of with its reason in one line, got nothing, and the books say that nothing was sent.
#[track_caller]
fn assert_nothing_sent(stopped: &StoppedAgent, peers: &[Peer], reasons: &[&str]) {
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.as_ref().expect("a ledger");
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    for (place, (peer, reason)) in peers.iter().zip(reasons).enumerate() {
        let told = |line: &str| line.contains(&format!(":{}: ", peer.port)) && line.contains(reason);
        assert!(stopped.stderr.lines().any(told), "port {}: {reason}:\n{}", peer.port, stopped.stderr);
        let of = |what: &str| ledger.sum(&format!("/destinations/{place}/{what}")).unwrap();
        assert_eq!((of("offered/packets"), of("sent/packets")), (FLOWS.into(), 0), "port {}", peer.port);
        assert_eq!(of("queued/packets"), 0, "port {}", peer.port);
        let shutdown = ledger.number(&format!("/destinations/{place}/not_sent/shutdown/packets")).unwrap();
        assert_eq!(shutdown, u64::from(FLOWS), "port {}", peer.port);
        let got = fs::read(&peer.output).unwrap();
        assert!(!contains(&got, &ADDRESSES), "port {} got records", peer.port);
        // The one that expects clear text has seen how TLS begins.
        assert!(got.is_empty() || *reason == SILENT, "port {} got {got:?}", peer.port);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_collector_that_is_restarted_gets_a_new_session_and_all_records_that_come_then() {
    // TCP-TMPL-1, DTLS-4
    const SESSIONS: usize = 100;
    let (scene, lab) = (Scene::new().unwrap(), Lab::new(LabOptions::default()).unwrap());
    let (ca, server) = (scene.file("ca.pem"), scene.file("server.pem"));
    let start = || {
        [(FIRST_PORT, false, "-tls1_3"), (FIRST_PORT + 1, true, "-dtls1_2")].map(|(port, udp, version)| {
            scene.peer_in(&lab.monitor, port, udp, s_server(&server, version)).unwrap()
        })
    };
    let options = format!("ca={ca}&name=localhost&retry=1s&timeout=3s");
    let urls = [
        format!("tls://127.0.0.1:{FIRST_PORT}?{options}"),
        format!("dtls://127.0.0.1:{}?{options}&resolve=3s", FIRST_PORT + 1),
    ];
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let send = |first: u16| {
        let to = "10.2.0.2:53".parse().unwrap();
        for port in first..first + 10 {
            let from = format!("10.1.0.1:{port}").parse().unwrap();
            sender.send(&frame(&udp(from, to, b"question"))).unwrap();
        }
    };
    let first = start();
    let arguments = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "-c", &urls[0], "-c", &urls[1]];
    let mut agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let connected = |agent: &mut AgentProcess, before: [usize; 2]| {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        loop {
            let said = agent.process().stderr();
            let count = |port| said.matches(&format!("127.0.0.1:{port}: connected")).count();
            let counts = [count(FIRST_PORT), count(FIRST_PORT + 1)];
            if counts[0] > before[0] && counts[1] > before[1] {
                return counts;
            }
            assert!(Instant::now() < deadline, "no connections after {before:?}:\n{said}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let before = connected(&mut agent, [0, 0]);
    send(1000);
    first.iter().for_each(|peer| wait_for_packets(peer, SESSIONS, 10).unwrap());
    drop(first);
    let second = start();
    connected(&mut agent, before);
    // What DTLS had sent to nobody is gone; what comes now is not.
    connected(&mut agent, [0, before[1] + 1]);
    send(2000);
    second.iter().for_each(|peer| wait_for_packets(peer, SESSIONS, 10).unwrap());
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    for place in 0..2 {
        let of = |what: &str| ledger.sum(&format!("/destinations/{place}/{what}")).unwrap();
        assert_eq!((of("offered/packets"), of("sent/packets"), of("queued/packets")), (20, 20, 0));
    }
}
