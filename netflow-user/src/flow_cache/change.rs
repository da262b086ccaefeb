//! Other timeouts and another size, while flows are in the cache.

use std::num::NonZeroU32;

use crate::record::FlowEndReason;
use crate::time::MonotonicNanos;

use super::eviction::Ages;
use super::index::Index;
use super::slab::{Chain, LIVE, Slab};
use super::wheel::Wheel;
use super::{CAPACITY_MAX, Counters, FlowCache, FlowCacheError, Key, Timeouts};

impl<K: Key, C: Counters> FlowCache<K, C> {
    /// From now on flows end by these timeouts, those that are there too: what is over by them ends at the next
    /// [`FlowCache::expire`]. To be called between two flips, with the instant of the last one. Takes as long as
    /// [`FlowCache::rebuild`].
    pub fn set_timeouts(&mut self, timeouts: Timeouts, now: MonotonicNanos) {
        let pause = timeouts.longest_pause();
        self.timeouts = timeouts;
        self.deadlines = Wheel::new(Chain::Deadline, pause);
        self.deadlines.start(now.0);
        self.ages = Ages::new(pause);
        self.ages.start(now.0.saturating_sub(pause));
        self.rebuild();
    }

    /// Room for so many flows from now on. Where more are there, the least recently seen ones end for lack of
    /// resources. To be called between two flips. Takes as long as [`FlowCache::rebuild`], and memory for both sizes
    /// meanwhile.
    ///
    /// # Errors
    /// No memory, or more than slots have numbers for: the cache is as it was.
    pub fn set_capacity(
        &mut self,
        capacity: NonZeroU32,
        emit: &mut impl FnMut(K, C, FlowEndReason),
    ) -> Result<(), FlowCacheError> {
        let capacity = capacity.get();
        if capacity > CAPACITY_MAX {
            return Err(FlowCacheError::CapacityTooLarge { capacity });
        }
        let mut slab =
            Slab::new(capacity as usize).map_err(|source| FlowCacheError::Slots { capacity, source })?;
        let index = Index::like(&self.index, capacity as usize).ok_or(FlowCacheError::Index { capacity })?;
        while self.flows() > capacity as usize {
            self.evict(emit);
        }
        for slot in self.slab.slots().iter().filter(|slot| slot.state == LIVE) {
            slab.insert(*slot);
        }
        (self.capacity, self.slab, self.index) = (capacity, slab, index);
        self.rebuild();
        Ok(())
    }
}
