//! The flow table's rules, for the kernel and for tests: where a key's bucket is, and which slot of it is the key's.

use netflow_common::{Slot, WAYS};

/// Odd, its bits without a pattern (the golden ratio's fraction).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of a key's words; without the seeds nobody can choose keys that meet.
///
/// A sum of products of seeded halves: two keys meet in the upper 32 bits with a probability of 2^-32 over the seeds,
/// whatever they are (pair-multiply-shift, Dietzfelbinger 1996; Thorup, "High Speed Hashing for Integers and Strings",
/// section 3.3). What follows spreads keys whose sums are near one another, which those of neighbours are.
#[inline(always)]
pub fn hash(words: &[u64], seed: impl Fn(usize) -> u64) -> u32 {
    let mut sum: u64 = 0;
    for (place, word) in words.iter().enumerate() {
        let [low, high] = [word & 0xffff_ffff, word >> 32];
        let product = seed(2 * place).wrapping_add(low).wrapping_mul(seed(2 * place + 1).wrapping_add(high));
        sum = sum.wrapping_add(product);
    }
    ((sum ^ sum >> 32).wrapping_mul(MULTIPLIER) >> 32) as u32
}

/// Where a key belongs: its bucket among `buckets` (a power of two), and the slot that is looked at first.
#[inline(always)]
pub fn place(hash: u32, buckets: u32) -> (u32, usize) {
    (hash >> 2 & buckets.wrapping_sub(1), hash as usize)
}

/// What a bucket has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The key, in this slot.
    Here(usize),
    /// An empty slot; the key is nowhere in the bucket.
    Empty(usize),
}

/// Looks for a key in its bucket, from slot `first` on. A slot is never emptied while packets come, so that the first
/// empty one ends the search. `None`: others have all the slots.
#[inline(always)]
pub fn find<S: Slot>(bucket: &[S; WAYS], words: &S::Words, first: usize) -> Option<Found> {
    for step in 0..WAYS {
        let way = (first + step) % WAYS;
        if bucket[way].holds(words) {
            return Some(Found::Here(way));
        }
        if bucket[way].is_empty() {
            return Some(Found::Empty(way));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use netflow_common::{FlowKey, Ipv4Slot, NetworkU16};

    use super::*;

    extern crate std;
    use std::{vec, vec::Vec};

    /// Well distributed numbers from a seed (SplitMix64).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(MULTIPLIER);
        let mut value = *state;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn seeds(state: &mut u64) -> [u64; 6] {
        core::array::from_fn(|_| random(state))
    }

    /// Keys as somebody who knows the code would choose them: neighbours, in each field and in several at once.
    fn chosen(pattern: usize, number: u32) -> FlowKey {
        let [source, destination] = match pattern {
            0 => [number, 0],
            1 => [0, number],
            2 => [number << 12, 0],
            3 => [number, number],
            4 => [number, !number],
            5 => [number, number.swap_bytes()],
            _ => [0, 0],
        };
        let [ports, vlan] = match pattern {
            6 => [number, 0],
            7 => [number & 0xffff, number >> 16],
            _ => [0, 0],
        };
        let ends = (source.to_be_bytes().into(), destination.to_be_bytes().into());
        FlowKey {
            source_port: NetworkU16::new((ports >> 16) as u16),
            destination_port: NetworkU16::new(ports as u16),
            vlan_id: vlan as u16,
            ..FlowKey::of_session(FlowKey::UDP, (ends.0, 0), (ends.1, 0))
        }
    }

    /// Enters keys into a table; how many found no slot.
    fn without_slot(keys: impl Iterator<Item = FlowKey>, buckets: u32, seeds: &[u64; 6]) -> usize {
        let mut table = vec![[Ipv4Slot::default(); WAYS]; buckets as usize];
        let mut refused = 0;
        for key in keys {
            let words = Ipv4Slot::words(&key);
            let (bucket, first) = place(hash(&words, |at| seeds[at]), buckets);
            let bucket = &mut table[bucket as usize];
            match find(bucket, &words, first) {
                Some(Found::Empty(way)) => bucket[way].claim(&words),
                Some(Found::Here(_)) => {}
                None => refused += 1,
            }
        }
        refused
    }

    #[test]
    fn keys_that_are_chosen_without_the_seed_fill_buckets_as_random_ones_do() {
        const BUCKETS: u32 = 4096;
        // Half as many keys as slots: of random ones 2.6 in a hundred find their bucket full.
        const KEYS: u32 = BUCKETS * WAYS as u32 / 2;
        let mut state = 1;
        let mut worst = Vec::new();
        for pattern in 0..8 {
            let mut refused: Vec<usize> = (0..64)
                .map(|_| {
                    without_slot((0..KEYS).map(|number| chosen(pattern, number)), BUCKETS, &seeds(&mut state))
                })
                .collect();
            refused.sort_unstable();
            worst.push((refused[32], refused[63]));
        }
        let expected = KEYS as usize * 26 / 1000;
        for (pattern, (median, most)) in worst.into_iter().enumerate() {
            assert!(median < expected * 3 / 2, "pattern {pattern}: {median} of {KEYS}, expected {expected}");
            assert!(most < expected * 4, "pattern {pattern}: {most} of {KEYS}, expected {expected}");
        }
    }

    #[test]
    fn a_key_is_found_again_in_whatever_order_others_came() {
        let mut bucket = [Ipv4Slot::default(); WAYS];
        let words: Vec<_> = (0..5).map(|number| Ipv4Slot::words(&chosen(0, number))).collect();
        for (number, words) in words.iter().take(WAYS).enumerate() {
            let first = 3 * number;
            let Some(Found::Empty(way)) = find(&bucket, words, first) else { panic!("there was a slot") };
            bucket[way].claim(words);
            assert_eq!(find(&bucket, words, first), Some(Found::Here(way)));
        }
        assert_eq!(find(&bucket, &words[4], 2), None);
        assert_eq!(find(&bucket, &words[0], 0), Some(Found::Here(0)));
    }
}
