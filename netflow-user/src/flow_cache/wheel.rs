//! A hashed timing wheel of slots: every slot stands in the bucket of some instant, in O(1).
//!
//! A slot may stand in an earlier bucket than it should, since packets only move instants on: it is
//! moved when its bucket comes up, not with every packet. So a packet touches no slot but its own.

use std::ops::RangeInclusive;

use super::slab::{Chain, List, NONE, Slab};

/// Buckets of a wheel.
pub(super) const BUCKETS: u64 = 4096;
/// The finest step, 1 ms: clocks of the kernel side are no finer by default.
const SHIFT_MIN: u32 = 20;

/// The wheel. Instants are nanoseconds of the monotonic clock, ticks are steps of it.
pub(super) struct Wheel {
    chain: Chain,
    shift: u32,
    /// The earliest tick that may have a slot; the latest is `cursor + BUCKETS - 1`.
    cursor: u64,
    /// No slot stands before this tick.
    earliest: u64,
    buckets: Box<[List]>,
}

impl Wheel {
    /// A wheel that reaches at least twice as far as `reach`, in steps of a power of two nanoseconds.
    pub fn new(chain: Chain, reach: u64) -> Self {
        let shift = (reach / (BUCKETS / 2)).checked_ilog2().map_or(0, |log| log + 1).max(SHIFT_MIN);
        Self { chain, shift, cursor: 0, earliest: 0, buckets: vec![List::EMPTY; BUCKETS as usize].into() }
    }

    /// Starts at an instant; only while no slot is in the wheel.
    pub fn start(&mut self, at: u64) {
        self.cursor = self.tick(at);
        self.earliest = self.cursor;
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.buckets.fill(List::EMPTY);
    }

    /// Puts a slot into the bucket of `at`, or the nearest there is.
    pub fn insert<K, C>(&mut self, slab: &mut Slab<K, C>, slot: u32, at: u64) {
        let bucket = self.bucket(at);
        self.earliest = self.earliest.min(self.cursor + self.ahead(bucket));
        slab[slot].buckets[self.chain as usize] = bucket;
        self.buckets[usize::from(bucket)].push(slab, self.chain, slot);
    }

    /// Takes a slot out.
    pub fn remove<K, C>(&mut self, slab: &mut Slab<K, C>, slot: u32) {
        let bucket = slab[slot].buckets[self.chain as usize];
        self.buckets[usize::from(bucket)].remove(slab, self.chain, slot);
    }

    /// Moves a slot to `at`, if that is earlier than where it stands.
    pub fn hasten<K, C>(&mut self, slab: &mut Slab<K, C>, slot: u32, at: u64) {
        if self.ahead(self.bucket(at)) < self.ahead(slab[slot].buckets[self.chain as usize]) {
            self.remove(slab, slot);
            self.insert(slab, slot, at);
        }
    }

    /// Moves a slot to `at`, if that is later than where it stands. Says whether it was moved.
    pub fn delay<K, C>(&mut self, slab: &mut Slab<K, C>, slot: u32, at: u64) -> bool {
        let later = self.ahead(self.bucket(at)) > self.ahead(slab[slot].buckets[self.chain as usize]);
        if later {
            self.remove(slab, slot);
            self.insert(slab, slot, at);
        }
        later
    }

    /// Turns to `now` and gives the ticks that came up, that of `now` included, though it is not over
    /// yet. Each is to be taken with [`Wheel::detach`]; what goes back in goes where it belongs from `now` on.
    pub fn turn(&mut self, now: u64) -> RangeInclusive<u64> {
        let from = self.cursor;
        self.cursor = from.max(self.tick(now));
        from..=self.cursor.min(from + (BUCKETS - 1))
    }

    /// Empties a tick's bucket: the first of its slots. The others follow by their links.
    pub fn detach(&mut self, tick: u64) -> u32 {
        let list = &mut self.buckets[(tick % BUCKETS) as usize];
        let head = list.head().unwrap_or(NONE);
        *list = List::EMPTY;
        head
    }

    /// Skips empty buckets up to that of `at`.
    pub fn skip(&mut self, at: u64) {
        let to = self.tick(at);
        let Some(first) = self.first_tick() else {
            self.cursor = self.cursor.max(to);
            return;
        };
        self.cursor = self.cursor.max(to.min(first));
    }

