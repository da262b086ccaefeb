//! A configuration that changes while packets come: nothing is lost, and what has nothing to do with the change goes on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::judges::{IPFIX, NETFLOW_V9, Panel, sequence_errors};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::raw::RawSender;
use tests::trickle::{OnDrop, trickle};

const RELOADS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(280);

/// The configuration of a round: everything that can change without a restart, in turn.
fn configuration(panel: &Panel, directory: &Path, round: usize) -> String {
    let urls = panel.collectors();
    let mut text = format!(
        "interface = '{MONITOR_INTERFACE}'\nxdp-mode = 'native'\nidle-timeout = '{}s'\nactive-timeout = '{}s'\nend-linger = '{}ms'\n",
        1 + round % 3,
        2 + round % 5,
        100 + round % 7,
    );
    text += &format!(
        "cache-size = {}\ndrain-interval = '{}ms'\ntemplate-refresh = '{}s'\nexport-rate = {}\nroutes = {}\n",
        [100_000, 16, 5000][round % 3],
        [50, 200][round % 2],
        10 + round % 4,
        [0, 100_000][round % 2],
        round % 11 != 5,
    );
    for url in [&urls[1], &urls[3]] {
        text += &format!("[[collector]]\nurl = '{url}'\n");
    }
    // One that comes and goes, one that is another each time, and one in a file.
    if round % 2 == 1 {
        text += "[[collector]]\nurl = 'udp://127.0.0.1:9'\n";
    }
    text += &format!("[[collector]]\nurl = 'udp://127.0.0.1:10?ttl={}'\n", 1 + round % 200);
    // (In a directory that it writes to from the start.)
    if round.is_multiple_of(10) {
        text += &format!("[[collector]]\nurl = 'file://{}/round{round}'\n", directory.display());
    }
    text
}

