//! Loading: sizes within the memory limit, settings, maps, programs.

use std::{
    hash::{BuildHasher as _, RandomState},
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    maps::MapError,
    util::{nr_cpus, online_cpus},
};
use aya_log::EbpfLogger;
use netflow_common::{Group, Settings, names};
use netflow_ebpf::packet::Wanted as _;
use serde::{Deserialize, Serialize};

use super::{
    EntryPoint, KernelError, KernelVersion, Measure, Width, entry_point,
    error::os_error,
    flow_maps,
    flow_table::TableSizes,
    handed_over::{Loaded, hand_over, of_map},
    loader::Loader,
    own_export::{self, OwnExport},
    permissions,
};
use crate::filter::Filter;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netflow-ebpf"));

/// Fewer entries than this are of no use to anyone.
const SMALLEST_MAP: u32 = 64;
/// The agent is told when half of a map is filled. Told at three quarters it came too late: of 20 million
/// packets that were a new entry each, at 1 Mpps on two cores, 0.1 to 0.2 % found the map full.
const WATERMARK_SHARE: u32 = 2;

/// What was decided about the meter.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Entries per CPU and generation that are asked for.
    pub map_size: u32,
    /// Slots of the flow table in front of them, by CPU and generation; 0: none.
    pub flow_table: u32,
    /// Limit for all flow maps and the flow table together, octets.
    pub kernel_memory: u64,
    /// `bpf_ktime_get_ns` in place of `bpf_jiffies64`.
    pub precise_clock: bool,
    /// Drop every packet after counting it.
    pub tap: bool,
    /// Let the program log why it refuses packets.
    pub explain: bool,
    /// What is measured, and of which packets.
    pub measure: Measure,
    /// Meter only what it matches.
    pub filter: Option<Arc<Filter>>,
    /// Which messages of this exporter are left out.
    pub own_export: OwnExport,
    /// Whether some of them go over TCP or SCTP.
    pub own_connections: bool,
}

/// First fragments that are remembered: 40 octets of key and 8 of value each.
const FRAGMENTS: u32 = 16_384;
/// Directions of TCP connections whose sequence numbers are remembered: 48 octets of key and 16 of value each.
const CONNECTIONS: u32 = 131_072;
/// SYNs that wait for their SYN-ACK: 40 octets of key and 8 of value each.
const HANDSHAKES: u32 = 16_384;

/// What came out of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sizes {
    /// CPUs that have maps.
    pub cpus: u32,
    /// Entries of each map.
    pub map_size: u32,
    /// Slots of IPv4 in each part of the flow table; of the others there are half as many.
    pub flow_table: u32,
    /// Octets of all flow maps and the flow table together, about.
    pub kernel_memory: u64,
}

impl Sizes {
    /// As many entries and slots as were asked for, or as fit into the limit: the table gets half of it at most, and
    /// the maps, behind which packets are lost, what is left.
    pub fn within(options: &LoadOptions, cpus: u32) -> Self {
        let parts = u64::from(cpus.max(1)) * u64::from(names::GENERATIONS);
        let octets_per_entry = options.measure.width().octets_per_entry();
        let each = options.kernel_memory / parts;
        let wanted = u64::from(options.map_size) * octets_per_entry;
        let mut table = TableSizes::new(options.flow_table);
        while table.octets() > each.saturating_sub(wanted).max(each / 2) {
            table = table.half();
        }
        let affordable = (each - table.octets()) / octets_per_entry;
        let map_size = u32::try_from(affordable).unwrap_or(u32::MAX).min(options.map_size).max(SMALLEST_MAP);
        let kernel_memory = parts * (u64::from(map_size) * octets_per_entry + table.octets());
        Self { cpus, map_size, flow_table: table.slots(), kernel_memory }
    }
}

