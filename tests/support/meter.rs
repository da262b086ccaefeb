//! The kernel program in test runs, and what a meter counted: of the kernel as of the host (`host`), of default
//! entries as of wide ones, to be compared as a whole.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use anyhow::{Context, Result, ensure};
use bytemuck::Pod;
use netflow_common::{FlowCounters, FlowKey, KernelStats, WideCounters, WideKey};
use netflow_ebpf::packet::LinkType;
use netflow_user::drain::{Drain, Entry, Place, TickClock};
use netflow_user::kernel::{EntryPoint, Flip, Kernel, Link, LoadOptions, Measure, OwnExport, SocketBuffer};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

pub use crate::host::HostMeter;

/// A test run's packets come from the loopback interface, whose index is 1 in every network namespace.
pub const TEST_RUN_INTERFACE: u32 = 1;

/// Pass the packet on.
pub const XDP_PASS: u32 = 2;
/// Drop the packet.
pub const XDP_DROP: u32 = 1;
/// TC: the next program decides (-1).
pub const TC_ACT_UNSPEC: u32 = u32::MAX;
/// TC: drop the packet.
pub const TC_ACT_SHOT: u32 = 2;

/// Ethernet and IPv6 header: test runs of socket buffers may be refused below that.
pub const SHORTEST_BUFFER: usize = 54;

/// How a test loads the program: the defaults of the agent, with small maps.
pub const LOAD_OPTIONS: LoadOptions = LoadOptions {
    map_size: 16_384,
    flow_table: 16_384,
    kernel_memory: 256 << 20,
    precise_clock: false,
    tap: false,
    explain: false,
    measure: Measure::DEFAULT,
    filter: None,
    own_export: OwnExport::Metered,
    own_connections: false,
};

/// The values of an entry, default or wide.
pub trait Values: Pod + Eq + Debug + Default {
    /// Its key.
    type Key: Pod + Eq + Hash + Debug + Default;
    /// Both, as they are drained.
    type Entry: Entry<Key = Self::Key, Counters = Self>;

    /// The default values in it.
    fn flow(&self) -> &FlowCounters;

    /// The same without what a clock has to do with: zero.
    #[must_use]
    fn timeless(self) -> Self;
}

impl Values for FlowCounters {
    type Key = FlowKey;
    type Entry = (FlowKey, FlowCounters);

    fn flow(&self) -> &FlowCounters {
        self
    }

    fn timeless(self) -> Self {
        Self { first: 0, last: 0, ..self }
    }
}

impl Values for WideCounters {
    type Key = WideKey;
    type Entry = (WideKey, WideCounters);

    fn flow(&self) -> &FlowCounters {
        &self.flow
    }

    fn timeless(self) -> Self {
        Self { flow: self.flow.timeless(), round_trip_microseconds: 0, ..self }
    }
}

/// What a meter counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CountedOf<V: Values> {
    /// By flow.
    pub flows: HashMap<V::Key, V>,
    /// The totals.
    pub stats: KernelStats,
}

/// What a meter of default entries counted.
pub type Counted = CountedOf<FlowCounters>;

impl<V: Values> CountedOf<V> {
    /// The first few differences in words; `None` where there are none.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut lines = Vec::new();
        if self.stats != other.stats {
            lines.push(format!("totals\n  {:?}\n  {:?}", self.stats, other.stats));
        }
        for (key, counters) in &self.flows {
            if other.flows.get(key) != Some(counters) {
                lines.push(format!("{key:?}\n  {counters:?}\n  {:?}", other.flows.get(key)));
            }
        }
        for (key, counters) in &other.flows {
            if !self.flows.contains_key(key) {
                lines.push(format!("{key:?}\n  nothing\n  {counters:?}"));
            }
        }
        lines.truncate(5);
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Whether every packet seen is in one flow or has one reason, and every octet.
    pub fn balanced(&self) -> bool {
        let stats = &self.stats;
        let of = |number: fn(&FlowCounters) -> u64| {
            self.flows.values().map(|counters| number(counters.flow())).sum::<u64>()
        };
        let sum = |numbers: &[u64]| numbers.iter().sum::<u64>();
        stats.seen_packets
            == sum(&stats.refused)
                + sum(&stats.skipped_packets)
                + sum(&stats.lost_packets)
                + of(|flow| flow.packets)
            && stats.seen_octets
                == sum(&stats.skipped_octets) + sum(&stats.lost_octets) + of(|flow| flow.octets)
    }
}

/// What the packets of an entry point begin with.
pub fn link_type(entry: EntryPoint) -> LinkType {
    match entry {
        EntryPoint::TcIngress(Link::RawIp) | EntryPoint::TcEgress(Link::RawIp) => LinkType::RawIp,
        _ => LinkType::Ethernet,
    }
}