    /// The first slot of the earliest bucket that has one.
    pub fn first(&mut self) -> Option<u32> {
        self.earliest = self.first_tick()?;
        self.buckets[(self.earliest % BUCKETS) as usize].head()
    }

    /// The end of the earliest bucket that has a slot.
    pub fn first_end(&self) -> Option<u64> {
        Some((self.first_tick()? + 1).saturating_mul(1 << self.shift))
    }

    fn first_tick(&self) -> Option<u64> {
        (self.cursor.max(self.earliest)..self.cursor + BUCKETS)
            .find(|tick| self.buckets[(tick % BUCKETS) as usize] != List::EMPTY)
    }

    fn tick(&self, at: u64) -> u64 {
        at >> self.shift
    }

    fn bucket(&self, at: u64) -> u16 {
        let tick = self.tick(at).clamp(self.cursor, self.cursor + (BUCKETS - 1));
        (tick % BUCKETS) as u16
    }

    /// How many buckets ahead of the cursor one is.
    fn ahead(&self, bucket: u16) -> u64 {
        u64::from(bucket).wrapping_sub(self.cursor) % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey};

    use super::super::slab::Slot;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn wheel(slots: u32) -> (Wheel, Slab<FlowKey, FlowCounters>) {
        let mut slab = Slab::new(slots as usize).unwrap();
        for _ in 0..slots {
            slab.insert(Slot::new(FlowKey::default(), 0));
        }
        (Wheel::new(Chain::Deadline, 15 * SECOND), slab)
    }

    fn came_up(wheel: &mut Wheel, slab: &Slab<FlowKey, FlowCounters>, now: u64) -> Vec<u32> {
        let mut slots = Vec::new();
        for tick in wheel.turn(now) {
            let mut at = wheel.detach(tick);
            while at != NONE {
                slots.push(at);
                at = slab[at].links[Chain::Deadline as usize].next;
            }
        }
        slots
    }

    #[test]
    fn slots_come_up_in_the_order_of_their_instants() {
        let (mut wheel, mut slab) = wheel(3);
        wheel.start(100 * SECOND);
        wheel.insert(&mut slab, 0, 103 * SECOND);
        wheel.insert(&mut slab, 1, 101 * SECOND);
        wheel.insert(&mut slab, 2, 102 * SECOND);
        assert!(wheel.first_end().unwrap() > 101 * SECOND);
        assert!(wheel.first_end().unwrap() < 101 * SECOND + SECOND / 50);
        assert_eq!(came_up(&mut wheel, &slab, 100 * SECOND), [0; 0]);
        assert_eq!(came_up(&mut wheel, &slab, 102 * SECOND), [1, 2]);
        assert_eq!(came_up(&mut wheel, &slab, 1000 * SECOND), [0]);
        assert_eq!(wheel.first_end(), None);
    }

    #[test]
    fn an_instant_out_of_reach_comes_up_at_the_end_of_the_wheel_and_one_that_is_over_at_once() {
        let (mut wheel, mut slab) = wheel(2);
        wheel.start(100 * SECOND);
        wheel.insert(&mut slab, 0, 100_000 * SECOND);
        wheel.insert(&mut slab, 1, SECOND);
        assert_eq!(came_up(&mut wheel, &slab, 100 * SECOND), [1]);
        assert_eq!(came_up(&mut wheel, &slab, 129 * SECOND), [0; 0]);
        assert_eq!(came_up(&mut wheel, &slab, 161 * SECOND), [0]);
    }

    #[test]
    fn a_slot_moves_only_in_the_direction_asked_for() {
        let (mut wheel, mut slab) = wheel(1);
        wheel.start(100 * SECOND);
        wheel.insert(&mut slab, 0, 110 * SECOND);
        wheel.hasten(&mut slab, 0, 112 * SECOND);
        assert!(!wheel.delay(&mut slab, 0, 105 * SECOND));
        assert!(wheel.first_end().unwrap().abs_diff(110 * SECOND) < SECOND / 50);
        wheel.hasten(&mut slab, 0, 105 * SECOND);
        assert!(wheel.first_end().unwrap().abs_diff(105 * SECOND) < SECOND / 50);
        assert!(wheel.delay(&mut slab, 0, 115 * SECOND));
        assert!(wheel.first_end().unwrap().abs_diff(115 * SECOND) < SECOND / 50);
    }
}
