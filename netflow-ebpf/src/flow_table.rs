//! The flow table: what is counted of most packets, in one or two cache lines and without a call.
//!
//! It stands in front of the flow maps and takes what it has room for; nothing is evicted, and what finds no slot goes
//! to the map behind it. One array for each kind of slot, of which every CPU has a part in each generation.
//!
//! Unsafe: map values are reached through raw pointers.
#![allow(unsafe_code, reason = "map values are only reachable through raw pointers")]

use aya_ebpf::{bindings::BPF_F_MMAPABLE, btf_maps::Array, macros::btf_map};
use netflow_common::{FlowKey, FlowSlot, Ipv4Slot, Settings, Slot, WAYS, WideKey, WideSlot};
use netflow_ebpf::table::{self, Found};

use crate::map::{Books, setting};

/// Sizes below marked 1 are set by the agent at load.
const SET_AT_LOAD: usize = 1;
/// The agent reads and empties them without a system call. (Nothing else begins on a cache line.)
const MAPPED: usize = BPF_F_MMAPABLE as usize;

type Slots<S> = Array<[S; WAYS], SET_AT_LOAD, MAPPED>;
type Used = Array<u64, SET_AT_LOAD, MAPPED>;

/// IPv4 with default values.
#[btf_map]
static IPV4_SLOTS: Slots<Ipv4Slot> = Slots::new();

/// Other default entries.
#[btf_map]
static FLOW_SLOTS: Slots<FlowSlot> = Slots::new();

/// Wide entries.
#[btf_map]
static WIDE_SLOTS: Slots<WideSlot> = Slots::new();

/// Which slots are used, a bit each.
#[btf_map]
static IPV4_USED: Used = Used::new();

/// The same of the other slots.
#[btf_map]
static OTHER_USED: Used = Used::new();

/// A slot for a key.
pub(crate) enum Place<C: 'static> {
    /// Its counters, to be added to.
    Counters(&'static mut C),
    /// Just taken: nothing stands there yet.
    New(&'static mut C),
}

macro_rules! table {
    ($(#[$attribute:meta])* $name:ident($key:ty) -> $slot:ty, $slots:ident, $used:ident, $kind:expr) => {
        $(#[$attribute])*
        #[inline(always)]
        pub(crate) fn $name(
            books: &Books,
            index: u32,
            cpu: u32,
            key: &$key,
        ) -> Option<Place<<$slot as Slot>::Counters>> {
            let words = <$slot>::words(key);
            let hash = table::hash(&words, |place| setting!(table_seeds[place]));
            let buckets = setting!(table_buckets[$kind]);
            let (bucket, first) = table::place(hash, buckets);
            let bucket = index * buckets + bucket;
            // SAFETY: this CPU's part of the array in this generation: no other writer, and nobody reads it yet.
            let slots = unsafe { &mut *$slots.get_ptr_mut(bucket)? };
            match table::find(slots, &words, first)? {
                Found::Here(way) => Some(Place::Counters(slots[way % WAYS].counters_mut())),
                Found::Empty(way) => {
                    let slot = bucket * WAYS as u32 + way as u32;
                    // SAFETY: as above: a CPU's slots fill whole words.
                    let used = unsafe { &mut *$used.get_ptr_mut(slot / u64::BITS)? };
                    *used |= 1 << (slot % u64::BITS);
                    slots[way % WAYS].claim(&words);
                    books.took_slot($kind, cpu);
                    Some(Place::New(slots[way % WAYS].counters_mut()))
                }
            }
        }
    };
}

table! {
    /// The slot of an IPv4 key; `None` where the table has none for it. `index` is that of the CPU and generation.
    ipv4(FlowKey) -> Ipv4Slot, IPV4_SLOTS, IPV4_USED, Settings::IPV4_SLOTS
}
table! {
    /// The slot of any key.
    flow(FlowKey) -> FlowSlot, FLOW_SLOTS, OTHER_USED, Settings::OTHER_SLOTS
}
table! {
    /// The slot of a wide key.
    wide(WideKey) -> WideSlot, WIDE_SLOTS, OTHER_USED, Settings::OTHER_SLOTS
}
