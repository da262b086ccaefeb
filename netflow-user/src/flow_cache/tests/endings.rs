//! Each way in which a flow ends, and its edges.

use super::*;

#[test]
fn idle_flow_ends_with_idle_timeout() {
    let mut bench = Bench::with_defaults(10);
    bench.merge(&flow(1, UDP), &packets(3, 1_000, 1_500, 0));
    assert_eq!(bench.expire(16_499), []);
    assert_eq!(brief(&bench.expire(16_500)), [(3, 1_000, 1_500, 1)]);
    assert_eq!((bench.cache.flows(), bench.cache.next_deadline()), (0, None));
}

#[test]
fn pauses_shorter_than_the_idle_timeout_never_split_a_flow() {
    // METER-EXP-8: whatever the interval of ticks, and wherever they fall.
    let times: Vec<u64> = (1..40).map(|n| 50 + n * 1_999).collect();
    for tick in [100, 700, 1_000, 2_500, 9_000] {
        for phase in [1, 250, 999] {
            let mut bench = Bench::new(10, 2_000, 1_800_000, 2_000);
            let records = bench.life(&flow(1, UDP), &times, tick, phase);
            assert_eq!(brief(&records), [(39, 2_049, 78_011, 1)], "tick {tick} phase {phase}");
        }
    }
}

#[test]
fn a_longer_pause_splits_a_flow_whether_or_not_a_flip_falls_into_it() {
    for phase in 0..1_000 {
        let mut bench = Bench::new(10, 2_000, 1_800_000, 2_000);
        let records = bench.life(&flow(1, UDP), &[5_000, 7_000, 9_001], 1_000, phase);
        assert_eq!(brief(&records), [(1, 5_000, 5_000, 1), (1, 7_000, 7_000, 1), (1, 9_001, 9_001, 1)]);
    }
}

#[test]
fn a_delta_that_bridges_the_pause_keeps_the_flow_whole_in_either_order() {
    let key = flow(1, UDP);
    for order in [[2_500, 1_500], [1_500, 2_500]] {
        let mut bench = Bench::new(10, 2_000, 1_800_000, 2_000);
        bench.packet(&key, 0);
        assert_eq!(bench.expire(1_000), []);
        order.iter().for_each(|at| bench.packet(&key, *at));
        assert_eq!(bench.expire(3_000), []);
        assert_eq!(brief(&bench.expire(9_000)), [(3, 0, 2_500, 1)]);
    }
}

#[test]
fn active_timeout_sends_a_record_and_keeps_the_flow() {
    let key = flow(1, UDP);
    let mut bench = Bench::new(10, 2_000, 5_000, 2_000);
    let mut records = Vec::new();
    for second in 0..20 {
        bench.merge(&key, &packets(10, second * 1_000, second * 1_000 + 900, 0));
        records.extend(bench.expire(second * 1_000 + 1_000));
        assert_eq!(bench.cache.flows(), 1);
    }
    assert_eq!(
        brief(&records),
        [(50, 0, 4_900, 2), (50, 5_000, 9_900, 2), (50, 10_000, 14_900, 2), (50, 15_000, 19_900, 2)]
    );
    // Nothing came since: the flow goes without a word.
    assert_eq!(bench.expire(21_899), []);
    assert_eq!(bench.cache.flows(), 1);
    assert_eq!(bench.expire(21_900), []);
    assert_eq!(bench.cache.flows(), 0);
}

#[test]
fn an_active_record_ends_at_its_instant_and_the_next_starts_with_its_own_packet() {
    let key = flow(1, UDP);
    let mut bench = Bench::new(10, 60_000, 5_000, 2_000);
    bench.merge(&key, &FlowCounters { minimum_ttl: 10, maximum_ttl: 90, ..packets(1, 100, 200, 0) });
    assert_eq!(bench.expire(5_099), []);
    assert_eq!(brief(&bench.expire(5_100)), [(1, 100, 200, 2)]);
    bench.packet(&key, 30_000);
    assert_eq!(bench.expire(34_999), []);
    let records = bench.expire(35_000);
    assert_eq!(brief(&records), [(1, 30_000, 30_000, 2)]);
    assert_eq!((records[0].1.minimum_ttl, records[0].1.maximum_ttl), (64, 64));
}

#[test]
fn successive_records_do_not_overlap_when_a_late_delta_is_older_than_the_record() {
    let key = flow(1, UDP);
    let mut bench = Bench::new(10, 60_000, 1_000, 2_000);
    bench.merge(&key, &packets(5, 0, 1_003, 0));
    assert_eq!(brief(&bench.expire(1_000)), [(5, 0, 1_003, 2)]);
    bench.merge(&key, &packets(1, 1_500, 1_500, 0));
    bench.merge(&key, &packets(1, 1_001, 1_002, 0));
    assert_eq!(brief(&bench.expire(2_003)), [(2, 1_003, 1_500, 2)]);
}

