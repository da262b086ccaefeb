//! The kernel side: load, attach, flip, hand out the frozen generation.
//!
//! In: what was decided (sizes, clock, mode). Out: a running meter, its totals and its frozen flow
//! maps. This room refuses to know flow lifetimes and protocols. It is the room that a privileged
//! parent process will keep: nothing in it reads a packet or a peer's data.

mod attach;
mod bpf_call;
mod classifier;
mod entry_point;
mod error;
mod explain;
mod flow_maps;
mod flow_table;
mod inspect;
mod load;
mod mapping;
mod measure;
mod own_export;
mod packet_socket;
mod permissions;
mod traffic_control;
mod verdicts;

use std::{
    num::NonZeroU32,
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
    programs::{Program, ProgramError, TestRun as _, TestRunOptions},
};
use aya_log::EbpfLogger;
use log::Log;
use netflow_common::{ClockReading, KernelStats, Sampling, Watermark, names};

use crate::filter::{Filter, object};

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
    packet_socket::join_promiscuous,
    permissions::{KernelVersion, missing_capabilities},
    verdicts::{Outcome, Verdict},
};

use self::{
    classifier::{Classifier, Ends},
    flow_maps::FlowMaps,
    flow_table::FlowTable,
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

/// The loaded meter. Dropping it detaches it everywhere.
pub struct Kernel {
    ebpf: Ebpf,
    flows: FlowMaps,
    table: FlowTable,
    sampling: Array<MapData, [u8; size_of::<Sampling>()]>,
    stats: PerCpuArray<MapData, StatsOctets>,
    generation: Array<MapData, u32>,
    clock: Array<MapData, ClockOctets>,
    watermark: RingBuf<MapData>,
    /// The XDP program of this kernel.
    xdp: EntryPoint,
    /// What is to stand before the meter.
    filter: Option<Arc<Filter>>,
    /// Where it stands.
    classifiers: Vec<(EntryPoint, Classifier)>,
    /// Which messages of this exporter are left out.
    own_export: OwnExport,
    /// Which sockets send them.
    own_sockets: OwnExportMaps,
    /// Whether TC programs are attached by links where the kernel lets them.
    tcx: bool,
    /// The program that test runs go to.
    tested: EntryPoint,
    current: Generation,
    cpus: u32,
    attachments: Vec<Attachment>,
    sizes: Sizes,
}

impl Kernel {
    /// The sizes that were decided within the memory limit.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
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
        match self.flows {
            FlowMaps::Default(_) => Width::Default,
            FlowMaps::Wide(_) => Width::Wide,
        }
    }

    /// The flow map of a CPU in this generation; `None` for a CPU that was offline at load.
    pub fn flow_map(&self, generation: Generation, cpu: u32) -> Option<BorrowedFd<'_>> {
        self.flows.of(generation, cpu, self.cpus)
    }

    /// Both kernel clocks, read by a program at one instant.
    ///
    /// # Errors
    /// The test run or the map read failed.
    pub fn read_clock(&mut self) -> Result<ClockReading, KernelError> {
        let program = entry_point::xdp(&mut self.ebpf, names::PROGRAM_CLOCK)?;
        // The kernel asks for a whole Ethernet header.
        let frame = [0; 64];
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
        program.test_run(options).map_err(|source| KernelError::Clock { source })?;
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

    /// How many instructions the verifier walked through for each loaded program (kernel 5.16); it gives
    /// up at a million.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn verified_instructions(&self) -> Result<Vec<(String, Option<u32>)>, ProgramError> {
        let mut counts = Vec::new();
        for (name, program) in self.ebpf.programs() {
            match program.info() {
                Ok(info) => counts.push((name.to_owned(), info.verified_instruction_count())),
                Err(ProgramError::NotLoaded) => {}
                Err(error) => return Err(error),
            }
        }
        for (entry, classifier) in &self.classifiers {
            let name = format!("{} before {}", object::PROGRAM, entry.name(self.width()));
            counts.push((name, classifier.verified_instructions()?));
        }
        Ok(counts)
    }

    /// The id of the program that is attached by XDP, as netlink shows it on an interface.
    pub fn xdp_program(&mut self) -> Option<u32> {
        match self.program_at(self.xdp)? {
            Program::Xdp(program) => program.info().ok().map(|info| info.id()),
            _ => None,
        }
    }

    /// Loads what packets come to there: the meter, and the filter before it.
    fn load_at(&mut self, entry: EntryPoint) -> Result<(), KernelError> {
        let meter = entry.name(self.width());
        entry_point::load(&mut self.ebpf, meter)?;
        let Some(filter) = &self.filter else { return Ok(()) };
        if !self.classifiers.iter().any(|(at, _)| *at == entry) {
            entry_point::load(&mut self.ebpf, entry.filtered())?;
            let ends = Ends::of(&self.ebpf, meter, entry.filtered())?;
            self.classifiers.push((entry, Classifier::load(filter, entry.hook(), &ends)?));
        }
        Ok(())
    }

    /// What packets come to there, once it is loaded: the filter, or the meter where there is none.
    fn program_at(&mut self, entry: EntryPoint) -> Option<&mut Program> {
        let name = entry.name(self.width());
        match self.classifiers.iter_mut().find(|(at, _)| *at == entry) {
            Some((_, classifier)) => classifier.program(),
            None => self.ebpf.program_mut(name),
        }
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

    /// The program's log, to be flushed when it is readable; empty unless `explain` was asked for.
    ///
    /// # Errors
    /// Its ring buffer cannot be opened.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn Log>, KernelError> {
        EbpfLogger::init(&mut self.ebpf).map_err(|source| KernelError::Log { source })
    }
}
