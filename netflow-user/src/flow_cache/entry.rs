//! What the cache asks of keys and counters: default entries, wide ones and those of biflows are cached alike.

use bytemuck::{Pod, Zeroable, bytes_of};
use netflow_common::{FlowCounters, FlowKey, INITIAL_SYN, WideCounters, WideKey};

const PROTOCOL_TCP: u8 = 6;

/// What flows are told apart by; keys are equal where their octets are.
pub trait Key: Pod {
    /// The default part.
    fn flow(&self) -> &FlowKey;

    /// Whether FIN and RST mean something.
    fn is_tcp(&self) -> bool {
        self.flow().protocol == PROTOCOL_TCP
    }

    /// Whether both are the same flow's.
    fn is(&self, other: &Self) -> bool {
        bytes_of(self) == bytes_of(other)
    }
}

/// What is measured of a flow: a delta, or the sum of deltas.
pub trait Counters: Copy + Zeroable {
    /// Packets.
    fn packets(&self) -> u64;
    /// IP octets.
    fn octets(&self) -> u64;
    /// Time of the first packet, nanoseconds.
    fn first(&self) -> u64;
    /// Time of the last packet, nanoseconds.
    fn last(&self) -> u64;
    /// tcpControlBits of all packets.
    fn tcp_control_bits(&self) -> u16;
    /// Whether a SYN without ACK was seen; takes the mark of it out of the control bits.
    fn take_initial_syn(&mut self) -> bool;
    /// Adds what was measured elsewhere, in any order.
    fn merge(&mut self, other: &Self);
    /// The same with no time before `floor`.
    #[must_use]
    fn not_before(self, floor: u64) -> Self;
    /// No packets, of which the last was at `last`; the flow goes on.
    #[must_use]
    fn none_since(&self, last: u64) -> Self;
    /// The first packets behind `self`, which has none: what a flow keeps over its records.
    #[must_use]
    fn followed_by(&self, delta: Self) -> Self {
        delta
    }
}

impl Key for FlowKey {
    fn flow(&self) -> &FlowKey {
        self
    }
}

impl Key for WideKey {
    fn flow(&self) -> &FlowKey {
        &self.flow
    }
}

impl Counters for FlowCounters {
    fn packets(&self) -> u64 {
        self.packets
    }

    fn octets(&self) -> u64 {
        self.octets
    }

    fn first(&self) -> u64 {
        self.first
    }

    fn last(&self) -> u64 {
        self.last
    }

    fn tcp_control_bits(&self) -> u16 {
        self.tcp_control_bits
    }

    fn take_initial_syn(&mut self) -> bool {
        let had_one = self.tcp_control_bits & INITIAL_SYN != 0;
        self.tcp_control_bits &= !INITIAL_SYN;
        had_one
    }

    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }

    fn not_before(self, floor: u64) -> Self {
        let first = self.first.max(floor);
        Self { first, last: self.last.max(first), ..self }
    }

    fn none_since(&self, last: u64) -> Self {
        Self { first: last, last, ..Self::default() }
    }
}

impl Counters for WideCounters {
    fn packets(&self) -> u64 {
        self.flow.packets
    }

    fn octets(&self) -> u64 {
        self.flow.octets
    }

    fn first(&self) -> u64 {
        self.flow.first
    }

    fn last(&self) -> u64 {
        self.flow.last
    }

    fn tcp_control_bits(&self) -> u16 {
        self.flow.tcp_control_bits
    }

    fn take_initial_syn(&mut self) -> bool {
        self.flow.take_initial_syn()
    }

    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }

    fn not_before(self, floor: u64) -> Self {
        Self { flow: self.flow.not_before(floor), ..self }
    }

    fn none_since(&self, last: u64) -> Self {
        Self { flow: self.flow.none_since(last), ..Self::default() }
    }
}
