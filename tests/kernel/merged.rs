//! Packets that stand for several on the wire: what the TC programs make of `gso_segs` and `gso_size`.

use netflow_common::FlowCounters;
use netflow_user::kernel::{EntryPoint, Link, SocketBuffer};
use tests::frames::{ACK, ETHERNET_LENGTH, ETHERTYPE_IPV4, TCP, ethernet, frame, tcp, udp};
use tests::lab::{FOREIGN_MAC, GENERATOR_MAC};
use tests::meter::{KernelMeter, LOAD_OPTIONS, TC_ACT_SHOT, TC_ACT_UNSPEC};

/// One packet in a socket buffer; what its flow counted, and what was seen.
fn metered(entry: EntryPoint, packet: &[u8], buffer: SocketBuffer) -> (FlowCounters, u64, u64) {
    let octets =
        if matches!(entry, EntryPoint::TcEgress(Link::RawIp)) { packet.to_vec() } else { frame(packet) };
    let mut kernel = KernelMeter::load_at(&LOAD_OPTIONS, entry).unwrap();
    assert_eq!(kernel.enter_buffer(&octets, &buffer).unwrap(), TC_ACT_UNSPEC);
    let found = kernel.take().unwrap();
    assert!(found.balanced(), "{found:?}");
    let counters = found.flows.into_values().next().unwrap();
    (counters, found.stats.seen_packets, found.stats.seen_octets)
}

fn buffer(segments: u32, segment_size: u32) -> SocketBuffer {
    SocketBuffer { segments, segment_size, ..SocketBuffer::default() }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_merged_packet_counts_as_its_segments() {
    let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
    let (from6, to6) = ("[fd00::1]:1000".parse().unwrap(), "[fd00::2]:2000".parse().unwrap());
    let payload = vec![7; 1100];
    let ingress = EntryPoint::TcIngress(Link::Ethernet);
    let tunnel = EntryPoint::TcEgress(Link::RawIp);
    for (entry, packet, buffer, packets, octets) in [
        (ingress, tcp(from, to, ACK, 1, &payload), buffer(3, 500), 3, 1100 + 3 * 40),
        (ingress, tcp(from6, to6, ACK, 1, &payload), buffer(3, 500), 3, 1100 + 3 * 60),
        (ingress, udp(from, to, &payload), buffer(11, 100), 11, 1100 + 11 * 28),
        (tunnel, tcp(from, to, ACK, 1, &payload), buffer(2, 550), 2, 1100 + 2 * 40),
        // Nobody has counted them yet.
        (ingress, tcp(from, to, ACK, 1, &payload), buffer(0, 500), 3, 1100 + 3 * 40),
        (ingress, tcp(from, to, ACK, 1, &payload), buffer(0, 550), 2, 1100 + 2 * 40),
        // Not merged.
        (ingress, tcp(from, to, ACK, 1, &payload), buffer(0, 0), 1, 1100 + 40),
    ] {
        let (counters, seen, seen_octets) = metered(entry, &packet, buffer);
        assert_eq!((counters.packets, counters.octets), (packets, octets), "{buffer:?}");
        assert_eq!((seen, seen_octets), (packets, octets), "{buffer:?}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_packet_too_long_to_state_its_length_has_that_of_its_buffer() {
    let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
    let mut packet = tcp(from, to, ACK, 1, &[7; 1100]);
    packet[2..4].fill(0);
    let (counters, ..) = metered(EntryPoint::TcEgress(Link::Ethernet), &packet, buffer(3, 500));
    assert_eq!((counters.packets, counters.octets), (3, 1100 + 3 * 40));
    assert_eq!(counters.tcp_control_bits, u16::from(ACK));
    // IPv6 has the jumbo payload option in it, which is not on the wire.
    let (from, to) = ("[fd00::1]:1000".parse().unwrap(), "[fd00::2]:2000".parse().unwrap());
    let mut packet = tcp(from, to, ACK, 1, &[7; 1100]);
    packet[4..6].fill(0);
    packet[6] = 0;
    packet.splice(40..40, [6, 0, 0xc2, 4, 0, 0, 4, 0x60]);
    let (counters, ..) = metered(EntryPoint::TcEgress(Link::Ethernet), &packet, buffer(3, 500));
    assert_eq!((counters.packets, counters.octets), (3, 1100 + 3 * 60));
    assert_eq!(counters.tcp_control_bits, u16::from(ACK));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_transport_header_behind_what_is_read_is_left_out_of_a_merged_packets_headers() {
    let (from, to) = ("[fd00::1]:1000".parse().unwrap(), "[fd00::2]:2000".parse().unwrap());
    let mut packet = tcp(from, to, ACK, 1, &[7; 500]);
    // An authentication header of 448 octets ends at 502 of the frame: the data offset stands at 514.
    let authentication = [&[TCP, 110][..], &[0x55; 446]].concat();
    packet.splice(40..40, authentication);
    packet[6] = 51;
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    let (counters, ..) = metered(EntryPoint::TcEgress(Link::Ethernet), &packet, buffer(2, 250));
    assert_eq!((counters.packets, counters.octets), (2, packet.len() as u64 + 40 + 448));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn of_a_merged_tunnel_packet_the_kernel_knows_the_headers() {
    let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:4789".parse().unwrap());
    // UDP, 8 octets of VXLAN, Ethernet, IPv4 and TCP inside: 90 octets before 1000 octets of payload.
    let packet = udp(from, to, &[7; 8 + 14 + 20 + 20 + 1000]);
    let headers = 14 + 20 + 8 + 8 + 14 + 20 + 20;
    let length = u32::try_from(ETHERNET_LENGTH + packet.len()).unwrap();
    let buffer =
        SocketBuffer { segments: 2, segment_size: 500, wire_length: length + headers, ..Default::default() };
    let (counters, ..) = metered(EntryPoint::TcEgress(Link::Ethernet), &packet, buffer);
    let octets = packet.len() as u64 + u64::from(headers) - ETHERNET_LENGTH as u64;
    assert_eq!((counters.packets, counters.octets), (2, octets));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_merged_packet_that_is_not_ip_counts_as_its_segments_too() {
    let mut kernel = KernelMeter::load_at(&LOAD_OPTIONS, EntryPoint::TcIngress(Link::Ethernet)).unwrap();
    kernel.enter_buffer(&ethernet(FOREIGN_MAC, GENERATOR_MAC, 0x88cc, &[0; 100]), &buffer(4, 20)).unwrap();
    kernel
        .enter_buffer(&ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_IPV4, &[0x44; 100]), &buffer(2, 20))
        .unwrap();
    let stats = kernel.take().unwrap().stats;
    assert_eq!((stats.seen_packets, stats.not_ip_packets(), stats.bad_ip_packets()), (6, 4, 2));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn tap_mode_drops_at_ingress_and_never_at_egress() {
    let options = netflow_user::kernel::LoadOptions { tap: true, ..LOAD_OPTIONS };
    for (entry, returned) in [
        (EntryPoint::TcIngress(Link::Ethernet), TC_ACT_SHOT),
        (EntryPoint::TcEgress(Link::Ethernet), TC_ACT_UNSPEC),
    ] {
        let mut kernel = KernelMeter::load_at(&options, entry).unwrap();
        let packet = frame(&udp("10.1.0.1:1".parse().unwrap(), "10.2.0.2:2".parse().unwrap(), b"1"));
        assert_eq!(kernel.enter(&packet).unwrap(), returned);
        assert_eq!(kernel.take().unwrap().stats.seen_packets, 1);
    }
}