/// Tells the agent, and waits until it has done it. Returns what it said.
fn reload(agent: &mut AgentProcess, done: usize) -> Result<String> {
    agent.process().signal(Signal::HUP)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = agent.process().stderr();
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("configuration")).collect();
        // The first one says which file there is.
        if let Some(line) = lines.get(1 + done) {
            return Ok((*line).to_owned());
        }
        ensure!(Instant::now() < deadline, "no reload after {done} within {PATIENCE:?}: {said}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[ignore = "needs root, network namespaces, a kernel that loads XDP and nfdump"]
fn a_thousand_reloads_lose_no_packet_no_template_and_no_sequence_number() -> Result<()> {
    let lab = Lab::new(LabOptions::default())?;
    let panel = Panel::start(&lab.monitor, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netflow.toml");
    fs::write(&file, configuration(&panel, directory.path(), 0))?;
    let file_name = file.to_str().context("a temporary directory whose name is no text")?;
    let mut agent = AgentProcess::start(&lab.monitor, &["--config", file_name])?;
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| -> Result<u64> {
        let traffic = scope.spawn(|| trickle(&lab, 300, LIMIT, &stop));
        let stopping = OnDrop(&stop);
        for round in 1..=RELOADS {
            fs::write(&file, configuration(&panel, directory.path(), round))?;
            let said = reload(&mut agent, round - 1)?;
            ensure!(said.contains("configuration: ") && said.contains("idle-timeout is"), "{round}: {said}");
            ensure!(agent.ledger()?.0["balanced"] == true, "{round}: {}", agent.ledger()?.0);
        }
        drop(stopping);
        traffic.join().expect("the traffic does not panic")
    })?;
    lab.wait_for_packets(sent)?;
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.context("no ledger")?;
    ensure!(
        ledger.0["balanced"] == true && ledger.number("/packets/metered")? == sent,
        "{sent}: {}",
        ledger.0
    );
    ensure!(ledger.number("/packets/in_records")? == sent, "{}", ledger.0);
    let verdict = panel.stop()?;
    ensure!(verdict.complaints.is_empty(), "{:?}", verdict.complaints);
    for protocol in [NETFLOW_V9, IPFIX] {
        // One session from the first message to the last.
        let errors = sequence_errors(verdict.messages_of(protocol, 1));
        ensure!(errors.is_empty(), "{errors:?}");
        let flows = verdict.nfcapd(protocol).flows()?;
        let packets: u64 = flows.iter().map(|flow| flow.packets).sum();
        ensure!(packets == sent, "{protocol:?}: {packets} of {sent} packets");
    }
    Ok(())
}

#[test]
#[ignore = "needs root, network namespaces and a kernel that loads XDP"]
fn a_configuration_that_cannot_be_applied_changes_nothing() -> Result<()> {
    let lab = Lab::new(LabOptions::default())?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netflow.toml");
    let begin = format!("interface = '{MONITOR_INTERFACE}'\n");
    // Over a connection, too, which the kernel program is told of.
    let collector = "[[collector]]\nurl = 'udp://127.0.0.1:9'\n[[collector]]\nurl = 'tcp://127.0.0.1:9'\n";
    fs::write(&file, format!("{begin}{collector}"))?;
    let file_name = file.to_str().context("a temporary directory whose name is no text")?;
    let mut agent = AgentProcess::start(&lab.monitor, &["--config", file_name])?;
    let cases = [
        (format!("{begin}idle-timeout = 'soon'\n{collector}"), "netflow.toml:2: "),
        (
            format!("{begin}idle-timeout = '1s'\nkey = 'host-pair'\n{collector}"),
            "key can only change with a restart",
        ),
        (
            format!("{begin}idle-timeout = '1s'\n{collector}[[collector]]\nurl = 'udp://nowhere.invalid'\n"),
            "nowhere.invalid",
        ),
        (
            format!(
                "{begin}{collector}[[collector]]\nurl = 'udp://127.0.0.1:11'\n[[collector]]\nurl = 'udp://nowhere.invalid'\n"
            ),
            "nowhere.invalid",
        ),
        (format!("{begin}idle-timeout = '1s'\n"), "can only change with a restart"),
        ("[[".to_owned(), "netflow.toml:1: "),
    ];
    for (place, (text, expected)) in cases.iter().enumerate() {
        fs::write(&file, text)?;
        let said = reload(&mut agent, place)?;
        ensure!(said.contains("stays as it was") && said.contains(expected), "{text}: {said}");
    }
    fs::write(&file, format!("{begin}{collector}"))?;
    let said = reload(&mut agent, cases.len())?;
    ensure!(said.contains("nothing has changed"), "{said}");
    fs::write(&file, format!("{begin}idle-timeout = '1s'\n{collector}"))?;
    let said = reload(&mut agent, cases.len() + 1)?;
    ensure!(said.ends_with("configuration: idle-timeout is 1s (was 15s)"), "{said}");
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    ensure!(stopped.ledger.context("no ledger")?.0["destinations"].as_array().map(Vec::len) == Some(2));
    Ok(())
}

#[test]
#[ignore = "needs root, network namespaces and a kernel that loads XDP"]
fn addresses_are_anonymised_from_a_reload_on() -> Result<()> {
    const FLOWS: u16 = 40;
    let lab = Lab::new(LabOptions::default())?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netflow.toml");
    let begin = format!("interface = '{MONITOR_INTERFACE}'\nidle-timeout = '1s'\ndrain-interval = '50ms'\n");
    let collectors = format!(
        "[[collector]]\nurl = 'json://{}/flows'\n[[collector]]\nurl = 'udp://127.0.0.1:9'\n",
        directory.path().display()
    );
    let rules = ["", "anonymise = ['ipv4=/24']\n", "anonymise = ['ipv4=/16', 'm0:ipv4=none']\n", ""];
    fs::write(&file, format!("{begin}{collectors}"))?;
    let file_name = file.to_str().context("a temporary directory whose name is no text")?;
    let mut agent = AgentProcess::start(&lab.monitor, &["--config", file_name])?;
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    for (round, rules) in rules.iter().enumerate() {
        if round > 0 {
            fs::write(&file, format!("{begin}{rules}{collectors}"))?;
            let said = reload(&mut agent, round - 1)?;
            ensure!(said.contains("anonymise is"), "{said}");
        }
        for flow in 0..FLOWS {
            let from = (Ipv4Addr::new(10, 1, 7, 1), 1000 + flow).into();
            sender.send(&frame(&udp(from, (Ipv4Addr::new(10, 2, 7, 2), 53).into(), &[0; 8])))?;
        }
        let records = usize::from(FLOWS) * (round + 1);
        agent.wait_for_ledger("the flows of the round", |ledger| {
            Ok(ledger.number("/records/total")? == records as u64)
        })?;
    }
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.context("no ledger")?;
    ensure!(ledger.0["balanced"] == true, "{}", ledger.0);
    let mut seen: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(directory.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            for line in fs::read_to_string(&path)?.lines() {
                let flow: serde_json::Value = serde_json::from_str(line)?;
                let text = |name: &str| flow[name].as_str().unwrap_or_default().to_owned();
                seen.push((text("sourceIPv4Address"), text("destinationIPv4Address")));
            }
        }
    }
    let count = |source: &str, destination: &str| {
        seen.iter().filter(|(from, to)| (from.as_str(), to.as_str()) == (source, destination)).count()
    };
    let plain = count("10.1.7.1", "10.2.7.2");
    ensure!(plain == 3 * usize::from(FLOWS), "{plain} records with addresses");
    ensure!(count("10.1.7.0", "10.2.7.0") == usize::from(FLOWS), "{seen:?}");
    ensure!(seen.len() == 4 * usize::from(FLOWS), "{} records", seen.len());
    Ok(())
}
