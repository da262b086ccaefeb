//! What a read of memory costs here: a flow's slot is a cache line somewhere in the table, and most of what a packet of
//! many flows costs is to wait for it.

use std::hint::black_box;

use super::thread_nanos;

/// Octets of a cache line, and of a slot of IPv4.
const LINE: usize = 64;
/// Reads of one measurement.
const READS: u32 = 1_000_000;

/// A cache line that says which one is next.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u32);

/// Nanoseconds of a read of one of so many lines at random, each of them every `spread`th, where each read waits for the
/// one before.
pub(super) fn of_lines(lines: usize, spread: usize) -> f64 {
    const { assert!(size_of::<Line>() == LINE) };
    let mut memory = vec![Line(0); lines * spread];
    let order = cycle(lines);
    for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
        memory[from * spread] = Line((to * spread) as u32);
    }
    let mut at = 0;
    // Once around first: pages get memory when they are touched.
    let mut read = |reads: u32| (0..reads).for_each(|_| at = memory[at as usize].0);
    read(READS.min(lines as u32));
    let begin = thread_nanos();
    read(READS);
    let nanos = thread_nanos() - begin;
    black_box(at);
    nanos as f64 / f64::from(READS)
}

/// All numbers below `length`, in an order that has nothing to do with them.
fn cycle(length: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for place in (1..length).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(place, (random % (place as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_has_every_place_once() {
        let mut order = cycle(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
