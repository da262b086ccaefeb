//! RECORD: what the flow cache hands to the messages.
//!
//! In: an ended flow and the clocks' offset. Out: a [`FlowRecord`] with wall-clock times. This room
//! refuses to know templates, octet order and destinations.

pub mod anonymisation;
mod route;

use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey};

pub use self::route::Route;
use crate::time::{Instant, MonotonicNanos, UnixMillis};

/// Why a flow ended: flowEndReason (IANA 136).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum FlowEndReason {
    /// 1: no packet for the idle timeout.
    IdleTimeout = 1,
    /// 2: the active timeout passed; the flow goes on.
    ActiveTimeout = 2,
    /// 3: TCP FIN or RST was seen and the linger time passed.
    EndOfFlowDetected = 3,
    /// 4: shutdown.
    ForcedEnd = 4,
    /// 5: the cache was full.
    LackOfResources = 5,
}

/// A Flow Record (RFC 7011 section 2): the deltas of one flow since its previous record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// The Flow Key.
    pub key: FlowKey,
    /// The measured values; `first` and `last` in nanoseconds of the monotonic clock.
    pub counters: FlowCounters,
    /// flowStartMilliseconds.
    pub start: UnixMillis,
    /// flowEndMilliseconds.
    pub end: UnixMillis,
    /// flowEndReason.
    pub end_reason: FlowEndReason,
    /// Where the packets go.
    pub route: Route,
    /// What wide entries have beyond the default.
    pub extras: Option<Box<Extras>>,
    /// How source and destination were told apart, where there is a reverse direction.
    pub biflow_direction: BiflowDirection,
    /// The packets from destination to source, where flows are paired to biflows (RFC 5103) and there are any: a record
    /// of its own, whose source is this one's destination.
    pub reverse: Option<Box<FlowRecord>>,
}

/// What a wide entry has: key and counters in full, those of the default included. Where groups are off
/// their values are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extras {
    /// The Flow Key; `flow` is the record's.
    pub key: WideKey,
    /// The measured values; `flow` is the record's.
    pub counters: WideCounters,
}

/// How the source of a biflow was chosen: biflowDirection (IANA 239).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum BiflowDirection {
    /// 0: nothing tells the directions apart.
    #[default]
    Arbitrary = 0,
    /// 1: the source is the initiator, as far as it can be told.
    Initiator = 1,
}

/// What leaves the flow cache: key and counters of any width.
pub trait IntoRecord {
    /// Makes the record.
    fn into_record(self, end_reason: FlowEndReason, clock: &Instant) -> FlowRecord;
}

impl IntoRecord for (FlowKey, FlowCounters) {
    fn into_record(self, end_reason: FlowEndReason, clock: &Instant) -> FlowRecord {
        FlowRecord::new(self.0, self.1, end_reason, clock)
    }
}

impl IntoRecord for (WideKey, WideCounters) {
    fn into_record(self, end_reason: FlowEndReason, clock: &Instant) -> FlowRecord {
        let (key, counters) = self;
        let extras = Some(Box::new(Extras { key, counters }));
        FlowRecord { extras, ..FlowRecord::new(key.flow, counters.flow, end_reason, clock) }
    }
}

impl FlowRecord {
    /// The record of a flow that ended. Both times take the one offset of `clock`, so that a step of
    /// the wall clock moves a record but never stretches it.
    pub fn new(key: FlowKey, counters: FlowCounters, end_reason: FlowEndReason, clock: &Instant) -> Self {
        Self {
            key,
            counters,
            start: clock.unix_millis_of(MonotonicNanos(counters.first)),
            end: clock.unix_millis_of(MonotonicNanos(counters.last)),
            end_reason,
            route: Route::default(),
            extras: None,
            biflow_direction: BiflowDirection::Arbitrary,
            reverse: None,
        }
    }

    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.counters.packets + self.reverse.as_ref().map_or(0, |reverse| reverse.counters.packets)
    }

    /// Octets of both directions.
    pub fn octets(&self) -> u64 {
        self.counters.octets + self.reverse.as_ref().map_or(0, |reverse| reverse.counters.octets)
    }
}
