//! Metering by TC: both directions, exact with merged packets, beside foreign XDP programs, without Ethernet headers.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use netflow_user::filter::Filter;
use netflow_user::kernel::{AttachOptions, Direction, Hook, Kernel, LoadOptions, XdpMode};
use serde_json::Value;
use tests::agent::{AgentProcess, Signal};
use tests::frames::{ETHERTYPE_IPV4, ETHERTYPE_VLAN, ethernet, udp, vlan};
use tests::idle::Idle;
use tests::judges::{IPFIX, Nfcapd, Panel};
use tests::lab::{
    FOREIGN_MAC, GENERATOR_INTERFACE, GENERATOR_MAC, Lab, LabOptions, MONITOR_INTERFACE, Namespace,
};
use tests::meter::LOAD_OPTIONS;
use tests::raw::RawSender;

const GENERATOR_ADDRESS: &str = "10.77.0.1";
const MONITOR_ADDRESS: &str = "10.77.0.2";
const COLLECTOR: u16 = 4739;

fn wait_for(mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("not within 10 s");
}

/// Segments that TCP of a namespace has sent: OutSegs and RetransSegs of RFC 4022.
fn sent_segments(namespace: &Namespace) -> Result<u64> {
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = lines.next().zip(lines.next()).context("no line of TCP")?;
    let of = |name: &str| -> Result<u64> {
        let place = names.split(' ').position(|other| other == name).context("no such counter")?;
        Ok(values.split(' ').nth(place).context("no value")?.parse()?)
    };
    Ok(of("OutSegs")? + of("RetransSegs")?)
}

/// Sums of the records from one address, as nfcapd has them: packets, octets.
fn from(records: &[Value], address: &str) -> (u64, u64) {
    let of = |name: &str| -> u64 {
        records.iter().filter(|record| record["src4_addr"] == address).filter_map(|r| r[name].as_u64()).sum()
    };
    (of("in_packets"), of("in_bytes"))
}

