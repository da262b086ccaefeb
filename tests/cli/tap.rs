//! Tap mode: refused where the host lives, and a hole for packets where it does not.

use tests::agent::{AgentProcess, Signal};
use tests::frames::{ETHERTYPE_IPV4, ethernet, udp};
use tests::lab::{GENERATOR_INTERFACE, GENERATOR_MAC, Lab, MONITOR_INTERFACE, MONITOR_MAC, Namespace};
use tests::raw::RawSender;

use crate::support::{
    assert_clean, assert_refused, assert_stopped, lab, netflow_in, program, promiscuous, start, wait_until,
    wait_until_seen,
};

/// IPv4 packets that the namespace's stack has received, but those of its own programs.
fn received(namespace: &Namespace) -> u64 {
    let snmp = namespace.run("cat", &["/proc/net/snmp"]).unwrap().stdout;
    let values = snmp.lines().filter(|line| line.starts_with("Ip:")).nth(1).unwrap();
    let all: u64 = values.split_whitespace().nth(3).unwrap().parse().unwrap();
    all - namespace.counters("lo").unwrap().rx_packets
}

/// Sends packets that the monitor's stack would take.
fn send_to_monitor(lab: &Lab, packets: usize) {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let packet = udp("10.77.0.1:9".parse().unwrap(), "10.77.0.2:9".parse().unwrap(), b"x");
    for _ in 0..packets {
        sender.send(&ethernet(MONITOR_MAC, GENERATOR_MAC, ETHERTYPE_IPV4, &packet)).unwrap();
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn tap_is_refused_where_the_host_lives() {
    let lab = lab();
    let monitor = &lab.monitor;
    let refused = |texts: &[&str]| {
        let finished = netflow_in(monitor, &["run", "-i", MONITOR_INTERFACE, "--tap"]);
        assert_refused(&finished, 1, texts);
        assert_refused(&finished, 1, &["--tap would drop everything that m0 receives", "say --tap-anyway"]);
        assert_clean(monitor);
    };
    refused(&["it has the address 10.77.0.2;"]);
    monitor.ip(&["addr", "flush", "dev", MONITOR_INTERFACE]).unwrap();
    monitor.ip(&["route", "add", "192.0.2.0/24", "dev", MONITOR_INTERFACE]).unwrap();
    refused(&["it has a route;"]);
    monitor.ip(&["route", "flush", "dev", MONITOR_INTERFACE]).unwrap();
    let macvlan = ["link", "add", "mv9", "link", MONITOR_INTERFACE, "type", "macvlan"];
    monitor.ip(&macvlan).unwrap();
    refused(&["it has mv9 on top of it;"]);
    monitor.ip(&["link", "del", "mv9"]).unwrap();
    monitor.ip(&["link", "add", "br9", "type", "bridge"]).unwrap();
    monitor.ip(&["link", "set", MONITOR_INTERFACE, "master", "br9"]).unwrap();
    refused(&["it has a place in br9;"]);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn on_a_bare_interface_frames_are_counted_and_nothing_reaches_the_stack() {
    let lab = lab();
    let monitor = &lab.monitor;
    send_to_monitor(&lab, 7);
    wait_until("packets in the stack", || received(monitor) == 7);
    monitor.ip(&["addr", "flush", "dev", MONITOR_INTERFACE]).unwrap();

    let agent = start(&lab, &["--tap"]).unwrap();
    assert!(promiscuous(monitor, MONITOR_INTERFACE));
    send_to_monitor(&lab, 50);
    wait_until_seen(&agent, 50);
    assert_stopped(&agent.stop(Signal::INT).unwrap(), 50);
    assert_eq!(received(monitor), 7, "frames have reached the stack");
    assert_clean(monitor);

    let mut killed = start(&lab, &["--tap"]).unwrap();
    assert!(promiscuous(monitor, MONITOR_INTERFACE));
    killed.process().signal(Signal::KILL).unwrap();
    wait_until("the interface as it was", || {
        !promiscuous(monitor, MONITOR_INTERFACE) && program(monitor, MONITOR_INTERFACE).is_none()
    });
    assert_clean(monitor);
    // Without the program the stack has them again.
    send_to_monitor(&lab, 3);
    wait_until("packets in the stack", || received(monitor) == 10);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn tap_anyway_does_it_all_the_same_and_promiscuous_mode_is_a_choice() {
    let lab = lab();
    let agent = start(&lab, &["--tap-anyway", "--promiscuous", "off"]).unwrap();
    assert!(!promiscuous(&lab.monitor, MONITOR_INTERFACE));
    send_to_monitor(&lab, 5);
    wait_until_seen(&agent, 5);
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 5);
    assert_eq!(received(&lab.monitor), 0);

    let arguments = ["-i", MONITOR_INTERFACE, "--promiscuous", "on", "--direction", "ingress"];
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    assert!(promiscuous(&lab.monitor, MONITOR_INTERFACE));
    send_to_monitor(&lab, 5);
    wait_until_seen(&agent, 5);
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 5);
    assert_eq!(received(&lab.monitor), 5, "metering takes packets away");
    assert_clean(&lab.monitor);
}
