//! A flow map: a hash map as it stands in a map of maps, described by the sizes of its key and value alone.
//!
//! aya's own `HashMap` describes them by their types, so the template that the loader makes carries BTF, and the maps
//! that the agent makes do not. Kernels 5.15 to 6.2 compare what a map's BTF says about timers, and for them "no BTF"
//! and "no timer in it" differ: they refuse every flow map with EINVAL. Without types both sides have no BTF.
//!
//! Unsafe: helpers take raw pointers.
#![allow(unsafe_code, reason = "the helpers for maps take raw pointers")]

use core::ptr;

use aya_ebpf::{
    bindings::bpf_map_type::{BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_PERCPU_HASH},
    helpers::generated::{bpf_map_lookup_elem, bpf_map_update_elem},
};
use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey};

/// A key or value; its size as a type, which is how a map's description says numbers.
pub(crate) trait Entry {
    /// `[u8; size_of::<Self>()]`
    type Octets;
}

macro_rules! entry {
    ($($type:ty),+) => {$(
        impl Entry for $type {
            type Octets = [u8; size_of::<$type>()];
        }
    )+};
}
entry!(FlowKey, FlowCounters, WideKey, WideCounters);

/// A hash; others only to be measured beside it.
const MAP_TYPE: usize = if cfg!(feature = "bench-lru-hash") {
    BPF_MAP_TYPE_LRU_HASH as usize
} else if cfg!(feature = "bench-percpu-hash") {
    BPF_MAP_TYPE_PERCPU_HASH as usize
} else {
    BPF_MAP_TYPE_HASH as usize
};

/// The members' names and types are the description; the loader reads them from the object's BTF.
#[repr(C)]
pub(crate) struct FlowMap<K: Entry, V: Entry> {
    r#type: *const [u8; MAP_TYPE],
    key_size: *const K::Octets,
    value_size: *const V::Octets,
    // The agent makes the maps in the size that it needs.
    max_entries: *const [u8; 1],
}

impl<K: Entry, V: Entry> FlowMap<K, V> {
    /// The value of a key, in place.
    #[inline(always)]
    pub(crate) fn get_ptr_mut(&self, key: &K) -> Option<*mut V> {
        // SAFETY: `self` is a map that the map of maps gave out, whose keys are K by its description.
        let value =
            unsafe { bpf_map_lookup_elem(ptr::from_ref(self).cast_mut().cast(), ptr::from_ref(key).cast()) };
        (!value.is_null()).then_some(value.cast())
    }

    /// Enters a value, as `flags` say; whether it found place.
    #[inline(always)]
    pub(crate) fn insert(&self, key: &K, value: &V, flags: u64) -> Result<(), i32> {
        let (map, key, value) = (ptr::from_ref(self).cast_mut(), ptr::from_ref(key), ptr::from_ref(value));
        // SAFETY: as above; the helper copies a K and a V.
        match unsafe { bpf_map_update_elem(map.cast(), key.cast(), value.cast(), flags) } {
            0 => Ok(()),
            error => Err(error as i32),
        }
    }
}
