//! What the agent counts beside the books, to be shown: by interface what is drained, by protocol and size what leaves as
//! records. The packet path has no part in it.

use std::collections::BTreeMap;

use netflow_common::FlowKey;

use super::flow::{Delta, Flow};
use crate::{
    control::{InterfaceLine, ProtocolLine, SizeLine, Traffic},
    kernel::{Attachment, Hook},
    ledger::Tally,
    record::FlowRecord,
    time::Instant,
};

/// Protocols there can be.
const PROTOCOLS: usize = 256;
/// The largest packets of each class of sizes, IP octets.
const SIZES: [u32; 16] =
    [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280, 1500, 2048, 4096, 9000, 65_535];
/// flowDirection (IANA 61).
const EGRESS: u8 = 1;

/// Records, by protocol and size.
#[derive(Debug)]
pub(super) struct RecordTraffic {
    protocols: Box<[ProtocolLine; PROTOCOLS]>,
    sizes: [u64; SIZES.len()],
    /// When the flows end that come next.
    now: Instant,
}

impl Default for RecordTraffic {
    fn default() -> Self {
        let protocols = Box::new([ProtocolLine::default(); PROTOCOLS]);
        Self { protocols, sizes: [0; SIZES.len()], now: Instant::default() }
    }
}

impl RecordTraffic {
    /// Flows end now.
    pub(super) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// When the last flip was.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Counts a record.
    #[inline]
    pub(super) fn count(&mut self, record: &FlowRecord) {
        let (packets, octets) = (record.packets(), record.octets());
        let line = &mut self.protocols[usize::from(record.key.protocol)];
        line.records += 1;
        line.packets += packets;
        line.octets += octets;
        line.active_milliseconds += record.end.0.saturating_sub(record.start.0);
        line.idle_milliseconds += self.now.monotonic.0.saturating_sub(record.counters.last) / 1_000_000;
        self.sizes[class(octets / packets.max(1))] += packets;
    }

    /// The numbers, without protocols that have none.
    pub(super) fn shown(&self) -> Traffic {
        let named = (0..=u8::MAX).zip(self.protocols.iter());
        let lines = named.filter(|(_, line)| line.records > 0);
        let sizes = SIZES.iter().zip(self.sizes);
        Traffic {
            protocols: lines.map(|(protocol, line)| ProtocolLine { protocol, ..*line }).collect(),
            packet_sizes: sizes.map(|(up_to, packets)| SizeLine { up_to: *up_to, packets }).collect(),
        }
    }
}

/// The place in [`SIZES`].
fn class(octets: u64) -> usize {
    SIZES.iter().position(|up_to| octets <= u64::from(*up_to)).unwrap_or(SIZES.len() - 1)
}

/// What is drained, by interface and direction.
#[derive(Debug, Default)]
pub(super) struct InterfaceTraffic {
    /// By ifIndex.
    lines: BTreeMap<u32, InterfaceLine>,
    /// That of the deltas that come now, and what they have had so far, by flowDirection.
    index: u32,
    tallies: [Tally; 2],
}

impl InterfaceTraffic {
    /// Counts what was drained.
    pub(super) fn count<F: Flow>(&mut self, deltas: &[Delta<F::Entry>]) {
        for delta in deltas {
            let (key, tally) = F::measured(delta);
            self.add(key, tally);
        }
    }

    #[inline]
    fn add(&mut self, key: &FlowKey, tally: Tally) {
        if key.interface != self.index {
            self.settle();
            self.index = key.interface;
        }
        self.tallies[usize::from(key.direction == EGRESS)].add(tally);
    }

    /// Puts down what was counted last.
    fn settle(&mut self) {
        let tallies = std::mem::take(&mut self.tallies);
        if tallies.iter().any(|tally| tally.packets > 0) {
            let line = self.line(self.index);
            line.received.add(tallies[0]);
            line.sent.add(tallies[1]);
        }
    }

