//! The agent has no privileges while it works, and the process that has them ends with it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::agent::{AgentProcess, binary};
use tests::lab::MONITOR_INTERFACE;
use tests::process::COMMAND_TIMEOUT;

use crate::support::{
    TEN_FLOWS_PACKETS, assert_clean, assert_refused, assert_stopped, lab, netflow_in, send_ten_flows, start,
    wait_until_seen,
};

/// A line of `/proc/PID/status`, or of a thread's.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
}

/// The processes that one has started: id and name.
fn children(parent: u32) -> Vec<(u32, String)> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.contains(&format!("PPid:\t{parent}\n")) {
            children.push((field(&status, "Pid").parse().unwrap(), field(&status, "Name")));
        }
    }
    children
}

/// The process of an agent that keeps its privileges.
fn privileged_process(agent: &mut AgentProcess) -> u32 {
    let children = children(agent.process().id());
    let [(id, name)] = children.as_slice() else { panic!("not one child but {children:?}") };
    assert_eq!(name, "netflow-kernel");
    *id
}

fn wait_for_the_end_of(process: u32) {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    while Path::new(&format!("/proc/{process}")).exists() {
        // One that nobody waits for is no process any more.
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        if status.contains("State:\tZ") {
            break;
        }
        assert!(Instant::now() < deadline, "it goes on: {status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn no_thread_of_the_agent_has_a_capability() {
    let lab = lab();
    let mut agent = start(&lab, &["--promiscuous", "on"]).unwrap();
    send_ten_flows(&lab);
    wait_until_seen(&agent, TEN_FLOWS_PACKETS);
    let id = agent.process().id();
    let mut names = Vec::new();
    for thread in fs::read_dir(format!("/proc/{id}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&field(&status, set), 16), Ok(0), "{set} in {status}");
        }
        assert_eq!(
            (field(&status, "NoNewPrivs"), field(&status, "Seccomp")),
            ("1".to_owned(), "2".to_owned())
        );
        names.push(field(&status, "Name"));
    }
    assert!(names.len() > 3, "{names:?}");
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");

    let other = fs::read_to_string(format!("/proc/{}/status", privileged_process(&mut agent))).unwrap();
    // CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_NICE, CAP_PERFMON, CAP_BPF.
    let most = 1 << 12 | 1 << 13 | 1 << 23 | 1 << 38 | 1 << 39;
    let kept = u64::from_str_radix(&field(&other, "CapPrm"), 16).unwrap();
    assert_eq!(kept & !most, 0, "{other}");
    assert_eq!(field(&other, "NoNewPrivs"), "1");
    assert_eq!(field(&other, "Threads"), "1");
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn what_the_agent_must_not_do_is_refused_and_what_it_must_do_is_not() {
    let lab = lab();
    let directory = tempfile::tempdir().unwrap();
    let arguments = [MONITOR_INTERFACE, directory.path().to_str().unwrap()];
    let program = lab.monitor.spawn(env!("CARGO_BIN_EXE_confined"), &arguments).unwrap();
    let finished = program.finish(COMMAND_TIMEOUT).unwrap();
    let (said, log) = (&finished.stdout, &finished.stderr);
    assert!(finished.status.success(), "{said}{log}");
    let without_landlock = log.contains("no Landlock");
    let mut seen = 0;
    for line in said.lines() {
        let (what, outcome) = line.split_once(": ").unwrap();
        let refused = outcome != "done";
        match what.split(' ').next().unwrap() {
            "no" if what.starts_with("no file") && without_landlock => {}
            "no" | "not" => assert!(refused, "{line}\n{said}"),
            _ => assert!(!refused, "{line}\n{said}{log}"),
        }
        seen += 1;
    }
    assert!(seen > 30 && said.contains("meter: done"), "{said}");
    // By this process, and not for want of what it asks for.
    for line in said.lines().filter(|line| line.starts_with("no capability")) {
        let known = ["(os error 1)", "(os error 13)", "EPERM"];
        assert!(known.iter().any(|number| line.contains(number)), "{line}");
    }
    for line in said.lines().filter(|line| line.starts_with("no file") && !without_landlock) {
        assert!(line.contains("(os error 13)"), "{line}");
    }
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn the_privileged_process_ends_with_the_agent_however_that_ends() {
    let lab = lab();
    for signal in [Signal::TERM, Signal::INT, Signal::KILL, Signal::ABORT] {
        let mut agent = start(&lab, &[]).unwrap();
        let other = privileged_process(&mut agent);
        agent.process().signal(signal).unwrap();
        agent.finish(Duration::from_secs(20)).unwrap();
        assert_clean(&lab.monitor);
        wait_for_the_end_of(other);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_agent_whose_privileged_process_is_killed_loses_no_flow_and_says_so() {
    let lab = lab();
    let mut agent = start(&lab, &[]).unwrap();
    send_ten_flows(&lab);
    let other = privileged_process(&mut agent);
    kill_process(Pid::from_raw(other.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let stopped = agent.finish(Duration::from_secs(20)).unwrap();
    assert_eq!(stopped.exit_code, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("the privileged process of this agent was ended"), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    assert_eq!(ledger.0["balanced"], true, "{}", ledger.0);
    assert_eq!(ledger.number("/destinations/0/sent/packets").unwrap(), TEN_FLOWS_PACKETS, "{}", ledger.0);
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_signal_to_both_processes_reaches_the_agent_once() {
    let lab = lab();
    let mut agent = start(&lab, &[]).unwrap();
    send_ten_flows(&lab);
    let other = privileged_process(&mut agent);
    for signal in [Signal::HUP, Signal::USR1, Signal::TERM, Signal::INT] {
        kill_process(Pid::from_raw(other.cast_signed()).unwrap(), signal).unwrap();
    }
    // It goes on metering, and can attach and detach.
    wait_until_seen(&agent, TEN_FLOWS_PACKETS);
    assert_eq!(privileged_process(&mut agent), other);
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
    wait_for_the_end_of(other);
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn another_user_is_the_one_that_was_asked_for_or_owns_the_directory() {
    let lab = lab();
    let refused = netflow_in(&lab.monitor, &["run", "-i", MONITOR_INTERFACE, "--user", "no such user"]);
    assert_refused(&refused, 2, &["there is no user \"no such user\"", "--user"]);
    // The directory is nobody's: that is who writes to it, asked for or not.
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let nobody = 65_534;
    chown(directory.path(), Some(nobody), Some(nobody)).unwrap();
    let ledger = directory.path().join("ledger.json");
    let binary = binary().unwrap();
    for user in [&["--user", "nobody"][..], &[]] {
        let run = ["run", "-i", MONITOR_INTERFACE, "--ledger-file", ledger.to_str().unwrap()];
        let arguments = [&run[..], user].concat();
        let mut process = lab.monitor.spawn(binary.to_str().unwrap(), &arguments).unwrap();
        process.wait_for_stderr("metering", Duration::from_secs(20)).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        for ids in ["Uid", "Gid"] {
            assert!(field(&status, ids).split_whitespace().all(|id| id == "65534"), "{status}");
        }
        assert_eq!(u64::from_str_radix(&field(&status, "CapPrm"), 16), Ok(0), "{status}");
        process.signal(Signal::TERM).unwrap();
        let finished = process.finish(COMMAND_TIMEOUT).unwrap();
        assert!(finished.status.success(), "{}", finished.stderr);
        assert_eq!(fs::metadata(&ledger).unwrap().uid(), nobody);
        fs::remove_file(&ledger).unwrap();
    }
    assert_clean(&lab.monitor);
}