impl Loader {
    /// Loads the meter; nothing is attached yet. Without a word about `fragments` the entry point is the kernel's best.
    pub(super) fn load(
        options: &LoadOptions,
        fragments: Option<bool>,
    ) -> Result<(Self, Loaded, Vec<OwnedFd>), KernelError> {
        let version = permissions::check()?;
        let best = version >= KernelVersion::XDP_FRAGMENTS;
        let loaded = Self::load_entry_point(options, version, fragments.unwrap_or(best));
        match loaded {
            // The verifier of 6.1 gives up over wide entries with everything on; over the other entry point it does not.
            Err(KernelError::Refused { .. })
                if fragments.is_none() && best && options.measure.width() == Width::Wide =>
            {
                Self::load_entry_point(options, version, false).or(loaded)
            }
            _ => loaded,
        }
    }

    fn load_entry_point(
        options: &LoadOptions,
        version: KernelVersion,
        fragments: bool,
    ) -> Result<(Self, Loaded, Vec<OwnedFd>), KernelError> {
        permissions::lift_memory_limit();
        let measure = &options.measure;
        let width = measure.width();
        let xdp = if fragments { EntryPoint::XdpFragments } else { EntryPoint::Xdp };
        let online = online_cpus().map_err(|(file, source)| KernelError::Cpus { file, source })?;
        let cpus = online.iter().max().map_or(1, |highest| highest + 1);
        let possible = nr_cpus().map_err(|(file, source)| KernelError::Cpus { file, source })?;
        debug_assert!(cpus as usize <= possible);

        let sizes = Sizes::within(options, online.len() as u32);
        let mut ebpf = object(options, &sizes, cpus)?;
        let flows = flow_maps::create(&mut ebpf, width, &online, cpus, sizes.map_size)?;
        entry_point::load(&mut ebpf, names::PROGRAM_CLOCK)?;
        let log = options.explain.then(|| EbpfLogger::init(&mut ebpf)).transpose();
        let mut loader = Self {
            without_link: Vec::new(),
            ebpf,
            width,
            xdp,
            filter: options.filter.clone(),
            classifiers: Vec::new(),
            tcx: version >= KernelVersion::TCX,
            tested: xdp,
            log: log.map_err(|source| KernelError::Log { source })?,
        };
        loader.load_at(xdp)?;
        let loaded = Loaded { sizes, width, online, cpus, fragments, xdp_program: loader.xdp_program_id() };
        let maps = loaded.maps().map(|name| of_map(&loader.ebpf, name));
        let mut descriptors: Vec<OwnedFd> = maps.collect::<Result<_, _>>()?;
        descriptors.extend(flows);
        let name = names::PROGRAM_CLOCK;
        let clock = loader.ebpf.program(name).ok_or(KernelError::Missing { name })?;
        let clock = clock.fd().map_err(|source| KernelError::Refused { name, source })?;
        descriptors.push(hand_over(clock.as_fd())?);
        Ok((loader, loaded, descriptors))
    }
}

