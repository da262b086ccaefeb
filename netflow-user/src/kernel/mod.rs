//! The kernel side: load, attach, flip, hand out the frozen generation.
//!
//! In: what was decided (sizes, clock, mode). Out: a running meter, its totals and its frozen flow
//! maps. This room refuses to know flow lifetimes and protocols, and nothing in it reads a packet or a peer's data.
//!
//! It has two halves. `Loader` has the programs and links and needs privileges; [`Kernel`] works with descriptors of
//! maps. Both in one process are a meter for tests; `netflow run` has the first in a process of its own (`privileged`).

mod attach;
mod attached;
mod bpf_call;
mod classifier;
mod entry_point;
mod error;
mod explain;
mod flow_maps;
mod flow_table;
mod handed_over;
mod inspect;
mod load;
mod loader;
mod mapping;
mod measure;
mod own_export;
mod packet_socket;
mod permissions;
mod privileged;
mod replace;
mod traffic_control;
mod verdicts;

use std::{
    num::NonZeroU32,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use aya::{
    maps::{Array, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
    programs::ProgramError,
};
use netflow_common::{ClockReading, KernelStats, Sampling, Watermark, names};

use crate::filter::Filter;

pub use self::{
    attach::{AttachOptions, Attachment, Direction, Hook, Link, XdpMode},
    bpf_call::Batch,
    entry_point::{EntryPoint, SocketBuffer},
    error::KernelError,
    flow_maps::Width,
    flow_table::{FrozenSlots, TableSlot},
    inspect::{planned, program_name, tcx_programs},
    load::{LoadOptions, Sizes, default_kernel_memory},
    measure::Measure,
    own_export::{OwnExport, SessionSocket},
    packet_socket::promiscuous_socket,
    permissions::{KernelVersion, lift_memory_limit, missing_capabilities},
    privileged::{PrivilegedProcess, serve},
    replace::Replaced,
    verdicts::{Outcome, Verdict},
};

use self::{
    attached::Attached,
    flow_maps::FlowMaps,
    flow_table::{FlowTable, TableSizes},
    handed_over::{Descriptors, Loaded},
    loader::Loader,
    own_export::OwnExportMaps,
};

type StatsOctets = [u8; size_of::<KernelStats>()];
type ClockOctets = [u8; size_of::<ClockReading>()];

/// One of the two generations of the maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation(pub(crate) u32);

impl Generation {
    /// The one that packets go to at first.
    pub const FIRST: Self = Self(0);
}

/// How a generation is frozen. Everything but [`Flip::Wait`] exists to show that the conservation
/// test sees a lost packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Flip {
    /// Flip, then wait for one RCU grace period: no program still writes to the frozen generation.
    #[default]
    Wait,
    /// Negative control: flip and drain at once, while packets may still be on their way.
    NoWait,
    /// Negative control: no flip at all, drain the maps that packets go to.
    Live,
}

/// How many CPUs have told that they are running out of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermarks {
    /// Their flow map is half full: behind it packets are lost.
    pub maps: usize,
    /// Most of their part of the flow table is taken: behind it are the flow maps, which are slower.
    pub tables: usize,
}

/// Where the programs and links are.
enum Programs {
    /// In this process.
    Here(Box<Loader>),
    /// In a process of their own.
    There(PrivilegedProcess),
    /// Nowhere: the links have moved to another meter.
    Gone,
}

/// The loaded meter. Dropping it detaches it everywhere.
pub struct Kernel {
    attached: Vec<Attached>,
    programs: Programs,
    flows: FlowMaps,
    table: FlowTable,
    sampling: Array<MapData, [u8; size_of::<Sampling>()]>,
    stats: PerCpuArray<MapData, StatsOctets>,
    generation: Array<MapData, u32>,
    clock: Array<MapData, ClockOctets>,
    clock_program: OwnedFd,
    watermark: RingBuf<MapData>,
    /// Which messages of this exporter are left out.
    own_export: OwnExport,
    /// Which sockets send them.
    own_sockets: OwnExportMaps,
    /// What stands before the meter.
    filter: Option<Arc<Filter>>,
    current: Generation,
    loaded: Loaded,
}

impl Kernel {
    /// Loads the meter, in this process; nothing is attached yet.
    ///
    /// # Errors
    /// Named by step: privileges, kernel version, memory, verifier.
    pub fn load(options: &LoadOptions) -> Result<Self, KernelError> {
        Self::load_here(options, None)
    }

