//! Asking the running agent: what it answers, that it ends flows when told to, and that no client, however slow or
//! hostile, keeps it from its drains.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::agent::{AgentProcess, Signal, binary};
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::process::{COMMAND_TIMEOUT, Finished, Process, command};
use tests::raw::RawSender;

/// How long an answer may take beside hundreds of other clients, on a machine that is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An agent that is asked.
struct Asked {
    lab: Lab,
    agent: AgentProcess,
    sender: RawSender,
    directory: tempfile::TempDir,
    sent: u64,
}

impl Asked {
    fn start(options: &[&str]) -> Result<Self> {
        let lab = Lab::new(LabOptions::default())?;
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("control.sock");
        let socket = socket.to_str().context("a path that is no text")?;
        let file = format!("file://{}/flows", directory.path().display());
        let arguments = ["-i", MONITOR_INTERFACE, "--xdp-mode", "native", "--direction", "ingress"];
        let control = ["--control-socket", socket, "-c", &file, "--idle-timeout", "5m"];
        let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], &control, options].concat())?;
        let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
        Ok(Self { lab, agent, sender, directory, sent: 0 })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Sends a packet of 100 octets of each of so many flows, and waits until the agent has drained them.
    fn send(&mut self, flows: u16) -> Result<()> {
        for port in 0..flows {
            let [high, low] = port.to_be_bytes();
            let source = SocketAddr::from((Ipv4Addr::new(10, 1, high, low), 1000));
            let packet = udp(source, (Ipv4Addr::new(10, 2, 0, 2), 53).into(), &[0; 72]);
            self.sender.send(&frame(&packet))?;
        }
        self.sent += u64::from(flows);
        self.lab.wait_for_packets(self.sent)?;
        let sent = self.sent;
        self.agent.wait_for_ledger("packets", |ledger| Ok(ledger.number("/packets/metered")? >= sent))?;
        Ok(())
    }

    fn netflow(&self, words: &[&str]) -> Result<Finished> {
        let socket = self.socket();
        let socket = ["--control-socket", socket.to_str().context("a path that is no text")?];
        let program = binary()?;
        let program = program.to_str().context("a path that is no text")?;
        Process::spawn(command(program, [words, &socket].concat()))?.finish(COMMAND_TIMEOUT)
    }

    /// What a command prints.
    fn text(&self, words: &[&str]) -> Result<String> {
        let finished = self.netflow(words)?;
        ensure!(finished.status.success(), "{words:?}: {finished:?}");
        Ok(finished.stdout)
    }

    /// The same as JSON.
    fn json(&self, words: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(&[words, &["--json"]].concat())?)?)
    }

    fn stop(self) -> Result<()> {
        let socket = self.socket();
        let stopped = self.agent.stop(Signal::TERM)?;
        ensure!(stopped.exit_code == Some(0), "{stopped:?}");
        let ledger = stopped.ledger.context("no ledger")?;
        ensure!(ledger.0["balanced"] == true, "{}", ledger.0);
        ensure!(ledger.number("/packets/metered")? == self.sent, "{}", ledger.0);
        ensure!(ledger.number("/packets/in_records")? == self.sent, "{}", ledger.0);
        ensure!(!socket.exists(), "the socket is still there");
        Ok(())
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn what_can_be_asked_is_answered_for_people_and_as_json() {
    let mut asked = Asked::start(&[]).unwrap();
    asked.send(300).unwrap();

    let mode = std::fs::metadata(asked.socket()).unwrap();
    assert_eq!((mode.permissions().mode() & 0o777, mode.uid()), (0o660, 0));

    let ledger = asked.json(&["show", "ledger"]).unwrap();
    assert_eq!(ledger["books"]["packets"]["metered"], 300);
    assert_eq!(ledger["books"]["balanced"], true);
    let text = asked.text(&["show", "ledger"]).unwrap();
    assert!(text.contains("300  metered") && text.contains("balanced at every one of"), "{text}");

    let interfaces = asked.json(&["show", "interfaces"]).unwrap();
    let line = &interfaces["interfaces"][0];
    assert_eq!((&line["name"], &line["ingress"]), (&MONITOR_INTERFACE.into(), &"native XDP".into()));
    assert_eq!((&line["received"]["packets"], &line["sent"]["packets"]), (&300.into(), &0.into()));
    assert!(asked.text(&["show", "interfaces"]).unwrap().contains("native XDP"));

    let flows = asked.json(&["show", "flows", "--top", "7"]).unwrap();
    assert_eq!(flows["rows"].as_array().unwrap().len(), 7);
    assert_eq!(flows["matching"]["octets"], 30_000);
    let one = asked.json(&["show", "flows", "--filter", "host=10.1.0.5,port=53"]).unwrap();
    let row = &one["rows"][0];
    assert_eq!(one["matching"]["flows"], 1);
    assert_eq!((&row["packets"], &row["octets"]), (&1.into(), &100.into()));
    assert_eq!(row["key"]["sourceAddress"], "10.1.0.5");
    let text = asked.text(&["show", "flows", "--filter", "host=10.1.0.5"]).unwrap();
    assert!(text.contains("10.1.0.5:1000") && text.contains("10.2.0.2:53") && text.contains("UDP"), "{text}");
    let sums = asked.json(&["show", "flows", "--aggregate", "sourceIPv4Address/24"]).unwrap();
    let flows: Vec<_> = sums["rows"].as_array().unwrap().iter().map(|row| row["flows"].clone()).collect();
    assert_eq!(flows, [256, 44]);

    let export = asked.text(&["show", "export"]).unwrap();
    assert!(export.contains("(ipfix, ") && export.contains("offered"), "{export}");
    let templates = asked.json(&["show", "templates"]).unwrap();
    assert_eq!(templates["templates"][0]["id"], 256);
    assert_eq!(templates["templates"][0]["fields"][0]["name"], "sourceIPv4Address");
    assert!(asked.text(&["show", "templates"]).unwrap().contains("template 257"));
    let summary = asked.text(&["show", "summary"]).unwrap();
    assert!(summary.contains("300 packets seen") && summary.contains("300 flows active"), "{summary}");

    let explained = asked.text(&["explain", "10.1.0.5"]).unwrap();
    assert!(explained.contains("10.1.0.5: 1 flows are in the cache"), "{explained}");
    let unseen = asked.text(&["explain", "198.51.100.1"]).unwrap();
    assert!(
        unseen.contains("no flow in the cache (300 are)") && unseen.contains("not seen lately"),
        "{unseen}"
    );
    assert!(asked.text(&["log-level", "warn"]).unwrap().contains("level warn"));
    assert!(asked.text(&["send-templates"]).unwrap().contains("not to get them twice"));

    for (words, says) in [
        (&["show", "flows", "--filter", "colour=red"][..], "'colour' is not known"),
        (&["explain", "here"], "'here' is no address"),
        (&["expire", "here"], "'here' is no address"),
    ] {
        let refused = asked.netflow(words).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(1), ""), "{words:?}");
        assert!(refused.stderr.contains(says) && refused.stderr.lines().count() == 1, "{}", refused.stderr);
    }
    asked.stop().unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn flows_end_when_they_are_told_to_and_statistics_are_cleared_without_a_change_of_the_books() {
    let mut asked = Asked::start(&[]).unwrap();
    asked.send(300).unwrap();
    let expired = asked.text(&["expire", "10.1.0.0/24"]).unwrap();
    assert_eq!(expired, "256 flows of 10.1.0.0/24 ended\n");
    let ledger = asked.json(&["show", "ledger"]).unwrap();
    let reasons = |ledger: &Value| ledger["books"]["records"]["end_reason"]["forced_end"].clone();
    assert_eq!(reasons(&ledger), 256);
    let explained = asked.text(&["explain", "10.1.0.5"]).unwrap();
    assert!(
        explained.contains("ended by force") && explained.contains("no flow in the cache"),
        "{explained}"
    );
    let udp = |asked: &Asked| asked.json(&["show", "summary"]).unwrap()["protocols"].clone();
    assert_eq!(udp(&asked)[0]["records"], 256);

    assert!(asked.text(&["clear", "statistics"]).unwrap().contains("the books go on"));
    assert_eq!(udp(&asked), Value::Array(Vec::new()));
    assert_eq!(reasons(&asked.json(&["show", "ledger"]).unwrap()), 256);
    assert_eq!(asked.text(&["expire"]).unwrap(), "44 flows ended\n");
    assert_eq!(udp(&asked)[0]["records"], 44);
    asked.stop().unwrap();
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn two_hundred_clients_and_hostile_ones_do_not_keep_the_agent_from_its_flips() {
    const CLIENTS: usize = 200;
    const HOSTILE: usize = 24;
    const FLIPS: u64 = 40;
    const FLOWS: u16 = 10_000;
    const QUESTIONS: [&str; 5] = [
        r#"{"request":"show-ledger"}"#,
        r#"{"request":"show-flows","top":1000}"#,
        r#"{"request":"show-flows","aggregate":["sourceAddress"],"top":1000}"#,
        r#"{"request":"explain","address":"10.1.0.5"}"#,
        r#"{"request":"show-summary"}"#,
    ];
    let mut asked = Asked::start(&["--drain-interval", "50ms"]).unwrap();
    asked.send(FLOWS).unwrap();
    let before = asked.agent.ledger().unwrap().number("/flips").unwrap();
    let path = asked.socket();
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (path, over, answers) = (&path, &over, &answers);
            scope.spawn(move || {
                let mut turn = client;
                while !over.load(Ordering::Relaxed) {
                    let answer = ask(path, QUESTIONS[turn % QUESTIONS.len()]).unwrap();
                    assert!(answer.starts_with("{\"ok\":"), "{answer}");
                    answers.fetch_add(1, Ordering::Relaxed);
                    turn += 1;
                }
                // Each has had an answer, however many there were before it.
                assert!(turn > client);
            });
        }
        for client in 0..HOSTILE {
            let (path, over) = (&path, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // The agent may hang up at any time.
                    let _ = be_hostile(path, client, over);
                }
            });
        }
        let flipped = asked.agent.wait_for_ledger("flips beside the clients", |ledger| {
            Ok(ledger.number("/flips")? >= before + FLIPS
                && answers.load(Ordering::Relaxed) >= CLIENTS as u64)
        });
        over.store(true, Ordering::Relaxed);
        flipped.unwrap();
    });
    let answers = answers.into_inner();
    println!("{answers} answers beside {HOSTILE} hostile clients while {FLIPS} flips went on");
    // It still answers, and has all packets.
    assert_eq!(asked.json(&["show", "ledger"]).unwrap()["books"]["packets"]["metered"], FLOWS);
    asked.stop().unwrap();
}

