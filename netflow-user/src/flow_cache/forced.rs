//! Flows that are ended from outside: all of an interface that is gone, say.

use std::ops::Range;

use netflow_common::FlowKey;

use crate::record::FlowEndReason;

use super::slab::{FREE, LIVE, NONE};
use super::{Counters, FlowCache, Key};

impl<K: Key, C: Counters> FlowCache<K, C> {
    /// Ends all flows at once whose key `ends` says yes to, for `reason`; the others stay as they are. Returns how
    /// many there were. Looks at every slot ever used, which takes about 30 ms for a million flows.
    pub fn end_where(
        &mut self,
        ends: impl Fn(&FlowKey) -> bool,
        reason: FlowEndReason,
        emit: &mut impl FnMut(K, C, FlowEndReason),
    ) -> usize {
        self.end_within(0..u32::MAX, ends, reason, emit)
    }

    /// The same in a range of slots only, of which there are [`FlowCache::slots`]: in pieces, between other things.
    pub fn end_within(
        &mut self,
        slots: Range<u32>,
        ends: impl Fn(&FlowKey) -> bool,
        reason: FlowEndReason,
        emit: &mut impl FnMut(K, C, FlowEndReason),
    ) -> usize {
        let before = self.flows();
        for at in slots.start..slots.end.min(self.slab.len()) {
            let slot = &self.slab[at];
            if slot.state == LIVE && ends(slot.key.flow()) {
                let parked = slot.parked;
                if parked != NONE {
                    self.end_one_parked(parked, emit);
                }
                self.send(at, reason, emit);
                self.deadlines.remove(&mut self.slab, at);
                self.drop_flow(at);
            }
        }
        before - self.flows()
    }

    /// Slots ever used: a flow keeps its one until it ends.
    pub fn slots(&self) -> u32 {
        self.slab.len()
    }

    /// Looks at what would be a record if it ended now, slot by slot in a range.
    pub fn look(&self, slots: Range<u32>, mut at: impl FnMut(K, C)) {
        let end = slots.end.min(self.slab.len());
        let slots = self.slab.slots().get(slots.start.min(end) as usize..end as usize).unwrap_or_default();
        for slot in slots.iter().filter(|slot| slot.state != FREE && slot.counters.packets() > 0) {
            at(slot.key, slot.counters);
        }
    }
}
