//! The host's meter: the kernel's parser, and additions written here a second time.

use std::collections::HashMap;

use bytemuck::Zeroable;
use netflow_common::{
    FlowCounters, FlowKey, Group, INITIAL_SYN, KernelStats, Note, Refusal, SamplingMode, Settings, Skip,
    WideCounters, WideKey, WideScratch,
};
use netflow_ebpf::packet::{
    self, Expectation, FirstFragment, FragmentKey, FragmentState, Handshake, LinkType, Merged, Observer as _,
    OnWire, Packet, PacketObserver, TcpState, Wanted as _, Wide,
};
use netflow_user::kernel::{EntryPoint, Measure, SocketBuffer};

use crate::meter::{CountedOf, TEST_RUN_INTERFACE, Values, direction, link_type};

/// Values that the host can make of a packet.
pub trait HostValues: Values {
    /// What the parser tells beside the packet.
    type Told: Zeroable;

    /// Reads a frame.
    fn parse(
        measure: Measure,
        frame: &[u8],
        link: LinkType,
        told: &mut Self::Told,
    ) -> (Result<Packet, Refusal>, PacketObserver);

    /// Key and values of one packet.
    fn entry(metered: &Metered<'_>, told: Self::Told, connections: &mut Connections) -> (Self::Key, Self);

    /// Adds a later packet.
    fn add(&mut self, later: &Self);
}

/// A packet that has been read.
pub struct Metered<'a> {
    measure: Measure,
    packet: &'a Packet,
    observed: PacketObserver,
    on_wire: OnWire,
}

/// First fragments on the host: none is ever forgotten.
#[derive(Debug, Default)]
pub struct Fragments(HashMap<FragmentKey, FirstFragment>);

/// TCP connections on the host: none is ever forgotten. The round-trip time is left out: clocks differ.
#[derive(Debug, Default)]
pub struct Connections(HashMap<FlowKey, Expectation>);

/// The host's meter.
pub struct HostMeterOf<V: Values> {
    measure: Measure,
    fragments: Fragments,
    connections: Connections,
    counted: CountedOf<V>,
}

/// The host's meter of default entries.
pub type HostMeter = HostMeterOf<FlowCounters>;

impl<V: HostValues> Default for HostMeterOf<V> {
    fn default() -> Self {
        Self::new(Measure::DEFAULT)
    }
}

impl<V: HostValues> HostMeterOf<V> {
    /// An empty one.
    pub fn new(measure: Measure) -> Self {
        assert_eq!(measure.sampling, SamplingMode::Off, "what sampling chooses differs");
        Self {
            measure,
            fragments: Fragments::default(),
            connections: Connections::default(),
            counted: CountedOf::default(),
        }
    }

    /// Takes one packet that a filter before that program of the kernel does not let pass.
    pub fn filter_at(&mut self, entry: EntryPoint, frame: &[u8]) {
        let mut alone = Self::new(self.measure);
        alone.enter_at(entry, frame);
        if alone.counted.flows.is_empty() {
            self.enter_at(entry, frame);
            return;
        }
        let (seen, stats) = (&alone.counted.stats, &mut self.counted.stats);
        stats.seen_packets += 1;
        stats.seen_octets += seen.seen_octets;
        stats.skipped_packets[Skip::Filtered as usize] += 1;
        stats.skipped_octets[Skip::Filtered as usize] += seen.seen_octets;
    }

    /// Meters one Ethernet frame.
    pub fn enter(&mut self, frame: &[u8]) {
        self.enter_at(EntryPoint::XdpFragments, frame);
    }

    /// Meters one packet as that program of the kernel does.
    pub fn enter_at(&mut self, entry: EntryPoint, frame: &[u8]) {
        self.enter_buffer(entry, frame, &SocketBuffer::default());
    }

    /// The same with a packet that may stand for several on the wire.
    pub fn enter_buffer(&mut self, entry: EntryPoint, frame: &[u8], buffer: &SocketBuffer) {
        let link = link_type(entry);
        let more_octets = buffer.wire_length.saturating_sub(frame.len() as u32);
        let merged = Merged { segments: buffer.segments, size: buffer.segment_size, more_octets };
        let mut told = V::Told::zeroed();
        let (parsed, observed) = match merged.missing_length(frame, link, 0) {
            Some(place) => {
                let mut longest = frame.to_vec();
                longest[place..place + 2].copy_from_slice(&Merged::LONGEST.to_be_bytes());
                V::parse(self.measure, &longest, link, &mut told)
            }
            None => V::parse(self.measure, frame, link, &mut told),
        };
        let stats = &mut self.counted.stats;
        let mut packet = match parsed {
            Ok(packet) => packet,
            Err(refusal) => {
                let weight = if merged.is_one() { 1 } else { u64::from(merged.segments.max(1)) };
                stats.seen_packets += weight;
                stats.refused[refusal as usize] += weight;
                if refusal.is_not_ip() {
                    stats.not_ip_frame_octets += frame.len() as u64;
                }
                return;
            }
        };
        packet.key.interface = TEST_RUN_INTERFACE;
        packet.key.direction = direction(entry);
        let on_wire = if merged.is_one() {
            OnWire::one(&packet, frame.len())
        } else {
            merged.on_wire(frame, &mut packet, observed.payload, frame.len(), 0)
        };
        if self.measure.join_fragments {
            packet::join(&mut packet, observed.fragment, &mut self.fragments);
        }
        if self.measure.mark_initial_syn && packet.is_initial_syn() {
            packet.tcp_control_bits |= INITIAL_SYN;
        }
        count_seen(stats, &packet, &on_wire);
        let metered = Metered { measure: self.measure, packet: &packet, observed, on_wire };
        let (key, delta) = V::entry(&metered, told, &mut self.connections);
        match self.counted.flows.get_mut(&key) {
            Some(counters) => counters.add(&delta),
            None => {
                stats.inserted += 1;
                self.counted.flows.insert(key, delta);
            }
        }
    }