#[test]
fn fin_or_rst_and_a_linger_end_a_flow_with_end_detected() {
    for bits in [FIN_ACK, RST] {
        let mut bench = Bench::with_defaults(10);
        bench.merge(&flow(1, TCP), &packets(4, 1_000, 1_400, bits));
        assert_eq!(bench.expire(3_399), []);
        assert_eq!(brief(&bench.expire(3_400)), [(4, 1_000, 1_400, 3)]);
    }
}

#[test]
fn a_packet_behind_the_fin_starts_the_linger_anew() {
    // A half-closed download of 10 s behind the client's FIN stays one record.
    let key = flow(1, TCP);
    let mut bench = Bench::with_defaults(10);
    bench.merge(&key, &packets(1, 0, 0, FIN_ACK));
    for at in (1_000..=10_000).step_by(1_000) {
        bench.packet(&key, at);
        assert_eq!(bench.expire(at + 500), []);
    }
    assert_eq!(brief(&bench.expire(12_000)), [(11, 0, 10_000, 3)]);
}

#[test]
fn the_fin_is_remembered_over_an_active_timeout() {
    let key = flow(1, TCP);
    let mut bench = Bench::new(10, 60_000, 1_000, 2_000);
    bench.merge(&key, &packets(1, 0, 0, FIN_ACK));
    assert_eq!(brief(&bench.expire(1_000)), [(1, 0, 0, 2)]);
    bench.packet(&key, 1_500);
    assert_eq!(brief(&bench.expire(2_500)), [(1, 1_500, 1_500, 2)]);
    bench.packet(&key, 3_400);
    assert_eq!(brief(&bench.expire(6_000)), [(1, 3_400, 3_400, 2)]);
    assert_eq!(bench.cache.flows(), 0, "no packet for 2 s behind the FIN: not kept for the idle timeout");
}

#[test]
fn a_connection_that_takes_the_ports_of_an_ended_one_is_another_flow() {
    // The pause is longer than the linger, but no flip fell into it.
    let key = flow(1, TCP);
    let mut bench = Bench::with_defaults(10);
    bench.merge(&key, &packets(5, 0, 1_000, FIN_ACK));
    assert_eq!(bench.expire(2_900), []);
    bench.merge(&key, &packets(7, 3_100, 3_200, ACK));
    assert_eq!(brief(&bench.expire(3_900)), [(5, 0, 1_000, 3)]);
    assert_eq!(brief(&bench.expire(18_200)), [(7, 3_100, 3_200, 1)]);
}

#[test]
fn forced_end_empties_the_cache() {
    let mut bench = Bench::with_defaults(10);
    for number in 0..5 {
        bench.packet(&flow(number, UDP), 1_000);
    }
    let records = bench.flush();
    assert_eq!(records.len(), 5);
    assert!(records.iter().all(|(_, _, reason)| *reason == FlowEndReason::ForcedEnd));
    assert_eq!(bench.cache.emitted(FlowEndReason::ForcedEnd), Sums { records: 5, packets: 5, octets: 500 });
    bench.packet(&flow(1, UDP), 2_000);
    assert_eq!(brief(&bench.flush()), [(1, 2_000, 2_000, 4)]);
}

#[test]
fn a_full_cache_ends_the_least_recently_seen_flow() {
    // METER-EXP-5, CONF-3: 64 entries are really there, and all of 1,000 flows are measured.
    let mut bench = Bench::with_defaults(64);
    for number in 0..64 {
        bench.packet(&flow(number, UDP), u64::from(number) * 10);
    }
    assert_eq!((bench.cache.flows(), bench.out.len()), (64, 0));
    // The first eight are seen again, the fourth before all others.
    for number in [3, 0, 1, 2, 4, 5, 6, 7] {
        let at = if number == 3 { 700 } else { 710 + u64::from(number) * 10 };
        bench.packet(&flow(number, UDP), at);
    }
    for number in 64..1_000 {
        bench.packet(&flow(number, UDP), 800 + u64::from(number) * 10);
        assert_eq!(bench.cache.flows(), 64);
    }
    let ended: Vec<u16> = bench.out.iter().map(|(key, _, _)| key.source_port.value()).collect();
    let order: Vec<u16> = (8..64).chain([3, 0, 1, 2, 4, 5, 6, 7]).chain(64..936).collect();
    assert_eq!(ended, order);
    assert!(bench.out.iter().all(|(_, _, reason)| *reason == FlowEndReason::LackOfResources));
    let evicted: u64 = bench.out.iter().map(|(_, counters, _)| counters.packets).sum();
    assert_eq!(evicted + bench.cache.in_cache().packets, 1_008);
}

