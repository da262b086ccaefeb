//! From a Flow Key to its slot: a table of slot numbers, found by a keyed hash. The keys themselves stand in the slots.
//!
//! Entries stand at their hash or behind it, without a gap (open addressing, linear probing): to find a flow, or that
//! there is none, is nearly always one cache line. The table never grows, and nothing is left of what was removed.

use super::Key;
use super::hash::KeyedHash;
use super::slab::Slab;

/// The index.
pub(super) struct Index {
    /// As many as a power of two. 0 is none; else the slot's number and 1 in the upper half, the hash in the lower.
    entries: Box<[u64]>,
    flows: usize,
    keyed: KeyedHash,
}

impl Index {
    /// An index for so many flows: 12 to 24 octets of address space for each, which get memory when they are first
    /// used. Two thirds of the entries are in use at most. `None` without memory for it.
    pub fn new(capacity: usize, seed: [u64; 2]) -> Option<Self> {
        let entries = capacity.checked_mul(3)?.div_ceil(2).checked_next_power_of_two()?;
        let entries = bytemuck::allocation::try_zeroed_slice_box(entries).ok()?;
        Some(Self { entries, flows: 0, keyed: KeyedHash::new(seed) })
    }

    /// An empty index of another size with the same hashes.
    pub fn like(other: &Self, capacity: usize) -> Option<Self> {
        Some(Self { keyed: other.keyed, ..Self::new(capacity, [0; 2])? })
    }

    /// The key's hash, for the other calls.
    pub fn hash<K: Key>(&self, key: &K) -> u32 {
        self.keyed.hash(key)
    }

    /// The slot of a key.
    pub fn find<K: Key, C>(&self, slab: &Slab<K, C>, hash: u32, key: &K) -> Option<u32> {
        self.with_hash(hash).map(|(_, slot)| slot).find(|slot| slab[*slot].key.is(key))
    }

    /// A slot whose key may have this hash; nearly always the right one, where there is one.
    pub fn guess(&self, hash: u32) -> Option<u32> {
        self.with_hash(hash).map(|(_, slot)| slot).next()
    }

    /// What stands where the search for a hash begins: to have it at hand.
    pub fn first(&self, hash: u32) -> u64 {
        self.entries[self.home(hash)]
    }

    /// Adds a slot whose key is not in the index.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        let mut place = self.home(hash);
        while self.entries[place] != 0 {
            place = self.behind(place);
        }
        self.entries[place] = u64::from(slot + 1) << 32 | u64::from(hash);
        self.flows += 1;
    }

    /// Removes a slot.
    pub fn remove<K: Key, C>(&mut self, slab: &Slab<K, C>, slot: u32) {
        let hash = self.hash(&slab[slot].key);
        let Some((mut gap, _)) = self.with_hash(hash).find(|(_, other)| *other == slot) else { return };
        self.flows -= 1;
        // No gap may be between an entry and where its search begins: what stands behind moves up.
        let mut place = gap;
        loop {
            place = self.behind(place);
            let entry = self.entries[place];
            if entry == 0 {
                break;
            }
            let from_home = place.wrapping_sub(self.home(entry as u32)) & self.mask();
            let from_gap = place.wrapping_sub(gap) & self.mask();
            if from_home >= from_gap {
                self.entries[gap] = entry;
                gap = place;
            }
        }
        self.entries[gap] = 0;
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        // What is zero may have no memory yet.
        self.entries.iter_mut().filter(|entry| **entry != 0).for_each(|entry| *entry = 0);
        self.flows = 0;
    }

    /// Places and slots of this hash. Ends, as there is always an entry that is not in use.
    fn with_hash(&self, hash: u32) -> impl Iterator<Item = (usize, u32)> {
        let mut place = self.home(hash);
        std::iter::from_fn(move || {
            loop {
                let (entry, at) = (self.entries[place], place);
                if entry == 0 {
                    return None;
                }
                place = self.behind(place);
                if entry as u32 == hash {
                    return Some((at, (entry >> 32) as u32 - 1));
                }
            }
        })
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    fn behind(&self, place: usize) -> usize {
        (place + 1) & self.mask()
    }

    fn mask(&self) -> usize {
        self.entries.len() - 1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey};

    use super::super::slab::Slot;
    use super::*;

    fn slab(flows: u32) -> Slab<FlowKey, FlowCounters> {
        let mut slab = Slab::new(flows as usize).unwrap();
        for number in 0..flows {
            slab.insert(Slot::new(FlowKey { interface: number, ..FlowKey::default() }, 0));
        }
        slab
    }

    #[test]
    fn what_is_inserted_is_found_until_it_is_removed_whatever_else_comes_and_goes() {
        let slab = slab(1000);
        let mut index = Index::new(1000, [1, 2]).unwrap();
        let mut present = vec![false; 1000];
        let mut random = 7_u64;
        for step in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Nearly full for some time, then nearly empty.
            let at = (random >> 40) as usize % if step % 20_000 < 10_000 { 1000 } else { 50 };
            let key = &slab[at as u32].key;
            if present[at] {
                index.remove(&slab, at as u32);
            } else {
                index.insert(index.hash(key), at as u32);
            }
            present[at] = !present[at];
            assert_eq!(index.find(&slab, index.hash(key), key), present[at].then_some(at as u32));
            if step % 1000 == 0 {
                for (at, present) in (0..).zip(&present) {
                    let key = &slab[at].key;
                    assert_eq!(index.find(&slab, index.hash(key), key), present.then_some(at), "{step}");
                }
            }
        }
        assert_eq!(index.len(), present.iter().filter(|present| **present).count());
        index.clear();
        assert!(index.len() == 0 && index.entries.iter().all(|entry| *entry == 0));
    }

    #[test]
    fn entries_of_one_hash_are_told_apart_by_their_keys_over_the_end_of_the_table_too() {
        let slab = slab(3);
        let mut index = Index::new(3, [0, 0]).unwrap();
        for slot in 0..3 {
            index.insert(u32::MAX, slot);
        }
        for slot in 0..3 {
            assert_eq!(index.find(&slab, u32::MAX, &slab[slot].key), Some(slot));
        }
        assert_eq!(index.find(&slab, 0, &slab[1].key), None);
    }

    #[test]
    fn an_index_takes_12_to_24_octets_for_each_flow() {
        for capacity in [1, 2, 3, 700, 1000, 1 << 20, 5_000_000] {
            let octets = size_of_val(&*Index::new(capacity, [0, 0]).unwrap().entries);
            assert!((12 * capacity..=24 * capacity).contains(&octets), "{capacity}: {octets}");
        }
    }
}
