//! The flow maps: one hash map per CPU and generation in a map of maps, with default or with wide entries.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::{
    Ebpf, Pod,
    maps::{ArrayOfMaps, HashMap, InnerMap, MapData, MapError},
};
use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey, names};
use serde::{Deserialize, Serialize};

use super::{
    Generation, KernelError,
    handed_over::{Descriptors, hand_over},
};

/// Octets of keys and values as aya sees them: maps are typed as octets, values come by bytemuck.
type Default = Maps<[u8; size_of::<FlowKey>()], [u8; size_of::<FlowCounters>()]>;
type Wide = Maps<[u8; size_of::<WideKey>()], [u8; size_of::<WideCounters>()]>;

/// How wide entries are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Width {
    /// [`FlowKey`] and [`FlowCounters`].
    #[default]
    Default,
    /// [`WideKey`] and [`WideCounters`].
    Wide,
}

impl Width {
    /// Octets that one entry of a preallocated hash costs: element header 48, key, value, a bucket of 16.
    /// `bpftool map` says 39,847,072 for 262,144 default entries: 152 each.
    pub const fn octets_per_entry(self) -> u64 {
        let entry = match self {
            Self::Default => size_of::<FlowKey>() + size_of::<FlowCounters>(),
            Self::Wide => size_of::<WideKey>() + size_of::<WideCounters>(),
        };
        48 + entry as u64 + 16
    }
}

/// All flow maps.
pub(super) enum FlowMaps {
    Default(Default),
    Wide(Wide),
}

/// Those of one width.
pub(super) struct Maps<K: Pod, V: Pod> {
    outer: ArrayOfMaps<MapData, HashMap<MapData, K, V>>,
    /// By generation and CPU; `None` for CPUs that were offline at load.
    inner: Vec<Option<HashMap<MapData, K, V>>>,
}

/// The name of the map of maps.
pub(super) const fn outer(width: Width) -> &'static str {
    match width {
        Width::Default => names::MAP_FLOWS,
        Width::Wide => names::MAP_WIDE_FLOWS,
    }
}

/// Makes the maps for the online CPUs and puts them where the programs find them. Returns them by generation and, in
/// the order of `online`, by CPU.
pub(super) fn create(
    ebpf: &mut Ebpf,
    width: Width,
    online: &[u32],
    cpus: u32,
    entries: u32,
) -> Result<Vec<OwnedFd>, KernelError> {
    match width {
        Width::Default => Default::create(ebpf, outer(width), online, cpus, entries),
        Width::Wide => Wide::create(ebpf, outer(width), online, cpus, entries),
    }
}

impl FlowMaps {
    /// The maps that were made for these CPUs.
    pub(super) fn open(
        descriptors: &mut Descriptors,
        width: Width,
        online: &[u32],
        cpus: u32,
    ) -> Result<Self, KernelError> {
        Ok(match width {
            Width::Default => Self::Default(Maps::open(descriptors, outer(width), online, cpus)?),
            Width::Wide => Self::Wide(Maps::open(descriptors, outer(width), online, cpus)?),
        })
    }

    /// The map of a CPU in this generation.
    pub(super) fn of(&self, generation: Generation, cpu: u32, cpus: u32) -> Option<BorrowedFd<'_>> {
        if cpu >= cpus {
            return None;
        }
        let index = (generation.0 * cpus + cpu) as usize;
        match self {
            Self::Default(maps) => maps.inner.get(index)?.as_ref().map(descriptor),
            Self::Wide(maps) => maps.inner.get(index)?.as_ref().map(descriptor),
        }
    }

    /// Waits for one RCU grace period: an update of a map of maps from user space returns only when
    /// the programs that may have seen the old state have ended (kernel 4.20 and newer).
    pub(super) fn wait_for_programs(&mut self) -> Result<(), MapError> {
        match self {
            Self::Default(maps) => maps.put_again(),
            Self::Wide(maps) => maps.put_again(),
        }
    }
}

impl<K: Pod, V: Pod> Maps<K, V> {
    fn create(
        ebpf: &mut Ebpf,
        name: &'static str,
        online: &[u32],
        cpus: u32,
        entries: u32,
    ) -> Result<Vec<OwnedFd>, KernelError> {
        let map = ebpf.map_mut(name).ok_or(KernelError::Missing { name })?;
        let mut outer: ArrayOfMaps<&mut MapData, HashMap<MapData, K, V>> =
            map.try_into().map_err(|source| KernelError::Map { name, source })?;
        let mut inner = Vec::new();
        for generation in 0..names::GENERATIONS {
            for &cpu in online {
                let fail = |source| KernelError::FlowMap { cpu, entries, source };
                let map: HashMap<MapData, K, V> = HashMap::create(entries, 0).map_err(fail)?;
                outer.set(generation * cpus + cpu, &map, 0).map_err(fail)?;
                inner.push(hand_over(descriptor(&map))?);
            }
        }
        Ok(inner)
    }

    fn open(
        descriptors: &mut Descriptors,
        name: &'static str,
        online: &[u32],
        cpus: u32,
    ) -> Result<Self, KernelError> {
        let outer = descriptors.open(name)?;
        let mut inner = Vec::new();
        inner.resize_with((cpus * names::GENERATIONS) as usize, || None);
        for generation in 0..names::GENERATIONS {
            for &cpu in online {
                let map = descriptors.open(name)?;
                if let Some(slot) = inner.get_mut((generation * cpus + cpu) as usize) {
                    *slot = Some(map);
                }
            }
        }
        Ok(Self { outer, inner })
    }

    /// The same map again: nothing changes but the time.
    fn put_again(&mut self) -> Result<(), MapError> {
        let (index, map) = self
            .inner
            .iter()
            .enumerate()
            .find_map(|(index, map)| map.as_ref().map(|map| (index, map)))
            .expect("there is a map for at least one online CPU");
        self.outer.set(index as u32, map, 0)
    }
}

/// The descriptor of a map that may stand in a map of maps (aya shows it by this bound alone).
fn descriptor<M: InnerMap>(map: &M) -> BorrowedFd<'_> {
    map.fd().as_fd()
}
