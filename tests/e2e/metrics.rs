//! Metrics over HTTP: the same numbers as the ledger file, in the form that Prometheus wants, whatever clients do.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::ledger::Ledger;
use tests::process::command;
use tests::raw::RawSender;
use tests::scrape::{Scrape, ask};
use tests::trickle::{OnDrop, trickle};

/// Where the agent serves metrics unless it is told otherwise.
const USUAL: &str = "127.0.0.1:14739";
const PATIENCE: Duration = Duration::from_secs(60);

fn usual() -> SocketAddr {
    USUAL.parse().unwrap()
}

/// Packets of several kinds: flows, no IP, a bad IP header.
fn send(lab: &Lab) -> Result<()> {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let to = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    for port in 1000..1050 {
        sender.send(&frame(&udp((Ipv4Addr::new(10, 1, 0, 1), port).into(), to, &[0; 72])))?;
    }
    let mut other = frame(&udp((Ipv4Addr::new(10, 1, 0, 1), 1).into(), to, &[0; 72]));
    // No length of an IPv4 header.
    other[14] = 0x41;
    sender.send(&other)?;
    // LLDP.
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    sender.send(&other)?;
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn metrics_are_equal_to_the_ledger_file_in_every_line() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let json = format!("json://{}/flows", directory.path().display());
    // Nobody listens at the first one; the second is given twice.
    let collectors =
        ["-c", "udp://127.0.0.1:9", "-c", &json, "-c", &json, "-c", "udp://127.0.0.1:10?protocol=v5"];
    let times = ["--idle-timeout", "1s", "--drain-interval", "200ms", "--statistics-interval", "1s"];
    let agent = AgentProcess::start(
        &lab.monitor,
        &[&["-i", MONITOR_INTERFACE, "--direction", "ingress"], &times[..], &collectors].concat(),
    )
    .unwrap();
    send(&lab).unwrap();
    agent
        .wait_for_ledger("refusals and records", |ledger| {
            let refused = ledger.number("/destinations/0/refused_datagrams")?;
            Ok(refused > 0 && ledger.number("/records/total")? == 50)
        })
        .unwrap();

    let (ledger, scrape) = at_one_flip(&agent, &lab.monitor).unwrap();
    let lines = compare(&ledger.0, &scrape).unwrap();
    assert!(lines > 150, "{lines} lines were compared");
    // They are not all zero.
    for (name, labels, value) in [
        ("netflow_seen_packets", &[][..], "52"),
        ("netflow_not_ip_packets", &[("reason", "not_ip")], "1"),
        ("netflow_bad_ip_packets", &[("reason", "ip_header_length")], "1"),
        ("netflow_ended_records", &[("end_reason", "idle_timeout")], "50"),
        ("netflow_ledger_balanced", &[], "1"),
    ] {
        assert_eq!(scrape.value(name, labels).unwrap(), value, "{name}");
    }
    let drops = [("interface", MONITOR_INTERFACE), ("reason", "missed")];
    assert_eq!(scrape.value("netflow_interface_receive_drops_packets", &drops).unwrap(), "0");
    // No flow's address is in a label.
    assert!(!scrape.text.contains("10.1.0.1") && !scrape.text.contains("10.2.0.2"), "{}", scrape.text);

    let file = directory.path().join("metrics");
    fs::write(&file, &scrape.text).unwrap();
    let script = format!("promtool check metrics < '{}'", file.display());
    let finished = tests::process::run(command("sh", ["-c", &script])).unwrap();
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
}

/// A scrape and the ledger file of the same flip, between which nothing changed.
fn at_one_flip(agent: &AgentProcess, namespace: &Namespace) -> Result<(Ledger, Scrape)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let before = agent.ledger()?;
        let scrape = Scrape::get(namespace, usual())?;
        let flips = before.number("/flips")?.to_string();
        // Destinations are read anew for each of the two: what a session sends between shows in one of them only.
        if scrape.value("netflow_flips", &[])? == flips && compare(&before.0, &scrape).is_ok() {
            return Ok((before, scrape));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let scrape = Scrape::get(namespace, usual())?;
    compare(&agent.ledger()?.0, &scrape)?;
    bail!("no scrape was of the same flip as the ledger file")
}

/// Compares every number of the ledger file with its sample; how many there are.
fn compare(ledger: &Value, scrape: &Scrape) -> Result<usize> {
    let mut lines = Vec::new();
    walk(ledger, &mut Vec::new(), &mut lines);
    let mut compared = 0;
    for (path, value) in &lines {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some((expected, found)) = pair(ledger, &path, value, scrape)? else { continue };
        ensure!(expected == found, "{}: {expected} in the ledger, {found} in metrics", path.join("/"));
        compared += 1;
    }
    Ok(compared)
}

fn walk(value: &Value, path: &mut Vec<String>, lines: &mut Vec<(Vec<String>, Value)>) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(parts) => parts.iter().map(|(name, part)| (name.clone(), part)).collect(),
        Value::Array(parts) => {
            parts.iter().enumerate().map(|(place, part)| (place.to_string(), part)).collect()
        }
        leaf => return lines.push((path.clone(), leaf.clone())),
    };
    for (name, part) in parts {
        path.push(name);
        walk(part, path, lines);
        path.pop();
    }
}

