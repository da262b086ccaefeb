//! Pauses within a flip: whether packets go on with what is cached of their flow.
//!
//! A flow that paused for its timeout between two flips is split there, just as if a flip had fallen into
//! the pause; so records do not depend on when flips are. As the deltas of a flip come from several
//! processors in any order, a later one may still bridge the pause. Until the flip is closed, what was
//! cached is therefore parked beside the flow.

use crate::record::FlowEndReason;

use super::slab::{Chain, NONE, PARKED, Slot};
use super::{Counters, FlowCache, Key};

impl<K: Key, C: Counters> FlowCache<K, C> {
    /// Decides whether packets that start at `first` belong to what is cached of their flow.
    ///
    /// Only what was cached before this flip can be over before they came, and only if none of this
    /// flip's deltas is near enough; as these come in any order, that is not known before `expire`.
    pub(super) fn resume(&mut self, at: u32, first: u64) {
        let slot = &mut self.slab[at];
        if slot.flip != self.flip {
            slot.flip = self.flip;
            let (pause, _) = self.timeouts.pause(slot);
            if first.saturating_sub(slot.counters.last()) >= pause {
                self.park(at);
            }
        } else if slot.parked != NONE {
            let parked = slot.parked;
            let (pause, _) = self.timeouts.pause(&self.slab[parked]);
            if first.saturating_sub(self.slab[parked].counters.last()) < pause {
                self.unpark(at, parked);
            }
        }
    }

    /// Sets aside what is cached of a flow, which seems to be over, and starts the flow anew. The parked
    /// part is beyond the capacity: there is at most one per flow, until the end of the flip.
    fn park(&mut self, at: u32) {
        let before = self.slab[at];
        let parked = self.slab.insert(Slot { state: PARKED, parked: at, ..before });
        self.parked.push(&mut self.slab, Chain::Deadline, parked);
        let slot = &mut self.slab[at];
        slot.renew();
        slot.parked = parked;
    }

    /// Puts the parked part back: a delta came that closes the pause.
    fn unpark(&mut self, at: u32, parked: u32) {
        let Slot { counters: mut sum, floor, ending, .. } = self.slab[parked];
        self.parked.remove(&mut self.slab, Chain::Deadline, parked);
        self.slab.release(parked);
        let slot = &mut self.slab[at];
        if sum.packets() == 0 {
            sum = slot.counters;
        } else {
            // It started a record of its own.
            sum.merge(&slot.counters);
            self.in_cache.records -= 1;
        }
        slot.counters = sum;
        slot.floor = floor;
        slot.ending |= ending;
        slot.parked = NONE;
    }

    /// Ends all parked parts: the flip is over, nothing can bridge their pauses any more.
    pub(super) fn end_parked(&mut self, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        while let Some(parked) = self.parked.head() {
            self.end_one_parked(parked, emit);
        }
    }

    /// Ends one.
    pub(super) fn end_one_parked(&mut self, parked: u32, emit: &mut impl FnMut(K, C, FlowEndReason)) {
        let (_, reason) = self.timeouts.end(&self.slab[parked]);
        self.send(parked, reason, emit);
        let live = self.slab[parked].parked;
        self.slab[live].parked = NONE;
        self.parked.remove(&mut self.slab, Chain::Deadline, parked);
        self.slab.release(parked);
    }
}
