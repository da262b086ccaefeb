//! What stands for the kernel program where a capture is read: the same parser, the same measures, totals like the
//! kernel's.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
};

use netflow_common::{
    FlowCounters, FlowKey, Group, INITIAL_SYN, IpVersion, KernelStats, Note, Refusal, Settings, Skip,
    WideCounters, WideKey,
};
use netflow_ebpf::packet::{
    self, Expectation, FirstFragment, Fragment, FragmentKey, FragmentState, Handshake, Notes, Packet,
    PacketObserver, TcpState, Wanted as _, Wide,
};

use super::flow::Delta;
use crate::{
    capture::CapturedPacket,
    drain::Entry,
    filter::{Filter, FilterError},
    kernel::Measure,
    ledger::Tally,
};

/// First fragments, and SYNs, that are remembered, as in the kernel.
const FRAGMENTS: usize = 16_384;
/// Directions of TCP connections, as in the kernel.
const CONNECTIONS: usize = 131_072;

/// Totals and state of a capture that is read.
pub(super) struct HostMeter {
    filter: Option<Arc<Filter>>,
    measure: Measure,
    masks: Option<[[u64; 9]; 2]>,
    fragments: Bounded<FragmentKey, FirstFragment>,
    connections: Bounded<FlowKey, Expectation>,
    handshakes: Bounded<Handshake, u64>,
    /// The packet's time.
    now: u64,
    pub(super) stats: KernelStats,
    pub(super) metered: Tally,
}

/// An entry that the host can make of a captured packet.
pub(super) trait HostEntry: Entry {
    /// Reads one packet.
    fn read(
        meter: &mut HostMeter,
        captured: &CapturedPacket<'_>,
    ) -> Result<(Packet, Self::Key, Self::Counters), Refusal>;
}

impl HostMeter {
    pub(super) fn new(measure: Measure, filter: Option<Arc<Filter>>) -> Self {
        Self {
            filter,
            measure,
            masks: measure.masks(),
            fragments: Bounded::new(FRAGMENTS),
            connections: Bounded::new(CONNECTIONS),
            handshakes: Bounded::new(FRAGMENTS),
            now: 0,
            stats: KernelStats::default(),
            metered: Tally::default(),
        }
    }

    /// Meters one packet; `None` where it is not a flow packet, or not one that the filter matches.
    pub(super) fn meter<E: HostEntry>(
        &mut self,
        captured: &CapturedPacket<'_>,
    ) -> Result<Option<Delta<E>>, FilterError> {
        let CapturedPacket { link_type, octets, wire_length, .. } = *captured;
        let matched = match &self.filter {
            Some(filter) => filter.matches(link_type, octets, wire_length)?,
            None => true,
        };
        if !matched && let Ok(packet) = packet::parse(octets, link_type) {
            self.stats.seen_packets += 1;
            self.stats.skip(Skip::Filtered, 1, packet.octets.into());
            return Ok(None);
        }
        Ok(self.count::<E>(captured))
    }

    fn count<E: HostEntry>(&mut self, captured: &CapturedPacket<'_>) -> Option<Delta<E>> {
        self.stats.seen_packets += 1;
        self.now = captured.time_unix_nanos;
        match E::read(self, captured) {
            Ok((packet, key, counters)) => {
                let octets = u64::from(packet.octets);
                self.stats.seen_octets += octets;
                let short = Notes::when(packet.end() > captured.octets.len(), Note::ShortFrame);
                for note in Note::ALL {
                    self.stats.noted[note as usize] += u64::from(packet.notes.and(short).has(note));
                }
                self.metered.add(Tally { packets: 1, octets });
                Some((key, counters))
            }
            Err(refusal) => {
                self.stats.refused[refusal as usize] += 1;
                if refusal.is_not_ip() {
                    self.stats.not_ip_frame_octets += captured.octets.len() as u64;
                }
                None
            }
        }
    }

