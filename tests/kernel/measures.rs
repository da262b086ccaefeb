//! What the operator can ask for beyond the default: tunnels, fragments, keys, sampling. Kernel and host agree, and
//! the values are those that the frames were made with.

use netflow_common::{
    FlowKey, Group, INITIAL_SYN, KernelStats, Loss, Note, Ports, SamplingMode, Skip, Tunnel, WideCounters,
    WideKey,
};
use netflow_user::kernel::{Flip, LoadOptions, Measure};
use netflow_user::key::KeyChoice;
use tests::frames::{ETHERNET_LENGTH, ETHERTYPE_IPV4, ethernet, frame, tcp, udp};
use tests::host::HostMeter;
use tests::lab::{FOREIGN_MAC, GENERATOR_MAC};
use tests::meter::{KernelMeter, LOAD_OPTIONS};
use tests::tunnels::{OUTER_SOURCE, TunnelCase, inner, ipv4, nested_tunnels, tunnels, unread_tunnels};
use tests::wide::{EVERYTHING, WideHost, WideKernel};

const INNER: (&str, &str) = ("10.1.0.1:1000", "10.2.0.2:2000");

/// An IPv4 header around a payload: 172.16.0.1 to 172.16.0.2.
fn fragment_of(protocol: u8, payload: &[u8], flags_and_offset: u16, identification: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend(identification.to_be_bytes());
    packet.extend(flags_and_offset.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 172, 16, 0, 1, 172, 16, 0, 2]);
    packet.extend(payload);
    packet
}

fn plain(packet: &[u8]) -> Vec<u8> {
    ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_IPV4, packet)
}

/// Kernel and host, which meter the same frames. (Loading takes a second: once for each test that can do so.)
struct Both {
    kernel: WideKernel,
    host: WideHost,
}

impl Both {
    fn measuring(measure: Measure) -> Self {
        Self { kernel: WideKernel::measuring(measure, true).unwrap(), host: WideHost::new(measure) }
    }

