//! Records in messages that a connection has taken, but the collector's kernel has not acknowledged: what goes again if the
//! connection breaks.

use std::collections::VecDeque;

use crate::{agent::batch::volume, ledger::Volume, record::FlowRecord};

/// A message that was written.
#[derive(Debug)]
struct Written {
    /// Octets written to the connection up to its end.
    end: u64,
    /// Its own octets.
    octets: u64,
    records: usize,
    volume: Volume,
}

/// Messages on their way, oldest first; as many as the socket's buffer takes.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    messages: VecDeque<Written>,
    records: VecDeque<FlowRecord>,
}

impl Unacknowledged {
    /// A message of `octets` with these records was written, and the connection has taken `end` octets in all.
    pub(super) fn push(&mut self, end: u64, octets: u64, records: &[FlowRecord]) {
        self.messages.push_back(Written { end, octets, records: records.len(), volume: volume(records) });
        self.records.extend(records.iter().cloned());
    }

    /// Lets go of a message whose last octet is among the first `acknowledged`; returns its octets, and what is in it.
    pub(super) fn pop(&mut self, acknowledged: u64) -> Option<(u64, Volume)> {
        let message = self.messages.pop_front_if(|message| message.end <= acknowledged)?;
        self.records.drain(..message.records);
        Some((message.octets, message.volume))
    }

    /// The records that did not arrive, in their order; nothing is on its way any more.
    pub(super) fn take_back(&mut self) -> VecDeque<FlowRecord> {
        self.messages.clear();
        std::mem::take(&mut self.records)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{record::FlowEndReason, time::Instant};

    fn record(packets: u64) -> FlowRecord {
        let counters = FlowCounters { packets, octets: 40 * packets, ..FlowCounters::default() };
        FlowRecord::new(FlowKey::default(), counters, FlowEndReason::IdleTimeout, &Instant::default())
    }

    #[test]
    fn a_message_is_delivered_with_its_last_octet_and_the_rest_goes_again_in_order() {
        let mut unacknowledged = Unacknowledged::default();
        unacknowledged.push(100, 100, &[record(1), record(2)]);
        unacknowledged.push(150, 50, &[]);
        unacknowledged.push(250, 100, &[record(3)]);
        unacknowledged.push(350, 100, &[record(4)]);
        assert!(unacknowledged.pop(99).is_none());
        let (octets, volume) = unacknowledged.pop(200).unwrap();
        assert_eq!((octets, volume.records, volume.packets, volume.octets), (100, 2, 3, 120));
        assert_eq!(unacknowledged.pop(200).unwrap().1, Volume::default());
        assert!(unacknowledged.pop(200).is_none());
        assert!(!unacknowledged.is_empty());
        let back: Vec<_> = unacknowledged.take_back().iter().map(FlowRecord::packets).collect();
        assert_eq!(back, [3, 4]);
        assert!(unacknowledged.is_empty());
    }
}
