//! Size and speed at a million flows.

use std::time::Instant as Stopwatch;

use super::*;

const FLOWS: u32 = 1_000_000;

fn numbered(number: u32) -> FlowKey {
    let source_address = netflow_common::Address::from_ipv4(number.to_be_bytes());
    FlowKey { source_address, ..flow(4_000, UDP) }
}

#[test]
fn a_million_flows_take_a_million_slots_and_no_more() {
    let mut bench = Bench::with_defaults(FLOWS);
    assert_eq!(bench.cache.slab.len(), 0, "an empty cache touches no slot");
    for number in 0..FLOWS {
        bench.packet(&numbered(number), 1_000 + u64::from(number % 1_000));
    }
    assert_eq!((bench.cache.flows(), bench.out.len()), (FLOWS as usize, 0));
    assert_eq!(bench.expire(2_000), []);
    assert_eq!(bench.expire(17_000).len(), FLOWS as usize);
    for number in 0..FLOWS + 100_000 {
        bench.packet(&numbered(FLOWS + number), 20_000 + u64::from(number / 1_000));
    }
    assert_eq!((bench.cache.flows(), bench.out.len()), (FLOWS as usize, 100_000));
    assert_eq!(bench.cache.slab.len(), FLOWS);
}

#[test]
#[ignore = "a measurement, for a release build: cargo test --release measure -- --ignored --nocapture"]
fn what_a_merge_costs_at_a_million_flows() {
    let clock = Stopwatch::now();
    let mut bench = Bench::with_defaults(FLOWS);
    eprintln!("new: {:?}", clock.elapsed());
    // Every flow once, each time in another order.
    let order = |n: u32, round: u64| ((u64::from(n) * 7_368_787 + round) % u64::from(FLOWS)) as u32;
    for round in 0..16 {
        let now = round * 1_000;
        let deltas: Vec<_> = (0..FLOWS)
            .map(|n| {
                let at = now + 10 + u64::from(n / 2_000);
                (numbered(order(n, round)), packets(1, at, at, 0))
            })
            .collect();
        let mut ended = 0;
        let mut count = |_, _, _| ended += 1;
        let clock = Stopwatch::now();
        if round % 2 == 0 {
            bench.cache.merge_all(&deltas, &mut count);
        } else {
            deltas.iter().for_each(|(key, delta)| bench.cache.merge(key, delta, &mut count));
        }
        let merge = clock.elapsed().as_nanos() / u128::from(FLOWS);
        let clock = Stopwatch::now();
        bench.cache.expire(MonotonicNanos((now + 1_000) * MILLI), &mut count);
        let way = ["merge_all", "merge"][round as usize % 2];
        eprintln!("round {round}: {way} {merge} ns, expire {:?}, ended {ended}", clock.elapsed());
    }
    let clock = Stopwatch::now();
    for n in 0..FLOWS {
        bench.packet(&numbered(FLOWS + n), 17_000);
    }
    let evict = clock.elapsed().as_nanos() / u128::from(FLOWS);
    let clock = Stopwatch::now();
    let ended = bench.expire(40_000).len();
    let expire = clock.elapsed().as_nanos() / u128::from(FLOWS);
    eprintln!("evict and insert {evict} ns, end by timeout {expire} ns, {ended} records");
}
