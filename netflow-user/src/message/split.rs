//! Counters that do not fit their field: the flow takes several Data Records, whose sum is exact (TYPE-RSE-3).
//!
//! In: a Flow Record and how much each field of its template holds. Out: the parts. This module refuses to know how
//! they are written.

use std::borrow::Cow;

use crate::record::FlowRecord;

use super::{InformationElement as E, template::Field};

/// Counters that are shared out over parts.
const PACKETS: [E; 2] = [E::PACKET_DELTA_COUNT, E::REVERSE_PACKET_DELTA_COUNT];
const OCTETS: [E; 2] = [E::OCTET_DELTA_COUNT, E::REVERSE_OCTET_DELTA_COUNT];
const LAYER2_OCTETS: [E; 2] = [E::LAYER2_OCTET_DELTA_COUNT, E::REVERSE_LAYER2_OCTET_DELTA_COUNT];
/// The shortest counter: a packet has fewer octets, so that no part is without a packet.
pub(super) const LEAST_LENGTH: u16 = 4;

/// Whether a value of the element can be shared out.
pub(super) fn is_counter(element: E) -> bool {
    [PACKETS, OCTETS, LAYER2_OCTETS].concat().contains(&element)
}

/// What the counters of a template hold at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    packets: u64,
    octets: u64,
    layer2_octets: u64,
}

impl Limits {
    /// Those of a template with these fields.
    pub fn of(fields: &[Field]) -> Self {
        let most = |elements: [E; 2]| {
            let counters = fields.iter().filter(|field| elements.contains(&field.element));
            counters.map(|field| largest(field.length)).min().unwrap_or(u64::MAX)
        };
        Self { packets: most(PACKETS), octets: most(OCTETS), layer2_octets: most(LAYER2_OCTETS) }
    }

    /// Data Records that a Flow Record needs.
    pub fn parts_of(&self, record: &FlowRecord) -> u64 {
        if self.packets.min(self.octets).min(self.layer2_octets) == u64::MAX {
            return 1;
        }
        let of = |record: &FlowRecord| {
            let layer2_octets = record.extras.as_ref().map_or(0, |extras| extras.counters.layer2_octets);
            [
                record.counters.packets.div_ceil(self.packets),
                record.counters.octets.div_ceil(self.octets),
                layer2_octets.div_ceil(self.layer2_octets),
            ]
        };
        let reverse = record.reverse.as_deref().map_or([1; 3], of);
        of(record).into_iter().chain(reverse).fold(1, u64::max)
    }
}

fn largest(length: u16) -> u64 {
    if length >= 8 { u64::MAX } else { (1 << (8 * length)) - 1 }
}

/// One of so many parts: the counters are shared out, everything else is the same in all.
pub(super) fn part(record: &FlowRecord, part: u64, parts: u64) -> Cow<'_, FlowRecord> {
    if parts == 1 {
        return Cow::Borrowed(record);
    }
    let mut record = record.clone();
    let mut each = Some(&mut record);
    while let Some(record) = each {
        record.counters.packets = share(record.counters.packets, part, parts);
        record.counters.octets = share(record.counters.octets, part, parts);
        if let Some(extras) = &mut record.extras {
            extras.counters.layer2_octets = share(extras.counters.layer2_octets, part, parts);
        }
        each = record.reverse.as_deref_mut();
    }
    Cow::Owned(record)
}

/// Shares differ by one at most and add up to the whole.
fn share(whole: u64, part: u64, parts: u64) -> u64 {
    whole / parts + u64::from(part < whole % parts)
}

#[cfg(test)]
mod tests {
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{record::FlowEndReason, time::Instant};

    #[test]
    fn parts_fit_and_add_up_to_the_flow() {
        // TYPE-RSE-3
        let limits = Limits { packets: u64::MAX, octets: largest(4), layer2_octets: u64::MAX };
        for (octets, expected) in [(0, 1), (1, 1), (0xffff_ffff, 1), (0x1_0000_0000, 2), (9_000_000_000, 3)] {
            let counters = FlowCounters { packets: 1_000_003, octets, ..FlowCounters::default() };
            let (key, reason) = (FlowKey::default(), FlowEndReason::IdleTimeout);
            let record = FlowRecord::new(key, counters, reason, &Instant::default());
            let parts = limits.parts_of(&record);
            assert_eq!(parts, expected, "{octets}");
            let all: Vec<_> = (0..parts).map(|at| part(&record, at, parts).into_owned().counters).collect();
            assert!(all.iter().all(|part| part.octets <= 0xffff_ffff && part.packets > 0));
            assert_eq!(all.iter().map(|part| part.octets).sum::<u64>(), octets);
            assert_eq!(all.iter().map(|part| part.packets).sum::<u64>(), counters.packets);
        }
    }

    #[test]
    fn counters_in_full_are_never_split() {
        let limits = Limits { packets: u64::MAX, octets: u64::MAX, layer2_octets: u64::MAX };
        let counters = FlowCounters { packets: u64::MAX, octets: u64::MAX, ..FlowCounters::default() };
        let reason = FlowEndReason::IdleTimeout;
        let record = FlowRecord::new(FlowKey::default(), counters, reason, &Instant::default());
        assert_eq!(limits.parts_of(&record), 1);
    }
}
