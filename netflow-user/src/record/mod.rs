//! RECORD: what the flow cache hands to the messages.
//!
//! In: an ended flow and the clocks' offset. Out: a [`FlowRecord`] with wall-clock times. This room
//! refuses to know templates, octet order and destinations.

mod route;

use netflow_common::{FlowCounters, FlowKey};

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        }
    }
}
