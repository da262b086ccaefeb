//! The meter's program over flow maps of other kinds: what the usual ways to keep flows cost beside its own.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{ArrayOfMaps, MapData, PerCpuArray, PerCpuValues},
    programs::{ProgramFd, Xdp},
};
use netflow_common::{FlowCounters, FlowKey, KernelStats, Settings, names};

/// `enum bpf_map_type` of `linux/bpf.h`.
const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_PERCPU_HASH: u32 = 5;
const BPF_MAP_TYPE_LRU_HASH: u32 = 9;

/// A way to keep flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One `HASH` for all CPUs.
    Shared,
    /// One `PERCPU_HASH`.
    PerCpu,
    /// One `LRU_HASH` for all CPUs.
    Lru,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shared, Self::PerCpu, Self::Lru];

    /// As a row's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "one shared HASH",
            Self::PerCpu => "PERCPU_HASH",
            Self::Lru => "one shared LRU_HASH",
        }
    }

    fn object(self) -> &'static [u8] {
        match self {
            Self::Shared => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netflow-ebpf-hash")),
            Self::PerCpu => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netflow-ebpf-percpu-hash")),
            Self::Lru => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netflow-ebpf-lru-hash")),
        }
    }

    const fn map_type(self) -> u32 {
        match self {
            Self::Shared => BPF_MAP_TYPE_HASH,
            Self::PerCpu => BPF_MAP_TYPE_PERCPU_HASH,
            Self::Lru => BPF_MAP_TYPE_LRU_HASH,
        }
    }

    /// Octets that a map of so many entries takes, about.
    pub fn octets(self, entries: u32, possible_cpus: usize) -> u64 {
        let values = if self == Self::PerCpu { possible_cpus as u64 } else { 1 };
        u64::from(entries) * (64 + size_of::<FlowKey>() as u64 + values * size_of::<FlowCounters>() as u64)
    }
}

/// The program, loaded over one map.
pub struct Variant {
    ebpf: Ebpf,
    entries: u32,
    kind: Kind,
    cpus: u32,
    flows: ArrayOfMaps<MapData, MapData>,
    stats: PerCpuArray<MapData, [u8; size_of::<KernelStats>()]>,
}

impl Variant {
    /// Loads it for so many CPUs.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn load(kind: Kind, entries: u32, cpus: u32) -> Result<Self> {
        let settings = Settings { cpus, watermark: u32::MAX, ..Settings::default() };
        let mut ebpf = EbpfLoader::new()
            .override_global(names::GLOBAL_SETTINGS, bytemuck::bytes_of(&settings), true)
            .map_max_entries(names::MAP_FLOWS, cpus * names::GENERATIONS)
            .load(kind.object())
            .with_context(|| format!("cannot load the program over {}", kind.name()))?;
        let flows = ebpf.take_map(names::MAP_FLOWS).context("no map of flow maps")?;
        let stats = PerCpuArray::try_from(ebpf.take_map(names::MAP_STATS).context("no totals")?)?;
        let flows = ArrayOfMaps::try_from(flows)?;
        let mut variant = Self { flows, stats, ebpf, entries, kind, cpus };
        variant.empty()?;
        let program: &mut Xdp =
            variant.ebpf.program_mut(names::PROGRAM_XDP_FRAGS).context("no program")?.try_into()?;
        program.load().with_context(|| format!("the kernel refuses the program over {}", kind.name()))?;
        Ok(variant)
    }

    /// Gives it a new map.
    ///
    /// # Errors
    /// No memory for it.
    pub fn empty(&mut self) -> Result<()> {
        let map = aya_obj::Map::new_from_params(
            self.kind.map_type(),
            size_of::<FlowKey>() as u32,
            size_of::<FlowCounters>() as u32,
            self.entries,
            0,
        );
        let map = MapData::create(map, "bench_flows", None)
            .with_context(|| format!("cannot make {} of {} entries", self.kind.name(), self.entries))?;
        for place in 0..self.cpus * names::GENERATIONS {
            self.flows.set(place, &map, 0)?;
        }
        Ok(())
    }

    /// Totals since they were taken the last time.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn take_stats(&mut self) -> Result<KernelStats> {
        let mut sum = KernelStats::default();
        let values = self.stats.get(&0, 0)?;
        values.iter().for_each(|octets| sum.add(&bytemuck::pod_read_unaligned(octets)));
        let zero = PerCpuValues::try_from(vec![[0; size_of::<KernelStats>()]; values.len()])?;
        self.stats.set(0, zero, 0)?;
        Ok(sum)
    }

    /// What is to be called.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn program(&self) -> Result<&ProgramFd> {
        Ok(self.ebpf.program(names::PROGRAM_XDP_FRAGS).context("no program")?.fd()?)
    }
}
