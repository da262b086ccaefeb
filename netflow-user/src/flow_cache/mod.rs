//! FLOW CACHE: merges deltas by Flow Key; decides when a flow ends, and why.
//!
//! In: for each flip the deltas drained since the last one, with times in nanoseconds of the monotonic
//! clock ([`FlowCache::merge`]), then the instant of that flip ([`FlowCache::expire`]). Out: ended flows
//! with their reason, through a callback that is called once per record. This room refuses to know
//! where deltas come from, what a record looks like on the wire, and what time it is.
//!
//! What holds, whatever comes in:
//! - Every packet merged is in the cache or in exactly one record; a record without packets never leaves.
//! - A flow is never split by a pause shorter than its timeout (METER-EXP-8), and always by a longer one
//!   between two flips, however the ticks fall. What happened within one delta cannot be told apart.
//! - The order of the deltas of one flip does not matter, while the cache is not full.
//! - Successive records of a flow do not overlap (METER-TIME-4), until it is ended for lack of resources.
//!
//! Each step is O(1) per flow and allocates nothing. A merge reads the index and the flow's own slot, a few cache
//! misses at a million flows; [`FlowCache::merge_all`] lets them overlap. `examples/stages.rs` measures what it takes.

mod biflow;
mod change;
mod entry;
mod eviction;
mod forced;
mod hash;
mod index;
mod memory;
mod pause;
mod slab;
#[cfg(test)]
mod tests;
mod timeout;
mod wheel;

use std::collections::TryReserveError;
use std::hint::black_box;
use std::num::NonZeroU32;

use crate::record::FlowEndReason;
use crate::time::MonotonicNanos;

pub use self::biflow::{Biflow, Reversible, pair};
pub use self::entry::{Counters, Key};
pub use self::timeout::Timeouts;

use self::eviction::Ages;
use self::index::Index;
use self::slab::{Chain, FREE, LIVE, Link, List, NONE, PARKED, Slab, Slot};
use self::wheel::Wheel;

/// The most flows a cache can be asked to hold: slot numbers are 32 bits, with room to spare.
pub const CAPACITY_MAX: u32 = 1 << 30;

/// How many deltas [`FlowCache::merge_all`] reads ahead: more than a processor has outstanding reads.
const AHEAD: usize = 32;

/// Why a flow cache cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FlowCacheError {
    /// METER-EXP-1.
    #[error(
        "an idle timeout of 0 (a record for every packet) is not possible: packets are aggregated in the kernel"
    )]
    IdleTimeoutZero,
    /// Every packet would be its own record, as above.
    #[error("an active timeout of 0 is not possible: packets are aggregated in the kernel")]
    ActiveTimeoutZero,
    /// More than slots have numbers for.
    #[error("a flow cache for {capacity} flows is not possible: the most is {CAPACITY_MAX}")]
    CapacityTooLarge {
        /// What was asked for.
        capacity: u32,
    },
    /// No address space for the slots.
    #[error("no memory for a flow cache of {capacity} flows (132 bytes each)")]
    Slots {
        /// What was asked for.
        capacity: u32,
        /// What the allocator says.
        #[source]
        source: TryReserveError,
    },
    /// No memory for the index.
    #[error("no memory for the index of a flow cache of {capacity} flows (12 to 24 bytes each)")]
    Index {
        /// What was asked for.
        capacity: u32,
    },
}

/// Sums over records, or over what would be a record if it ended now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// Records.
    pub records: u64,
    /// Their packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
}

/// The flow cache.
pub struct FlowCache<K, C> {
    capacity: u32,
    timeouts: Timeouts,
    slab: Slab<K, C>,
    index: Index,
    deadlines: Wheel,
    ages: Ages,
    parked: List,
    /// Counts the flips, to tell a flow's first delta of one from the others.
    flip: u32,
    in_cache: Sums,
    /// Flows that were begun.
    begun: u64,
    emitted: [Sums; 5],
}

impl<K: Key, C: Counters> FlowCache<K, C> {
    /// A cache for up to `capacity` flows. The seed keys the hash and is to be random; the cache's
    /// behaviour does not depend on it.
    ///
    /// Takes 144 to 156 octets of address space for each flow of the capacity: 128 of its slot, 4 for the time that
    /// it is free, 12 to 24 of the index. They get memory when they are first used, and keep it.
    pub fn new(capacity: NonZeroU32, timeouts: Timeouts, seed: [u64; 2]) -> Result<Self, FlowCacheError> {
        let capacity = capacity.get();
        if capacity > CAPACITY_MAX {
            return Err(FlowCacheError::CapacityTooLarge { capacity });
        }
        Ok(Self {
            capacity,
            timeouts,
            slab: Slab::new(capacity as usize)
                .map_err(|source| FlowCacheError::Slots { capacity, source })?,
            index: Index::new(capacity as usize, seed).ok_or(FlowCacheError::Index { capacity })?,
            deadlines: Wheel::new(Chain::Deadline, timeouts.longest_pause()),
            ages: Ages::new(timeouts.longest_pause()),
            parked: List::EMPTY,
            flip: 0,
            in_cache: Sums::default(),
            begun: 0,
            emitted: [Sums::default(); 5],
        })
    }