    /// The same with the entry point for frames of several buffers, or with the other one: for
    /// drivers that refuse `frags`, and for tests of both.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_entry_point(options: &LoadOptions, fragments: bool) -> Result<Self, KernelError> {
        Self::load_here(options, Some(fragments))
    }

    /// The same in the process that has the privileges.
    ///
    /// # Errors
    /// As [`Self::load`], and it may not answer.
    pub fn load_in(process: &PrivilegedProcess, options: &LoadOptions) -> Result<Self, KernelError> {
        let (loaded, descriptors) = process.load(options)?;
        Self::open(Programs::There(process.clone()), options, loaded, descriptors)
    }

    fn load_here(options: &LoadOptions, fragments: Option<bool>) -> Result<Self, KernelError> {
        let (loader, loaded, descriptors) = Loader::load(options, fragments)?;
        Self::open(Programs::Here(Box::new(loader)), options, loaded, descriptors)
    }

    /// The half without privileges.
    fn open(
        programs: Programs,
        options: &LoadOptions,
        loaded: Loaded,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, KernelError> {
        let mut descriptors = Descriptors::new(descriptors);
        let descriptors = &mut descriptors;
        // In the order of `Loaded::maps`.
        let mut sampling: Array<_, _> = descriptors.open(names::MAP_SAMPLING)?;
        let one_in: [u8; size_of::<Sampling>()] =
            bytemuck::cast(Sampling::one_in(options.measure.sampling_interval));
        for generation in 0..names::GENERATIONS {
            sampling
                .set(generation, one_in, 0)
                .map_err(|source| KernelError::Map { name: names::MAP_SAMPLING, source })?;
        }
        let Loaded { width, cpus, .. } = loaded;
        Ok(Self {
            attached: Vec::new(),
            programs,
            sampling,
            stats: descriptors.open(names::MAP_STATS)?,
            generation: descriptors.open(names::MAP_GENERATION)?,
            clock: descriptors.open(names::MAP_CLOCK)?,
            watermark: descriptors.open(names::MAP_WATERMARK)?,
            own_export: options.own_export,
            filter: options.filter.clone(),
            own_sockets: OwnExportMaps::open(descriptors)?,
            table: FlowTable::map(descriptors, TableSizes::new(loaded.sizes.flow_table), width, cpus)?,
            flows: FlowMaps::open(descriptors, width, &loaded.online, cpus)?,
            clock_program: descriptors.next(names::PROGRAM_CLOCK)?,
            current: Generation(0),
            loaded,
        })
    }

    /// The half with privileges, where it is in this process.
    fn loader(&mut self) -> Option<&mut Loader> {
        match &mut self.programs {
            Programs::Here(loader) => Some(loader),
            Programs::There(_) | Programs::Gone => None,
        }
    }

    /// Gives the thread that calls this the priority of metering.
    ///
    /// # Errors
    /// It is not allowed (CAP_SYS_NICE).
    pub fn prioritise_this_thread(&self) -> Result<(), KernelError> {
        match &self.programs {
            Programs::There(process) => process.prioritise(rustix::thread::gettid()),
            Programs::Here(_) | Programs::Gone => Ok(()),
        }
    }

    /// From now on TC programs are attached as on kernels before 6.6: for tests.
    pub fn forgo_tcx(&mut self) {
        if let Some(loader) = self.loader() {
            loader.tcx = false;
        }
    }

    /// Whether frames of several buffers are taken, where XDP meters (kernel 5.18 and newer).
    pub fn takes_fragments(&self) -> bool {
        self.loaded.fragments
    }

    /// The sizes that were decided within the memory limit.
    pub fn sizes(&self) -> &Sizes {
        &self.loaded.sizes
    }

    /// Sends packets to the other generation and, as `flip` says, waits until no program writes to the
    /// frozen one any more, which is returned.
    ///
    /// # Errors
    /// A map operation failed; the generation is then still or again the old one.
    pub fn flip(&mut self, flip: Flip) -> Result<Generation, KernelError> {
        let frozen = self.current;
        if flip == Flip::Live {
            return Ok(frozen);
        }
        let next = Generation(1 - frozen.0);
        self.generation.set(0, next.0, 0).map_err(|source| KernelError::Flip { source })?;
        self.current = next;
        if flip == Flip::Wait {
            self.flows.wait_for_programs().map_err(|source| KernelError::Flip { source })?;
        }
        Ok(frozen)
    }

    /// Totals of a frozen generation by CPU number, and zeroes them.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn take_stats(&mut self, generation: Generation) -> Result<Vec<KernelStats>, KernelError> {
        let fail = |source| KernelError::Stats { source };
        let values = self.stats.get(&generation.0, 0).map_err(fail)?;
        let stats = values.iter().map(|octets| bytemuck::pod_read_unaligned(octets)).collect();
        let zero = PerCpuValues::try_from(vec![[0; size_of::<KernelStats>()]; values.len()])
            .map_err(|source| fail(MapError::IoError(source)))?;
        self.stats.set(generation.0, zero, 0).map_err(fail)?;
        Ok(stats)
    }

    /// Meters one in so many packets or flows from the next generation on, where sampling was asked for at load.
    ///
    /// # Errors
    /// A map operation failed; the interval is as before.
    pub fn sample_next(&mut self, interval: NonZeroU32) -> Result<(), KernelError> {
        let one_in: [u8; size_of::<Sampling>()] = bytemuck::cast(Sampling::one_in(interval));
        self.sampling
            .set(1 - self.current.0, one_in, 0)
            .map_err(|source| KernelError::Map { name: names::MAP_SAMPLING, source })
    }

    /// How wide the entries of the flow maps are.
    pub fn width(&self) -> Width {
        self.loaded.width
    }

    /// The flow map of a CPU in this generation; `None` for a CPU that was offline at load.
    pub fn flow_map(&self, generation: Generation, cpu: u32) -> Option<BorrowedFd<'_>> {
        self.flows.of(generation, cpu, self.loaded.cpus)
    }

    /// Both kernel clocks, read by a program at one instant.
    ///
    /// # Errors
    /// The test run or the map read failed.
    pub fn read_clock(&mut self) -> Result<ClockReading, KernelError> {
        // The kernel asks for a whole Ethernet header.
        let frame = [0; 64];
        bpf_call::test_run(self.clock_program.as_fd(), &frame)
            .map_err(|source| KernelError::Clock { source })?;
        let octets = self.clock.get(&0, 0).map_err(|source| KernelError::ClockMap { source })?;
        Ok(bytemuck::pod_read_unaligned(&octets))
    }

    /// Becomes readable when a CPU's map, or its part of the flow table, has passed its watermark.
    pub fn watermark_fd(&self) -> BorrowedFd<'_> {
        self.watermark.as_fd()
    }

    /// Takes the pending events of watermarks; how many there were of flow maps, and of the flow table.
    pub fn take_watermarks(&mut self) -> Watermarks {
        let mut passed = Watermarks::default();
        while let Some(event) = self.watermark.next() {
            match Watermark::of_table(&event) {
                true => passed.tables += 1,
                false => passed.maps += 1,
            }
        }
        passed
    }

    /// How many instructions the verifier walked through for each program that this process has loaded (kernel 5.16);
    /// it gives up at a million.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn verified_instructions(&self) -> Result<Vec<(String, Option<u32>)>, ProgramError> {
        match &self.programs {
            Programs::Here(loader) => loader.verified_instructions(),
            Programs::There(_) | Programs::Gone => Ok(Vec::new()),
        }
    }

    /// The id of the program that is attached by XDP, as netlink shows it on an interface.
    pub fn xdp_program(&self) -> Option<u32> {
        self.loaded.xdp_program
    }

    /// What this socket sends is left out from now on, where that was asked for at load: to be called before its first
    /// message, or before anything is attached.
    ///
    /// # Errors
    /// More than 1024 sockets, or the kernel refuses it.
    pub fn leave_out(&mut self, socket: SessionSocket) -> Result<(), KernelError> {
        if self.own_export == OwnExport::Metered { Ok(()) } else { self.own_sockets.add(socket) }
    }

    /// The socket is closed: its port may become another program's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_back(&mut self, socket: &SessionSocket) -> Result<(), KernelError> {
        self.own_sockets.remove(socket)
    }

    /// Whether messages of this exporter are metered where this hook sees them received.
    pub fn meters_own_export(&self, hook: Hook) -> bool {
        self.own_export != OwnExport::LeftOut || matches!(hook, Hook::NativeXdp | Hook::GenericXdp)
    }

    /// Passes on to the log what the programs tell of packets that they refuse, where `explain` was asked for.
    pub fn flush_log(&mut self) {
        match &mut self.programs {
            Programs::Here(loader) => loader.flush_log(),
            Programs::There(process) => process.flush_log(),
            Programs::Gone => {}
        }
    }
}
