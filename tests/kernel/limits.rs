//! What happens beside the reading of packets: tap mode, clocks, full maps, the watermark.

use netflow_common::{FlowCounters, FlowKey, Loss, Refusal};
use netflow_user::drain::{Drain, Place, TickClock};
use netflow_user::kernel::{Flip, LoadOptions, Watermarks};
use netflow_user::{clock, time::MonotonicNanos};
use tests::frames::{ETHERTYPE_IPV4, ethernet, frame, udp};
use tests::lab::{FOREIGN_MAC, GENERATOR_MAC};
use tests::meter::{Counted, HostMeter, KernelMeter, LOAD_OPTIONS, XDP_DROP, XDP_PASS};

/// The packet of a flow by its number.
fn flow(number: u16) -> Vec<u8> {
    let source = format!("10.1.{}.{}:1000", number >> 8, number & 0xff).parse().unwrap();
    frame(&udp(source, "10.2.0.2:2000".parse().unwrap(), b"0123456789"))
}

const FLOW_OCTETS: u64 = 38;

#[test]
#[ignore = "needs root: loads the kernel program"]
fn tap_mode_drops_every_packet_after_counting_it() {
    for fragments in [true, false] {
        let options = LoadOptions { tap: true, ..LOAD_OPTIONS };
        let mut kernel = KernelMeter::load(&options, fragments).unwrap();
        let mut host = HostMeter::default();
        let arp = ethernet(FOREIGN_MAC, GENERATOR_MAC, 0x0806, &[0; 46]);
        for frame in [flow(1), flow(1), arp, flow(2)] {
            assert_eq!(kernel.enter(&frame).unwrap(), XDP_DROP);
            host.enter(&frame);
        }
        assert_eq!(kernel.take().unwrap().difference(&host.take()), None);
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn frames_that_are_not_ip_are_counted_with_their_octets() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    for length in [0, 1, 46, 1500, 5000] {
        kernel.enter(&ethernet(FOREIGN_MAC, GENERATOR_MAC, 0x0806, &vec![0; length])).unwrap();
    }
    // A header that is cut or damaged belongs to IP: its frame octets are not among those.
    kernel.enter(&ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_IPV4, &[0x45; 10])).unwrap();
    kernel.enter(&ethernet(FOREIGN_MAC, GENERATOR_MAC, ETHERTYPE_IPV4, &[0x44; 20])).unwrap();
    let found = kernel.take().unwrap();
    assert_eq!(found.stats.seen_packets, 7);
    assert_eq!(found.stats.seen_octets, 0);
    assert_eq!(found.stats.not_ip_packets(), 5);
    assert_eq!(found.stats.bad_ip_packets(), 2);
    assert_eq!(found.stats.not_ip_frame_octets, 5 * 14 + 1 + 46 + 1500 + 5000);
    assert_eq!(found.stats.refused[Refusal::IpTruncated as usize], 1);
    assert_eq!(found.stats.refused[Refusal::IpHeaderLength as usize], 1);
    assert!(found.balanced());
}