fn ask(path: &PathBuf, question: &str) -> Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(question.as_bytes())?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

/// One of several ways to be a bad client, until the agent has enough of it or the test is over.
fn be_hostile(path: &PathBuf, way: usize, over: &AtomicBool) -> Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let is_over = || over.load(Ordering::Relaxed);
    match way % 5 {
        // Says nothing, and holds its place.
        0 => while !is_over() && !matches!(stream.read(&mut [0]), Ok(0)) {},
        // A line without an end.
        1 => {
            while !is_over() {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        // Asks for much and reads nothing of it.
        2 => {
            while !is_over() {
                stream.write_all(b"{\"request\":\"show-flows\",\"top\":10000}\n")?;
            }
        }
        // An octet at a time.
        3 => {
            for octet in b"{\"request\":\"show-ledger\"}".iter().cycle() {
                if is_over() {
                    break;
                }
                stream.write_all(&[*octet])?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        // Nonsense, deeply nested.
        _ => {
            stream.write_all(&[b'['; 8000])?;
            stream.write_all(b"\n\xff\xfe\0\n{\"request\":\"show-everything\"}\n")?;
            while !is_over() && !matches!(stream.read(&mut [0; 4096]), Ok(0) | Err(_)) {}
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_socket_that_is_asked_for_and_not_to_be_had_ends_the_start_and_that_of_a_dead_agent_is_taken_over() {
    let asked = Asked::start(&[]).unwrap();
    let path = asked.socket();
    let second = AgentProcess::spawn(
        &asked.lab.monitor,
        &["-i", MONITOR_INTERFACE, "--xdp-mode", "tc", "--control-socket", path.to_str().unwrap()],
    );
    let second = second.unwrap().finish(COMMAND_TIMEOUT).unwrap();
    assert_eq!(second.exit_code, Some(1));
    assert!(second.stderr.contains("another agent has the control socket"), "{}", second.stderr);
    let left = asked.directory.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let third = AgentProcess::start(
        &asked.lab.monitor,
        &["-i", MONITOR_INTERFACE, "--xdp-mode", "tc", "--control-socket", left.to_str().unwrap()],
    );
    assert!(ask(&left, r#"{"request":"show-ledger"}"#).unwrap().starts_with("{\"ok\":"));
    assert_eq!(third.unwrap().stop(Signal::TERM).unwrap().exit_code, Some(0));
    assert!(!left.exists());
    asked.stop().unwrap();
}