fn iperf3(tso: &str) {
    let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() }).unwrap();
    for (namespace, interface) in [(&lab.generator, GENERATOR_INTERFACE), (&lab.monitor, MONITOR_INTERFACE)] {
        let offloads = ["-K", interface, "tx", "on", "gso", "on", "gro", "on", "tso", tso];
        namespace.run("ethtool", &offloads).unwrap();
    }
    let nfcapd = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, COLLECTOR).into()).unwrap();
    let url = format!("udp://127.0.0.1:{COLLECTOR}");
    let agent = AgentProcess::start(&lab.monitor, &["-i", MONITOR_INTERFACE, "--xdp-mode", "tc", "-c", &url])
        .unwrap();
    let counters = || {
        let generator = lab.generator.counters(GENERATOR_INTERFACE).unwrap();
        (generator, lab.monitor.counters(MONITOR_INTERFACE).unwrap().tx_dropped)
    };
    let (before, dropped_before) = counters();
    let segments_before = [&lab.generator, &lab.monitor].map(|namespace| sent_segments(namespace).unwrap());
    let mut server = lab.monitor.spawn("iperf3", &["-s", "-1", "--forceflush"]).unwrap();
    wait_for(|| server.stdout().contains("listening"));
    lab.generator.run("iperf3", &["-c", MONITOR_ADDRESS, "-t", "3", "--bidir"]).unwrap();
    server.signal(Signal::TERM).unwrap();
    // The last acknowledgement of the closing connections.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (after, dropped) = counters();
    let segments = [&lab.generator, &lab.monitor].map(|namespace| sent_segments(namespace).unwrap());
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    let nfcapd = nfcapd.stop().unwrap();
    let records = nfcapd.records().unwrap();
    let (sent, received) = if tso == "on" {
        (segments[0] - segments_before[0], segments[1] - segments_before[1])
    } else {
        // What the driver drops of a burst has been sent: TC stands before it.
        (
            after.tx_packets - before.tx_packets,
            after.rx_packets - before.rx_packets + dropped - dropped_before,
        )
    };
    let (ingress, egress) = (from(&records, GENERATOR_ADDRESS), from(&records, MONITOR_ADDRESS));
    let seen = ledger.number("/packets/seen").unwrap();
    eprintln!(
        "tso {tso}: {sent} and {received} packets sent, records have {ingress:?} and {egress:?}, seen {seen}"
    );
    assert_eq!((ingress.0, egress.0), (sent, received));
    assert_eq!(seen, sent + received);
    assert_eq!(ledger.0["balanced"], true);
    assert_eq!(ledger.number("/packets/in_records").unwrap(), seen);
    if tso == "off" {
        // With GRO a veth pair counts octets where they are received, without Ethernet headers.
        assert_eq!(ingress.1, after.tx_octets - before.tx_octets);
        // Of what the driver drops nobody counts the octets.
        if dropped == dropped_before {
            assert_eq!(egress.1, after.rx_octets - before.rx_octets);
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces, iperf3"]
fn both_directions_are_exact_where_the_stack_cuts_packets_up() {
    iperf3("off");
}

#[test]
#[ignore = "needs root: network namespaces, iperf3"]
fn both_directions_are_exact_where_packets_are_never_cut_up() {
    iperf3("on");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_interface_whose_xdp_is_taken_is_metered_by_tc_and_everything_passes() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let _passing = Idle::passing(&lab.monitor, MONITOR_INTERFACE).unwrap();
    let mut agent = AgentProcess::start(&lab.monitor, &["-i", MONITOR_INTERFACE, "-c", "127.0.0.1"]).unwrap();
    let said = agent.process().stderr();
    assert!(said.contains("another XDP program is attached there"), "{said}");
    assert!(said.contains("taking TC (tcx) instead"), "{said}");
    let pinged = lab.generator.run("ping", &["-c", "20", "-i", "0.01", MONITOR_ADDRESS]).unwrap();
    assert!(pinged.stdout.contains(" 20 received"), "{}", pinged.stdout);
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    assert_eq!(stopped.ledger.unwrap().number("/packets/in_records").unwrap(), 40);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn tags_that_the_kernel_takes_off_are_those_of_the_record() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let panel = Panel::start(&lab.monitor, Ipv4Addr::LOCALHOST.into()).unwrap();
    let collectors = panel.collectors();
    let mut arguments = vec!["-i", MONITOR_INTERFACE, "--xdp-mode", "tc", "--direction", "ingress"];
    arguments.extend(collectors.iter().map(String::as_str));
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let packet = |port: u16| {
        udp("10.1.0.1:1".parse().unwrap(), format!("10.2.0.2:{port}").parse().unwrap(), b"0123456789")
    };
    let one = vlan(101, ETHERTYPE_IPV4, &packet(1));
    let two = vlan(202, ETHERTYPE_VLAN, &vlan(303, ETHERTYPE_IPV4, &packet(2)));
    for (ethertype, payload) in [(ETHERTYPE_IPV4, packet(3)), (ETHERTYPE_VLAN, one), (0x88a8, two)] {
        sender.send(&ethernet(FOREIGN_MAC, GENERATOR_MAC, ethertype, &payload)).unwrap();
    }
    agent.wait_for_ledger("packets", |ledger| Ok(ledger.number("/packets/seen")? == 3)).unwrap();
    assert_eq!(agent.stop(Signal::TERM).unwrap().exit_code, Some(0));
    let verdict = panel.stop().unwrap();
    let mut found: Vec<(u16, u16, u64)> = verdict
        .messages_of(IPFIX, 1)
        .iter()
        .flat_map(|message| &message.records)
        .map(|record| (record.destination_port, record.vlan, record.octets))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 101, 38), (2, 202, 38), (3, 0, 38)]);
}