/// The object with its maps, and what was decided compiled into its programs.
fn object(options: &LoadOptions, sizes: &Sizes, cpus: u32) -> Result<Ebpf, KernelError> {
    let measure = &options.measure;
    let width = measure.width();
    let table = TableSizes::new(sizes.flow_table);
    let settings = Settings {
        cpus,
        table_buckets: table.buckets(),
        table_watermark: table.watermark(),
        // Nobody outside can choose flows that meet.
        table_seeds: std::array::from_fn(|_| RandomState::new().hash_one(0u8)),
        watermark: sizes.map_size / WATERMARK_SHARE,
        precise_clock: options.precise_clock.into(),
        tap: options.tap.into(),
        join_fragments: measure.join_fragments.into(),
        sampling: measure.sampling as u8,
        masked: measure.masks().is_some().into(),
        own_export: options.own_export as u8,
        mark_initial_syn: measure.mark_initial_syn.into(),
        own_connections: options.own_connections.into(),
        groups: measure.groups,
        tunnels: measure.tunnels,
        // Nobody outside can tell which flows are chosen.
        seed: RandomState::new().hash_one(0u8),
        key_masks: measure.masks().unwrap_or([[u64::MAX; 9]; 2]),
    };
    let excludes = options.own_export != OwnExport::Metered;
    let outer = |used| if used { cpus * names::GENERATIONS } else { 1 };
    let log_level: u8 = if options.explain { aya_log_level_debug() } else { 0 };
    let mut loader = EbpfLoader::new();
    for (name, entries) in table.entries(width, cpus) {
        loader.map_max_entries(name, entries);
    }
    loader
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global(names::GLOBAL_SETTINGS, bytemuck::bytes_of(&settings), true)
        .override_global("AYA_LOG_LEVEL", &log_level, true)
        .map_max_entries(names::MAP_FLOWS, outer(width == Width::Default))
        .map_max_entries(names::MAP_WIDE_FLOWS, outer(width == Width::Wide))
        .map_max_entries(names::MAP_TCP, if measure.group(Group::Tcp) { CONNECTIONS } else { 1 })
        .map_max_entries(names::MAP_HANDSHAKES, if measure.group(Group::Tcp) { HANDSHAKES } else { 1 })
        .map_max_entries(names::MAP_FRAGMENTS, if measure.join_fragments { FRAGMENTS } else { 1 })
        .map_max_entries(names::MAP_OWN_EXPORT, if excludes { own_export::SOCKETS } else { 1 })
        .load(OBJECT)
        .map_err(|source| match os_error(&source) {
            Some(libc::EPERM | libc::EACCES) => KernelError::NotPermitted { source },
            _ => KernelError::Object { source },
        })
}

/// The level at which the program's one log line is active (aya-log: 1 error ... 4 debug).
const fn aya_log_level_debug() -> u8 {
    4
}

/// A map of the object, by name; it is the agent's from then on.
pub(super) fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::Missing { name })?;
    M::try_from(map).map_err(|source| KernelError::Map { name, source })
}

/// An eighth of the machine's memory, at most 4 GiB: the default of `--kernel-memory`.
pub fn default_kernel_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let octets = info.totalram.saturating_mul(u64::from(info.mem_unit));
    (octets / 8).min(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: LoadOptions = LoadOptions {
        map_size: 262_144,
        flow_table: 0,
        kernel_memory: 4 << 30,
        precise_clock: false,
        tap: false,
        explain: false,
        measure: Measure::DEFAULT,
        filter: None,
        own_export: OwnExport::Metered,
        own_connections: false,
    };

    #[test]
    fn maps_are_as_large_as_asked_for_within_the_limit() {
        assert_eq!(Sizes::within(&OPTIONS, 2).map_size, 262_144);
        let small = Sizes::within(&LoadOptions { kernel_memory: 64 << 20, ..OPTIONS }, 4);
        assert_eq!(u64::from(small.map_size), (64 << 20) / (8 * 152));
        assert!(small.kernel_memory <= 64 << 20);
        assert_eq!(Sizes::within(&LoadOptions { kernel_memory: 0, ..OPTIONS }, 128).map_size, 64);
    }

    #[test]
    fn the_flow_table_leaves_at_least_half_of_the_limit_to_the_maps() {
        let within = |kernel_memory, cpus| {
            Sizes::within(&LoadOptions { flow_table: 262_144, kernel_memory, ..OPTIONS }, cpus)
        };
        let sizes = within(4 << 30, 2);
        assert_eq!((sizes.flow_table, sizes.map_size), (262_144, 262_144));
        let small = within(64 << 20, 2);
        assert_eq!(small.flow_table, 32_768);
        assert!(small.map_size > 65_536 && small.kernel_memory <= 64 << 20, "{small:?}");
        let none = within(0, 128);
        assert_eq!((none.flow_table, none.map_size), (0, 64));
    }
}
