//! Captures made by others: the host parser against the reference counts, the kernel program against the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netflow_common::{Address, FlowKey, Ports};
use netflow_ebpf::packet::{LinkType, Packet, PacketObserver, join, parse, parse_outer};
use netflow_user::capture::CaptureFile;
use netflow_user::kernel::Flip;
pub(crate) use tests::captures::find;
use tests::captures::{Capture, ReferenceFlow, ReferenceKey};
use tests::host::Fragments;
use tests::meter::{HostMeter, KernelMeter, LOAD_OPTIONS, XDP_PASS};

/// A packet that this project reads otherwise than the reference, on purpose.
struct Exception {
    capture: &'static str,
    /// Counted from 1.
    packet: usize,
    /// What this project reads.
    control_bits: u16,
    /// What the reference reads.
    reference_control_bits: u16,
    /// Why; said by the test.
    reason: &'static str,
}

const EXCEPTIONS: [Exception; 2] = [
    Exception {
        capture: "ndpi-ip-fragmented-garbage.pcap",
        packet: 1,
        control_bits: 0x023,
        reference_control_bits: 0,
        reason: "its TCP data offset is 4: tshark reads nothing behind it, here the control bits are as observed (RFC 9565)",
    },
    Exception {
        capture: "ndpi-ip-fragmented-garbage.pcap",
        packet: 940,
        control_bits: 0xa26,
        reference_control_bits: 0,
        reason: "its TCP data offset is 2: tshark reads nothing behind it, here the control bits are as observed (RFC 9565)",
    },
];

/// The part of a reference flow that packets add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sum {
    packets: u64,
    ip_octets: u64,
    tcp_flags: u16,
    later_fragments: u64,
    min_ttl: u8,
    max_ttl: u8,
}

impl Sum {
    fn of_packet(packet: &Packet) -> Self {
        Self {
            packets: 1,
            ip_octets: packet.octets.into(),
            tcp_flags: packet.tcp_control_bits,
            later_fragments: (packet.key.ports == Ports::LATER_FRAGMENT).into(),
            min_ttl: packet.ttl,
            max_ttl: packet.ttl,
        }
    }

    fn of_flow(flow: &ReferenceFlow) -> Self {
        Self {
            packets: flow.packets,
            ip_octets: flow.ip_octets,
            tcp_flags: flow.tcp_flags,
            later_fragments: flow.later_fragments,
            min_ttl: flow.min_ttl,
            max_ttl: flow.max_ttl,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            ip_octets: self.ip_octets + other.ip_octets,
            tcp_flags: self.tcp_flags | other.tcp_flags,
            later_fragments: self.later_fragments + other.later_fragments,
            min_ttl: self.min_ttl.min(other.min_ttl),
            max_ttl: self.max_ttl.max(other.max_ttl),
        }
    }
}

type Sums = BTreeMap<ReferenceKey, Sum>;

fn add(sums: &mut Sums, mut key: ReferenceKey, sum: Sum) {
    // VLAN id 0 means "no VLAN" (802.1Q): to this project it is the same as no tag, to tshark a value.
    key.vlan = key.vlan.filter(|id| *id != 0);
    sums.entry(key).and_modify(|old| *old = old.plus(sum)).or_insert(sum);
}

fn reference_key(key: &FlowKey) -> ReferenceKey {
    let address = |address: Address| {
        if key.is_ipv4() { IpAddr::from(address.ipv4_octets()) } else { IpAddr::from(address.octets()) }
    };
    let destination_port = key.destination_port.value();
    let [kind, code] = destination_port.to_be_bytes();
    let is_icmp = matches!(key.protocol, 1 | 58) && key.ports == Ports::PRESENT;
    ReferenceKey {
        source: address(key.source_address),
        destination: address(key.destination_address),
        protocol: key.protocol,
        source_port: key.source_port.value(),
        destination_port: if is_icmp { 0 } else { destination_port },
        icmp: is_icmp.then_some((kind, code)),
        vlan: Some(key.vlan_id),
    }
}

/// The octets that were captured: what a replay would send.
pub(crate) fn captured_frames(capture: &Capture) -> Vec<Vec<u8>> {
    let mut file = CaptureFile::open(&capture.path).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = file.next_packet().unwrap() {
        assert_eq!(packet.link_type, LinkType::Ethernet);
        frames.push(packet.octets.to_vec());
    }
    frames
}

