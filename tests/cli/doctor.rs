//! `netflow doctor`: what it finds of a host, an interface and collectors, and how it says it.

use serde_json::Value;
use tests::agent::{Signal, binary};
use tests::lab::MONITOR_INTERFACE;
use tests::process::{COMMAND_TIMEOUT, Finished};

use crate::support::{assert_clean, assert_refused, lab, netflow, netflow_in, start};

/// Small maps, and an interface of the test's own.
const SMALL: [&str; 7] =
    ["doctor", "-i", MONITOR_INTERFACE, "--kernel-memory", "16MiB", "--cache-size", "1000"];

/// The verdicts on a subject, with what was said.
fn of<'a>(report: &'a Value, subject: &str) -> Vec<(&'a str, &'a str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let of = findings.filter(|finding| finding["subject"] == subject);
    of.map(|finding| (finding["verdict"].as_str().unwrap(), finding["text"].as_str().unwrap())).collect()
}

fn report(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}{}", finished.stdout, finished.stderr))
}

fn has(report: &Value, subject: &str, verdict: &str, text: &str) -> bool {
    of(report, subject).iter().any(|(found, said)| *found == verdict && said.contains(text))
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn the_doctor_finds_no_fault_where_an_agent_works_and_changes_nothing() {
    let lab = lab();
    let collector = ["-c", "udp://127.0.0.1:9995", "-c", "json:///tmp/netflow-doctor"];
    let screen = netflow_in(&lab.monitor, &[&SMALL[..], &collector].concat());
    assert_eq!(screen.status.code(), Some(0), "{}{}", screen.stdout, screen.stderr);
    assert_eq!(screen.stderr, "");
    assert!(screen.stdout.lines().last().unwrap().starts_with("0 faults, "), "{}", screen.stdout);
    assert_clean(&lab.monitor);

    let json = netflow_in(&lab.monitor, &[&SMALL[..], &collector, &["--json"]].concat());
    let found = report(&json);
    for (subject, text) in [
        ("privileges", "CAP_BPF"),
        ("meter", "its programs load"),
        ("drain", "in batches"),
        (MONITOR_INTERFACE, "a virtual device (veth), "),
        (MONITOR_INTERFACE, "its driver has native XDP"),
        (MONITOR_INTERFACE, "have dropped no frame"),
        ("127.0.0.1:9995", "UDP does not tell whether anybody listens"),
        ("json:/tmp/netflow-doctor", "are free"),
        ("metrics", "127.0.0.1:14739 is free"),
        ("loop-back ipfix", "256 records"),
        ("loop-back v9", "256 records"),
        ("loop-back v5", "192 records"),
    ] {
        assert!(has(&found, subject, "ok", text), "{subject}: {text}: {found:#}");
    }

    // Beside an agent that runs.
    let agent = start(&lab, &["-c", "udp://127.0.0.1:9995"]).unwrap();
    let beside = netflow_in(&lab.monitor, &[&SMALL[..], &["--json"]].concat());
    assert_eq!(beside.status.code(), Some(0), "{}", beside.stdout);
    let found = report(&beside);
    assert!(has(&found, MONITOR_INTERFACE, "ok", "an agent of this kind meters it already"), "{found:#}");
    assert!(has(&found, "metrics", "warning", "is taken"), "{found:#}");
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn faults_are_named_with_a_remedy_and_in_the_exit_code() {
    let lab = lab();
    let bad = ["-c", "tcp://127.0.0.1:1", "-c", "file:///no/such/directory/flows", "--json"];
    let finished = netflow_in(&lab.monitor, &[&SMALL[..], &bad].concat());
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
    let found = report(&finished);
    assert!(has(&found, "tcp:127.0.0.1:1", "fault", "Connection refused"), "{found:#}");
    assert!(has(&found, "file:/no/such/directory/flows", "fault", "no files can be made"), "{found:#}");
    let findings = found["findings"].as_array().unwrap();
    for fault in findings.iter().filter(|finding| finding["verdict"] == "fault") {
        assert!(fault["remedy"].is_string(), "{fault}");
    }

    let missing = netflow_in(&lab.monitor, &["doctor", "-i", "m7", "--json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(has(&report(&missing), "m7", "fault", "there is no interface 'm7'"), "{}", missing.stdout);

    lab.monitor.run("ethtool", &["-K", MONITOR_INTERFACE, "hw-tc-offload", "on"]).ok();
    lab.monitor.ip(&["link", "set", MONITOR_INTERFACE, "down"]).unwrap();
    let down = netflow_in(&lab.monitor, &[&SMALL[..], &["--json"]].concat());
    assert!(has(&report(&down), MONITOR_INTERFACE, "fault", "is down"), "{}", down.stdout);
    assert_refused(&netflow(&["doctor", "--drain-interval", "0"]), 2, &["--drain-interval"]);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn without_privileges_it_looks_at_what_it_may_and_says_what_it_could_not() {
    let lab = lab();
    // A copy that everybody may execute: the build directory may be closed to others.
    let directory = tempfile::Builder::new().prefix("netflow-doctor-").tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let copy = directory.path().join("netflow");
    std::fs::copy(binary().unwrap(), &copy).unwrap();
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", copy.to_str().unwrap()];
    let process = lab.monitor.spawn("setpriv", &[&nobody[..], &SMALL, &["--json"]].concat()).unwrap();
    let finished = process.finish(COMMAND_TIMEOUT).unwrap();
    assert_eq!(finished.status.code(), Some(1), "{}{}", finished.stdout, finished.stderr);
    let found = report(&finished);
    let missing = "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF";
    assert!(has(&found, "privileges", "fault", missing), "{found:#}");
    assert!(has(&found, "meter", "unknown", "with privileges only"), "{found:#}");
    assert!(has(&found, MONITOR_INTERFACE, "ok", "veth"), "{found:#}");
    assert!(has(&found, "loop-back ipfix", "ok", "fields are equal"), "{found:#}");
}
