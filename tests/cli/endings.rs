//! How an agent ends: as asked, killed, or without its interface. Nothing is left behind.

use std::thread;
use std::time::{Duration, Instant};

use tests::agent::{AgentProcess, Signal};
use tests::lab::MONITOR_INTERFACE;

use crate::support::{
    TEN_FLOWS_PACKETS, assert_clean, assert_stopped, lab, program, send_ten_flows, start, wait_until,
    wait_until_seen,
};

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn sigint_and_sigterm_end_with_closed_books_and_a_clean_interface() {
    let lab = lab();
    for signal in [Signal::INT, Signal::TERM] {
        let agent = start(&lab, &[]).unwrap();
        send_ten_flows(&lab);
        // Not drained yet: the end has to do that.
        let stopped = agent.stop(signal).unwrap();
        assert_stopped(&stopped, TEN_FLOWS_PACKETS);
        let ledger = stopped.ledger.unwrap();
        assert_eq!(ledger.number("/records/end_reason/forced_end").unwrap(), 10, "{}", ledger.0);
        assert_eq!(ledger.number("/destinations/0/sent/packets").unwrap(), TEN_FLOWS_PACKETS);
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_killed_agent_leaves_the_interface_clean_and_the_next_one_starts() {
    let lab = lab();
    for mode in ["native", "generic"] {
        let mut agent = start(&lab, &["--xdp-mode", mode, "--promiscuous", "on"]).unwrap();
        agent.process().signal(Signal::KILL).unwrap();
        assert_eq!(agent.finish(Duration::from_secs(10)).unwrap().exit_code, None);
        let next = start(&lab, &["--xdp-mode", mode]).unwrap();
        send_ten_flows(&lab);
        wait_until_seen(&next, TEN_FLOWS_PACKETS);
        assert_stopped(&next.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_signal_at_any_moment_of_the_start_leaves_nothing() {
    let lab = lab();
    for delay in (0..600).step_by(30) {
        let mut agent = AgentProcess::spawn(&lab.monitor, &["-i", MONITOR_INTERFACE]).unwrap();
        thread::sleep(Duration::from_millis(delay));
        agent.process().signal(Signal::TERM).unwrap();
        let stopped = agent.finish(Duration::from_secs(20)).unwrap();
        // Before anything is attached the signal ends it as it ends any program.
        assert!(matches!(stopped.exit_code, None | Some(0)), "{delay} ms: {stopped:?}");
        if stopped.stderr.contains("is metered by") {
            assert_stopped(&stopped, 0);
        }
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_interface_that_goes_away_is_told_and_its_flows_are_exported() {
    let lab = lab();
    let mut agent = start(&lab, &["--format", "json"]).unwrap();
    send_ten_flows(&lab);
    wait_until_seen(&agent, TEN_FLOWS_PACKETS);
    lab.monitor.ip(&["link", "set", MONITOR_INTERFACE, "down"]).unwrap();
    agent.process().wait_for_stderr("interface m0 is down", Duration::from_secs(10)).unwrap();
    lab.monitor.ip(&["link", "set", MONITOR_INTERFACE, "up"]).unwrap();
    agent.process().wait_for_stderr("interface m0 is up again", Duration::from_secs(10)).unwrap();
    send_ten_flows(&lab);
    wait_until_seen(&agent, 2 * TEN_FLOWS_PACKETS);
    lab.monitor.ip(&["link", "del", MONITOR_INTERFACE]).unwrap();
    agent.process().wait_for_stderr("interface m0 is gone", Duration::from_secs(10)).unwrap();
    // It goes on.
    thread::sleep(Duration::from_millis(1500));
    assert!(agent.process().ended().unwrap().is_none());
    let asked = Instant::now();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_stopped(&stopped, 2 * TEN_FLOWS_PACKETS);
    assert_eq!(stopped.stdout.lines().count(), 10, "{}", stopped.stdout);
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn of_two_interfaces_the_one_that_stays_is_metered_on() {
    let lab = lab();
    lab.monitor.ip(&["link", "add", "ifb9", "type", "ifb"]).unwrap();
    lab.monitor.ip(&["link", "set", "ifb9", "up"]).unwrap();
    let mut agent = AgentProcess::start(&lab.monitor, &["-i", "ifb9", "-i", MONITOR_INTERFACE]).unwrap();
    lab.monitor.ip(&["link", "del", "ifb9"]).unwrap();
    agent.process().wait_for_stderr("interface ifb9 is gone", Duration::from_secs(10)).unwrap();
    send_ten_flows(&lab);
    wait_until_seen(&agent, TEN_FLOWS_PACKETS);
    assert!(program(&lab.monitor, MONITOR_INTERFACE).is_some());
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
    wait_until("a clean interface", || program(&lab.monitor, MONITOR_INTERFACE).is_none());
}