    /// Merges what was measured of a flow since the last flip. `emit` takes the records of the least
    /// recently seen flow, where that has to go to make room (reason 5). A delta without packets is ignored.
    pub fn merge(&mut self, key: &K, delta: &C, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        self.merge_hashed(self.index.hash(key), key, delta, emit);
    }

    /// Merges many deltas, in order: the same as [`FlowCache::merge`] on each, but several times faster
    /// where the cache is larger than the processor's.
    pub fn merge_all(&mut self, deltas: &[(K, C)], emit: &mut impl FnMut(K, C, FlowEndReason)) {
        let mut hashes = [0; AHEAD];
        for deltas in deltas.chunks(AHEAD) {
            for (hash, (key, _)) in hashes.iter_mut().zip(deltas) {
                *hash = self.index.hash(key);
            }
            self.fetch(&hashes[..deltas.len()]);
            for (hash, (key, delta)) in hashes.iter().zip(deltas) {
                self.merge_hashed(*hash, key, delta, emit);
            }
        }
    }

    /// Reads what the merges of these hashes will need. As no read waits for another, the processor waits for
    /// all of them at once instead of one by one.
    fn fetch(&self, hashes: &[u32]) {
        black_box(hashes.iter().fold(0, |read, hash| read ^ self.index.first(*hash)));
        let mut new = 0;
        let mut read = 0;
        for hash in hashes {
            match self.index.guess(*hash) {
                Some(slot) => read ^= self.slab[slot].touch(),
                None => new += 1,
            }
        }
        black_box(self.slab.next_free().take(new).fold(read, |read, slot| read ^ self.slab[slot].touch()));
    }

    fn merge_hashed(&mut self, hash: u32, key: &K, delta: &C, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        if delta.packets() == 0 {
            return;
        }
        let at = match self.index.find(&self.slab, hash, key) {
            Some(at) => {
                self.resume(at, delta.first());
                at
            }
            None => self.begin(hash, key, delta, emit),
        };
        let slot = &mut self.slab[at];
        self.in_cache.records += u64::from(slot.counters.packets() == 0);
        self.in_cache.packets += delta.packets();
        self.in_cache.octets += delta.octets();
        slot.add(delta);
        let (end, _) = self.timeouts.end(slot);
        self.deadlines.hasten(&mut self.slab, at, end);
    }

    /// Closes a flip: ends the flows that are over at its instant, which must be no later than the first
    /// packet of the next one. The instants of successive calls must not decrease.
    pub fn expire(&mut self, now: MonotonicNanos, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        self.flip = self.flip.wrapping_add(1);
        self.end_parked(emit);
        for tick in self.deadlines.turn(now.0) {
            let mut next = self.deadlines.detach(tick);
            while next != NONE {
                let mut slots = [NONE; AHEAD];
                let mut taken = 0;
                while next != NONE && taken < AHEAD {
                    slots[taken] = next;
                    next = self.slab[next].links[Chain::Deadline as usize].next;
                    taken += 1;
                }
                self.fetch_ending(&slots[..taken]);
                slots[..taken].iter().for_each(|at| self.examine(*at, now.0, emit));
            }
        }
        self.ages.forget_before(now.0.saturating_sub(self.timeouts.longest_pause()));
    }

    /// Ends all flows at once for `reason`: shutdown, the operator, a change of what is measured.
    pub fn flush(&mut self, reason: FlowEndReason, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        self.end_parked(emit);
        for at in 0..self.slab.len() {
            if self.slab[at].state == LIVE {
                self.send(at, reason, emit);
            }
        }
        self.slab.clear();
        self.index.clear();
        self.deadlines.clear();
        self.ages.clear();
    }

    /// What is in the cache now. Kept up to date as deltas come in and records leave; [`FlowCache::recount`]
    /// is the check on it.
    pub fn in_cache(&self) -> Sums {
        self.in_cache
    }

    /// What is in the cache, counted slot by slot: takes about 30 ms for a million flows.
    pub fn recount(&self) -> Sums {
        let mut sums = Sums::default();
        for slot in self.slab.slots().iter().filter(|slot| slot.state != FREE) {
            sums.records += u64::from(slot.counters.packets() > 0);
            sums.packets += slot.counters.packets();
            sums.octets += slot.counters.octets();
        }
        sums
    }

    /// Flows in the cache, those included that had no packet since their last record.
    pub fn flows(&self) -> usize {
        self.index.len()
    }

    /// Flows that were begun since the start: those that are there, and those that ended.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// The most flows there can be.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// All records ever ended for a reason.
    pub fn emitted(&self, reason: FlowEndReason) -> Sums {
        self.emitted[reason as usize - 1]
    }

