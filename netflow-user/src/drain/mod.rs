//! DRAIN: empty the frozen generation, yield deltas.
//!
//! In: a frozen generation. Out: its totals, and one `(FlowKey, FlowCounters)` per entry with times in
//! nanoseconds. This room refuses to know what a flow is and when it ends.

mod ticks;

use std::io;

use bytemuck::Pod;
use netflow_common::{
    FlowCounters, FlowKey, FlowSlot, Ipv4Slot, KernelStats, WideCounters, WideKey, WideSlot,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub use self::ticks::TickClock;
use crate::kernel::{Batch, Generation, Kernel, KernelError, TableSlot, Width};

/// Entries per system call: 5.6 MiB of buffers, reused.
const BATCH_ENTRIES: usize = 65_536;
/// Deltas handed on at once: few enough to be still in the processor's cache.
const DELTAS: usize = 1024;

/// A drain that failed. What it had taken until then has been yielded.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The totals could not be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A batch operation failed.
    #[error("cannot drain the flow map of CPU {cpu}")]
    Batch {
        /// Whose map.
        cpu: u32,
        /// What bpf(2) says.
        #[source]
        source: io::Error,
    },
}

/// What one drain found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// Totals of all CPUs.
    pub stats: KernelStats,
    /// Packets of the entries.
    pub packets: u64,
    /// Octets of the entries.
    pub octets: u64,
    /// Entries.
    pub entries: u64,
}

/// Where the map of a CPU is drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// On that CPU.
    #[default]
    OwnCpu,
    /// Wherever the thread happens to run: to measure the difference, and for negative controls, which
    /// cannot race with a packet on their own CPU.
    AnyCpu,
}

/// An entry of the kernel's: default or wide.
pub trait Entry {
    /// Its key.
    type Key: Pod;
    /// Its value.
    type Counters: Pod;
    /// How wide the kernel's maps must be for it.
    const WIDTH: Width;

    /// The default values in it.
    fn flow(counters: &mut Self::Counters) -> &mut FlowCounters;

    /// Empties the CPU's part of the flow table, of which `taken` slots are used, by kind.
    fn empty_table(
        kernel: &mut Kernel,
        generation: Generation,
        cpu: u32,
        taken: [u64; 2],
        each: impl FnMut(Self::Key, Self::Counters),
    );
}

impl Entry for (FlowKey, FlowCounters) {
    type Key = FlowKey;
    type Counters = FlowCounters;
    const WIDTH: Width = Width::Default;

    fn flow(counters: &mut FlowCounters) -> &mut FlowCounters {
        counters
    }

    fn empty_table(
        kernel: &mut Kernel,
        generation: Generation,
        cpu: u32,
        taken: [u64; 2],
        mut each: impl FnMut(FlowKey, FlowCounters),
    ) {
        empty_slots::<Ipv4Slot>(kernel, generation, cpu, taken, &mut each);
        empty_slots::<FlowSlot>(kernel, generation, cpu, taken, &mut each);
    }
}

impl Entry for (WideKey, WideCounters) {
    type Key = WideKey;
    type Counters = WideCounters;
    const WIDTH: Width = Width::Wide;

    fn flow(counters: &mut WideCounters) -> &mut FlowCounters {
        &mut counters.flow
    }

    fn empty_table(
        kernel: &mut Kernel,
        generation: Generation,
        cpu: u32,
        taken: [u64; 2],
        each: impl FnMut(WideKey, WideCounters),
    ) {
        empty_slots::<WideSlot>(kernel, generation, cpu, taken, each);
    }
}

/// Slots of one kind. Where none was taken not a bit is looked at.
fn empty_slots<S: TableSlot>(
    kernel: &mut Kernel,
    generation: Generation,
    cpu: u32,
    taken: [u64; 2],
    each: impl FnMut(S::Key, S::Counters),
) {
    if taken[S::KIND] > 0
        && let Some(slots) = kernel.slots::<S>(generation, cpu)
    {
        slots.take(each);
    }
}

