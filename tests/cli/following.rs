//! Which interfaces are metered while they come, go and change: globs, exclusions, stacks, names, second attempts.

use std::time::Duration;

use tests::agent::{AgentProcess, Signal};
use tests::lab::{MONITOR_INTERFACE, Namespace};

use crate::support::{
    TEN_FLOWS_PACKETS, assert_clean, assert_refused, assert_stopped, lab, netflow_in, program, promiscuous,
    send_ten_flows, wait_until, wait_until_seen,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a pair whose first end is up. The other one is named after it.
fn pair(namespace: &Namespace, name: &str) {
    namespace.ip(&["link", "add", name, "type", "veth", "peer", "name", &format!("{name}-peer")]).unwrap();
    namespace.ip(&["link", "set", name, "up"]).unwrap();
}

#[track_caller]
fn said(agent: &mut AgentProcess, text: &str) {
    agent.process().wait_for_stderr(text, PATIENCE).unwrap();
}

#[track_caller]
fn wait_until_metered(namespace: &Namespace, name: &str) {
    wait_until(name, || program(namespace, name).is_some());
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn globs_take_the_lowest_devices_there_are_and_come_but_what_is_excluded() {
    let lab = lab();
    let monitor = &lab.monitor;
    pair(monitor, "port0");
    pair(monitor, "skip0");
    for link in [
        &["br9", "type", "bridge"][..],
        &["mac9", "link", MONITOR_INTERFACE, "type", "macvlan"],
        &["vx9", "type", "vxlan", "id", "7", "dev", MONITOR_INTERFACE, "dstport", "4789"],
    ] {
        monitor.ip(&[&["link", "add"], link].concat()).unwrap();
    }
    monitor.ip(&["link", "set", "port0", "master", "br9"]).unwrap();
    let arguments = ["-i", "*", "--exclude-interface", "skip*", "--exclude-interface", "*-peer"];
    let mut agent = AgentProcess::start(monitor, &arguments).unwrap();
    let not_metered = |names: &[&str]| {
        for name in names {
            assert_eq!(program(monitor, name), None, "{name}");
        }
    };
    for name in [MONITOR_INTERFACE, "port0"] {
        assert!(program(monitor, name).is_some(), "{name}");
    }
    not_metered(&["lo", "br9", "mac9", "vx9", "skip0", "port0-peer"]);
    for text in [
        "interface br9 is passed over: its packets come from its ports, port0 for one; -i br9 meters it all the same",
        "interface mac9 is passed over: it builds on m0",
        "interface vx9 is passed over: it builds on m0",
        "metering m0, port0",
    ] {
        said(&mut agent, text);
    }

    pair(monitor, "late0");
    wait_until_metered(monitor, "late0");
    monitor.ip(&["link", "add", "br8", "type", "bridge"]).unwrap();
    said(&mut agent, "interface br8 is passed over");
    // Under the new name it is excluded.
    monitor.ip(&["link", "set", "late0", "down"]).unwrap();
    monitor.ip(&["link", "set", "late0", "name", "skip1"]).unwrap();
    said(&mut agent, "interface skip1 is excluded under this name");
    said(&mut agent, "skip1 is metered no longer; 0 flows ended");
    not_metered(&["br8", "skip1"]);

    send_ten_flows(&lab);
    wait_until_seen(&agent, TEN_FLOWS_PACKETS);
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
    assert_clean(monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn devices_of_a_stack_that_are_named_are_metered_with_a_warning() {
    let lab = lab();
    lab.monitor.ip(&["link", "add", "mac9", "link", MONITOR_INTERFACE, "type", "macvlan"]).unwrap();
    lab.monitor.ip(&["link", "set", "mac9", "up"]).unwrap();
    let arguments = ["-i", MONITOR_INTERFACE, "-i", "mac9"];
    let mut agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    said(&mut agent, "packets of mac9 are counted twice: m0 below it is metered, too");
    // It has no native XDP.
    said(&mut agent, "mac9 is metered by TC");
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));

    let mut alone = AgentProcess::start(&lab.monitor, &["-i", "mac9"]).unwrap();
    assert!(!alone.process().stderr().contains("twice"));
    assert_eq!(alone.stop(Signal::TERM).unwrap().exit_code, Some(0));
    // Which keeps the device below it in promiscuous mode.
    lab.monitor.ip(&["link", "del", "mac9"]).unwrap();
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_name_without_an_interface_is_an_error_alone_and_waited_for_beside_a_glob() {
    let lab = lab();
    let monitor = &lab.monitor;
    let missing = "there is no interface 'later0'";
    assert_refused(&netflow_in(monitor, &["run", "-i", "later0"]), 1, &[missing]);
    assert_refused(&netflow_in(monitor, &["run", "-i", "later0", "-i", "none*"]), 1, &[missing]);

    let mut agent = AgentProcess::start(monitor, &["-i", "later0", "-i", "m*"]).unwrap();
    said(&mut agent, "there is no interface 'later0'; there are lo, m0; waiting for it");
    pair(monitor, "later0");
    wait_until_metered(monitor, "later0");
    // It is waited for again, and all the same when none is left.
    monitor.ip(&["link", "del", "later0"]).unwrap();
    said(&mut agent, "later0 is metered no longer");
    monitor.ip(&["link", "del", MONITOR_INTERFACE]).unwrap();
    said(&mut agent, "no interface is metered any more; waiting for 'later0' or 'm*'");
    pair(monitor, "later0");
    wait_until_metered(monitor, "later0");
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 0);
    assert_clean(monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn what_cannot_be_attached_to_is_told_once_and_tried_again_when_it_changes() {
    let namespace = Namespace::new().unwrap();
    // Any program will do: that of an agent elsewhere, attached once more by bpftool.
    let elsewhere = AgentProcess::start(&namespace, &["-i", "lo", "--xdp-mode", "generic"]).unwrap();
    let id = program(&namespace, "lo").unwrap().to_string();
    pair(&namespace, "veth0");
    namespace.ip(&["link", "set", "veth0-peer", "up"]).unwrap();
    namespace.run("bpftool", &["net", "attach", "xdpdrv", "id", &id, "dev", "veth0"]).unwrap();

    let mut agent = AgentProcess::start(&namespace, &["-i", "veth?", "--xdp-mode", "native"]).unwrap();
    let refused = "veth0 is not metered until it changes: cannot attach to veth0";
    said(&mut agent, refused);
    said(&mut agent, "metering no interface yet");
    // In vain, for the same reason.
    namespace.ip(&["link", "set", "veth0", "alias", "busy"]).unwrap();
    namespace.ip(&["link", "set", "dev", "veth0", "xdpdrv", "off"]).unwrap();
    said(&mut agent, "veth0 is metered by native XDP");
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.stderr.matches(refused).count(), 1, "{}", stopped.stderr);
    assert_stopped(&stopped, 0);
    assert_eq!(elsewhere.stop(Signal::TERM).unwrap().exit_code, Some(0));
    assert_clean(&namespace);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn promiscuous_mode_follows_the_interfaces() {
    let namespace = Namespace::new().unwrap();
    let agent = AgentProcess::start(&namespace, &["-i", "veth?", "--promiscuous", "on"]).unwrap();
    for _ in 0..2 {
        pair(&namespace, "veth0");
        wait_until("promiscuous mode", || promiscuous(&namespace, "veth0"));
        assert!(!promiscuous(&namespace, "veth0-peer"));
        namespace.ip(&["link", "del", "veth0"]).unwrap();
    }
    pair(&namespace, "veth0");
    wait_until("promiscuous mode", || promiscuous(&namespace, "veth0"));
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 0);
    assert_clean(&namespace);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn tap_spares_what_the_host_uses_also_among_those_of_a_glob() {
    let lab = lab();
    let monitor = &lab.monitor;
    pair(monitor, "bare0");
    let arguments = ["-i", "*", "--exclude-interface", "*-peer", "--tap"];
    let mut agent = AgentProcess::start(monitor, &arguments).unwrap();
    said(&mut agent, "m0 is not metered until it changes: --tap would drop everything that m0 receives");
    assert!(program(monitor, "bare0").is_some() && program(monitor, MONITOR_INTERFACE).is_none());
    monitor.ip(&["addr", "flush", "dev", MONITOR_INTERFACE]).unwrap();
    monitor.ip(&["link", "set", MONITOR_INTERFACE, "alias", "a mirror port"]).unwrap();
    wait_until_metered(monitor, MONITOR_INTERFACE);
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 0);
    assert_clean(monitor);
}
