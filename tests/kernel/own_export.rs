//! Messages of the exporter itself: which packets the TC programs take for them.

use std::net::SocketAddr;

use netflow_common::{FlowKey, Skip};
use netflow_ebpf::packet::LinkType;
use netflow_user::kernel::{EntryPoint, Flip, Link, LoadOptions, Measure, OwnExport, SessionSocket};
use tests::frames::{ETHERTYPE_IPV4, ETHERTYPE_VLAN, ethernet, frame, icmp, ip, tcp, udp, vlan};
use tests::lab::{FOREIGN_MAC, GENERATOR_MAC};
use tests::meter::{KernelMeter, LOAD_OPTIONS, link_type};
use tests::wide::EVERYTHING;

const V4: [&str; 2] = ["192.0.2.1:40000", "192.0.2.2:4739"];
const V6: [&str; 2] = ["[2001:db8::1]:40001", "[2001:db8::2]:4739"];
const MESSAGE: &[u8] = &[7; 200];

fn sockets() -> [SessionSocket; 2] {
    [V4, V6].map(|[local, peer]| SessionSocket {
        protocol: FlowKey::UDP,
        local: address(local),
        peer: address(peer),
    })
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn load(own_export: OwnExport, entry: EntryPoint, measure: Measure) -> KernelMeter {
    let options = LoadOptions { own_export, measure, ..LOAD_OPTIONS };
    let mut meter = KernelMeter::load_at(&options, entry).unwrap();
    for socket in sockets() {
        meter.kernel.leave_out(socket).unwrap();
    }
    meter
}

/// Packets and octets that were left out of one packet, which is seen with `octets`.
fn left_out(meter: &mut KernelMeter, entry: EntryPoint, packet: &[u8]) -> (u64, u64) {
    let octets = if link_type(entry) == LinkType::Ethernet { frame(packet) } else { packet.to_vec() };
    enter(meter, &octets)
}

fn enter(meter: &mut KernelMeter, frame: &[u8]) -> (u64, u64) {
    meter.enter(frame).unwrap();
    let frozen = meter.kernel.flip(Flip::NoWait).unwrap();
    let mut seen = (0, 0);
    let mut skipped = (0, 0);
    for stats in meter.kernel.take_stats(frozen).unwrap() {
        seen = (seen.0 + stats.seen_packets, seen.1 + stats.seen_octets);
        skipped.0 += stats.skipped_packets[Skip::OwnExport as usize];
        skipped.1 += stats.skipped_octets[Skip::OwnExport as usize];
    }
    assert_eq!(seen.0, 1);
    assert!(skipped == (0, 0) || skipped == seen, "{skipped:?} of {seen:?}");
    skipped
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn messages_are_left_out_where_they_are_sent_and_on_loopback_also_where_they_are_received() {
    for measure in [Measure::DEFAULT, EVERYTHING] {
        for own in [OwnExport::Metered, OwnExport::LeftOutWhereSent, OwnExport::LeftOut] {
            for entry in EntryPoint::ALL {
                let expected = match own {
                    OwnExport::Metered => false,
                    OwnExport::LeftOutWhereSent => matches!(entry, EntryPoint::TcEgress(_)),
                    OwnExport::LeftOut => !entry.is_xdp(),
                };
                let mut meter = load(own, entry, measure);
                for [local, peer] in [V4, V6] {
                    let packet = udp(address(local), address(peer), MESSAGE);
                    let found = left_out(&mut meter, entry, &packet);
                    let all = (1, packet.len() as u64);
                    assert_eq!(found, if expected { all } else { (0, 0) }, "{own:?} {entry:?} {local}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn only_packets_of_the_very_session_are_left_out() {
    let entry = EntryPoint::TcEgress(Link::Ethernet);
    let mut meter = load(OwnExport::LeftOutWhereSent, entry, Measure::DEFAULT);
    let [local, peer] = V4.map(address);
    let message = udp(local, peer, MESSAGE);
    let others = [
        udp(peer, local, MESSAGE),
        udp(address("192.0.2.1:40001"), peer, MESSAGE),
        udp(address("192.0.2.1:40064"), peer, MESSAGE),
        udp(address("192.0.2.9:40000"), peer, MESSAGE),
        udp(local, address("192.0.2.2:4740"), MESSAGE),
        udp(local, address("192.0.2.3:4739"), MESSAGE),
        tcp(local, peer, 0x10, 1, MESSAGE),
        // What a router says of a message.
        icmp(peer.ip(), local.ip(), 3, 4, &message[..28]),
        // A tunnel with a message in it.
        ip(address("198.51.100.1:0").ip(), address("198.51.100.2:0").ip(), 4, &message),
        udp(address("[2001:db8::1]:40000"), address("[2001:db8::2]:4739"), MESSAGE),
    ];
    for (number, packet) in others.iter().enumerate() {
        assert_eq!(left_out(&mut meter, entry, packet), (0, 0), "{number}");
    }
    let all = (1, message.len() as u64);
    assert_eq!(left_out(&mut meter, entry, &message), all);
    let tagged = ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_VLAN, &vlan(5, ETHERTYPE_IPV4, &message));
    assert_eq!(enter(&mut meter, &tagged), all);
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_socket_that_is_closed_is_nobody_s_and_others_stay() {
    let entry = EntryPoint::TcEgress(Link::Ethernet);
    let mut meter = load(OwnExport::LeftOutWhereSent, entry, Measure::DEFAULT);
    let [first, second] = sockets();
    // Its port is the first one's too, to another collector.
    let third = SessionSocket { peer: address("192.0.2.7:2055"), ..first };
    meter.kernel.leave_out(third).unwrap();
    meter.kernel.take_back(&first).unwrap();
    meter.kernel.take_back(&first).unwrap();
    for (socket, expected) in [(first, 0), (second, 1), (third, 1)] {
        let packet = udp(socket.local, socket.peer, MESSAGE);
        assert_eq!(left_out(&mut meter, entry, &packet).0, expected, "{socket:?}");
    }
    for socket in [second, third] {
        meter.kernel.take_back(&socket).unwrap();
        assert_eq!(left_out(&mut meter, entry, &udp(socket.local, socket.peer, MESSAGE)).0, 0);
    }
}

/// With decapsulation the packet inside is what is metered, and what is left out.
#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_message_in_a_tunnel_that_is_looked_into_is_left_out() {
    let entry = EntryPoint::TcEgress(Link::Ethernet);
    let mut meter = load(OwnExport::LeftOutWhereSent, entry, EVERYTHING);
    let [local, peer] = V4.map(address);
    let message = udp(local, peer, MESSAGE);
    let outer = ip(address("198.51.100.1:0").ip(), address("198.51.100.2:0").ip(), 4, &message);
    assert_eq!(left_out(&mut meter, entry, &outer), (1, message.len() as u64));
}

/// TCP and SCTP cost nothing where the exporter has no such connection, and are known where it has.
#[test]
#[ignore = "needs root: loads the kernel program"]
fn segments_of_a_connection_are_left_out_where_the_exporter_has_connections() {
    let entry = EntryPoint::TcEgress(Link::Ethernet);
    let [local, peer] = V4.map(address);
    let message = tcp(local, peer, 0x18, 1, MESSAGE);
    for measure in [Measure::DEFAULT, EVERYTHING] {
        for own_connections in [false, true] {
            let options = LoadOptions {
                own_export: OwnExport::LeftOutWhereSent,
                own_connections,
                measure,
                ..LOAD_OPTIONS
            };
            let mut meter = KernelMeter::load_at(&options, entry).unwrap();
            let [session, _] = sockets();
            meter.kernel.leave_out(SessionSocket { protocol: FlowKey::TCP, ..session }).unwrap();
            let expected = if own_connections { (1, message.len() as u64) } else { (0, 0) };
            assert_eq!(left_out(&mut meter, entry, &message), expected, "{own_connections}");
            for other in [
                udp(local, peer, MESSAGE),
                tcp(peer, local, 0x10, 1, b""),
                tcp(local, local, 0x18, 1, MESSAGE),
            ] {
                assert_eq!(left_out(&mut meter, entry, &other), (0, 0));
            }
        }
    }
}
