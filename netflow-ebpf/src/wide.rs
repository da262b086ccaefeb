//! Wide entries in the kernel: put together in scratch memory, entered into maps of their own.
//!
//! Unsafe: map values are reached through the raw pointers that the helpers return.
#![allow(unsafe_code, reason = "map values are only reachable through raw pointers")]

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{ArrayOfMaps, PerCpuArray},
    macros::btf_map,
};
use netflow_common::{Group, IpVersion, Loss, Refusal, Settings, Tunnel, WideCounters, WideKey, WideScratch};
use netflow_ebpf::packet::{
    self, Frame, LinkType, Observer as _, OnWire, Packet, PacketObserver, Wanted, Wide,
};

use crate::{
    flow_map::FlowMap,
    flow_table::{self, Place},
    map::{self, Books, setting, setting_word},
    state::Connections,
};

/// Sizes below marked 1 are set by the agent at load.
const SET_AT_LOAD: usize = 1;

type WideFlowMap = FlowMap<WideKey, WideCounters>;

/// The flow maps with wide entries: index `generation * cpus + cpu`, one writer each.
#[btf_map]
static WIDE_FLOWS: ArrayOfMaps<WideFlowMap, SET_AT_LOAD> = ArrayOfMaps::new();

/// Where this CPU puts an entry together.
#[btf_map]
static WIDE_SCRATCH: PerCpuArray<WideScratch, 1> = PerCpuArray::new();

/// What the operator asked for, as the verifier sees it: constants.
#[derive(Clone, Copy)]
struct AskedFor;

impl Wanted for AskedFor {
    #[inline(always)]
    fn group(&self, group: Group) -> bool {
        setting!(groups) & group.bit() != 0
    }

    #[inline(always)]
    fn tunnel(&self, tunnel: Tunnel) -> bool {
        setting!(tunnels) & tunnel.bit() != 0
    }

    #[inline(always)]
    fn settle(&self, memory: &mut [u64; 9], words: [u64; 9]) -> [u64; 9] {
        let mut settled = words;
        for ((place, word), settled) in memory.iter_mut().zip(words).zip(&mut settled) {
            // SAFETY: a word of this CPU's scratch value; volatile, so that what is read is not what was known.
            unsafe {
                core::ptr::write_volatile(place, word);
                *settled = core::ptr::read_volatile(place);
            }
        }
        settled
    }
}

/// Writes zeroes: one word after the other, since of a loop over pointers the verifier does not see the end, and
/// volatile, or the compiler makes a call to a loop over octets of it.
macro_rules! empty {
    ($words:ident: $($place:literal)*) => {
        // SAFETY: words of the value, at places within the array.
        unsafe { $(core::ptr::write_volatile(&raw mut $words[$place], 0);)* }
    };
}

/// Copies words, for the same reason in the same way.
macro_rules! copy {
    ($from:ident -> $to:ident: $($place:literal)*) => {
        // SAFETY: words of the value, at places within the array.
        unsafe { $(core::ptr::write_volatile(&raw mut $to[$place], $from[$place]);)* }
    };
}

/// Reads a frame into this CPU's scratch entry.
#[inline(always)]
pub(crate) fn parse<F: Frame + ?Sized>(
    frame: &F,
    link: LinkType,
    observed: &mut PacketObserver,
) -> Option<Result<Packet, Refusal>> {
    let entry = WIDE_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's value, which nobody else uses while this program runs.
    let entry = unsafe { &mut *entry };
    let key: &mut [u64; 9] = bytemuck::cast_mut(&mut entry.key);
    let delta: &mut [u64; 20] = bytemuck::cast_mut(&mut entry.delta);
    empty!(key: 0 1 2 3 4 5 6 7 8);
    empty!(delta: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    let mut wide = Wide::over(AskedFor, entry);
    let parsed = packet::parse_inner(frame, link, &mut wide);
    *observed = PacketObserver { fragment: wide.fragment(), payload: wide.payload_offset() };
    Some(parsed)
}

impl Books {
    /// Enters a flow packet, whose frame `parse` has read, into its flow, or counts it as lost.
    #[inline(always)]
    pub(crate) fn account_wide(
        &self,
        packet: &Packet,
        observed: &PacketObserver,
        on_wire: &OnWire,
    ) -> Option<()> {
        let entry = WIDE_SCRATCH.get_ptr_mut(0)?;
        // SAFETY: as above.
        let WideScratch { key, delta, .. } = unsafe { &mut *entry };
        let now = map::now();
        // SAFETY: as above.
        Wide::over(AskedFor, unsafe { &mut *entry }).finish(packet, observed.fragment, on_wire, now);
        self.enter_seen(packet, on_wire.frame_octets);
        if AskedFor.group(Group::Tcp) && !observed.fragment.is_some() {
            // SAFETY: as above.
            let segment = Wide::over(AskedFor, unsafe { &mut *entry }).segment();
            packet::follow(packet, segment, delta, &mut Connections);
        }
        mask(key);
        let Some((index, cpu)) = map::flow_map(self) else {
            self.lose(Loss::CpuWithoutMap, packet);
            return Some(());
        };
        if setting!(table_buckets[Settings::OTHER_SLOTS]) != 0 {
            match flow_table::wide(self, index, cpu, &*key) {
                Some(Place::Counters(counters)) => {
                    map::add(&mut counters.flow, packet, self.weight(), now);
                    counters.add_later(delta);
                    return Some(());
                }
                Some(Place::New(counters)) => {
                    map::mark_initial_syn(&mut delta.flow, packet);
                    let from: &[u64; 20] = bytemuck::cast_ref(&*delta);
                    let to: &mut [u64; 20] = bytemuck::cast_mut(counters);
                    copy!(from -> to: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
                    return Some(());
                }
                None => {}
            }
        }
        let Some(flows) = WIDE_FLOWS.get(index) else {
            self.lose(Loss::CpuWithoutMap, packet);
            return Some(());
        };
        if let Some(counters) = flows.get_ptr_mut(&*key) {
            // SAFETY: an entry of this CPU's own map, as in `map`.
            let counters = unsafe { &mut *counters };
            map::add(&mut counters.flow, packet, self.weight(), now);
            counters.add_later(delta);
            return Some(());
        }
        map::mark_initial_syn(&mut delta.flow, packet);
        if flows.insert(&*key, &*delta, u64::from(BPF_NOEXIST)).is_err() {
            self.lose(Loss::MapFull, packet);
            return Some(());
        }
        self.inserted(cpu);
        Some(())
    }
}

/// Leaves of the key what tells flows apart.
#[inline(always)]
fn mask(key: &mut WideKey) {
    let is_v4 = key.flow.ip_version == IpVersion::V4;
    let words: &mut [u64; 9] = bytemuck::cast_mut(key);
    if is_v4 {
        packet::mask(words, |place| setting_word!(Settings::IPV4, place));
    } else {
        packet::mask(words, |place| setting_word!(Settings::IPV6, place));
    }
}
