//! Random sequences of operations: against a model that keeps a flip's deltas in a list and applies the
//! rules one by one, and, where the cache overflows, against what must hold whatever happens.

use std::collections::BTreeMap;

use super::*;

/// SplitMix64: the same sequence for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn delta(&mut self, from: u64, span: u64) -> (FlowKey, FlowCounters) {
        let protocol = [TCP, UDP][self.roll(2) as usize];
        let key = flow(self.roll(12) as u16, protocol);
        let first = from + self.roll(span);
        let last = first + self.roll(span);
        let bits = [ACK, ACK, ACK, FIN_ACK, RST][self.roll(5) as usize];
        let ttl = 1 + self.roll(200) as u8;
        let delta = packets(1 + self.roll(9), first, last, bits);
        (key, FlowCounters { minimum_ttl: ttl, maximum_ttl: ttl + self.roll(9) as u8, ..delta })
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.roll(i as u64 + 1) as usize);
        }
    }
}

#[derive(Clone, Copy)]
struct ModelFlow {
    record: Option<FlowCounters>,
    seen: u64,
    floor: u64,
    ending: bool,
}

/// The rules, said as plainly as possible.
struct Model {
    idle: u64,
    active: u64,
    linger: u64,
    flows: BTreeMap<FlowKey, ModelFlow>,
    deltas: BTreeMap<FlowKey, Vec<FlowCounters>>,
}

impl Model {
    fn over(&self, flow: &ModelFlow) -> (u64, FlowEndReason) {
        if flow.ending && self.linger <= self.idle {
            (flow.seen + self.linger, FlowEndReason::EndOfFlowDetected)
        } else {
            (flow.seen + self.idle, FlowEndReason::IdleTimeout)
        }
    }

    fn end(&self, flow: &ModelFlow) -> (u64, FlowEndReason) {
        let over = self.over(flow);
        match flow.record {
            Some(record) if record.first + self.active < over.0 => {
                (record.first + self.active, FlowEndReason::ActiveTimeout)
            }
            _ => over,
        }
    }

    fn expire(&mut self, now: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (key, deltas) in std::mem::take(&mut self.deltas) {
            let first = deltas.iter().map(|delta| delta.first).min().unwrap();
            let mut flow = ModelFlow { record: None, seen: 0, floor: 0, ending: false };
            if let Some(before) = self.flows.remove(&key) {
                flow = before;
                // A pause as long as the timeout; a clock that stepped back is no pause, unless none is allowed.
                let pause = self.over(&before).0 - before.seen;
                if first.saturating_sub(before.seen) >= pause {
                    ended.extend(before.record.map(|record| (key, record, self.end(&before).1)));
                    flow = ModelFlow { record: None, seen: 0, floor: before.seen, ending: false };
                }
            }
            for mut delta in deltas {
                delta.first = delta.first.max(flow.floor);
                delta.last = delta.last.max(delta.first);
                flow.ending |= key.protocol == TCP && delta.tcp_control_bits & 5 != 0;
                flow.seen = flow.seen.max(delta.last);
                match &mut flow.record {
                    Some(record) => record.merge(&delta),
                    None => flow.record = Some(delta),
                }
            }
            self.flows.insert(key, flow);
        }
        for (key, mut flow) in std::mem::take(&mut self.flows) {
            if let (end, FlowEndReason::ActiveTimeout) = self.end(&flow)
                && end <= now
            {
                ended.push((key, flow.record.unwrap(), FlowEndReason::ActiveTimeout));
                flow = ModelFlow { record: None, floor: flow.seen, ..flow };
            }
            match self.end(&flow) {
                (end, reason) if end <= now => ended.extend(flow.record.map(|record| (key, record, reason))),
                _ => {
                    self.flows.insert(key, flow);
                }
            }
        }
        ended
    }
}

fn sorted(mut ended: Vec<Ended>) -> Vec<Ended> {
    ended.sort_by_key(|(key, counters, _)| (*key, counters.first, counters.last, counters.packets));
    ended
}

struct Flip {
    deltas: Vec<(FlowKey, FlowCounters)>,
    now: u64,
    expected: Vec<Ended>,
}

/// What the flips of a random run bring, and the model's answer to each.
struct Run {
    timeouts: [u64; 3],
    flips: Vec<Flip>,
}

fn random_run(seed: u64) -> Run {
    let mut dice = Dice(seed);
    let [idle, active, linger] =
        [50 + dice.roll(3_000), 50 + dice.roll(9_000), dice.roll(4).min(1) * dice.roll(4_000)];
    let mut model = Model {
        idle: idle * MILLI,
        active: active * MILLI,
        linger: linger * MILLI,
        flows: BTreeMap::new(),
        deltas: BTreeMap::new(),
    };
    let mut now = 1_000_000 + dice.roll(100_000);
    let mut flips = Vec::new();
    for _ in 0..150 {
        let interval = [1, 10, 100, 1_000, 5_000, 200_000][dice.roll(6) as usize];
        let mut deltas = Vec::new();
        for _ in 0..dice.roll(50) {
            // A few milliseconds early or late, as at the edge of a flip.
            let (key, delta) = dice.delta(now - 3, interval / 2 + 4);
            model.deltas.entry(key).or_default().push(delta);
            deltas.push((key, delta));
        }
        now += interval;
        flips.push(Flip { deltas, now, expected: sorted(model.expire(now * MILLI)) });
    }
    Run { timeouts: [idle, active, linger], flips }
}

