//! Which flow goes when the cache is full: the least recently seen.
//!
//! Flows stand in the order of their last packets, to a step of the wheel (about a 2000th of the idle
//! timeout: 8 ms of 15 s), within a step in the order in which they came there. A flow that saw packets
//! since it was put in its place moves on when it gets to the front, or when its timeout is looked
//! at: every packet pays for one move at most, and a packet moves nothing by itself.

use super::slab::{Chain, Slab};
use super::wheel::Wheel;
use super::{Counters, Key};

/// All flows by age.
pub(super) struct Ages {
    wheel: Wheel,
}

impl Ages {
    /// For flows that were last seen at most `longest_pause` ago.
    pub fn new(longest_pause: u64) -> Self {
        Self { wheel: Wheel::new(Chain::Age, longest_pause) }
    }

    /// Starts at an instant; only while there is no flow.
    pub fn start(&mut self, at: u64) {
        self.wheel.start(at);
    }

    /// Adds a flow.
    pub fn insert<K: Key, C: Counters>(&mut self, slab: &mut Slab<K, C>, at: u32) {
        let last = slab[at].counters.last();
        self.wheel.insert(slab, at, last);
    }

    /// Removes a flow.
    pub fn remove<K: Key, C: Counters>(&mut self, slab: &mut Slab<K, C>, at: u32) {
        self.wheel.remove(slab, at);
    }

    /// Puts a flow where its last packet belongs.
    pub fn refresh<K: Key, C: Counters>(&mut self, slab: &mut Slab<K, C>, at: u32) -> bool {
        let last = slab[at].counters.last();
        self.wheel.delay(slab, at, last)
    }

    /// Says that no flow was last seen before `at`.
    pub fn forget_before(&mut self, at: u64) {
        self.wheel.skip(at);
    }

    /// The least recently seen flow.
    pub fn oldest<K: Key, C: Counters>(&mut self, slab: &mut Slab<K, C>) -> Option<u32> {
        loop {
            let at = self.wheel.first()?;
            if !self.refresh(slab, at) {
                return Some(at);
            }
        }
    }

    /// Removes all flows.
    pub fn clear(&mut self) {
        self.wheel.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey};

    use super::super::slab::Slot;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn seen(slab: &mut Slab<FlowKey, FlowCounters>, at: u32, last: u64) {
        slab[at].add(&FlowCounters { packets: 1, first: last, last, ..FlowCounters::default() });
    }

    #[test]
    fn the_flow_seen_longest_ago_is_the_oldest_wherever_it_stands() {
        let mut slab = Slab::<FlowKey, FlowCounters>::new(3).unwrap();
        let mut ages = Ages::new(15 * SECOND);
        ages.start(SECOND);
        for at in 0..3 {
            slab.insert(Slot::new(FlowKey::default(), 0));
            seen(&mut slab, at, u64::from(at + 1) * SECOND);
            ages.insert(&mut slab, at);
        }
        seen(&mut slab, 0, 4 * SECOND);
        seen(&mut slab, 1, 9 * SECOND);
        let mut order = Vec::new();
        while let Some(at) = ages.oldest(&mut slab) {
            ages.remove(&mut slab, at);
            order.push(at);
        }
        assert_eq!(order, [2, 0, 1]);
    }
}
