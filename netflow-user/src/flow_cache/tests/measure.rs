//! Size at a million flows; `examples/stages.rs` measures speed.

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
