//! What goes to standard output and to standard error, and readers that leave or sleep.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent::{AgentProcess, Signal, binary};
use tests::lab::MONITOR_INTERFACE;
use tests::process::{Process, command};

use crate::support::{
    TEN_FLOWS_PACKETS, assert_clean, assert_stopped, flows, lab, netflow, send_ten_flows, start, wait,
    wait_until, wait_until_seen, write_pcap,
};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[test]
fn json_logs_are_json_to_the_last_line() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(3)).unwrap();
    let options = ["--log-format", "json", "--format", "json"];
    let good = netflow(&[&["read", capture.to_str().unwrap()][..], &options].concat());
    assert_eq!((good.status.code(), json_lines(&good.stdout).len()), (Some(0), 3), "{}", good.stderr);
    assert!(json_lines(&good.stderr).len() >= 2, "{}", good.stderr);

    let failed = netflow(&[&["read", "/no/such/file"][..], &options].concat());
    let refused = netflow(&[&["read", "/no/such/file", "-c", "http://x"][..], &options].concat());
    for (finished, code, text) in [(failed, 1, "No such file"), (refused, 2, "unknown transport 'http'")] {
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(code), ""));
        let lines = json_lines(&finished.stderr);
        let last = lines.last().unwrap();
        assert_eq!(last["level"], "ERROR");
        assert!(last["fields"]["message"].as_str().unwrap().contains(text), "{last}");
    }
}

#[test]
fn a_log_level_silences_the_log_and_not_the_reason() {
    let quiet = netflow(&["read", "/no/such/file", "--log-level", "error"]);
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
    assert!(quiet.stderr.starts_with("netflow: /no/such/file: "), "{}", quiet.stderr);
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(60_000)).unwrap();
    let script = "\"$0\" read \"$1\" --export-rate 2000 | head -1; echo \"code ${PIPESTATUS[0]}\"";
    let binary = binary().unwrap();
    let arguments = ["-c", script, binary.to_str().unwrap(), capture.to_str().unwrap()];
    let started = Instant::now();
    let finished =
        Process::spawn(command("bash", arguments)).unwrap().finish(Duration::from_secs(25)).unwrap();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert!(lines[0].starts_with("START"), "{finished:?}");
    assert_eq!(lines[1..], ["code 0"], "{}", finished.stderr);
    // All of them would take half a minute.
    assert!(started.elapsed() < Duration::from_secs(20), "{}", finished.stderr);
    assert!(finished.stderr.contains("balanced at every"), "{}", finished.stderr);
}

#[test]
fn a_reader_that_takes_nothing_does_not_keep_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(3000)).unwrap();
    let arguments = ["read", capture.to_str().unwrap(), "--format", "json"];
    let mut child = command(binary().unwrap().to_str().unwrap(), arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ended = wait(&mut child, Duration::from_secs(40));
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "it hangs");
}

#[test]
fn a_full_disk_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(3)).unwrap();
    let script = "\"$0\" read \"$1\" > /dev/full";
    let arguments =
        ["-c", script, binary().unwrap().to_str().unwrap(), capture.to_str().unwrap()].map(String::from);
    let finished =
        Process::spawn(command("bash", arguments)).unwrap().finish(Duration::from_secs(20)).unwrap();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let last = finished.stderr.lines().last().unwrap();
    assert!(last.starts_with("netflow: cannot write the decoded flows: No space left"), "{last}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn without_a_collector_the_flows_are_printed_as_table_and_json_in_both_protocols() {
    let lab = lab();
    for (protocol, version) in [("ipfix", 10), ("v9", 9)] {
        for format in ["table", "json"] {
            let options = ["--protocol", protocol, "--format", format, "--log-format", "json"];
            let agent = start(&lab, &options).unwrap();
            send_ten_flows(&lab);
            wait_until_seen(&agent, TEN_FLOWS_PACKETS);
            let stopped = agent.stop(Signal::INT).unwrap();
            assert_stopped(&stopped, TEN_FLOWS_PACKETS);
            assert!(json_lines(&stopped.stderr).iter().all(|line| line["level"] != "ERROR"));
            if format == "table" {
                assert_eq!(stopped.stdout.lines().count(), 11, "{}", stopped.stdout);
                assert!(stopped.stdout.contains("10.1.0.1:1003 -> 10.2.0.2:53"), "{}", stopped.stdout);
                continue;
            }
            let flows = json_lines(&stopped.stdout);
            assert_eq!(flows.len(), 10, "{protocol}: {}", stopped.stdout);
            for flow in flows {
                assert_eq!(
                    (&flow["protocolVersion"], &flow["packetDeltaCount"]),
                    (&version.into(), &2.into()),
                    "{flow}"
                );
            }
        }
    }
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_agent_whose_reader_leaves_ends_and_leaves_nothing() {
    let lab = lab();
    let binary = binary().unwrap();
    let script =
        "\"$0\" run -i \"$1\" --idle-timeout 1s --format json | head -1; echo \"code ${PIPESTATUS[0]}\"";
    let arguments = ["-c", script, binary.to_str().unwrap(), MONITOR_INTERFACE];
    let mut agent = lab.monitor.spawn("bash", &arguments).unwrap();
    agent.wait_for_stderr("metering", Duration::from_secs(20)).unwrap();
    let mut sent = Instant::now() - Duration::from_secs(9);
    wait_until("the end of the agent", || {
        // The output fails only when there is more to write.
        if sent.elapsed() > Duration::from_secs(3) {
            send_ten_flows(&lab);
            sent = Instant::now();
        }
        agent.ended().unwrap().is_some()
    });
    let finished = agent.finish(Duration::from_secs(1)).unwrap();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[1] == "code 0", "{finished:?}");
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn every_agent_says_what_it_meters() {
    let lab = lab();
    let mut agent = AgentProcess::start(&lab.monitor, &["-i", MONITOR_INTERFACE, "-i", "lo"]).unwrap();
    let said = agent.process().stderr();
    assert!(said.contains("m0 is metered by native XDP"), "{said}");
    assert!(said.contains("lo is the loopback interface"), "{said}");
    assert!(said.contains("lo is metered by TC (tcx)"), "{said}");
    assert!(said.contains("metering lo, m0"), "{said}");
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
    assert_clean(&lab.monitor);
}