    /// An interface is metered, by what stands there.
    pub(super) fn attached(&mut self, attachment: &Attachment) {
        let named = |hook: Option<Hook>| hook.map(|hook| hook.name().to_owned());
        let line = self.line(attachment.index);
        line.name.clone_from(&attachment.interface);
        (line.ingress, line.egress) = (named(attachment.ingress), named(attachment.egress));
    }

    /// It is not, any more. What it had stays; of those that had nothing nothing does.
    pub(super) fn detached(&mut self, index: u32) {
        self.settle();
        let line = self.line(index);
        (line.name, line.ingress, line.egress) = (String::new(), None, None);
        if line.received.packets + line.sent.packets == 0 {
            self.lines.remove(&index);
        }
    }

    /// Those that are metered now: ifIndex and name.
    pub(super) fn metered(&self) -> impl Iterator<Item = (u32, &str)> + Clone {
        let lines = self.lines.values().filter(|line| !line.name.is_empty());
        lines.map(|line| (line.index, line.name.as_str()))
    }

    /// It has another name.
    pub(super) fn renamed(&mut self, index: u32, name: &str) {
        if let Some(line) = self.lines.get_mut(&index).filter(|line| !line.name.is_empty()) {
            line.name = name.to_owned();
        }
    }

    /// The numbers.
    pub(super) fn shown(&mut self) -> Vec<InterfaceLine> {
        self.settle();
        self.lines.values().cloned().collect()
    }

    fn line(&mut self, index: u32) -> &mut InterfaceLine {
        self.lines.entry(index).or_insert_with(|| InterfaceLine { index, ..InterfaceLine::default() })
    }
}

#[cfg(test)]
mod tests {
    use netflow_common::FlowCounters;

    use super::*;
    use crate::{record::FlowEndReason, time::MonotonicNanos};

    type Entry = (FlowKey, FlowCounters);

    fn counters(packets: u64, octets: u64) -> FlowCounters {
        FlowCounters { packets, octets, first: 1_000_000_000, last: 3_000_000_000, ..FlowCounters::default() }
    }

    #[test]
    fn records_count_by_protocol_and_by_the_mean_size_of_their_packets() {
        let mut traffic = RecordTraffic::default();
        traffic.at(Instant { monotonic: MonotonicNanos(18_000_000_000), unix_nanos: 0 });
        for (protocol, packets, octets) in [(6, 10, 15_000), (6, 1, 40), (17, 2, 130)] {
            let key = FlowKey { protocol, ..FlowKey::default() };
            let record = FlowRecord::new(
                key,
                counters(packets, octets),
                FlowEndReason::IdleTimeout,
                &Instant { monotonic: MonotonicNanos(0), unix_nanos: 0 },
            );
            traffic.count(&record);
        }
        let shown = traffic.shown();
        let tcp = shown.protocols[0];
        assert_eq!((tcp.protocol, tcp.records, tcp.packets, tcp.octets), (6, 2, 11, 15_040));
        assert_eq!((tcp.active_milliseconds, tcp.idle_milliseconds), (4000, 30_000));
        assert_eq!(shown.protocols.len(), 2);
        let packets =
            |up_to| shown.packet_sizes.iter().find(|line| line.up_to == up_to).map(|line| line.packets);
        assert_eq!((packets(1500), packets(64), packets(96)), (Some(10), Some(1), Some(2)));
        assert_eq!(class(u64::MAX), SIZES.len() - 1);
    }

    #[test]
    fn interfaces_count_both_directions_also_after_they_have_gone() {
        let mut traffic = InterfaceTraffic::default();
        let delta = |interface, direction, packets| {
            let key = FlowKey { interface, direction, ..FlowKey::default() };
            (key, counters(packets, 100 * packets))
        };
        traffic.count::<Entry>(&[delta(2, 0, 5), delta(2, 1, 1), delta(3, 0, 7), delta(2, 0, 1)]);
        traffic.detached(3);
        traffic.detached(4);
        let shown = traffic.shown();
        let numbers: Vec<_> =
            shown.iter().map(|line| (line.index, line.received.packets, line.sent.octets)).collect();
        assert_eq!(numbers, [(2, 6, 100), (3, 7, 0)]);
    }
}
