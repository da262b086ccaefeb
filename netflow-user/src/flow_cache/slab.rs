//! The slots of the flow cache: fixed-size and Pod in one flat array, chained by slot numbers.
//!
//! A slot says everything about its flow; what stands outside (index, wheels, free slots) is derived
//! and can be made again from the slots alone. So the array can live in a mapping that outlives the agent.

use std::collections::TryReserveError;
use std::ops::{Index, IndexMut};

use super::{Counters, Key, memory::in_large_pages};

/// No slot: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Which of a slot's two chains a list runs through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chain {
    /// By deadline. A parked slot, which has none, uses it for the list of its like.
    Deadline = 0,
    /// By the time of the last packet.
    Age = 1,
}

/// Values of [`Slot::state`]. An octet that nobody wrote is a free slot.
pub(super) const FREE: u8 = 0;
/// A flow, found through the index.
pub(super) const LIVE: u8 = 1;
/// What a flow was before this flip, where its packets paused long enough to end it; see `FlowCache::park`.
pub(super) const PARKED: u8 = 2;

/// FIN and RST (RFC 9293 section 3.1).
const TCP_FIN_OR_RST: u16 = 0x05;

/// Neighbours in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Link {
    pub prev: u32,
    pub next: u32,
}

impl Link {
    const LOOSE: Self = Self { prev: NONE, next: NONE };
}

/// One flow; with a default entry 128 octets: two cache lines. Plain octets all through, as key and counters are.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Slot<K, C> {
    pub key: K,
    /// Since the flow's previous record. Without packets, `last` still says when the flow was last seen.
    pub counters: C,
    /// The end of the flow's previous record, before which the next one must not start (METER-TIME-4).
    pub floor: u64,
    /// By [`Chain`].
    pub links: [Link; 2],
    /// The wheels' buckets the slot is in, by [`Chain`].
    pub buckets: [u16; 2],
    /// The flip that last brought packets.
    pub flip: u32,
    /// Of a live slot: its parked part, or [`NONE`]. Of a parked one: the live slot it belongs to.
    pub parked: u32,
    /// [`FREE`], [`LIVE`] or [`PARKED`].
    pub state: u8,
    /// 1 once a FIN or RST was seen, kept until the flow ends, over active timeouts too.
    pub ending: u8,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Slot<netflow_common::FlowKey, netflow_common::FlowCounters>>() == 128);

impl<K: Key, C: Counters> Slot<K, C> {
    /// A new flow without packets so far.
    pub fn new(key: K, flip: u32) -> Self {
        Self {
            key,
            counters: C::zeroed(),
            floor: 0,
            links: [Link::LOOSE; 2],
            buckets: [0; 2],
            flip,
            parked: NONE,
            state: LIVE,
            ending: 0,
            reserved: 0,
        }
    }

    /// Reads the first and the second cache line, and says something that depends on both.
    pub fn touch(&self) -> u64 {
        u64::from(self.key.flow().interface ^ self.flip)
    }

    /// Adds a delta. Clocks of different processors and the edge of a flip may put a packet a few
    /// milliseconds before the previous record's end: it is moved onto that end.
    pub fn add(&mut self, delta: &C) {
        let delta = delta.not_before(self.floor);
        if self.counters.packets() == 0 {
            self.counters = self.counters.followed_by(delta);
        } else {
            self.counters.merge(&delta);
        }
        if self.key.is_tcp() && delta.tcp_control_bits() & TCP_FIN_OR_RST != 0 {
            self.ending = 1;
        }
    }

    /// Forgets the packets, which went into a record; remembers when it was and that the flow is ending.
    pub fn restart(&mut self) {
        self.floor = self.counters.last();
        self.counters = self.counters.none_since(self.floor);
    }

    /// Forgets all but the key and when its last packet was: what comes is another flow.
    pub fn renew(&mut self) {
        self.floor = self.counters.last();
        self.counters = C::zeroed().none_since(self.floor);
        self.ending = 0;
    }
}

/// The array of slots.
pub(super) struct Slab<K, C> {
    slots: Vec<Slot<K, C>>,
    /// Those that were released, the last one on top: it is the one that the processor's cache may still have.
    free: Vec<u32>,
}

impl<K, C> Slab<K, C> {
    /// Address space for `capacity` slots. The kernel gives memory only to slots that were written,
    /// so an empty cache costs nothing and a growing one never moves.
    pub fn new(capacity: usize) -> Result<Self, TryReserveError> {
        let (mut slots, mut free) = (Vec::new(), Vec::new());
        slots.try_reserve_exact(capacity)?;
        in_large_pages(&mut slots);
        free.try_reserve_exact(capacity)?;
        Ok(Self { slots, free })
    }