    /// They agree, and what they agree on is returned.
    fn meter(&mut self, frames: &[Vec<u8>]) -> (Vec<(WideKey, WideCounters)>, KernelStats) {
        for frame in frames {
            self.kernel.enter(frame).unwrap();
            self.host.enter(frame);
        }
        let found = self.kernel.take().unwrap();
        assert_eq!(found.difference(&self.host.take()), None);
        assert!(found.balanced());
        (found.flows.into_iter().collect(), found.stats)
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_flow_of_a_tunnelled_packet_is_the_inner_one_with_the_tunnel_id() {
    let mut both = Both::measuring(EVERYTHING);
    for TunnelCase { name, frame, inside } in tunnels().into_iter().chain(nested_tunnels()) {
        let inside = inside.unwrap();
        let [(directly, expected)] = both.meter(&[inside.frame]).0[..] else {
            panic!("{name}: not one flow")
        };
        assert_eq!((directly.tunnel, directly.tunnel_id), (0, 0));
        let (flows, stats) = both.meter(std::slice::from_ref(&frame));
        let [(key, counters)] = flows[..] else { panic!("{name}: {flows:?}") };
        assert_eq!(key.flow, directly.flow, "{name}");
        assert_eq!((key.tunnel, key.tunnel_id), (inside.tunnel as u8, inside.id), "{name}");
        assert_eq!(counters.flow.octets, expected.flow.octets, "{name}");
        assert_eq!(counters.layer2_octets, frame.len() as u64, "{name}");
        assert_eq!(stats.noted, [0; Note::COUNT], "{name}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn only_tunnels_that_were_asked_for_are_looked_into() {
    for asked in Tunnel::ALL {
        let mut both = Both::measuring(Measure { tunnels: asked.bit(), ..Measure::DEFAULT });
        for TunnelCase { name, frame, inside } in tunnels() {
            let (flows, _) = both.meter(&[frame]);
            let entered = inside.is_some_and(|inside| inside.tunnel == asked);
            assert_eq!(flows[0].0.tunnel, if entered { asked as u8 } else { 0 }, "{name}");
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_outer_packet_is_the_flow_where_the_inside_cannot_be_read() {
    let mut both = Both::measuring(EVERYTHING);
    for TunnelCase { name, frame, .. } in unread_tunnels() {
        let (flows, stats) = both.meter(std::slice::from_ref(&frame));
        let [(key, counters)] = flows[..] else { panic!("{name}: {flows:?}") };
        assert_eq!((key.tunnel, key.tunnel_id), (0, 0), "{name}");
        assert_eq!(key.flow.source_address.ipv4_octets(), OUTER_SOURCE, "{name}");
        assert_eq!(counters.flow.octets as usize, frame.len() - ETHERNET_LENGTH, "{name}");
        assert_eq!(stats.noted[Note::TunnelUnread as usize], 1, "{name}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn four_tunnels_in_one_another_are_looked_into_and_a_fifth_is_noted() {
    let mut both = Both::measuring(EVERYTHING);
    let mut packet = inner();
    for depth in 1..=6 {
        packet = ipv4(4, &packet);
        let (flows, stats) = both.meter(&[plain(&packet)]);
        let octets = packet.len() - 20 * depth.min(4);
        assert_eq!(flows[0].1.flow.octets, octets as u64, "{depth}");
        assert_eq!(stats.noted[Note::TunnelTooDeep as usize], u64::from(depth > 4), "{depth}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn later_fragments_take_the_ports_of_the_first_one() {
    let datagram = inner()[20..].to_vec();
    let whole = [&datagram[..], &[0x55; 30]].concat();
    let (first, later) = whole.split_at(24);
    let first_frame = plain(&fragment_of(17, first, 0x2000, 9));
    let later_frame = plain(&fragment_of(17, later, 3, 9));
    let joining = Measure { join_fragments: true, groups: u32::MAX, ..Measure::DEFAULT };
    let (flows, stats) =
        Both::measuring(joining).meter(&[first_frame.clone(), later_frame.clone(), later_frame.clone()]);
    let [(key, counters)] = flows[..] else { panic!("{flows:?}") };
    assert_eq!((key.flow.source_port.value(), key.flow.ports), (1000, Ports::PRESENT));
    assert_eq!((counters.flow.packets, counters.fragments), (3, 3));
    assert_eq!(stats.noted[Note::FragmentJoined as usize], 2);
    assert_eq!(stats.noted[Note::LaterFragment as usize], 0);

    // Before its first fragment nobody knows the ports.
    let (flows, stats) = Both::measuring(joining).meter(&[later_frame.clone(), first_frame.clone()]);
    assert_eq!((flows.len(), stats.noted[Note::LaterFragment as usize]), (2, 1));
    let separate = Measure { join_fragments: false, ..joining };
    assert_eq!(Both::measuring(separate).meter(&[first_frame.clone(), later_frame]).0.len(), 2);

    // Another packet's fragment, another protocol's.
    let others =
        [plain(&fragment_of(17, later, 3, 10)), plain(&fragment_of(6, later, 3, 9)), first_frame.clone()];
    assert_eq!(
        Both::measuring(joining).meter(&[std::slice::from_ref(&first_frame), &others[..]].concat()).0.len(),
        3
    );

    let overlapping = plain(&fragment_of(17, &later[..8], 2, 9));
    let (_, stats) = Both::measuring(joining).meter(&[first_frame, overlapping]);
    assert_eq!(stats.noted[Note::OverlappingFragment as usize], 1);
    let tiny = [plain(&fragment_of(6, &[1; 8], 0x2000, 11)), plain(&fragment_of(6, &[1; 8], 1, 11))];
    let (_, stats) = Both::measuring(joining).meter(&tiny);
    assert_eq!(stats.noted[Note::TinyFragment as usize], 2);
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A segment from the client to the server, or back.
fn segment(back: bool, flags: u8, sequence: u32, octets: usize) -> Vec<u8> {
    let (client, server) = (INNER.0.parse().unwrap(), INNER.1.parse().unwrap());
    let (from, to) = if back { (server, client) } else { (client, server) };
    frame(&tcp(from, to, flags, sequence, &vec![0x2e; octets]))
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn segments_sent_again_or_out_of_order_are_counted() {
    let mut both = Both::measuring(Measure { groups: Group::Tcp.bit(), ..Measure::DEFAULT });
    let (flows, _) = both.meter(&[
        segment(false, SYN, 99, 0),
        segment(false, SYN, 99, 0),
        segment(false, ACK, 100, 50),
        segment(false, ACK, 250, 50),
        segment(false, ACK, 150, 100),
        segment(false, ACK, 100, 50),
        segment(false, ACK, 300, 0),
    ]);
    let [(_, counters)] = flows[..] else { panic!("{flows:?}") };
    assert_eq!((counters.tcp_retransmitted, counters.tcp_out_of_order, counters.flow.packets), (2, 1, 7));
    // What is known of a connection outlives the generation.
    let (flows, _) = both.meter(&[segment(false, ACK, 250, 50), segment(false, ACK, 300, 10)]);
    assert_eq!((flows[0].1.tcp_retransmitted, flows[0].1.tcp_out_of_order), (1, 0));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_round_trip_time_is_that_from_syn_to_syn_ack() {
    let measure = Measure { groups: Group::Tcp.bit(), ..Measure::DEFAULT };
    let mut kernel = WideKernel::measuring(measure, true).unwrap();
    kernel.enter(&segment(false, SYN, 99, 0)).unwrap();
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_millis(5) {}
    kernel.enter(&segment(true, SYN | ACK, 7, 0)).unwrap();
    let took = begin.elapsed().as_micros();
    // A second SYN-ACK tells nothing.
    kernel.enter(&segment(true, SYN | ACK, 7, 0)).unwrap();
    for (key, counters) in kernel.take_timed(Flip::NoWait).unwrap().flows {
        let measured = u128::from(counters.round_trip_microseconds);
        if key.flow.source_port.value() == 2000 {
            assert!((5000..=took + 5000).contains(&measured), "{measured} of {took}");
            assert_eq!(counters.tcp_retransmitted, 1);
        } else {
            assert_eq!(measured, 0);
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_syn_without_ack_leaves_a_mark_where_flows_are_paired_and_only_there() {
    let frames = [
        segment(false, SYN, 99, 0),
        segment(true, SYN | ACK, 7, 0),
        segment(false, ACK, 100, 0),
        frame(&udp(INNER.0.parse().unwrap(), INNER.1.parse().unwrap(), b"no flags")),
    ];
    for mark_initial_syn in [true, false] {
        let measure = Measure { mark_initial_syn, ..Measure::DEFAULT };
        let options = LoadOptions { measure, ..LOAD_OPTIONS };
        let (mut kernel, mut host) = (KernelMeter::load(&options, true).unwrap(), HostMeter::new(measure));
        for frame in &frames {
            kernel.enter(frame).unwrap();
            host.enter(frame);
        }
        let found = kernel.take().unwrap();
        assert_eq!(found.difference(&host.take()), None);
        let mut wide = Both::measuring(Measure { groups: Group::Ttl.bit(), ..measure });
        let wide = wide.meter(&frames).0.into_iter().map(|(key, counters)| (key.flow, counters.flow));
        let both: Vec<_> = found.flows.into_iter().chain(wide).collect();
        let mut bits: Vec<_> = both.iter().map(|(key, counters)| (*key, counters.tcp_control_bits)).collect();
        bits.sort_unstable_by_key(|(key, _)| (key.protocol, key.source_port.value()));
        let mark = if mark_initial_syn { INITIAL_SYN } else { 0 };
        let both = u16::from(SYN | ACK);
        assert_eq!(
            bits.iter().map(|(_, bits)| *bits).collect::<Vec<_>>(),
            [mark | both, mark | both, both, both, 0, 0]
        );
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_key_of_choice_makes_fewer_entries_in_the_kernel() {
    let flow = |host: u8, port: u16| {
        let source = format!("10.1.2.{host}:{port}").parse().unwrap();
        frame(&udp(source, "10.9.0.1:53".parse().unwrap(), b"question"))
    };
    let frames: Vec<Vec<u8>> = (0..200).map(|i| flow(i, 1000 + u16::from(i))).collect();
    let key: KeyChoice = "sourceIPv4Address/25,destinationTransportPort".parse().unwrap();
    let options =
        LoadOptions { measure: Measure { key_masks: key.masks, ..Measure::DEFAULT }, ..LOAD_OPTIONS };
    let mut kernel = KernelMeter::load(&options, true).unwrap();
    for frame in &frames {
        kernel.enter(frame).unwrap();
    }
    let found = kernel.take_by(Flip::Wait).unwrap();
    let mut keys: Vec<(FlowKey, u64)> =
        found.flows.iter().map(|(key, counters)| (*key, counters.packets)).collect();
    keys.sort_unstable();
    assert_eq!(keys.iter().map(|(_, packets)| *packets).collect::<Vec<_>>(), [128, 72]);
    assert_eq!(keys[1].0.source_address.ipv4_octets(), [10, 1, 2, 128]);
    assert_eq!((keys[0].0.source_port.value(), keys[0].0.destination_port.value()), (0, 53));
    assert_eq!((keys[0].0.protocol, keys[0].0.interface), (0, 0));
    assert!(found.balanced());
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn sampling_skips_packets_into_a_line_of_their_own() {
    const PACKETS: u64 = 20_000;
    let flow = |number: u64| {
        let source = format!("10.1.{}.{}:1000", number >> 8 & 0xff, number & 0xff).parse().unwrap();
        frame(&udp(source, "10.2.0.2:2000".parse().unwrap(), b"0123456789"))
    };
    for mode in [SamplingMode::Count, SamplingMode::Random, SamplingMode::FlowHash] {
        let interval = 10.try_into().unwrap();
        let measure = Measure { sampling: mode, sampling_interval: interval, ..Measure::DEFAULT };
        let mut kernel = KernelMeter::load(&LoadOptions { measure, ..LOAD_OPTIONS }, true).unwrap();
        for number in 0..PACKETS {
            kernel.enter(&flow(number % 2000)).unwrap();
        }
        let found = kernel.take_by(Flip::Wait).unwrap();
        assert!(found.balanced(), "{mode:?}");
        let skipped = found.stats.skipped_packets[Skip::SampledOut as usize];
        let metered = PACKETS - skipped;
        assert_eq!(found.stats.skipped_octets[Skip::SampledOut as usize], skipped * 38);
        assert_eq!(found.stats.lost_packets[Loss::MapFull as usize], 0);
        match mode {
            SamplingMode::Count => assert_eq!(metered, PACKETS / 10),
            // Nine standard deviations.
            SamplingMode::Random => assert!((1600..2400).contains(&metered), "{metered}"),
            SamplingMode::FlowHash => {
                assert!((80..320).contains(&found.flows.len()), "{}", found.flows.len());
                assert!(
                    found.flows.values().all(|counters| counters.packets == 10),
                    "a flow is metered whole"
                );
            }
            SamplingMode::Off => unreachable!("not in the list"),
        }
        // The rate changes while the program runs.
        kernel.kernel.sample_next(1.try_into().unwrap()).unwrap();
        kernel.take().unwrap();
        for number in 0..100 {
            kernel.enter(&flow(number)).unwrap();
        }
        assert_eq!(kernel.take().unwrap().stats.skipped_packets, [0; Skip::COUNT]);
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_gaps_between_packets_chosen_at_random_have_no_period() {
    // PSAMP-RND-1
    const PACKETS: u32 = 40_000;
    /// Gaps of 1, 2, ... packets, and of more than these.
    const CELLS: usize = 30;
    let interval = 10;
    let measure = Measure {
        sampling: SamplingMode::Random,
        sampling_interval: interval.try_into().unwrap(),
        ..Measure::DEFAULT
    };
    let mut kernel = KernelMeter::load(&LoadOptions { measure, ..LOAD_OPTIONS }, true).unwrap();
    let (mut gaps, mut last, mut chosen) = ([0_u32; CELLS + 1], None, 0_u32);
    // As many flows at a time as a drain takes.
    for batch in 0..PACKETS / 2000 {
        for number in 0..2000 {
            let [_, _, high, low] = (batch * 2000 + number).to_be_bytes();
            let source = format!("10.1.{high}.{low}:1000").parse().unwrap();
            kernel.enter(&frame(&udp(source, "10.2.0.2:2000".parse().unwrap(), b"0123456789"))).unwrap();
        }
        let found = kernel.take_by(Flip::Wait).unwrap();
        let mut numbers: Vec<_> = found
            .flows
            .keys()
            .map(|key| {
                let [_, _, high, low] = key.source_address.ipv4_octets();
                u32::from(high) << 8 | u32::from(low)
            })
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(last) = last.replace(number) {
                let gap = (number - last) as usize;
                gaps[gap.min(CELLS + 1) - 1] += 1;
                chosen += 1;
            }
        }
    }
    let (total, p) = (f64::from(chosen), 1.0 / f64::from(interval));
    let expected = (0..CELLS).map(|cell| total * p * (1.0 - p).powi(cell as i32));
    let expected = expected.chain([total * (1.0 - p).powi(CELLS as i32)]);
    let chi_square: f64 = gaps
        .iter()
        .zip(expected)
        .map(|(&seen, expected)| (f64::from(seen) - expected).powi(2) / expected)
        .sum();
    // Of 30 degrees of freedom; more than this by chance once in ten million.
    assert!(chi_square < 93.0, "{chi_square}: {gaps:?}");
}
