//! `netflow top`, driven in a terminal: what its screen has, what keys do, and that the terminal is given back.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tests::agent::{AgentProcess, Signal, binary};
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::process::COMMAND_TIMEOUT;
use tests::raw::RawSender;
use tests::terminal::Terminal;

struct Watched {
    agent: AgentProcess,
    socket: String,
    _lab: Lab,
    _directory: tempfile::TempDir,
}

impl Watched {
    /// An agent that has metered some packets of three sources.
    fn start() -> Result<Self> {
        let lab = Lab::new(LabOptions::default())?;
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("control.sock");
        let socket = socket.to_str().context("a path that is no text")?.to_owned();
        let file = format!("file://{}/flows", directory.path().display());
        let arguments = ["-i", MONITOR_INTERFACE, "--direction", "ingress", "--control-socket", &socket];
        let further = ["-c", &file, "--idle-timeout", "5m", "--drain-interval", "200ms"];
        let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], &further].concat())?;
        let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
        for (last, port, packets) in [(1, 53, 30), (2, 443, 20), (3, 8080, 10)] {
            let source = SocketAddr::from((Ipv4Addr::new(10, 1, 0, last), 1000));
            let packet = frame(&udp(source, (Ipv4Addr::new(10, 2, 0, 2), port).into(), &[0; 72]));
            (0..packets).try_for_each(|_| sender.send(&packet))?;
        }
        agent.wait_for_ledger("packets", |ledger| Ok(ledger.number("/packets/metered")? >= 60))?;
        Ok(Self { agent, socket, _lab: lab, _directory: directory })
    }

    fn top(&self, options: &[&str], rows: u16, columns: u16) -> Result<Terminal> {
        let arguments = ["top", "--control-socket", &self.socket, "--interval", "300ms"];
        Terminal::start(&binary()?, &[&arguments[..], options].concat(), rows, columns)
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn the_screen_has_talkers_rates_and_the_ledger_and_keys_lead_to_the_rest() {
    let watched = Watched::start().unwrap();
    let mut top = watched.top(&[], 24, 80).unwrap();
    let screen = top
        .wait_for_all(&[
            "talkers by rate",
            "packets/s",
            "ledger balanced",
            "1 of 1 collectors well",
            "10.1.0.1",
            "q quit",
        ])
        .unwrap();
    let place = |address: &str| screen.lines().position(|line| line.starts_with(address)).unwrap();
    assert!(place("10.1.0.1") < place("10.1.0.2") && place("10.1.0.2") < place("10.1.0.3"), "{screen}");
    assert!(screen.lines().nth(place("10.1.0.1")).unwrap().contains("50.0%"), "{screen}");
    assert!(top.has_colour());

    top.press("3").unwrap();
    top.wait_for_all(&["flows by rate", "10.1.0.2:1000", "10.2.0.2:443", "UDP"]).unwrap();
    top.press("4s").unwrap();
    top.wait_for_all(&["ports by octets", "8080", "3,000"]).unwrap();
    top.press("/host=10.1.0.3\r").unwrap();
    top.wait_for("filtered ports", |screen| {
        screen.contains("where host=10.1.0.3") && screen.contains("8080") && !screen.contains("443")
    })
    .unwrap();
    top.press("/=\r").unwrap();
    top.wait_for_all(&["is no"]).unwrap();
    top.press("/").unwrap();
    top.press(&"\x7f".repeat(30)).unwrap();
    top.press("\r6").unwrap();
    top.wait_for_all(&["interfaces", MONITOR_INTERFACE, "native XDP"]).unwrap();
    top.press("7").unwrap();
    top.wait_for_all(&["The books at", "seen", "not_ip", "metered"]).unwrap();
    top.press("p").unwrap();
    top.wait_for_all(&["PAUSED"]).unwrap();
    top.press("h").unwrap();
    top.wait_for_all(&["any key closes this"]).unwrap();
    top.press("x1").unwrap();
    top.wait_for_all(&["talkers", "10.1.0.1"]).unwrap();
    top.press("q").unwrap();
    assert!(top.finish().unwrap().success());
    assert_eq!(watched.agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn it_works_in_a_small_window_without_colour_and_gives_the_terminal_back_when_it_is_killed_or_the_agent_goes()
{
    let watched = Watched::start().unwrap();
    let mut top = watched.top(&["--no-colour"], 5, 34).unwrap();
    let screen = top.wait_for_all(&["talkers", "10.1.0.1"]).unwrap();
    assert!(screen.lines().all(|line| line.chars().count() <= 34), "{screen}");
    assert!(!top.has_colour());
    top.resize(2, 12).unwrap();
    top.wait_for("a tiny window", |screen| screen.starts_with("netflow top")).unwrap();
    top.resize(30, 120).unwrap();
    top.wait_for_all(&["ledger balanced", "Share", "10.1.0.3"]).unwrap();
    top.signal(Signal::TERM).unwrap();
    assert!(top.finish().unwrap().success());

    let mut top = watched.top(&[], 24, 80).unwrap();
    top.wait_for_all(&["10.1.0.1"]).unwrap();
    assert_eq!(watched.agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
    top.wait_for_all(&["no agent answers", "10.1.0.1"]).unwrap();
    top.press("\x03").unwrap();
    assert!(top.finish().unwrap().success());
}

#[test]
#[ignore = "needs the binary"]
fn without_an_agent_or_a_terminal_it_says_so_in_a_line() {
    let mut top = Terminal::start(
        &binary().unwrap(),
        &["top", "--control-socket", "/nonexistent/control.sock"],
        24,
        80,
    )
    .unwrap();
    assert_eq!(top.finish().unwrap().code(), Some(1));
    assert!(
        top.text().starts_with("netflow: no agent answers at /nonexistent/control.sock"),
        "{}",
        top.text()
    );
    let program = binary().unwrap();
    let piped = tests::process::command(program.to_str().unwrap(), ["top"]);
    let piped = tests::process::Process::spawn(piped).unwrap().finish(COMMAND_TIMEOUT).unwrap();
    assert_eq!(piped.status.code(), Some(1));
    assert!(piped.stderr.contains("cannot use the terminal"), "{}", piped.stderr);
}