/// What a line of the ledger has to be, and what its sample is; `None` for words.
fn pair(ledger: &Value, path: &[&str], value: &Value, scrape: &Scrape) -> Result<Option<(String, String)>> {
    let unit = |unit: &str| if unit == "octets" { "bytes".to_owned() } else { unit.to_owned() };
    let (name, labels): (String, Vec<(&str, String)>) = match path {
        ["last_imbalance"] | ["destinations", _, "name"] => return Ok(None),
        ["records", "total"] => {
            return Ok(Some((value.to_string(), scrape.sum("netflow_ended_records_total").to_string())));
        }
        ["balanced" | "imbalances"] => (format!("ledger_{}", path[0]), vec![]),
        ["flips"] => ("flips".to_owned(), vec![]),
        ["flows", line @ ("table_slots" | "map_entries")] => (format!("flow_{line}"), vec![]),
        ["flows" | "packets" | "octets", line] => (format!("{line}_{}", unit(path[0])), vec![]),
        ["packets" | "octets", line, reason] => {
            (format!("{line}_{}", unit(path[0])), vec![("reason", (*reason).to_owned())])
        }
        ["records", "end_reason", reason] => {
            ("ended_records".to_owned(), vec![("end_reason", (*reason).to_owned())])
        }
        ["notes", note] => ("noted_packets".to_owned(), vec![("note", (*note).to_owned())]),
        ["destinations", place, rest @ ..] => {
            let mut labels = vec![("collector", collector(ledger, place.parse()?)?)];
            let name = match rest {
                ["message_octets"] => "message_bytes".to_owned(),
                ["session", "is_active"] => "session_active".to_owned(),
                ["session", "began"] => "session_start_time_seconds".to_owned(),
                ["session", "begun"] => "sessions".to_owned(),
                ["session", other] => (*other).to_owned(),
                ["not_sent", reason, of] => {
                    labels.push(("reason", (*reason).to_owned()));
                    format!("not_sent_{}", unit(of))
                }
                [line, of] => format!("{line}_{}", unit(of)),
                [line] => (*line).to_owned(),
                _ => bail!("no metric is known of {path:?}"),
            };
            (format!("destination_{name}"), labels)
        }
        _ => bail!("no metric is known of {path:?}"),
    };
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let found = scrape.value(&format!("netflow_{name}"), &labels)?;
    if name == "destination_session_start_time_seconds" {
        let seconds: f64 = found.parse()?;
        return Ok(Some((value.to_string(), format!("{}", (seconds * 1e3).round()))));
    }
    let expected = match value {
        Value::Bool(value) => u64::from(*value).to_string(),
        Value::Number(number) => number.to_string(),
        other => bail!("{path:?} is no number: {other}"),
    };
    Ok(Some((expected, found.to_owned())))
}

/// The label of a destination: its name, and a number where it has been there before.
fn collector(ledger: &Value, place: usize) -> Result<String> {
    let names: Vec<&str> = (0..=place).filter_map(|at| ledger["destinations"][at]["name"].as_str()).collect();
    let name = names.last().context("a destination without a name")?;
    let times = names.iter().filter(|other| *other == name).count();
    Ok(if times == 1 { (*name).to_owned() } else { format!("{name} ({times})") })
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn hostile_scrapers_do_not_hold_up_the_drain() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let agent = AgentProcess::start(
        &lab.monitor,
        &["-i", MONITOR_INTERFACE, "--direction", "ingress", "--drain-interval", "100ms", "-c", "json:-"],
    )
    .unwrap();
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let traffic = scope.spawn(|| trickle(&lab, 100, PATIENCE, &stop));
        let _ended = OnDrop(&stop);
        // Some say nothing, others ask and take no answer, and two ask again and again.
        let open = || -> Vec<TcpStream> { (0..200).map(|_| TcpStream::connect(usual()).unwrap()).collect() };
        let _silent = lab.monitor.enter(open).unwrap();
        for _ in 0..2 {
            scope.spawn(|| {
                lab.monitor.enter(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = ask(usual(), "GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n");
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            });
        }
        let flips = agent.ledger().unwrap().number("/flips").unwrap();
        agent.wait_for_ledger("flips", |ledger| Ok(ledger.number("/flips")? >= flips + 20)).unwrap();
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap().unwrap()
    });
    lab.wait_for_packets(sent).unwrap();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.number("/packets/seen").unwrap(), sent);
    assert_eq!(ledger.sum("/packets/lost").unwrap(), 0);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_taken_port_is_a_warning_unless_it_was_asked_for() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let taken = || std::net::TcpListener::bind(usual()).unwrap();
    let _taken = lab.monitor.enter(taken).unwrap();
    let options = ["-i", MONITOR_INTERFACE, "-c", "json:-"];
    let agent = AgentProcess::start(&lab.monitor, &options).unwrap();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("cannot serve metrics at 127.0.0.1:14739"), "{}", stopped.stderr);

    let asked = [&options[..], &["--metrics", USUAL]].concat();
    let refused = AgentProcess::spawn(&lab.monitor, &asked).unwrap().finish(PATIENCE).unwrap();
    assert_eq!(refused.exit_code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("Address already in use"), "{}", refused.stderr);

    let off = [&options[..], &["--metrics", "off"]].concat();
    let silent = AgentProcess::start(&lab.monitor, &off).unwrap().stop(Signal::TERM).unwrap();
    assert!(!silent.stderr.contains("metrics"), "{}", silent.stderr);
}

#[test]
#[ignore = "needs promtool, which `cargo xtask test` installs"]
fn promtool_takes_the_alert_rules() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/prometheus");
    let file = format!("{rules}/netflow.rules.yml");
    let checked = tests::process::run(command("promtool", ["check", "rules", &file])).unwrap();
    assert!(checked.stdout.contains("SUCCESS"), "{}", checked.stdout);
    let cases = format!("{rules}/netflow.rules.test.yml");
    tests::process::run(command("promtool", ["test", "rules", &cases])).unwrap();
}
