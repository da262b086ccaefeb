//! When a flow ends by time, and why: a pure function of its slot and the timeouts.
//!
//! - Idle: no packet for `idle`. Reason 1.
//! - End of flow detected: TCP with FIN or RST seen from this side, and then no packet for
//!   `end_linger`. Every packet starts the wait anew, so that a half-closed download stays whole;
//!   the FIN is remembered over active timeouts. Reason 3.
//! - Active: the record started `active` ago. The flow goes on. Reason 2.
//!
//! Whichever instant comes first says why. A timeout is looked at when a flip is drained, never in
//! between: a record ends up to one drain interval late, never early.

use std::time::Duration;

use crate::record::FlowEndReason;

use super::slab::Slot;
use super::{Counters, FlowCacheError};

/// When flows end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    idle: u64,
    active: u64,
    end_linger: u64,
}

impl Timeouts {
    /// The three timeouts. `end_linger` may be 0: a TCP flow then ends at the flip that shows its FIN or RST.
    pub fn new(idle: Duration, active: Duration, end_linger: Duration) -> Result<Self, FlowCacheError> {
        if idle.is_zero() {
            return Err(FlowCacheError::IdleTimeoutZero);
        }
        if active.is_zero() {
            return Err(FlowCacheError::ActiveTimeoutZero);
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { idle: nanos(idle), active: nanos(active), end_linger: nanos(end_linger) })
    }

    /// A flow without packets for so long ends with reason 1.
    pub fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle)
    }

    /// A record spans so much at most (and a drain interval); then it ends with reason 2.
    pub fn active(&self) -> Duration {
        Duration::from_nanos(self.active)
    }

    /// A TCP flow without packets for so long behind a FIN or RST ends with reason 3.
    pub fn end_linger(&self) -> Duration {
        Duration::from_nanos(self.end_linger)
    }

    /// The longest a flow can be without a packet.
    pub(super) fn longest_pause(&self) -> u64 {
        self.idle
    }

    /// How long the flow may be without packets before it is over, and why it then is.
    pub(super) fn pause<K, C>(&self, slot: &Slot<K, C>) -> (u64, FlowEndReason) {
        if slot.ending != 0 && self.end_linger <= self.idle {
            (self.end_linger, FlowEndReason::EndOfFlowDetected)
        } else {
            (self.idle, FlowEndReason::IdleTimeout)
        }
    }

    /// The next instant at which the flow or its record ends without further packets, and why.
    pub(super) fn end<K, C: Counters>(&self, slot: &Slot<K, C>) -> (u64, FlowEndReason) {
        let (pause, reason) = self.pause(slot);
        let over = slot.counters.last().saturating_add(pause);
        let active = slot.counters.first().saturating_add(self.active);
        // A record without packets is never sent, so that it has no active timeout either.
        if slot.counters.packets() > 0 && active < over {
            (active, FlowEndReason::ActiveTimeout)
        } else {
            (over, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey};

    use super::*;

    fn seconds(idle: u64, active: u64, end_linger: u64) -> Result<Timeouts, FlowCacheError> {
        Timeouts::new(Duration::from_secs(idle), Duration::from_secs(active), Duration::from_secs(end_linger))
    }

    #[test]
    fn timeouts_of_zero_are_refused_with_the_reason() {
        let idle = seconds(0, 1800, 2).unwrap_err();
        assert!(idle.to_string().contains("packets are aggregated in the kernel"), "{idle}");
        assert!(matches!(seconds(15, 0, 2), Err(FlowCacheError::ActiveTimeoutZero)));
        assert_eq!(seconds(15, 1800, 0).unwrap().end_linger(), Duration::ZERO);
    }

    #[test]
    fn the_earliest_instant_says_why_a_flow_ends() {
        const SECOND: u64 = 1_000_000_000;
        let timeouts = seconds(15, 60, 2).unwrap();
        let mut slot = Slot::<_, FlowCounters>::new(FlowKey { protocol: 6, ..FlowKey::default() }, 0);
        slot.add(&FlowCounters { packets: 1, first: SECOND, last: 2 * SECOND, ..FlowCounters::default() });
        assert_eq!(timeouts.end(&slot), (17 * SECOND, FlowEndReason::IdleTimeout));
        slot.add(&FlowCounters {
            packets: 1,
            first: 50 * SECOND,
            last: 50 * SECOND,
            ..FlowCounters::default()
        });
        assert_eq!(timeouts.end(&slot), (61 * SECOND, FlowEndReason::ActiveTimeout));
        slot.add(&FlowCounters {
            packets: 1,
            first: 51 * SECOND,
            last: 51 * SECOND,
            tcp_control_bits: 0x11,
            ..FlowCounters::default()
        });
        assert_eq!(timeouts.end(&slot), (53 * SECOND, FlowEndReason::EndOfFlowDetected));
        slot.restart();
        assert_eq!(timeouts.end(&slot), (53 * SECOND, FlowEndReason::EndOfFlowDetected));
    }

    #[test]
    fn a_linger_longer_than_the_idle_timeout_changes_nothing() {
        let timeouts = seconds(1, 60, 2).unwrap();
        let mut slot = Slot::<_, FlowCounters>::new(FlowKey { protocol: 6, ..FlowKey::default() }, 0);
        slot.add(&FlowCounters { packets: 1, tcp_control_bits: 0x04, ..FlowCounters::default() });
        assert_eq!(timeouts.end(&slot), (1_000_000_000, FlowEndReason::IdleTimeout));
    }

    #[test]
    fn control_bits_of_other_protocols_end_nothing() {
        let timeouts = seconds(15, 60, 2).unwrap();
        let mut slot = Slot::<_, FlowCounters>::new(FlowKey { protocol: 17, ..FlowKey::default() }, 0);
        slot.add(&FlowCounters { packets: 1, tcp_control_bits: 0x05, ..FlowCounters::default() });
        assert_eq!(timeouts.end(&slot), (15_000_000_000, FlowEndReason::IdleTimeout));
    }
}