    fn complete(&mut self, packet: &mut Packet, fragment: Fragment) {
        if self.measure.join_fragments {
            packet::join(packet, fragment, &mut self.fragments);
        }
        if self.measure.mark_initial_syn && packet.is_initial_syn() {
            packet.tcp_control_bits |= INITIAL_SYN;
        }
    }

    fn mask<const N: usize>(&self, ip_version: u8, words: &mut [u64; N]) {
        if let Some(masks) = &self.masks {
            let of = if ip_version == IpVersion::V4 { Settings::IPV4 } else { Settings::IPV6 };
            packet::mask(words, |place| masks[of][place]);
        }
    }
}

impl HostEntry for (FlowKey, FlowCounters) {
    fn read(
        meter: &mut HostMeter,
        captured: &CapturedPacket<'_>,
    ) -> Result<(Packet, FlowKey, FlowCounters), Refusal> {
        let mut observer = PacketObserver::default();
        let mut packet = packet::parse_outer(captured.octets, captured.link_type, &mut observer)?;
        meter.complete(&mut packet, observer.fragment);
        let mut words: [u64; 6] = bytemuck::cast(packet.key);
        meter.mask(packet.key.ip_version, &mut words);
        let counters = packet.counters(1, captured.time_unix_nanos);
        Ok((packet, bytemuck::cast(words), counters))
    }
}

impl HostEntry for (WideKey, WideCounters) {
    fn read(
        meter: &mut HostMeter,
        captured: &CapturedPacket<'_>,
    ) -> Result<(Packet, WideKey, WideCounters), Refusal> {
        let mut entry = bytemuck::Zeroable::zeroed();
        let mut wide = Wide::over(meter.measure, &mut entry);
        let mut packet = packet::parse_inner(captured.octets, captured.link_type, &mut wide)?;
        let fragment = wide.fragment();
        meter.complete(&mut packet, fragment);
        let on_wire = packet::OnWire::one(&packet, captured.wire_length as usize);
        Wide::over(meter.measure, &mut entry).finish(&packet, fragment, &on_wire, captured.time_unix_nanos);
        if meter.measure.group(Group::Tcp) && !fragment.is_some() {
            let segment = Wide::over(meter.measure, &mut entry).segment();
            packet::follow(&packet, segment, &mut entry.delta, meter);
        }
        let mut words: [u64; 9] = bytemuck::cast(entry.key);
        meter.mask(packet.key.ip_version, &mut words);
        Ok((packet, bytemuck::cast(words), entry.delta))
    }
}

impl FragmentState for Bounded<FragmentKey, FirstFragment> {
    fn remember(&mut self, key: &FragmentKey, first: &FirstFragment) {
        self.insert(*key, *first);
    }

    fn recall(&mut self, key: &FragmentKey) -> Option<FirstFragment> {
        self.known.get(key).copied()
    }
}

impl TcpState for HostMeter {
    fn expectation(&mut self, key: &FlowKey) -> Option<Expectation> {
        self.connections.known.get(key).copied()
    }

    fn expect(&mut self, key: &FlowKey, expectation: &Expectation) {
        self.connections.insert(*key, *expectation);
    }

    fn began(&mut self, handshake: &Handshake) {
        self.handshakes.insert(*handshake, self.now);
    }

    fn took(&mut self, handshake: &Handshake) -> Option<u64> {
        // It stays, and is out of use: a second SYN-ACK must not find it.
        let began =
            self.handshakes.known.get_mut(handshake).map(std::mem::take).filter(|began| *began > 0)?;
        self.now.checked_sub(began).filter(|nanos| *nanos > 0)
    }
}

/// What is remembered, of which the oldest is forgotten when there is too much.
struct Bounded<K, V> {
    most: usize,
    known: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    fn new(most: usize) -> Self {
        Self { most, known: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.known.insert(key, value).is_none() {
            self.order.push_back(key);
            if self.order.len() > self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }
}