    /// What was counted since the last time; fragments and connections stay known.
    pub fn take(&mut self) -> CountedOf<V> {
        std::mem::take(&mut self.counted)
    }

    /// How many first fragments and directions of TCP connections are known.
    pub fn remembered(&self) -> (usize, usize) {
        (self.fragments.0.len(), self.connections.0.len())
    }
}

fn count_seen(stats: &mut KernelStats, packet: &Packet, on_wire: &OnWire) {
    let weight = u64::from(on_wire.segments);
    stats.seen_packets += weight;
    stats.seen_octets += u64::from(packet.octets);
    for note in Note::ALL {
        let short = note == Note::ShortFrame && packet.end() > on_wire.frame_octets;
        stats.noted[note as usize] += u64::from(short || packet.notes.has(note)) * weight;
    }
}

/// The values of one packet that is one on the wire, without times.
pub fn values_of(packet: &Packet) -> FlowCounters {
    FlowCounters {
        packets: 1,
        octets: u64::from(packet.octets),
        first: 0,
        last: 0,
        flow_label: packet.flow_label,
        tcp_control_bits: packet.tcp_control_bits,
        minimum_ttl: packet.ttl,
        maximum_ttl: packet.ttl,
    }
}

/// What of a key's words tells flows apart.
fn masked<const N: usize>(measure: Measure, packet: &Packet, mut words: [u64; N]) -> [u64; N] {
    if let Some(masks) = measure.masks() {
        let mask = masks[if packet.key.is_ipv4() { Settings::IPV4 } else { Settings::IPV6 }];
        words.iter_mut().zip(mask).for_each(|(word, mask)| *word &= mask);
    }
    words
}

impl HostValues for FlowCounters {
    type Told = ();

    fn parse(
        _: Measure,
        frame: &[u8],
        link: LinkType,
        (): &mut (),
    ) -> (Result<Packet, Refusal>, PacketObserver) {
        let mut observed = PacketObserver::default();
        (packet::parse_outer(frame, link, &mut observed), observed)
    }

    fn entry(metered: &Metered<'_>, (): (), _: &mut Connections) -> (FlowKey, Self) {
        let words: [u64; 6] = bytemuck::cast(metered.packet.key);
        let key = bytemuck::cast(masked(metered.measure, metered.packet, words));
        (key, Self { packets: metered.on_wire.segments.into(), ..values_of(metered.packet) })
    }

    fn add(&mut self, later: &Self) {
        self.packets += later.packets;
        self.octets += later.octets;
        self.tcp_control_bits |= later.tcp_control_bits;
        self.minimum_ttl = self.minimum_ttl.min(later.minimum_ttl);
        self.maximum_ttl = self.maximum_ttl.max(later.maximum_ttl);
        // The flow label stays that of the first packet.
    }
}

impl HostValues for WideCounters {
    type Told = WideScratch;

    fn parse(
        measure: Measure,
        frame: &[u8],
        link: LinkType,
        told: &mut WideScratch,
    ) -> (Result<Packet, Refusal>, PacketObserver) {
        let mut wide = Wide::over(measure, told);
        let parsed = packet::parse_inner(frame, link, &mut wide);
        (parsed, PacketObserver { fragment: wide.fragment(), payload: wide.payload_offset() })
    }

    fn entry(metered: &Metered<'_>, mut told: WideScratch, connections: &mut Connections) -> (WideKey, Self) {
        let Metered { measure, packet, observed, on_wire } = *metered;
        Wide::over(measure, &mut told).finish(packet, observed.fragment, &on_wire, 0);
        if measure.group(Group::Tcp) && !observed.fragment.is_some() {
            let segment = Wide::over(measure, &mut told).segment();
            packet::follow(packet, segment, &mut told.delta, connections);
        }
        let words: [u64; 9] = bytemuck::cast(told.key);
        (bytemuck::cast(masked(measure, packet, words)), told.delta)
    }

    fn add(&mut self, later: &Self) {
        let (first_packet, flow_label) = (self.first_packet, self.flow.flow_label);
        self.merge(later);
        // Without times the merge cannot tell which packet was the first one.
        self.first_packet = first_packet;
        self.flow.flow_label = flow_label;
    }
}

impl FragmentState for Fragments {
    fn remember(&mut self, key: &FragmentKey, first: &FirstFragment) {
        self.0.insert(*key, *first);
    }

    fn recall(&mut self, key: &FragmentKey) -> Option<FirstFragment> {
        self.0.get(key).copied()
    }
}

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