#[test]
fn the_host_counts_every_capture_as_the_reference_does() {
    let mut exceptions_met = 0;
    let captures = find().unwrap().unwrap_or_default();
    for capture in &captures {
        let name = capture.name.as_str();
        let (mut found, mut not_ip, mut bad_ip) = (Sums::new(), 0, 0);
        for (number, frame) in (1..).zip(captured_frames(capture)) {
            match parse(frame.as_slice(), LinkType::Ethernet) {
                Ok(mut packet) => {
                    let exceptions = EXCEPTIONS.iter();
                    for exception in exceptions.filter(|e| e.capture == name && e.packet == number) {
                        assert_eq!(packet.tcp_control_bits, exception.control_bits, "{name} packet {number}");
                        packet.tcp_control_bits = exception.reference_control_bits;
                        exceptions_met += 1;
                        eprintln!("{name} packet {number}: {}", exception.reason);
                    }
                    add(&mut found, reference_key(&packet.key), Sum::of_packet(&packet));
                }
                Err(refusal) if refusal.is_not_ip() => not_ip += 1,
                Err(_) => bad_ip += 1,
            }
        }
        let expected = &capture.expected;
        assert_eq!(not_ip, expected.non_ip_packets, "{name}: packets that are not IP");
        assert_eq!(bad_ip, expected.bad_ip_header_packets, "{name}: bad IP headers");
        let total = |of: fn(&Sum) -> u64| found.values().map(of).sum::<u64>();
        assert_eq!(total(|sum| sum.packets), expected.ip_packets, "{name}: IP packets");
        assert_eq!(total(|sum| sum.ip_octets), expected.ip_bytes, "{name}: IP octets");
        assert_eq!(total(|sum| sum.later_fragments), expected.nonfirst_fragments, "{name}: fragments");
        let mut reference = Sums::new();
        for flow in capture.flows().unwrap() {
            add(&mut reference, flow.key, Sum::of_flow(&flow));
        }
        let keys: BTreeSet<&ReferenceKey> = found.keys().chain(reference.keys()).collect();
        for key in keys {
            assert_eq!(found.get(key), reference.get(key), "{name}: {key:?}");
        }
    }
    assert_eq!(exceptions_met, if captures.is_empty() { 0 } else { EXCEPTIONS.len() });
}

#[test]
fn fragmented_flows_are_as_many_as_the_reference_tracks() {
    for capture in find().unwrap().unwrap_or_default() {
        let mut fragments = Fragments::default();
        let mut flows = BTreeSet::new();
        for frame in captured_frames(&capture) {
            let mut observer = PacketObserver::default();
            let Ok(mut packet) = parse_outer(frame.as_slice(), LinkType::Ethernet, &mut observer) else {
                continue;
            };
            join(&mut packet, observer.fragment, &mut fragments);
            let key = reference_key(&packet.key);
            flows.insert((key.source, key.destination, key.protocol, key.source_port, key.destination_port));
        }
        assert_eq!(flows.len() as u64, capture.expected.flows_5tuple_fragments_tracked, "{}", capture.name);
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_every_packet_of_every_capture() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    let mut host = HostMeter::default();
    let mut packets = 0;
    for capture in find().unwrap().unwrap_or_default() {
        for (number, frame) in (1..).zip(captured_frames(&capture)) {
            assert_eq!(kernel.enter(&frame).unwrap(), XDP_PASS, "{} packet {number}", capture.name);
            host.enter(&frame);
            let difference = kernel.take().unwrap().difference(&host.take());
            assert_eq!(difference, None, "{} packet {number}", capture.name);
            packets += 1;
        }
    }
    eprintln!("{packets} packets: same keys, same values, same reasons, all passed on");
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_the_flows_and_totals_of_every_capture() {
    for fragments in [true, false] {
        let mut kernel = KernelMeter::load(&LOAD_OPTIONS, fragments).unwrap();
        let mut host = HostMeter::default();
        for capture in find().unwrap().unwrap_or_default() {
            // No driver gives a frame of several buffers to the program that knows none.
            for frame in captured_frames(&capture).iter().filter(|frame| fragments || frame.len() < 3000) {
                assert_eq!(kernel.enter(frame).unwrap(), XDP_PASS, "{}", capture.name);
                host.enter(frame);
            }
            let found = kernel.take_by(Flip::Wait).unwrap();
            assert_eq!(found.difference(&host.take()), None, "{}", capture.name);
            assert!(found.balanced(), "{}", capture.name);
            if fragments {
                assert_eq!(found.stats.seen_packets, capture.expected.packets, "{}", capture.name);
                assert_eq!(found.stats.seen_octets, capture.expected.ip_bytes, "{}", capture.name);
            }
        }
    }
}