    /// When [`FlowCache::expire`] may next have something to do, to a step of the wheel (a 2000th of the
    /// idle timeout, at least 1 ms); `None` without flows.
    pub fn next_deadline(&self) -> Option<MonotonicNanos> {
        self.deadlines.first_end().map(MonotonicNanos)
    }

    /// Makes everything that stands outside the slots again from the slots alone.
    pub fn rebuild(&mut self) {
        self.index.clear();
        self.deadlines.clear();
        self.ages.clear();
        self.parked = List::EMPTY;
        self.slab.rebuild();
        for at in 0..self.slab.len() {
            match self.slab[at].state {
                LIVE => {
                    self.slab[at].parked = NONE;
                    let hash = self.index.hash(&self.slab[at].key);
                    self.index.insert(hash, at);
                    let (end, _) = self.timeouts.end(&self.slab[at]);
                    self.deadlines.insert(&mut self.slab, at, end);
                    self.ages.insert(&mut self.slab, at);
                }
                PARKED => self.parked.push(&mut self.slab, Chain::Deadline, at),
                _ => {}
            }
        }
        // In a second round, since a parked part may stand before the flow it belongs to.
        for at in 0..self.slab.len() {
            let slot = self.slab[at];
            if slot.state == PARKED
                && let Some(live) = self.index.find(&self.slab, self.index.hash(&slot.key), &slot.key)
            {
                self.slab[at].parked = live;
                self.slab[live].parked = at;
            }
        }
        self.in_cache = self.recount();
    }

    /// A flow that was not in the cache, without its packets so far.
    fn begin(&mut self, hash: u32, key: &K, delta: &C, emit: &mut impl FnMut(K, C, FlowEndReason)) -> u32 {
        if self.flows() == 0 {
            self.deadlines.start(delta.first());
            self.ages.start(delta.first().saturating_sub(self.timeouts.longest_pause()));
        } else if self.flows() >= self.capacity as usize {
            self.evict(emit);
        }
        self.begun += 1;
        let mut slot = Slot::new(*key, self.flip);
        // Where it stands in the wheels; the packets are added by the caller.
        slot.counters = C::zeroed().none_since(delta.last());
        let at = self.slab.insert(slot);
        self.index.insert(hash, at);
        let (end, _) = self.timeouts.end(&slot);
        self.deadlines.insert(&mut self.slab, at, end);
        self.ages.insert(&mut self.slab, at);
        at
    }

    /// Ends the least recently seen flow (CONF-3).
    fn evict(&mut self, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        let Some(at) = self.ages.oldest(&mut self.slab) else { return };
        let parked = self.slab[at].parked;
        if parked != NONE {
            self.end_one_parked(parked, emit);
        }
        self.send(at, FlowEndReason::LackOfResources, emit);
        self.deadlines.remove(&mut self.slab, at);
        self.drop_flow(at);
    }

    /// Reads what ending these flows will need, as [`FlowCache::fetch`] does: their entries in the index, and their
    /// neighbours by age.
    fn fetch_ending(&self, slots: &[u32]) {
        let mut read = 0;
        for slot in slots.iter().map(|slot| &self.slab[*slot]) {
            read ^= self.index.first(self.index.hash(&slot.key));
            let Link { prev, next } = slot.links[Chain::Age as usize];
            for neighbour in [prev, next].into_iter().filter(|slot| *slot != NONE) {
                read ^= u64::from(self.slab[neighbour].flip);
            }
        }
        black_box(read);
    }

    /// Looks at a slot taken out of the deadlines: ends it, or puts it back where it belongs.
    fn examine(&mut self, at: u32, now: u64, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        let (mut end, mut reason) = self.timeouts.end(&self.slab[at]);
        if end <= now && reason == FlowEndReason::ActiveTimeout {
            self.send(at, reason, emit);
            self.slab[at].restart();
            (end, reason) = self.timeouts.end(&self.slab[at]);
        }
        if end <= now {
            self.send(at, reason, emit);
            self.drop_flow(at);
        } else {
            self.deadlines.insert(&mut self.slab, at, end);
            self.ages.refresh(&mut self.slab, at);
        }
    }

    /// Takes a flow out, except from the deadlines.
    fn drop_flow(&mut self, at: u32) {
        self.ages.remove(&mut self.slab, at);
        self.index.remove(&self.slab, at);
        self.slab.release(at);
    }

    /// Hands out a slot's counters as a record, if there is a packet in them.
    fn send(&mut self, at: u32, reason: FlowEndReason, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        let Slot { key, counters, .. } = self.slab[at];
        if counters.packets() == 0 {
            return;
        }
        self.in_cache.records -= 1;
        self.in_cache.packets -= counters.packets();
        self.in_cache.octets -= counters.octets();
        let emitted = &mut self.emitted[reason as usize - 1];
        emitted.records += 1;
        emitted.packets += counters.packets();
        emitted.octets += counters.octets();
        emit(key, counters, reason);
    }
}