/// Drains generation after generation with the same buffers.
pub struct Drain<E: Entry> {
    place: Place,
    batch: Batch<E::Key, E::Counters>,
    deltas: Vec<(E::Key, E::Counters)>,
}

impl<E: Entry> Drain<E> {
    /// Makes the buffers.
    pub fn new(place: Place) -> Self {
        Self { place, batch: Batch::new(BATCH_ENTRIES), deltas: Vec::with_capacity(DELTAS) }
    }

    /// Empties `generation`, which nobody writes to any more; hands its entries to `deltas`, some at a time. Those of the
    /// flow table and of the flow map of one CPU are different flows'.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn take(
        &mut self,
        kernel: &mut Kernel,
        generation: Generation,
        ticks: &TickClock,
        deltas: impl FnMut(&[(E::Key, E::Counters)]),
    ) -> Result<Drained, DrainError> {
        assert_eq!(kernel.width(), E::WIDTH, "the kernel was loaded for entries of this width");
        let Self { place, batch, deltas: buffer } = self;
        let mut yielding = Yielding::<E, _> { ticks, buffer, deltas, drained: Drained::default() };
        let stats = kernel.take_stats(generation)?;
        for of_cpu in &stats {
            yielding.drained.stats.add(of_cpu);
        }
        let home = sched_getaffinity(None).ok();
        for (cpu, stats) in (0..).zip(&stats) {
            // A table without a taken slot is empty.
            E::empty_table(kernel, generation, cpu, stats.slots, |key, counters| {
                yielding.push(key, counters)
            });
            // A map without insertions is, too: not a single bucket is looked at.
            if stats.inserted > 0
                && let Some(map) = kernel.flow_map(generation, cpu)
            {
                if *place == Place::OwnCpu {
                    run_on(cpu);
                }
                batch.rewind();
                while batch.next(map).map_err(|source| DrainError::Batch { cpu, source })? {
                    batch.entries().for_each(|(key, counters)| yielding.push(*key, *counters));
                }
            }
        }
        let drained = yielding.end();
        if let Some(home) = home {
            // Where it fails the thread stays on the last CPU, which costs time and nothing else.
            let _ = sched_setaffinity(None, &home);
        }
        Ok(drained)
    }
}

/// Hands entries on, with times in nanoseconds and a batch at a time.
struct Yielding<'a, E: Entry, D> {
    ticks: &'a TickClock,
    buffer: &'a mut Vec<(E::Key, E::Counters)>,
    deltas: D,
    drained: Drained,
}

impl<E: Entry, D: FnMut(&[(E::Key, E::Counters)])> Yielding<'_, E, D> {
    fn push(&mut self, key: E::Key, mut counters: E::Counters) {
        let flow = E::flow(&mut counters);
        flow.first = self.ticks.nanos(flow.first).0;
        flow.last = self.ticks.nanos(flow.last).0;
        self.drained.packets += flow.packets;
        self.drained.octets += flow.octets;
        self.drained.entries += 1;
        self.buffer.push((key, counters));
        if self.buffer.len() == DELTAS {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        (self.deltas)(self.buffer);
        self.buffer.clear();
    }

    fn end(mut self) -> Drained {
        if !self.buffer.is_empty() {
            self.hand_on();
        }
        self.drained
    }
}

/// Moves this thread to the CPU whose map it drains: a preallocated hash keeps its free entries per
/// CPU and gives them back to the CPU that deletes. Freed elsewhere, each new flow would search the
/// lists of all possible CPUs. Where it is not allowed (a cpuset), it only costs that search.
fn run_on(cpu: u32) {
    let mut set = CpuSet::new();
    if (cpu as usize) < CpuSet::MAX_CPU {
        set.set(cpu as usize);
        let _ = sched_setaffinity(None, &set);
    }
}