/// flowDirection of an entry point's packets.
pub fn direction(entry: EntryPoint) -> u8 {
    u8::from(matches!(entry, EntryPoint::TcEgress(_)))
}

/// What an entry point returns to pass a packet on.
pub fn pass(entry: EntryPoint) -> u32 {
    if entry.is_xdp() { XDP_PASS } else { TC_ACT_UNSPEC }
}

/// The kernel's meter.
pub struct KernelMeterOf<V: Values> {
    /// For what is not done here.
    pub kernel: Kernel,
    /// How many of the entries that were taken last stood in the flow table.
    pub slots: u64,
    drain: Drain<V::Entry>,
}

/// The kernel's meter of default entries.
pub type KernelMeter = KernelMeterOf<FlowCounters>;

impl<V: Values> KernelMeterOf<V> {
    /// Loads the program: the entry point for frames of several buffers, or the other one. The calling thread stays
    /// on its CPU from now on, so that one map gets all the flows.
    pub fn load(options: &LoadOptions, fragments: bool) -> Result<Self> {
        let mut cpus = CpuSet::new();
        cpus.set(sched_getcpu());
        sched_setaffinity(None, &cpus)?;
        let kernel = Kernel::load_entry_point(options, fragments)?;
        Ok(Self { kernel, slots: 0, drain: Drain::new(Place::default()) })
    }

    /// Loads it to measure this.
    pub fn measuring(measure: Measure, fragments: bool) -> Result<Self> {
        Self::load(&LoadOptions { measure, ..LOAD_OPTIONS }, fragments)
    }

    /// Loads this program.
    pub fn load_at(options: &LoadOptions, entry: EntryPoint) -> Result<Self> {
        let mut meter = Self::load(options, entry != EntryPoint::Xdp)?;
        meter.kernel.test(entry)?;
        Ok(meter)
    }

    /// Meters one frame in a socket buffer that is as told (TC programs only).
    pub fn enter_buffer(&mut self, frame: &[u8], buffer: &SocketBuffer) -> Result<u32> {
        let run = self.kernel.test_run_buffer(frame, buffer);
        Ok(run.with_context(|| format!("{} octets, {buffer:?}", frame.len()))?.return_value)
    }

    /// Meters one Ethernet frame of 14 octets or more; what is done with the packet is returned.
    pub fn enter(&mut self, frame: &[u8]) -> Result<u32> {
        let run = self.kernel.test_run(frame, 1);
        Ok(run.with_context(|| format!("{} octets", frame.len()))?.return_value)
    }

    /// The same with no more than `linear` octets where the program can read them in place.
    pub fn enter_split(&mut self, frame: &[u8], linear: usize) -> Result<u32> {
        let run = self.kernel.test_run_split(frame, u32::try_from(linear)?);
        Ok(run.with_context(|| format!("{linear} of {} octets", frame.len()))?.return_value)
    }

    /// Whether this kernel makes test runs with a short linear part (6.18).
    pub fn splits(&mut self) -> bool {
        let split = self.kernel.test_run_split(&[0; 64], 32).is_ok();
        self.take().is_ok() && split
    }

    /// What was counted since the last time.
    ///
    /// The flip does not wait: a test run has ended when its system call returns, and this thread makes them all.
    pub fn take(&mut self) -> Result<CountedOf<V>> {
        self.take_by(Flip::NoWait)
    }

    /// The same with this way to flip.
    pub fn take_by(&mut self, flip: Flip) -> Result<CountedOf<V>> {
        let mut counted = self.take_timed(flip)?;
        counted.flows.values_mut().for_each(|counters| *counters = counters.timeless());
        Ok(counted)
    }

    /// The same with what clocks say.
    pub fn take_timed(&mut self, flip: Flip) -> Result<CountedOf<V>> {
        let mut flows = HashMap::new();
        let mut twice = 0;
        let frozen = self.kernel.flip(flip)?;
        let mut enter = |deltas: &[(V::Key, V)]| {
            for (key, counters) in deltas {
                twice += u64::from(flows.insert(*key, *counters).is_some());
            }
        };
        let drained = self.drain.take(&mut self.kernel, frozen, &TickClock::Nanos, &mut enter)?;
        ensure!(twice == 0, "{twice} flows came twice from the map of one CPU");
        // Where an entry lies is not a host's to know: see `slots` for that.
        let mut stats = drained.stats;
        self.slots = stats.slots.iter().sum();
        stats.inserted += self.slots;
        stats.slots = [0; 2];
        Ok(CountedOf { flows, stats })
    }
}
