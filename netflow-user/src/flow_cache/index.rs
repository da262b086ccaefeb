//! From a Flow Key to its slot: a keyed hash over slot numbers. The keys themselves stand in the slots.

use std::hash::{DefaultHasher, Hasher};

use bytemuck::bytes_of;
use hashbrown::HashTable;

use super::Key;
use super::slab::Slab;

/// The index.
pub(super) struct Index {
    slots: HashTable<u32>,
    /// SipHash with the seed already in it: whoever sends packets cannot know which keys collide.
    seeded: DefaultHasher,
}

impl Index {
    /// An index that never grows: twice the capacity keeps chains short and leaves hardly any
    /// tombstones. Touches one octet per bucket (2 to 5 for each flow of the capacity), not the entries.
    /// `None` without memory for it.
    pub fn new(capacity: usize, seed: [u64; 2]) -> Option<Self> {
        let mut slots = HashTable::new();
        slots.try_reserve(capacity.checked_mul(2)?, |_| 0).ok()?;
        let mut seeded = DefaultHasher::new();
        seeded.write_u64(seed[0]);
        seeded.write_u64(seed[1]);
        Some(Self { slots, seeded })
    }

    /// The key's hash, for the other calls.
    pub fn hash<K: Key>(&self, key: &K) -> u64 {
        let mut hasher = self.seeded.clone();
        hasher.write(bytes_of(key));
        hasher.finish()
    }

    /// The slot of a key.
    pub fn find<K: Key, C>(&self, slab: &Slab<K, C>, hash: u64, key: &K) -> Option<u32> {
        self.slots.find(hash, |at| slab[*at].key.is(key)).copied()
    }

    /// A slot whose key may have this hash; nearly always the right one, where there is one.
    pub fn guess(&self, hash: u64) -> Option<u32> {
        self.slots.find(hash, |_| true).copied()
    }

    /// Adds a slot whose key is not in the index.
    pub fn insert<K: Key, C>(&mut self, slab: &Slab<K, C>, hash: u64, at: u32) {
        let Self { slots, seeded } = self;
        slots.insert_unique(hash, at, |at| {
            let mut hasher = seeded.clone();
            hasher.write(bytes_of(&slab[*at].key));
            hasher.finish()
        });
    }

    /// Removes a slot.
    pub fn remove<K: Key, C>(&mut self, slab: &Slab<K, C>, at: u32) {
        let hash = self.hash(&slab[at].key);
        if let Ok(entry) = self.slots.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.slots.clear();
    }
}
