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

/// What the counters of a template hold at most: packets, octets, octets of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// The least of all.
    least: u64,
    forward: [u64; 3],
    /// Of the packets from destination to source.
    reverse: [u64; 3],
}

impl Limits {
    /// Those of a template with these fields.
    pub fn of(fields: &[Field]) -> Self {
        let most = |element: E| {
            let counters = fields.iter().filter(|field| field.element == element);
            counters.map(|field| largest(field.length)).min().unwrap_or(u64::MAX)
        };
        let of = |way: usize| [PACKETS[way], OCTETS[way], LAYER2_OCTETS[way]].map(most);
        Self::new(of(0), of(1))
    }

    fn new(forward: [u64; 3], reverse: [u64; 3]) -> Self {
        let least = forward.into_iter().chain(reverse).fold(u64::MAX, u64::min);
        Self { least, forward, reverse }
    }

    /// Data Records that a Flow Record needs.
    pub fn parts_of(&self, record: &FlowRecord) -> u64 {
        if self.least == u64::MAX {
            return 1;
        }
        let of = |record: &FlowRecord, limits: &[u64; 3]| {
            let layer2_octets = record.extras.as_ref().map_or(0, |extras| extras.counters.layer2_octets);
            let counters = [record.counters.packets, record.counters.octets, layer2_octets];
            counters
                .into_iter()
                .zip(limits)
                .fold(1, |parts, (value, limit)| parts.max(value.div_ceil(*limit)))
        };
        let reverse = record.reverse.as_deref().map_or(1, |reverse| of(reverse, &self.reverse));
        of(record, &self.forward).max(reverse)
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
        let limits = Limits::new([u64::MAX, largest(4), u64::MAX], [u64::MAX; 3]);
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
    fn a_direction_without_a_short_field_takes_no_part_of_its_own() {
        let counters = |octets| FlowCounters { packets: 9, octets, ..FlowCounters::default() };
        let record = |octets| {
            let (key, reason) = (FlowKey::default(), FlowEndReason::IdleTimeout);
            FlowRecord::new(key, counters(octets), reason, &Instant::default())
        };
        let reverse = Some(Box::new(record(9 << 32)));
        let biflow = FlowRecord { reverse, ..record(5000) };
        let short = [u64::MAX, largest(4), u64::MAX];
        assert_eq!(Limits::new(short, [u64::MAX; 3]).parts_of(&biflow), 1);
        assert_eq!(Limits::new(short, short).parts_of(&biflow), 10);
    }

    #[test]
    fn counters_in_full_are_never_split() {
        let limits = Limits::new([u64::MAX; 3], [u64::MAX; 3]);
        let counters = FlowCounters { packets: u64::MAX, octets: u64::MAX, ..FlowCounters::default() };
        let reason = FlowEndReason::IdleTimeout;
        let record = FlowRecord::new(FlowKey::default(), counters, reason, &Instant::default());
        assert_eq!(limits.parts_of(&record), 1);
    }
}