    /// Takes a free slot, or the next one never used.
    pub fn insert(&mut self, slot: Slot<K, C>) -> u32 {
        if let Some(at) = self.free.pop() {
            self[at] = slot;
            return at;
        }
        let at = u32::try_from(self.slots.len()).expect("the capacity is limited to a quarter of u32");
        self.slots.push(slot);
        at
    }

    /// Gives a slot back; it must be in no list.
    pub fn release(&mut self, at: u32) {
        self[at].state = FREE;
        self.free.push(at);
    }

    /// The slots that the next insertions take, of those that were in use before.
    pub fn next_free(&self) -> impl Iterator<Item = u32> {
        self.free.iter().rev().copied()
    }

    /// Slots ever used: those of the highest number of flows at one time, not of the capacity.
    pub fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// All slots ever used, free ones included.
    pub fn slots(&self) -> &[Slot<K, C>] {
        &self.slots
    }

    /// Forgets all slots, but keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
    }

    /// Makes the list of free slots again from the slots' states.
    pub fn rebuild(&mut self) {
        self.free.clear();
        for at in 0..self.len() {
            if self[at].state == FREE {
                self.release(at);
            }
        }
    }
}

impl<K, C> Index<u32> for Slab<K, C> {
    type Output = Slot<K, C>;

    fn index(&self, at: u32) -> &Slot<K, C> {
        &self.slots[at as usize]
    }
}

impl<K, C> IndexMut<u32> for Slab<K, C> {
    fn index_mut(&mut self, at: u32) -> &mut Slot<K, C> {
        &mut self.slots[at as usize]
    }
}

/// A doubly linked list through the slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// The slot that stands there longest.
    pub fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// Adds a slot at the end.
    pub fn push<K, C>(&mut self, slab: &mut Slab<K, C>, chain: Chain, at: u32) {
        slab[at].links[chain as usize] = Link { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = at,
            tail => slab[tail].links[chain as usize].next = at,
        }
        self.tail = at;
    }

    /// Takes a slot out.
    pub fn remove<K, C>(&mut self, slab: &mut Slab<K, C>, chain: Chain, at: u32) {
        let Link { prev, next } = slab[at].links[chain as usize];
        match prev {
            NONE => self.head = next,
            prev => slab[prev].links[chain as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => slab[next].links[chain as usize].prev = prev,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey};

    use super::*;

    #[test]
    fn a_released_slot_is_used_again_before_a_new_one() {
        let mut slab = Slab::<FlowKey, FlowCounters>::new(4).unwrap();
        let slot = Slot::new(FlowKey::default(), 0);
        let taken: Vec<u32> = (0..3).map(|_| slab.insert(slot)).collect();
        assert_eq!(taken, [0, 1, 2]);
        slab.release(1);
        assert_eq!((slab.insert(slot), slab.insert(slot), slab.len()), (1, 3, 4));
    }

    #[test]
    fn a_list_gives_slots_in_order_and_lets_go_of_any() {
        let mut slab = Slab::<FlowKey, FlowCounters>::new(4).unwrap();
        let mut list = List::EMPTY;
        for _ in 0..4 {
            let at = slab.insert(Slot::new(FlowKey::default(), 0));
            list.push(&mut slab, Chain::Age, at);
        }
        list.remove(&mut slab, Chain::Age, 2);
        list.remove(&mut slab, Chain::Age, 0);
        list.remove(&mut slab, Chain::Age, 3);
        assert_eq!(list.head(), Some(1));
        list.remove(&mut slab, Chain::Age, 1);
        assert_eq!(list, List::EMPTY);
    }

    #[test]
    fn a_record_after_an_active_timeout_starts_no_earlier_than_the_last_one_ended() {
        let mut slot = Slot::<FlowKey, FlowCounters>::new(FlowKey::default(), 0);
        slot.add(&FlowCounters { packets: 1, octets: 40, first: 10, last: 20, ..FlowCounters::default() });
        slot.restart();
        assert_eq!((slot.counters.packets, slot.counters.last), (0, 20));
        slot.add(&FlowCounters { packets: 2, octets: 80, first: 18, last: 19, ..FlowCounters::default() });
        assert_eq!((slot.counters.packets, slot.counters.first, slot.counters.last), (2, 20, 20));
    }
}
