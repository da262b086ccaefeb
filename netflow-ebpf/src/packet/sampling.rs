//! The hash by which flows are sampled: the same in the kernel, in tests and in `netflow read`.

use netflow_common::FlowKey;

/// Odd, its bits without a pattern (the golden ratio's fraction).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of the key; without the seed nobody can tell which flows are chosen.
#[inline(always)]
pub fn sampling_hash(key: &FlowKey, seed: u64) -> u32 {
    let words: &[u64; 6] = bytemuck::cast_ref(key);
    let [a, b, c, d, e, f] = *words;
    let mut hash = seed;
    hash = mix(hash, a);
    hash = mix(hash, b);
    hash = mix(hash, c);
    hash = mix(hash, d);
    hash = mix(hash, e);
    hash = mix(hash, f);
    (hash >> 32) as u32
}

#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 29)
}

/// Leaves of a key's words what tells flows apart.
#[inline(always)]
pub fn mask<const N: usize>(words: &mut [u64; N], masks: impl Fn(usize) -> u64) {
    for (place, word) in words.iter_mut().enumerate() {
        *word &= masks(place);
    }
}
