//! Interfaces that cannot be metered, or not in the mode asked for, and those that can.

use tests::agent::{AgentProcess, Signal};
use tests::frames::{FIN, frame, tcp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::raw::RawSender;

use crate::support::{
    TEN_FLOWS_PACKETS, assert_clean, assert_refused, assert_stopped, lab, netflow_in, program,
    send_ten_flows, start, wait_until_seen,
};

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn interfaces_that_cannot_be_metered_are_refused() {
    let lab = lab();
    let monitor = &lab.monitor;
    monitor.ip(&["tuntap", "add", "tun9", "mode", "tun"]).unwrap();
    monitor.ip(&["link", "set", "tun9", "up"]).unwrap();
    monitor.ip(&["link", "add", "br9", "type", "bridge"]).unwrap();
    for (arguments, texts) in [
        (&["run"][..], &["there is no default route", "name one with -i, of lo, m0"][..]),
        (&["run", "-i", "m7"], &["there is no interface 'm7'; there are lo, m0, tun9, br9"]),
        (&["run", "-i", ""], &["there is no interface ''"]),
        (&["run", "-i", "m0\nevil"], &["there is no interface 'm0 evil'"]),
        (&["run", "-i", "m0", "-i", "m7"], &["there is no interface 'm7'"]),
        (&["run", "-i", "br9"], &["interface br9 is down; bring it up with `ip link set br9 up`"]),
        (
            &["run", "-i", "tun9", "--xdp-mode", "native"],
            &["cannot attach to tun9 in native mode", "no Ethernet header"],
        ),
    ] {
        assert_refused(&netflow_in(monitor, arguments), 1, texts);
    }
    monitor.ip(&["route", "add", "default", "via", "10.77.0.1", "dev", MONITOR_INTERFACE]).unwrap();
    monitor.ip(&["link", "set", "lo", "down"]).unwrap();
    assert_refused(&netflow_in(monitor, &["run"]), 1, &["lo is down", "`ip link set lo up`", "-c"]);
    assert_clean(monitor);

    // Without the built-in collector nobody needs it; and the default route's interface is found.
    let agent = AgentProcess::start(monitor, &["-c", "10.77.0.1"]).unwrap();
    assert!(program(monitor, MONITOR_INTERFACE).is_some());
    assert_eq!(agent.stop(Signal::INT).unwrap().exit_code, Some(0));
    assert_clean(monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn failures_behind_the_interface_leave_nothing_attached() {
    let lab = lab();
    let run = ["run", "-i", MONITOR_INTERFACE];
    let host = format!("{}.invalid", "x".repeat(64));
    for (arguments, texts) in [
        (
            &["--ledger-file", "/no/such/directory/ledger.json"][..],
            &["cannot write the ledger to", "No such"][..],
        ),
        (&["-c", &host], &["cannot resolve"]),
        (&["-c", "192.0.2.1"], &["collector 192.0.2.1:4739", "Network is unreachable"]),
        (&["-i", "lo", "--xdp-mode", "native"], &["cannot attach to lo in native mode", "no native XDP"]),
    ] {
        assert_refused(&netflow_in(&lab.monitor, &[&run, arguments].concat()), 1, texts);
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn devices_without_native_xdp_are_refused_in_native_mode_and_metered_in_auto() {
    let namespace = Namespace::new().unwrap();
    namespace.ip(&["link", "add", "br9", "type", "bridge"]).unwrap();
    namespace.ip(&["link", "add", "ifb9", "type", "ifb"]).unwrap();
    for name in ["lo", "br9", "ifb9"] {
        namespace.ip(&["link", "set", name, "up"]).unwrap();
        let refused = netflow_in(&namespace, &["run", "-i", name, "--xdp-mode", "native"]);
        let step = format!("cannot attach to {name} in native mode");
        assert_refused(&refused, 1, &[&step, "no native XDP", "--xdp-mode auto or generic"]);
        assert_clean(&namespace);

        let mut agent = AgentProcess::start(&namespace, &["-i", name]).unwrap();
        let said = agent.process().stderr();
        assert!(said.contains("taking TC (tcx) instead"), "{said}");
        assert!(said.contains(&format!("{name} is metered by TC (tcx)")), "{said}");
        assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
        assert_clean(&namespace);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    let lab = lab();
    for mode in ["native", "generic"] {
        let first = start(&lab, &["--xdp-mode", mode]).unwrap();
        let owner = program(&lab.monitor, MONITOR_INTERFACE).unwrap();
        for second in ["native", "generic"] {
            let arguments = ["run", "-i", MONITOR_INTERFACE, "--xdp-mode", second];
            let refused = netflow_in(&lab.monitor, &arguments);
            let texts = ["cannot attach to m0", "another XDP program is attached there", "end its owner"];
            assert_refused(&refused, 1, &texts);
            assert_eq!(program(&lab.monitor, MONITOR_INTERFACE), Some(owner));
        }
        send_ten_flows(&lab);
        wait_until_seen(&first, TEN_FLOWS_PACKETS);
        assert_stopped(&first.stop(Signal::TERM).unwrap(), TEN_FLOWS_PACKETS);
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_program_that_was_attached_by_netlink_stays_and_is_named() {
    let lab = lab();
    let monitor = &lab.monitor;
    // Any program will do: that of an agent elsewhere, attached once more by bpftool.
    let elsewhere = AgentProcess::start(monitor, &["-i", "lo", "--xdp-mode", "generic"]).unwrap();
    let id = program(monitor, "lo").unwrap();
    for kind in ["xdpdrv", "xdpgeneric"] {
        monitor
            .run("bpftool", &["net", "attach", kind, "id", &id.to_string(), "dev", MONITOR_INTERFACE])
            .unwrap();
        for mode in ["native", "generic"] {
            let refused = netflow_in(monitor, &["run", "-i", MONITOR_INTERFACE, "--xdp-mode", mode]);
            assert_refused(
                &refused,
                1,
                &["another XDP program", &format!("`ip link set dev m0 {kind} off`")],
            );
            assert_eq!(program(monitor, MONITOR_INTERFACE), Some(id));
        }
        // The remedy that was named.
        monitor.ip(&["link", "set", "dev", MONITOR_INTERFACE, kind, "off"]).unwrap();
        assert_eq!(start(&lab, &[]).unwrap().stop(Signal::TERM).unwrap().exit_code, Some(0));
    }
    assert_eq!(elsewhere.stop(Signal::TERM).unwrap().exit_code, Some(0));
    assert_clean(monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn frames_of_several_buffers_are_metered_natively() {
    let lab = Lab::new(LabOptions { mtu: 9000, ..LabOptions::default() }).unwrap();
    let agent = start(&lab, &["--xdp-mode", "native"]).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let (from, to) = ("10.1.0.1:1".parse().unwrap(), "10.2.0.2:2".parse().unwrap());
    for length in [0, 1400, 4000, 8900] {
        sender.send(&frame(&tcp(from, to, FIN, 1, &vec![7; length]))).unwrap();
    }
    wait_until_seen(&agent, 4);
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_stopped(&stopped, 4);
    let octets = stopped.ledger.unwrap().number("/octets/in_records").unwrap();
    assert_eq!(octets, 4 * 40 + 1400 + 4000 + 8900);
}
