//! Biflows (RFC 5103): both directions of a flow as one.
//!
//! In: what was measured of one direction ([`pair`]). Out: keys and counters that the cache takes like any others, and
//! their records: the source is the initiator as far as it can be told. This module refuses to know where deltas come
//! from and when a flow ends.
//!
//! Class of service and flowDirection do not tell biflows apart, since they differ between the directions of one
//! conversation (ECN alone makes them): each half keeps those of its first packet.

use bytemuck::Zeroable;
use netflow_common::{FlowKey, IpVersion, NetworkU16, WideKey};

use crate::record::{BiflowDirection, FlowEndReason, FlowRecord, IntoRecord};
use crate::time::Instant;

use super::{Counters, Key};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Queries of ICMP and their replies, by type (RFC 792, RFC 950).
const ICMP_QUERIES: [(u8, u8); 4] = [(8, 0), (13, 14), (15, 16), (17, 18)];
/// Those of ICMPv6 (RFC 4443 section 4, RFC 4620).
const ICMPV6_QUERIES: [(u8, u8); 2] = [(128, 129), (139, 140)];

/// A key that has a counterpart: that of the packets the other way.
pub trait Reversible: Key + Ord {
    /// The default part.
    fn flow_mut(&mut self) -> &mut FlowKey;

    /// The key with source and destination exchanged. ICMP has no ports: a query becomes its reply, and of all
    /// other messages there is nothing the other way (`None`).
    fn reversed(&self) -> Option<Self>;
}

impl Reversible for FlowKey {
    fn flow_mut(&mut self) -> &mut FlowKey {
        self
    }

    fn reversed(&self) -> Option<Self> {
        let (source_port, destination_port) = match queries(self) {
            None => (self.destination_port, self.source_port),
            Some(queries) => {
                let [kind, code] = self.destination_port.value().to_be_bytes();
                let (query, reply) =
                    queries.iter().find(|(query, reply)| code == 0 && (kind == *query || kind == *reply))?;
                let other = if kind == *query { *reply } else { *query };
                (self.source_port, NetworkU16::from_octets([other, 0]))
            }
        };
        Some(Self {
            source_address: self.destination_address,
            destination_address: self.source_address,
            source_port,
            destination_port,
            ..*self
        })
    }
}

impl Reversible for WideKey {
    fn flow_mut(&mut self) -> &mut FlowKey {
        &mut self.flow
    }

    fn reversed(&self) -> Option<Self> {
        Some(Self {
            flow: self.flow.reversed()?,
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            ..*self
        })
    }
}

/// The queries of the key's protocol, if that is ICMP.
fn queries(key: &FlowKey) -> Option<&'static [(u8, u8)]> {
    match (key.protocol, key.ip_version) {
        (ICMP, IpVersion::V4) => Some(&ICMP_QUERIES),
        (ICMPV6, IpVersion::V6) => Some(&ICMPV6_QUERIES),
        _ => None,
    }
}

fn is_query(key: &FlowKey) -> bool {
    let [kind, _] = key.destination_port.value().to_be_bytes();
    queries(key).is_some_and(|queries| queries.iter().any(|(query, _)| kind == *query))
}

/// What is measured of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Zeroable)]
#[repr(C)]
struct Half<C> {
    counters: C,
    /// ipClassOfService of the first packet.
    class_of_service: u8,
    /// flowDirection of the first packet.
    direction: u8,
    /// 1: it has what only an initiator sends: a SYN without ACK, a query.
    begins: u8,
    reserved: [u8; 5],
}

impl<C: Counters> Half<C> {
    fn is_empty(&self) -> bool {
        self.counters.packets() == 0
    }

    fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = *other;
            return;
        }
        let of_first = |half: &Self| (half.counters.first(), half.class_of_service, half.direction);
        if of_first(other) < of_first(self) {
            (self.class_of_service, self.direction) = (other.class_of_service, other.direction);
        }
        self.counters.merge(&other.counters);
        self.begins |= other.begins;
    }
}

/// What is measured of both directions: those of the key, and those of its counterpart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Zeroable)]
#[repr(C)]
pub struct Biflow<C> {
    halves: [Half<C>; 2],
    /// One step of the packets' clock in nanoseconds: times that are nearer to one another say no order.
    clock_step: u32,
    /// Whose destination port is the lower one: 0 nobody's, else the half's number and 1.
    client: u8,
    /// Which half is the source: 0 not decided, else the half's number and 1. It stays when the flow goes on behind
    /// an active timeout (RFC 5103 section 5.3).
    source: u8,
    /// 1: the source is known to be the initiator.
    known: u8,
    reserved: u8,
}

