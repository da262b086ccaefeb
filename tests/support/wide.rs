//! Two meters of wide entries that take the same frames: the kernel program in test runs, and the host with the parser's
//! observer, additions written here a second time.

use std::collections::HashMap;

use anyhow::Result;
use netflow_common::{FlowKey, Group, KernelStats, Note, SamplingMode, WideCounters, WideKey};
use netflow_ebpf::packet::{
    self, Expectation, FirstFragment, FragmentKey, FragmentState, Handshake, LinkType, OnWire, TcpState,
    Wanted as _, Wide,
};
use netflow_user::drain::{Drain, Place, TickClock};
use netflow_user::kernel::{Flip, LoadOptions, Measure};

use crate::meter::{KernelMeter, LOAD_OPTIONS, TEST_RUN_INTERFACE};

/// All groups, all tunnels; fragments are joined.
pub const EVERYTHING: Measure =
    Measure { join_fragments: true, groups: u32::MAX, tunnels: u32::MAX, ..Measure::DEFAULT };

/// What a meter counted. Times are left out: zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WideCounted {
    /// By flow.
    pub flows: HashMap<WideKey, WideCounters>,
    /// The totals.
    pub stats: KernelStats,
}

impl WideCounted {
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
        for key in other.flows.keys().filter(|key| !self.flows.contains_key(key)) {
            lines.push(format!("{key:?}: only the other one has it"));
        }
        lines.truncate(4);
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Whether every packet seen is in one flow or has one reason, and every octet.
    pub fn balanced(&self) -> bool {
        let stats = &self.stats;
        let packets: u64 = self.flows.values().map(|counters| counters.flow.packets).sum();
        let octets: u64 = self.flows.values().map(|counters| counters.flow.octets).sum();
        let sum = |numbers: &[u64]| numbers.iter().sum::<u64>();
        stats.seen_packets
            == sum(&stats.refused) + sum(&stats.skipped_packets) + sum(&stats.lost_packets) + packets
            && stats.seen_octets == sum(&stats.skipped_octets) + sum(&stats.lost_octets) + octets
    }
}

/// First fragments on the host: none is ever forgotten.
#[derive(Debug, Default)]
pub struct Fragments(HashMap<FragmentKey, FirstFragment>);

impl FragmentState for Fragments {
    fn remember(&mut self, key: &FragmentKey, first: &FirstFragment) {
        self.0.insert(*key, *first);
    }

    fn recall(&mut self, key: &FragmentKey) -> Option<FirstFragment> {
        self.0.get(key).copied()
    }
}

/// The host's meter.
pub struct WideHost {
    measure: Measure,
    fragments: Fragments,
    connections: Connections,
    counted: WideCounted,
}

/// TCP connections on the host: none is ever forgotten. The round-trip time is left out: clocks differ.
#[derive(Debug, Default)]
struct Connections(HashMap<FlowKey, Expectation>);

impl TcpState for Connections {
    fn expectation(&mut self, key: &FlowKey) -> Option<Expectation> {
        self.0.get(key).copied()
    }

    fn expect(&mut self, key: &FlowKey, expectation: &Expectation) {
        self.0.insert(*key, *expectation);
    }

    fn began(&mut self, _: &Handshake) {}

    fn took(&mut self, _: &Handshake) -> Option<u64> {
        None
    }
}

impl WideHost {
    /// An empty one.
    pub fn new(measure: Measure) -> Self {
        assert_eq!(measure.sampling, SamplingMode::Off, "what sampling chooses differs");
        Self {
            measure,
            fragments: Fragments::default(),
            connections: Connections::default(),
            counted: WideCounted::default(),
        }
    }

    /// Meters one Ethernet frame.
    pub fn enter(&mut self, frame: &[u8]) {
        let stats = &mut self.counted.stats;
        stats.seen_packets += 1;
        let mut entry = bytemuck::Zeroable::zeroed();
        let mut wide = Wide::over(self.measure, &mut entry);
        let parsed = packet::parse_inner(frame, LinkType::Ethernet, &mut wide);
        let fragment = wide.fragment();
        let mut packet = match parsed {
            Ok(packet) => packet,
            Err(refusal) => {
                stats.refused[refusal as usize] += 1;
                if refusal.is_not_ip() {
                    stats.not_ip_frame_octets += frame.len() as u64;
                }
                return;
            }
        };
        packet.key.interface = TEST_RUN_INTERFACE;
        if self.measure.join_fragments {
            packet::join(&mut packet, fragment, &mut self.fragments);
        }
        stats.seen_octets += u64::from(packet.octets);
        for note in Note::ALL {
            let short = note == Note::ShortFrame && packet.end() > frame.len();
            stats.noted[note as usize] += u64::from(short || packet.notes.has(note));
        }
        Wide::over(self.measure, &mut entry).finish(&packet, fragment, &OnWire::one(&packet, frame.len()));
        if self.measure.group(Group::Tcp) && !fragment.is_some() {
            let segment = Wide::over(self.measure, &mut entry).segment();
            packet::follow(&packet, segment, &mut entry.delta, &mut self.connections);
        }
        let mut words: [u64; 9] = bytemuck::cast(entry.key);
        if let Some(masks) = self.measure.masks() {
            let mask = masks[usize::from(!packet.key.is_ipv4())];
            words.iter_mut().zip(mask).for_each(|(word, mask)| *word &= mask);
        }
        match self.counted.flows.get_mut(&bytemuck::cast(words)) {
            Some(counters) => {
                let (first_packet, flow_label) = (counters.first_packet, counters.flow.flow_label);
                counters.merge(&entry.delta);
                // Without times the merge cannot tell which packet was the first one.
                counters.first_packet = first_packet;
                counters.flow.flow_label = flow_label;
            }
            None => {
                stats.inserted += 1;
                self.counted.flows.insert(bytemuck::cast(words), entry.delta);
            }
        }
    }

    /// What was counted since the last time; fragments stay known.
    pub fn take(&mut self) -> WideCounted {
        std::mem::take(&mut self.counted)
    }
}

/// The kernel's meter.
pub struct WideKernel {
    /// For what is not done here.
    pub meter: KernelMeter,
    drain: Drain<(WideKey, WideCounters)>,
}

impl WideKernel {
    /// Loads the program of this width.
    pub fn load(measure: Measure, fragments: bool) -> Result<Self> {
        let meter = KernelMeter::load(&LoadOptions { measure, ..LOAD_OPTIONS }, fragments)?;
        Ok(Self { meter, drain: Drain::new(Place::default()) })
    }

    /// Meters one Ethernet frame of 14 octets or more; what is done with the packet is returned.
    pub fn enter(&mut self, frame: &[u8]) -> Result<u32> {
        self.meter.enter(frame)
    }

    /// What was counted since the last time, without what depends on clocks.
    pub fn take(&mut self) -> Result<WideCounted> {
        let mut counted = self.take_as_is()?;
        for counters in counted.flows.values_mut() {
            (counters.flow.first, counters.flow.last, counters.round_trip_microseconds) = (0, 0, 0);
        }
        Ok(counted)
    }

    /// What was counted since the last time, with all that it has.
    pub fn take_as_is(&mut self) -> Result<WideCounted> {
        let mut flows = HashMap::new();
        let frozen = self.meter.kernel.flip(Flip::NoWait)?;
        let mut enter = |deltas: &[(WideKey, WideCounters)]| {
            flows.extend(deltas.iter().copied());
        };
        let drained = self.drain.take(&mut self.meter.kernel, frozen, &TickClock::Nanos, &mut enter)?;
        Ok(WideCounted { flows, stats: drained.stats })
    }
}