/// A tunnel of two TUN devices, whose packets have no Ethernet header, over the pair.
#[test]
#[ignore = "needs root: network namespaces, /dev/net/tun"]
fn both_directions_of_a_tun_device_are_metered() {
    let lab = Lab::new(LabOptions::default()).unwrap();
    let end = |own: &str, bind: &str, peer: &str| {
        [
            format!("TUN:{own}/24,tun-name=tun5,iff-no-pi,iff-up"),
            format!("UDP-DATAGRAM:{peer}:5555,bind={bind}:5555"),
        ]
    };
    let mut ends = Vec::new();
    for (namespace, own, bind, peer) in [
        (&lab.generator, "10.99.0.1", GENERATOR_ADDRESS, MONITOR_ADDRESS),
        (&lab.monitor, "10.99.0.2", MONITOR_ADDRESS, GENERATOR_ADDRESS),
    ] {
        let [tun, datagrams] = end(own, bind, peer);
        ends.push(namespace.spawn("socat", &[&tun, &datagrams]).unwrap());
        wait_for(|| namespace.ip(&["link", "show", "tun5", "up"]).is_ok_and(|s| s.stdout.contains("tun5")));
    }
    let nfcapd = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, COLLECTOR).into()).unwrap();
    let url = format!("udp://127.0.0.1:{COLLECTOR}");
    let mut agent = AgentProcess::start(&lab.monitor, &["-i", "tun5", "-c", &url]).unwrap();
    let said = agent.process().stderr();
    assert!(said.contains("tun5 is metered by TC (tcx), what it sends by TC (tcx)"), "{said}");
    let pinged = lab.generator.run("ping", &["-c", "10", "-i", "0.05", "-s", "100", "10.99.0.2"]).unwrap();
    assert!(pinged.stdout.contains(" 10 received"), "{}", pinged.stdout);
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let records = nfcapd.stop().unwrap().records().unwrap();
    assert_eq!(from(&records, "10.99.0.1"), (10, 1280));
    assert_eq!(from(&records, "10.99.0.2"), (10, 1280));
    assert_eq!(stopped.ledger.unwrap().0["balanced"], true);
}

/// As on kernels before 6.6: filters outlive an agent that was killed, and are replaced by the next one.
#[test]
#[ignore = "needs root: network namespaces and TC"]
fn filters_of_an_agent_that_was_killed_are_replaced_and_an_empty_qdisc_is_removed() {
    let namespace = Namespace::new().unwrap();
    namespace.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]).unwrap();
    let shown = |what: &[&str]| namespace.run("tc", what).unwrap().stdout;
    let filters = |direction| shown(&["filter", "show", "dev", "v0", direction]);
    let index: u32 = namespace
        .enter(|| fs::read_to_string("/proc/thread-self/net/dev_snmp6/v0"))
        .unwrap()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let how = AttachOptions { mode: XdpMode::Tc, direction: Direction::Both, ..AttachOptions::default() };
    let filter = Filter::compile("tcp").unwrap();
    let filtering = LoadOptions { filter: Some(Arc::new(filter)), ..LOAD_OPTIONS };
    let attach = |options: &LoadOptions| {
        let mut kernel = Kernel::load(options).unwrap();
        kernel.forgo_tcx();
        let attachment = kernel.attach("v0", index, &how).unwrap();
        let found = (attachment.ingress, attachment.egress, attachment.replaced);
        (kernel, found)
    };
    let clsact = (Some(Hook::Clsact), Some(Hook::Clsact));
    // What was left is found under whatever name it has.
    for (options, name) in [(&LOAD_OPTIONS, "netflow_tc_ingress"), (&filtering, "netflow_filter")] {
        namespace
            .enter(|| {
                let (kernel, found) = attach(options);
                assert_eq!(found, (clsact.0, clsact.1, 0));
                // As if it had been killed.
                std::mem::forget(kernel);
            })
            .unwrap();
        assert!(filters("ingress").contains(name), "{}", filters("ingress"));
        namespace
            .enter(|| {
                let (mut kernel, found) = attach(&LOAD_OPTIONS);
                assert_eq!(found, (clsact.0, clsact.1, 2));
                assert!(kernel.detach(index) && !kernel.detach(index));
            })
            .unwrap();
    }
    assert_eq!((filters("ingress"), filters("egress")), (String::new(), String::new()));
    assert!(!shown(&["qdisc", "show", "dev", "v0"]).contains("clsact"));
    // Somebody else's qdisc stays.
    namespace.run("tc", &["qdisc", "add", "dev", "v0", "clsact"]).unwrap();
    namespace.enter(|| drop(attach(&LOAD_OPTIONS))).unwrap();
    assert!(shown(&["qdisc", "show", "dev", "v0"]).contains("clsact"));
    // And what is attached by links is gone with them.
    namespace
        .enter(|| {
            let mut kernel = Kernel::load(&LOAD_OPTIONS).unwrap();
            let attachment = kernel.attach("v0", index, &how).unwrap();
            assert_eq!((attachment.ingress, attachment.egress), (Some(Hook::Tcx), Some(Hook::Tcx)));
        })
        .unwrap();
}
