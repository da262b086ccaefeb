//! What the half with privileges hands to the half without: descriptors in an order that both know.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    vec,
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
};
use netflow_common::names;
use serde::{Deserialize, Serialize};

use super::{
    KernelError, Sizes, Width,
    flow_maps::outer,
    flow_table::{FlowTable, TableSizes},
};

/// What came out of loading, for the half that works with its maps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub(super) sizes: Sizes,
    pub(super) width: Width,
    /// CPUs that had maps made for them, and one more than the highest.
    pub(super) online: Vec<u32>,
    pub(super) cpus: u32,
    /// Whether its XDP program takes frames of several buffers, and its id.
    pub(super) fragments: bool,
    pub(super) xdp_program: Option<u32>,
}

impl Loaded {
    /// The maps of the object whose descriptors are handed over, in this order. Behind them come the flow maps by
    /// generation and CPU, and the clock program.
    pub(super) fn maps(&self) -> impl Iterator<Item = &'static str> {
        let always = [
            names::MAP_SAMPLING,
            names::MAP_STATS,
            names::MAP_GENERATION,
            names::MAP_CLOCK,
            names::MAP_WATERMARK,
            names::MAP_OWN_PORTS,
            names::MAP_OWN_EXPORT,
        ];
        let table = FlowTable::names(TableSizes::new(self.sizes.flow_table), self.width);
        always.into_iter().chain(table).chain([outer(self.width)])
    }
}

/// A descriptor of the same kernel object for the other half.
pub(super) fn hand_over(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, KernelError> {
    descriptor.try_clone_to_owned().map_err(|source| KernelError::HandOver { source })
}

/// The descriptor of a map of the object.
pub(super) fn of_map(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, KernelError> {
    use std::os::fd::AsFd as _;
    match ebpf.map(name) {
        Some(
            Map::Array(map)
            | Map::PerCpuArray(map)
            | Map::HashMap(map)
            | Map::RingBuf(map)
            | Map::ArrayOfMaps(map),
        ) => hand_over(map.fd().as_fd()),
        _ => Err(KernelError::Missing { name }),
    }
}

/// Descriptors as they were handed over.
pub(super) struct Descriptors(vec::IntoIter<OwnedFd>);

impl Descriptors {
    pub(super) fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self(descriptors.into_iter())
    }

    /// The next one, which is that of `name`.
    pub(super) fn next(&mut self, name: &'static str) -> Result<OwnedFd, KernelError> {
        self.0.next().ok_or(KernelError::Missing { name })
    }

    /// The next one as a map. Asks the kernel what it is, for which no privilege is needed.
    pub(super) fn open<M: TryFrom<Map, Error = MapError>>(
        &mut self,
        name: &'static str,
    ) -> Result<M, KernelError> {
        let map = MapData::from_fd(self.next(name)?).and_then(Map::from_map_data);
        map.and_then(M::try_from).map_err(|source| KernelError::Map { name, source })
    }
}
