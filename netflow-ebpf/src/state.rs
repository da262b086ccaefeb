//! What outlives the generations: bounded LRU maps, in which losing an entry loses a measurement and never
//! a packet. Beside them, what sampling counts.
//!
//! Unsafe: map values are reached through the raw pointers that the helpers return.
#![allow(unsafe_code, reason = "map values are only reachable through raw pointers")]

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray},
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns},
    macros::btf_map,
};
use netflow_common::{FlowKey, Sampling, SamplingMode, names::GENERATIONS};
use netflow_ebpf::packet::{Expectation, FirstFragment, FragmentKey, FragmentState, Handshake, TcpState};

use crate::map::setting;

/// Sizes below marked 1 are set by the agent at load.
const SET_AT_LOAD: usize = 1;

/// First fragments, shared by all CPUs.
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, FirstFragment, SET_AT_LOAD> = LruHashMap::new();

/// How many packets are metered, by generation: a change begins with a generation, and no packet of another one is
/// under it.
#[btf_map]
static SAMPLING: Array<Sampling, { GENERATIONS as usize }> = Array::new();

/// Packets of this CPU since the last one that was selected.
#[btf_map]
static SKIPPED: PerCpuArray<u32, 1> = PerCpuArray::new();

/// What is expected of TCP connections, shared by all CPUs.
#[btf_map]
static TCP: LruHashMap<FlowKey, Expectation, SET_AT_LOAD> = LruHashMap::new();

/// When SYNs were seen, nanoseconds of the kernel's monotonic clock.
#[btf_map]
static HANDSHAKES: LruHashMap<Handshake, u64, SET_AT_LOAD> = LruHashMap::new();

/// The kernel's memory of TCP connections.
pub(crate) struct Connections;

impl TcpState for Connections {
    #[inline(always)]
    fn expectation(&mut self, key: &FlowKey) -> Option<Expectation> {
        // SAFETY: a copy of sixteen octets; two CPUs that see one connection at once may confuse its order.
        unsafe { TCP.get_ptr(key).map(|expectation| *expectation) }
    }

    #[inline(always)]
    fn expect(&mut self, key: &FlowKey, expectation: &Expectation) {
        if let Some(known) = TCP.get_ptr_mut(key) {
            // SAFETY: as above.
            unsafe { *known = *expectation };
        } else {
            let _ = TCP.insert(key, expectation, u64::from(BPF_ANY));
        }
    }

    #[inline(always)]
    fn began(&mut self, handshake: &Handshake) {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        let _ = HANDSHAKES.insert(handshake, now, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn took(&mut self, handshake: &Handshake) -> Option<u64> {
        // SAFETY: a copy of a word.
        let began = unsafe { *HANDSHAKES.get_ptr(handshake)? };
        let _ = HANDSHAKES.remove(handshake);
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        (now > began).then(|| now - began)
    }
}

/// The kernel's memory of first fragments.
pub(crate) struct Fragments;

impl FragmentState for Fragments {
    #[inline(always)]
    fn remember(&mut self, key: &FragmentKey, first: &FirstFragment) {
        // Where it fails, later fragments have no ports, and are counted as such.
        let _ = FRAGMENTS.insert(key, first, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn recall(&mut self, key: &FragmentKey) -> Option<FirstFragment> {
        // SAFETY: a copy of eight octets; another CPU that replaces them at this moment may have this fragment
        // take another packet's ports, as a reused identification would.
        unsafe { FRAGMENTS.get_ptr(key).map(|first| *first) }
    }
}

/// Local ports of the agent's own sockets, a bit each.
#[btf_map]
static OWN_PORTS: Array<u64, { (u16::MAX as usize + 1) / u64::BITS as usize }> = Array::new();

/// Those sockets, by what their packets have in common.
#[btf_map]
static OWN_EXPORT: HashMap<FlowKey, u8, SET_AT_LOAD> = HashMap::new();

/// Whether it is a message that this exporter sends. Almost every other packet costs two comparisons, or one bit more
/// if it is UDP (or TCP or SCTP, where the exporter has connections).
#[inline(always)]
pub(crate) fn is_own_export(key: &FlowKey) -> bool {
    let is_connection = || key.protocol == FlowKey::TCP || key.protocol == FlowKey::SCTP;
    if key.protocol != FlowKey::UDP && (setting!(own_connections) == 0 || !is_connection()) {
        return false;
    }
    let port = u32::from(key.source_port.value());
    let Some(word) = OWN_PORTS.get_ptr(port / u64::BITS) else { return false };
    // SAFETY: a word of the array, read once.
    let bits = unsafe { core::ptr::read_volatile(word) };
    bits >> (port % u64::BITS) & 1 != 0 && OWN_EXPORT.get_ptr(&key.session()).is_some()
}

/// Whether sampling selects this packet. Only called where sampling is on.
#[inline(always)]
pub(crate) fn selected(key: &FlowKey, generation: u32) -> bool {
    let Some(sampling) = SAMPLING.get_ptr(generation) else { return true };
    // SAFETY: a value of the array; both words are read once.
    let (interval, threshold) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*sampling).interval),
            core::ptr::read_volatile(&raw const (*sampling).threshold),
        )
    };
    let mode = setting!(sampling);
    if mode == SamplingMode::Count as u8 {
        let Some(skipped) = SKIPPED.get_ptr_mut(0) else { return true };
        // SAFETY: this CPU's value, in softirq context.
        let skipped = unsafe { &mut *skipped };
        *skipped += 1;
        if *skipped < interval {
            return false;
        }
        *skipped = 0;
        true
    } else if mode == SamplingMode::Random as u8 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() <= threshold }
    } else {
        hash(key, setting!(seed)) <= threshold
    }
}

/// A hash of the key that nobody can aim at without the seed; the same on every CPU, so that a flow is metered whole.
#[inline(always)]
fn hash(key: &FlowKey, seed: u64) -> u32 {
    netflow_ebpf::packet::sampling_hash(key, seed)
}
