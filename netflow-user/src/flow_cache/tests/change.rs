//! Other timeouts and sizes while flows are there.

use super::*;

fn timeouts(idle: u64, active: u64) -> Timeouts {
    let millis = Duration::from_millis;
    Timeouts::new(millis(idle), millis(active), millis(500)).unwrap()
}

#[test]
fn flows_that_are_there_end_by_the_new_timeouts() {
    let mut bench = Bench::with_defaults(10);
    bench.packet(&flow(1, UDP), 1_000);
    bench.packet(&flow(2, UDP), 4_000);
    assert_eq!(bench.expire(5_000), []);
    bench.cache.set_timeouts(timeouts(2_000, 60_000), MonotonicNanos(5_000 * MILLI));
    // The first one is over by now, the second one at 6 s.
    assert_eq!(brief(&bench.expire(5_001)), [(1, 1_000, 1_000, 1)]);
    assert_eq!(bench.expire(5_999), []);
    assert_eq!(brief(&bench.expire(6_000)), [(1, 4_000, 4_000, 1)]);
    // And back to longer ones.
    bench.packet(&flow(3, UDP), 7_000);
    assert_eq!(bench.expire(7_500), []);
    bench.cache.set_timeouts(timeouts(600_000, 3_600_000), MonotonicNanos(7_500 * MILLI));
    assert_eq!(bench.expire(606_999), []);
    assert_eq!(brief(&bench.expire(607_000)), [(1, 7_000, 7_000, 1)]);
}

#[test]
fn a_smaller_cache_ends_the_least_recently_seen_flows_and_loses_nothing() {
    let mut bench = Bench::with_defaults(100);
    for number in 0..100 {
        bench.packet(&flow(number, UDP), 1_000 + 10 * u64::from(number));
    }
    assert_eq!(bench.expire(3_000), []);
    let mut out = Vec::new();
    let ten = NonZeroU32::new(10).unwrap();
    bench.cache.set_capacity(ten, &mut |key, counters, reason| out.push((key, counters, reason))).unwrap();
    assert_eq!((bench.cache.capacity(), bench.cache.flows(), out.len()), (10, 10, 90));
    assert!(out.iter().all(|(_, _, reason)| *reason == FlowEndReason::LackOfResources));
    assert_eq!(bench.cache.in_cache(), bench.cache.recount());
    // Those that stay are found again, and are ten at most.
    bench.packet(&flow(99, UDP), 3_500);
    bench.packet(&flow(200, UDP), 3_600);
    assert_eq!(bench.cache.flows(), 10);
    let thousand = NonZeroU32::new(1000).unwrap();
    bench.cache.set_capacity(thousand, &mut |_, _, _| panic!("there is room")).unwrap();
    for number in 300..1200 {
        bench.packet(&flow(number, UDP), 4_000);
    }
    let records = bench.expire(60_000);
    let sum: u64 = records.iter().map(|(_, counters, _)| counters.packets).sum();
    assert_eq!((sum, bench.cache.flows()), (10 + 2 + 900, 0));
}

#[test]
fn a_size_that_cannot_be_leaves_the_cache_as_it_was() {
    let mut bench = Bench::with_defaults(10);
    bench.packet(&flow(1, UDP), 1_000);
    let many = NonZeroU32::new(u32::MAX).unwrap();
    assert!(bench.cache.set_capacity(many, &mut |_, _, _| panic!("nothing ends")).is_err());
    assert_eq!((bench.cache.capacity(), bench.cache.flows()), (10, 1));
    assert_eq!(brief(&bench.expire(60_000)), [(1, 1_000, 1_000, 1)]);
}