#[test]
fn every_flip_ends_the_records_that_the_model_ends_in_any_order_of_deltas() {
    for seed in 0..120 {
        let Run { timeouts: [idle, active, linger], flips } = random_run(seed);
        let mut bench = Bench::new(24, idle, active, linger);
        let mut dice = Dice(!seed);
        for Flip { mut deltas, now, expected } in flips {
            dice.shuffle(&mut deltas);
            if dice.roll(2) == 0 {
                for (key, delta) in &deltas {
                    bench.merge(key, delta);
                    if dice.roll(20) == 0 {
                        bench.cache.rebuild();
                    }
                }
            } else {
                let mut emit = |key, counters, reason| bench.out.push((key, counters, reason));
                bench.cache.merge_all(&deltas, &mut emit);
            }
            let ended = sorted(bench.expire(now));
            assert_eq!(ended, expected, "seed {seed} flip at {now} ms: {idle} {active} {linger}");
        }
    }
}

#[test]
fn nothing_vanishes_whatever_the_order_of_operations() {
    for seed in 0..120 {
        let mut dice = Dice(seed);
        let capacity = 1 + dice.roll(30) as u32;
        let mut bench = Bench::new(capacity, 1 + dice.roll(3_000), 1 + dice.roll(9_000), dice.roll(4_000));
        let (mut put_in, mut came_out) = (Sums::default(), Sums::default());
        let mut now = dice.roll(1_000_000);
        for _ in 0..1_000 {
            let mut ended = Vec::new();
            match dice.roll(40) {
                0 => ended = bench.flush(),
                1 => bench.cache.rebuild(),
                2 => now += dice.roll(100_000),
                3..8 => ended = bench.expire(now),
                8 => {
                    let mut emit = |key, counters, reason| ended.push((key, counters, reason));
                    let ends = |key: &FlowKey| key.protocol == TCP;
                    bench.cache.end_where(ends, FlowEndReason::ForcedEnd, &mut emit);
                }
                _ => {
                    let back = now.min(2_000);
                    let (key, delta) = dice.delta(now - back, 4_000);
                    bench.merge(&key, &delta);
                    put_in.packets += delta.packets;
                    put_in.octets += delta.octets;
                    now += dice.roll(50);
                }
            }
            for (_, counters, _) in ended.iter().chain(&std::mem::take(&mut bench.out)) {
                assert!(counters.packets > 0 && counters.first <= counters.last);
                came_out.records += 1;
                came_out.packets += counters.packets;
                came_out.octets += counters.octets;
            }
            let inside = bench.cache.in_cache();
            assert_eq!(inside, bench.cache.recount());
            assert_eq!(put_in.packets, inside.packets + came_out.packets, "seed {seed}");
            assert_eq!(put_in.octets, inside.octets + came_out.octets, "seed {seed}");
            assert!(bench.cache.flows() <= capacity as usize);
        }
        let reasons = [
            FlowEndReason::IdleTimeout,
            FlowEndReason::ActiveTimeout,
            FlowEndReason::EndOfFlowDetected,
            FlowEndReason::ForcedEnd,
            FlowEndReason::LackOfResources,
        ];
        let emitted = reasons.map(|reason| bench.cache.emitted(reason).records);
        assert_eq!(emitted.iter().sum::<u64>(), came_out.records);
    }
}

#[test]
fn the_seed_of_the_hash_changes_nothing_but_places() {
    let run = |seed: [u64; 2]| {
        let timeouts =
            Timeouts::new(Duration::from_secs(2), Duration::from_secs(9), Duration::from_secs(1)).unwrap();
        let mut cache =
            FlowCache::<FlowKey, FlowCounters>::new(NonZeroU32::new(8).unwrap(), timeouts, seed).unwrap();
        let (mut dice, mut out) = (Dice(7), Vec::new());
        for step in 0..5_000 {
            let (key, delta) = dice.delta(step * 20, 100);
            cache.merge(&key, &delta, &mut |key, counters, reason| out.push((key, counters, reason)));
            if step % 50 == 49 {
                let now = MonotonicNanos(step * 20 * MILLI);
                cache.expire(now, &mut |key, counters, reason| out.push((key, counters, reason)));
            }
        }
        out
    };
    assert_eq!(run([1, 2]), run([u64::MAX, 77]));
}
