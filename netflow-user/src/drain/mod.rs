//! DRAIN: empty the frozen generation, yield deltas.
//!
//! In: a frozen generation. Out: its totals, and one `(FlowKey, FlowCounters)` per entry with times in
//! nanoseconds. This room refuses to know what a flow is and when it ends.

mod ticks;

use std::{io, os::fd::BorrowedFd};

use bytemuck::Pod;
use netflow_common::{FlowCounters, FlowKey, KernelStats, WideCounters, WideKey};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub use self::ticks::TickClock;
use crate::kernel::{Batch, Generation, Kernel, KernelError, Width};

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

/// An entry of the flow maps: default or wide.
pub trait Entry {
    /// Its key.
    type Key: Pod;
    /// Its value.
    type Counters: Pod;
    /// How wide the kernel's maps must be for it.
    const WIDTH: Width;

    /// The default values in it.
    fn flow(counters: &mut Self::Counters) -> &mut FlowCounters;
}

impl Entry for (FlowKey, FlowCounters) {
    type Key = FlowKey;
    type Counters = FlowCounters;
    const WIDTH: Width = Width::Default;

    fn flow(counters: &mut FlowCounters) -> &mut FlowCounters {
        counters
    }
}

impl Entry for (WideKey, WideCounters) {
    type Key = WideKey;
    type Counters = WideCounters;
    const WIDTH: Width = Width::Wide;

    fn flow(counters: &mut WideCounters) -> &mut FlowCounters {
        &mut counters.flow
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

    /// Empties `generation`, which nobody writes to any more; hands its entries to `deltas`, some at a time.
    ///
    /// # Errors
    /// A map operation failed.
    pub fn take(
        &mut self,
        kernel: &mut Kernel,
        generation: Generation,
        ticks: &TickClock,
        mut deltas: impl FnMut(&[(E::Key, E::Counters)]),
    ) -> Result<Drained, DrainError> {
        let mut drained = Drained::default();
        assert_eq!(kernel.width(), E::WIDTH, "the kernel was loaded for entries of this width");
        let stats = kernel.take_stats(generation)?;
        for of_cpu in &stats {
            drained.stats.add(of_cpu);
        }
        let home = sched_getaffinity(None).ok();
        for (cpu, map) in kernel.flow_maps(generation) {
            // A map without insertions is empty: not a single bucket is looked at.
            if stats.get(cpu as usize).is_some_and(|stats| stats.inserted > 0) {
                if self.place == Place::OwnCpu {
                    run_on(cpu);
                }
                self.empty(cpu, map, ticks, &mut drained, &mut deltas)?;
            }
        }
        if let Some(home) = home {
            // Where it fails the thread stays on the last CPU, which costs time and nothing else.
            let _ = sched_setaffinity(None, &home);
        }
        Ok(drained)
    }

    fn empty(
        &mut self,
        cpu: u32,
        map: BorrowedFd<'_>,
        ticks: &TickClock,
        drained: &mut Drained,
        deltas: &mut impl FnMut(&[(E::Key, E::Counters)]),
    ) -> Result<(), DrainError> {
        self.batch.rewind();
        while self.batch.next(map).map_err(|source| DrainError::Batch { cpu, source })? {
            for (key, counters) in self.batch.entries() {
                let mut counters = *counters;
                let flow = E::flow(&mut counters);
                flow.first = ticks.nanos(flow.first).0;
                flow.last = ticks.nanos(flow.last).0;
                drained.packets += flow.packets;
                drained.octets += flow.octets;
                drained.entries += 1;
                self.deltas.push((*key, counters));
                if self.deltas.len() == DELTAS {
                    deltas(&self.deltas);
                    self.deltas.clear();
                }
            }
            deltas(&self.deltas);
            self.deltas.clear();
        }
        Ok(())
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
