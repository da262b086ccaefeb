//! Two meters that take the same frames: the host's parser with additions written here a second time, and the kernel
//! program in test runs. What they counted can be compared as a whole.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use netflow_common::{FlowCounters, FlowKey, KernelStats, Note, Skip};
use netflow_ebpf::packet::{self, LinkType};
use netflow_user::drain::{Drain, Place, TickClock};
use netflow_user::kernel::{EntryPoint, Flip, Kernel, Link, LoadOptions, Measure, SocketBuffer};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

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

/// How a test loads the program: the defaults of the agent, with small maps.
pub const LOAD_OPTIONS: LoadOptions = LoadOptions {
    map_size: 16_384,
    kernel_memory: 256 << 20,
    precise_clock: false,
    tap: false,
    explain: false,
    measure: Measure::DEFAULT,
    filter: None,
};

/// What a meter counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// By flow. Times are left out: zero.
    pub flows: HashMap<FlowKey, FlowCounters>,
    /// The totals.
    pub stats: KernelStats,
}

impl Counted {
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
        let of = |number: fn(&FlowCounters) -> u64| self.flows.values().map(number).sum::<u64>();
        let refused: u64 = stats.refused.iter().sum();
        let lost: u64 = stats.lost_packets.iter().sum();
        let lost_octets: u64 = stats.lost_octets.iter().sum();
        let skipped: u64 = stats.skipped_packets.iter().sum();
        let skipped_octets: u64 = stats.skipped_octets.iter().sum();
        stats.seen_packets == refused + skipped + lost + of(|counters| counters.packets)
            && stats.seen_octets == skipped_octets + lost_octets + of(|counters| counters.octets)
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

/// The host's meter.
#[derive(Debug, Default)]
pub struct HostMeter {
    counted: Counted,
}

impl HostMeter {
    /// Takes one packet that a filter before that program of the kernel does not let pass.
    pub fn filter_at(&mut self, entry: EntryPoint, frame: &[u8]) {
        let mut alone = Self::default();
        alone.enter_at(entry, frame);
        let seen = &alone.counted.stats;
        if seen.seen_octets > 0 || alone.counted.flows.len() == 1 {
            let stats = &mut self.counted.stats;
            stats.seen_packets += 1;
            stats.seen_octets += seen.seen_octets;
            stats.skipped_packets[Skip::Filtered as usize] += 1;
            stats.skipped_octets[Skip::Filtered as usize] += seen.seen_octets;
        } else {
            self.enter_at(entry, frame);
        }
    }

    /// Meters one Ethernet frame.
    pub fn enter(&mut self, frame: &[u8]) {
        self.enter_at(EntryPoint::XdpFragments, frame);
    }

    /// Meters one packet as that program of the kernel does.
    pub fn enter_at(&mut self, entry: EntryPoint, frame: &[u8]) {
        let stats = &mut self.counted.stats;
        stats.seen_packets += 1;
        let packet = match packet::parse(frame, link_type(entry)) {
            Ok(packet) => packet,
            Err(refusal) => {
                stats.refused[refusal as usize] += 1;
                if refusal.is_not_ip() {
                    stats.not_ip_frame_octets += frame.len() as u64;
                }
                return;
            }
        };
        stats.seen_octets += u64::from(packet.octets);
        for note in Note::ALL {
            let short = note == Note::ShortFrame && packet.end() > frame.len();
            stats.noted[note as usize] += u64::from(short || packet.notes.has(note));
        }
        let delta = FlowCounters {
            packets: 1,
            octets: u64::from(packet.octets),
            first: 0,
            last: 0,
            flow_label: packet.flow_label,
            tcp_control_bits: packet.tcp_control_bits,
            minimum_ttl: packet.ttl,
            maximum_ttl: packet.ttl,
        };
        let key = FlowKey { interface: TEST_RUN_INTERFACE, direction: direction(entry), ..packet.key };
        match self.counted.flows.get_mut(&key) {
            Some(counters) => {
                counters.packets += 1;
                counters.octets += delta.octets;
                counters.tcp_control_bits |= packet.tcp_control_bits;
                counters.minimum_ttl = counters.minimum_ttl.min(packet.ttl);
                counters.maximum_ttl = counters.maximum_ttl.max(packet.ttl);
                // The flow label stays that of the first packet.
            }
            None => {
                stats.inserted += 1;
                self.counted.flows.insert(key, delta);
            }
        }
    }

    /// What was counted since the last time.
    pub fn take(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }
}

/// The kernel's meter.
pub struct KernelMeter {
    /// For what is not done here.
    pub kernel: Kernel,
    drain: Drain<(FlowKey, FlowCounters)>,
}

impl KernelMeter {
    /// Loads the program: the entry point for frames of several buffers, or the other one. The calling thread stays
    /// on its CPU from now on, so that one map gets all the flows.
    pub fn load(options: &LoadOptions, fragments: bool) -> Result<Self> {
        let mut cpus = CpuSet::new();
        cpus.set(sched_getcpu());
        sched_setaffinity(None, &cpus)?;
        let kernel = Kernel::load_entry_point(options, fragments)?;
        Ok(Self { kernel, drain: Drain::new(Place::default()) })
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
    pub fn take(&mut self) -> Result<Counted> {
        self.take_by(Flip::NoWait)
    }

    /// The same with this way to flip.
    pub fn take_by(&mut self, flip: Flip) -> Result<Counted> {
        let mut flows = HashMap::new();
        let mut twice = 0;
        let frozen = self.kernel.flip(flip)?;
        let mut enter = |deltas: &[(FlowKey, FlowCounters)]| {
            for (key, counters) in deltas {
                let counters = FlowCounters { first: 0, last: 0, ..*counters };
                twice += u64::from(flows.insert(*key, counters).is_some());
            }
        };
        let drained = self.drain.take(&mut self.kernel, frozen, &TickClock::Nanos, &mut enter)?;
        ensure!(twice == 0, "{twice} flows came twice from the map of one CPU");
        Ok(Counted { flows, stats: drained.stats })
    }
}