/// The times of a flow of two packets, between which 30 ms pass on the clock.
fn times_of_a_flow(meter: &mut KernelMeter, ticks: &TickClock) -> [u64; 2] {
    meter.enter(&flow(1)).unwrap();
    let begin = meter.kernel.read_clock().unwrap().monotonic_nanos;
    while meter.kernel.read_clock().unwrap().monotonic_nanos < begin + 30_000_000 {}
    meter.enter(&flow(1)).unwrap();
    let frozen = meter.kernel.flip(Flip::Wait).unwrap();
    let mut times = Vec::new();
    let mut take = |deltas: &[(FlowKey, FlowCounters)]| {
        times.extend(deltas.iter().map(|(_, counters)| [counters.first, counters.last]));
    };
    Drain::<(FlowKey, FlowCounters)>::new(Place::default())
        .take(&mut meter.kernel, frozen, ticks, &mut take)
        .unwrap();
    assert_eq!(times.len(), 1);
    times[0]
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn both_clocks_tell_the_time_of_the_first_and_the_last_packet() {
    for precise_clock in [true, false] {
        let options = LoadOptions { precise_clock, ..LOAD_OPTIONS };
        let mut meter = KernelMeter::load(&options, true).unwrap();
        let ticks =
            if precise_clock { TickClock::Nanos } else { clock::calibrate(&mut meter.kernel).unwrap() };
        let before = meter.kernel.read_clock().unwrap().monotonic_nanos;
        let [first, last] = times_of_a_flow(&mut meter, &ticks);
        let after = meter.kernel.read_clock().unwrap().monotonic_nanos;
        // A jiffy's beginning is told, one step too early at most; its phase is known to a small part of a step.
        let step = if precise_clock { 0 } else { ticks.step() };
        assert!(before <= first + step && first <= last && last <= after + step / 2, "{first} {last}");
        let apart = MonotonicNanos(last).since(MonotonicNanos(first)).as_nanos() as u64;
        assert!(apart + step >= 30_000_000, "{apart} ns of 30 ms, step {step}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_full_map_loses_packets_into_a_counter_and_the_books_balance() {
    for fragments in [true, false] {
        let options = LoadOptions { map_size: 64, flow_table: 0, ..LOAD_OPTIONS };
        let mut kernel = KernelMeter::load(&options, fragments).unwrap();
        for _generation in 0..4 {
            for round in 1..=3 {
                for number in 0..200 {
                    assert_eq!(kernel.enter(&flow(number)).unwrap(), XDP_PASS, "{round}");
                }
            }
            let Counted { flows, stats } = kernel.take_by(Flip::Wait).unwrap();
            assert_eq!(flows.len(), 64);
            // Those that have an entry are counted on, also when the map is full.
            assert!(
                flows.values().all(|counters| counters.packets == 3 && counters.octets == 3 * FLOW_OCTETS)
            );
            assert_eq!(stats.inserted, 64);
            assert_eq!(stats.seen_packets, 600);
            assert_eq!(stats.lost_packets[Loss::MapFull as usize], 3 * 136);
            assert_eq!(stats.lost_octets[Loss::MapFull as usize], 3 * 136 * FLOW_OCTETS);
            assert_eq!(stats.lost_packets[Loss::CpuWithoutMap as usize], 0);
            assert!(Counted { flows, stats }.balanced());
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_watermark_is_told_once_per_generation() {
    let options = LoadOptions { map_size: 64, flow_table: 0, ..LOAD_OPTIONS };
    let mut meter = KernelMeter::load(&options, true).unwrap();
    for _generation in 0..3 {
        for number in 0..31 {
            meter.enter(&flow(number)).unwrap();
        }
        assert_eq!(meter.kernel.take_watermarks(), Watermarks::default());
        meter.enter(&flow(31)).unwrap();
        assert_eq!(
            meter.kernel.take_watermarks(),
            Watermarks { maps: 1, tables: 0 },
            "32 of 64 entries are half"
        );
        for number in 32..100 {
            meter.enter(&flow(number)).unwrap();
        }
        assert_eq!(meter.kernel.take_watermarks(), Watermarks::default());
        assert_eq!(meter.take().unwrap().flows.len(), 64);
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn counters_add_up_and_keep_extremes_over_many_packets() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    let mut host = HostMeter::default();
    for (ttl, bits) in [(64, 0x02), (1, 0x10), (255, 0x1ff), (64, 0), (128, 0x800)] {
        let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
        let mut frame = frame(&tests::frames::tcp(from, to, 0, 0, &vec![0; usize::from(ttl)]));
        frame[22] = ttl;
        frame[46..48].copy_from_slice(&(0x5000u16 | bits).to_be_bytes());
        kernel.enter(&frame).unwrap();
        host.enter(&frame);
    }
    let found = kernel.take().unwrap();
    assert_eq!(found.difference(&host.take()), None);
    let counters = found.flows.into_values().next().unwrap();
    assert_eq!((counters.minimum_ttl, counters.maximum_ttl, counters.tcp_control_bits), (1, 255, 0x9ff));
    assert_eq!((counters.packets, counters.octets), (5, 5 * 40 + 64 + 1 + 255 + 64 + 128));
}