/// What the cache takes of a delta: the smaller of a key and its counterpart, and the counters in the half that they
/// belong to. `clock_step` is that of the packets' clock, in nanoseconds.
pub fn pair<K: Reversible, C: Counters>(key: &K, counters: &C, clock_step: u64) -> (K, Biflow<C>) {
    let mut own = *key;
    let flow = own.flow_mut();
    let FlowKey { class_of_service, direction, .. } = *flow;
    (flow.class_of_service, flow.direction) = (0, 0);
    let (key, place) = match own.reversed() {
        Some(counterpart) if counterpart < own => (counterpart, 1),
        _ => (own, 0),
    };
    let mut counters = *counters;
    let begins = counters.take_initial_syn() || is_query(own.flow());
    let mut biflow = Biflow {
        clock_step: clock_step.try_into().unwrap_or(u32::MAX),
        client: client(key.flow()),
        ..Biflow::zeroed()
    };
    biflow.halves[place] =
        Half { counters, class_of_service, direction, begins: begins.into(), reserved: [0; 5] };
    (key, biflow)
}

/// The half that sends to the lower port, as [`Biflow::client`] has it.
fn client(key: &FlowKey) -> u8 {
    match key.destination_port.value().cmp(&key.source_port.value()) {
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 2,
    }
}

impl<C: Counters> Biflow<C> {
    fn alive(&self) -> impl Iterator<Item = &C> {
        self.halves.iter().filter(|half| !half.is_empty()).map(|half| &half.counters)
    }

    /// The source and whether it is known to be the initiator, decided if they are not yet: the half that begins (SYN without ACK, a query), else
    /// the earlier one if a step of the clock lies between, else the one that sends to the lower port.
    fn decided(&self) -> (u8, u8) {
        if self.source != 0 {
            return (self.source, self.known);
        }
        let [one, other] = &self.halves;
        let (first, second) = (one.counters.first(), other.counters.first());
        let source = match (one.is_empty(), other.is_empty()) {
            (false, true) => 1,
            (true, false) => 2,
            _ if one.begins != other.begins => 1 + other.begins,
            _ if first.abs_diff(second) >= u64::from(self.clock_step.max(1)) => 1 + u8::from(second < first),
            _ => self.client,
        };
        match source {
            0 => (1, 0),
            source => (source, 1),
        }
    }
}

impl<C: Counters> Counters for Biflow<C> {
    fn packets(&self) -> u64 {
        self.halves.iter().map(|half| half.counters.packets()).sum()
    }

    fn octets(&self) -> u64 {
        self.halves.iter().map(|half| half.counters.octets()).sum()
    }

    fn first(&self) -> u64 {
        self.alive().map(C::first).min().unwrap_or_else(|| self.halves[0].counters.first())
    }

    fn last(&self) -> u64 {
        self.alive().map(C::last).max().unwrap_or_else(|| self.halves[0].counters.last())
    }

    fn tcp_control_bits(&self) -> u16 {
        self.halves.iter().fold(0, |bits, half| bits | half.counters.tcp_control_bits())
    }

    fn take_initial_syn(&mut self) -> bool {
        false
    }

    fn merge(&mut self, other: &Self) {
        for (half, other) in self.halves.iter_mut().zip(&other.halves) {
            half.merge(other);
        }
        self.clock_step = self.clock_step.max(other.clock_step);
        self.client = self.client.max(other.client);
        if self.source == 0 {
            (self.source, self.known) = (other.source, other.known);
        }
    }

    fn not_before(mut self, floor: u64) -> Self {
        for half in self.halves.iter_mut().filter(|half| !half.is_empty()) {
            half.counters = half.counters.not_before(floor);
        }
        self
    }

    fn none_since(&self, last: u64) -> Self {
        let (source, known) = if self.packets() > 0 { self.decided() } else { (self.source, self.known) };
        let mut none = Self { source, known, ..Self::zeroed() };
        none.halves[0].counters = self.halves[0].counters.none_since(last);
        none
    }

    fn followed_by(&self, delta: Self) -> Self {
        Self { source: self.source, known: self.known, ..delta }
    }
}

impl<K: Reversible, C: Counters> IntoRecord for (K, Biflow<C>)
where
    (K, C): IntoRecord,
{
    /// A biflow whose packets all go one way is a flow like any other, as they go (RFC 5103 section 4).
    fn into_record(self, end_reason: FlowEndReason, clock: &Instant) -> FlowRecord {
        let (key, biflow) = self;
        let record = |place: u8| {
            let half = &biflow.halves[usize::from(place)];
            let mut key = if place == 0 { key } else { key.reversed().unwrap_or(key) };
            let flow = key.flow_mut();
            (flow.class_of_service, flow.direction) = (half.class_of_service, half.direction);
            (key, half.counters).into_record(end_reason, clock)
        };
        let (source, known) = biflow.decided();
        let (forward, reverse) = (source - 1, 2 - source);
        match biflow.halves.each_ref().map(Half::is_empty) {
            [false, true] => record(0),
            [true, false] => record(1),
            _ => FlowRecord {
                biflow_direction: if known == 0 {
                    BiflowDirection::Arbitrary
                } else {
                    BiflowDirection::Initiator
                },
                reverse: Some(Box::new(record(reverse))),
                ..record(forward)
            },
        }
    }
}
