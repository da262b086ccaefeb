//! The trie against a list that is searched from end to end.

use std::collections::BTreeMap;

use super::{
    super::{prefix::Prefix, trie::Trie},
    Random, prefix,
};

/// All matches of an address, longest first.
fn naive(prefixes: &BTreeMap<(u8, u128), u32>, address: u128) -> Vec<(u8, u32)> {
    let holding =
        prefixes.iter().rev().filter(|((length, bits), _)| Prefix::new(*bits, *length).contains(address));
    holding.map(|((length, _), value)| (*length, *value)).collect()
}

fn found(trie: &Trie, address: u128) -> Vec<(u8, u32)> {
    let mut all = Vec::new();
    trie.find_map::<()>(address, |length, value| {
        all.push((length, value));
        None
    });
    all
}

/// A prefix among neighbours: few different bits, so that many hold one another.
fn crowded(random: &mut Random, width: u64) -> Prefix {
    let length = random.below(width + 1) as u8;
    let mut bits = if random.below(2) == 0 { 0x0a01_0203_u128 << 96 } else { 0x2001_0db8_u128 << 96 };
    for _ in 0..random.below(4) {
        bits ^= 1 << (127 - random.below(width));
    }
    Prefix::new(bits, length)
}

#[test]
fn every_match_is_found_longest_first_whatever_was_added_and_removed() {
    for (seed, width) in [(1, 32), (2, 128)] {
        let mut random = Random(seed);
        let (mut trie, mut prefixes) = (Trie::new(), BTreeMap::new());
        let empty = trie.octets();
        for step in 0..8_000_u32 {
            let prefix = crowded(&mut random, width);
            let key = (prefix.length(), prefix.bits());
            // It grows, then it shrinks.
            if random.below(100) < if step < 4_000 { 70 } else { 35 } {
                trie.insert(prefix, step);
                prefixes.insert(key, step);
            } else {
                let gone = match prefixes.keys().nth(random.below(prefixes.len().max(1) as u64) as usize) {
                    Some((length, bits)) if step % 4 != 0 => Prefix::new(*bits, *length),
                    // Often one that is not there.
                    _ => prefix,
                };
                trie.remove(gone);
                prefixes.remove(&(gone.length(), gone.bits()));
            }
            let probe = crowded(&mut random, width).bits() | random.wide() >> random.below(128);
            for address in [prefix.bits(), probe] {
                assert_eq!(found(&trie, address), naive(&prefixes, address), "step {step}, {address:x}");
            }
            assert_eq!(trie.value(prefix), prefixes.get(&key).copied(), "step {step}, {prefix:?}");
        }
        for (length, bits) in prefixes.keys() {
            trie.remove(Prefix::new(*bits, *length));
        }
        assert!(found(&trie, 0).is_empty() && trie.octets() >= empty);
        assert!(trie.has_only_a_root());
    }
}

#[test]
fn a_search_can_go_on_behind_the_longest_match() {
    let mut trie = Trie::new();
    for (number, text) in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"].iter().enumerate() {
        trie.insert(prefix(text), number as u32);
    }
    let all = [(32, 3), (16, 2), (8, 1), (0, 0)];
    assert_eq!(found(&trie, super::bits("10.1.2.3")), all);
    assert_eq!(found(&trie, super::bits("10.1.2.4")), all[1..]);
    assert_eq!(found(&trie, super::bits("192.0.2.1")), all[3..]);
    let shorter = trie.find_map(super::bits("10.1.2.3"), |length, _| (length < 16).then_some(length));
    assert_eq!(shorter, Some(8));
}