#[test]
fn the_order_of_eviction_holds_beside_a_flow_that_lives_long() {
    let mut bench = Bench::with_defaults(3);
    for at in (0..100_000).step_by(1_000) {
        bench.packet(&flow(1, UDP), at);
        assert_eq!(bench.expire(at + 500), []);
    }
    bench.packet(&flow(2, UDP), 99_700);
    bench.packet(&flow(3, UDP), 99_600);
    bench.packet(&flow(1, UDP), 99_800);
    bench.packet(&flow(4, UDP), 99_900);
    bench.packet(&flow(5, UDP), 99_900);
    assert_eq!(brief(&bench.out), [(1, 99_600, 99_600, 5), (1, 99_700, 99_700, 5)]);
}

#[test]
fn a_cache_of_one_flow_works() {
    let mut bench = Bench::with_defaults(1);
    for at in 0..6 {
        bench.packet(&flow((at / 2) as u16, UDP), at * 1_000);
        assert_eq!(bench.cache.flows(), 1);
    }
    let records = bench.expire(19_999);
    assert_eq!(brief(&records), [(2, 0, 1_000, 5), (2, 2_000, 3_000, 5)]);
    assert_eq!(brief(&bench.expire(20_000)), [(2, 4_000, 5_000, 1)]);
}

#[test]
fn a_flow_evicted_behind_a_pause_leaves_both_its_parts() {
    let mut bench = Bench::new(1, 2_000, 60_000, 2_000);
    bench.packet(&flow(1, UDP), 0);
    assert_eq!(bench.expire(1_900), []);
    bench.packet(&flow(1, UDP), 2_100);
    bench.packet(&flow(2, UDP), 2_200);
    assert_eq!(brief(&bench.expire(2_900)), [(1, 0, 0, 1), (1, 2_100, 2_100, 5)]);
    assert_eq!(brief(&bench.flush()), [(1, 2_200, 2_200, 4)]);
}

#[test]
fn the_next_deadline_is_never_missed_and_hardly_early() {
    let mut bench = Bench::with_defaults(10);
    assert_eq!(bench.cache.next_deadline(), None);
    bench.packet(&flow(1, UDP), 1_000_000);
    bench.packet(&flow(2, TCP), 1_000_500);
    let deadline = bench.cache.next_deadline().unwrap().0;
    assert!((1_015_000 * MILLI..1_015_010 * MILLI).contains(&deadline), "{deadline}");
    bench.merge(&flow(2, TCP), &packets(1, 1_000_600, 1_000_600, RST));
    let deadline = bench.cache.next_deadline().unwrap().0;
    assert!((1_002_600 * MILLI..1_002_610 * MILLI).contains(&deadline), "{deadline}");
    assert_eq!(brief(&bench.expire(deadline / MILLI + 1)), [(2, 1_000_500, 1_000_600, 3)]);
}

#[test]
fn a_delta_without_packets_makes_no_flow() {
    let mut bench = Bench::with_defaults(10);
    bench.merge(&flow(1, UDP), &packets(0, 5, 5, 0));
    assert_eq!((bench.cache.flows(), bench.flush()), (0, vec![]));
}

#[test]
fn flows_of_one_kind_end_at_once_and_the_others_stay() {
    let mut bench = Bench::new(10, 2_000, 60_000, 2_000);
    bench.packet(&flow(1, UDP), 0);
    bench.packet(&flow(2, TCP), 100);
    bench.packet(&flow(3, UDP), 200);
    assert_eq!(bench.expire(1_900), []);
    // Behind a pause that no packet of this flip has bridged yet.
    bench.packet(&flow(1, UDP), 2_300);
    let Bench { cache, out } = &mut bench;
    let mut emit = |key, counters, reason| out.push((key, counters, reason));
    let ended = cache.end_where(|key| key.protocol == UDP, FlowEndReason::ForcedEnd, &mut emit);
    assert_eq!(ended, 2);
    assert_eq!(brief(&std::mem::take(out)), [(1, 0, 0, 1), (1, 2_300, 2_300, 4), (1, 200, 200, 4)]);
    assert_eq!((bench.cache.flows(), bench.cache.in_cache()), (1, bench.cache.recount()));
    // The same flow again is a new one.
    bench.packet(&flow(1, UDP), 2_400);
    assert_eq!(brief(&bench.expire(2_500)), [(1, 100, 100, 1)]);
    assert_eq!(brief(&bench.flush()), [(1, 2_400, 2_400, 4)]);
}
