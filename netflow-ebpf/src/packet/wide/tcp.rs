//! TCP segments that were seen before or come out of order, and the round-trip time of the handshake.
//!
//! In: a segment, and what is remembered of its connection. Out: what it adds to its flow. The state is bounded and
//! outlives the generations: losing an entry loses a measurement, never a packet.
//!
//! A segment that starts behind the highest octet seen opens a gap; one that starts before it either fills the last
//! gap (out of order; also the first copy that is seen of a segment lost before this meter) or had been seen
//! (retransmitted). The round-trip time is that from the last SYN to its SYN-ACK, where both directions are seen.

use bytemuck::{Pod, Zeroable};
use netflow_common::{Address, FlowKey, NetworkU16, Ports, WideCounters};

use super::super::{Frame, Packet};

const TCP: u8 = 6;
const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// A TCP segment: its place in the octet stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Sequence number of its first octet (or of its SYN).
    pub sequence: u32,
    /// Octets of the stream in it, without SYN and FIN.
    pub length: u32,
}

/// What is expected of one direction of a connection, 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Expectation {
    /// Sequence number behind the highest octet seen.
    next: u32,
    /// The last gap: from here ...
    gap: u32,
    /// ... to before here; none where both are equal.
    gap_end: u32,
    /// Zero.
    reserved: u32,
}

/// Who shook hands, as the SYN has it, 40 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Handshake {
    client: Address,
    server: Address,
    client_port: NetworkU16,
    server_port: NetworkU16,
    ip_version: u32,
}

/// Where connections are remembered.
pub trait TcpState {
    /// What is expected of this direction.
    fn expectation(&mut self, key: &FlowKey) -> Option<Expectation>;
    /// Remembers it.
    fn expect(&mut self, key: &FlowKey, expectation: &Expectation);
    /// Remembers when the SYN was seen: now, on a precise clock.
    fn began(&mut self, handshake: &Handshake);
    /// Nanoseconds since the SYN, where it is known.
    fn took(&mut self, handshake: &Handshake) -> Option<u64>;
}

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    InOrder,
    Retransmitted,
    OutOfOrder,
}

/// Sequence number and length of the segment whose header stands at `offset`, of `available` octets with it.
#[inline(always)]
pub(super) fn place<F: Frame + ?Sized>(frame: &F, offset: usize, available: usize) -> [u32; 2] {
    let (Some(sequence), Some(bits)) = (frame.read::<u32>(offset + 4), frame.read::<NetworkU16>(offset + 12))
    else {
        return [0, 0];
    };
    let header = usize::from(bits.value() >> 12) * 4;
    let length = available.saturating_sub(header);
    [u32::from_be(sequence), length as u32]
}

/// Enters a packet's segment into what is known of its connection, and what that says into the delta.
#[inline(always)]
pub fn follow(packet: &Packet, segment: Segment, delta: &mut WideCounters, state: &mut impl TcpState) {
    if packet.key.protocol != TCP || packet.key.ports != Ports::PRESENT {
        return;
    }
    let flags = packet.tcp_control_bits;
    if flags & SYN != 0 {
        shake_hands(&packet.key, flags, delta, state);
    }
    // SYN and FIN stand for an octet each.
    let length = segment.length + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    if length == 0 {
        return;
    }
    let known = state.expectation(&packet.key);
    let (order, expectation) = judge(known, segment.sequence, length, flags & SYN != 0);
    state.expect(&packet.key, &expectation);
    match order {
        Arrival::InOrder => {}
        Arrival::Retransmitted => delta.tcp_retransmitted = 1,
        Arrival::OutOfOrder => delta.tcp_out_of_order = 1,
    }
}

#[inline(always)]
fn judge(known: Option<Expectation>, sequence: u32, length: u32, syn: bool) -> (Arrival, Expectation) {
    let end = sequence.wrapping_add(length);
    // No gap: both ends at one place. (Zeroes side by side would become a call to a loop over octets.)
    let fresh = Expectation { next: end, gap: end, gap_end: end, reserved: 0 };
    let Some(mut state) = known else { return (Arrival::InOrder, fresh) };
    let ahead = sequence.wrapping_sub(state.next) as i32;
    if syn {
        // The same SYN again, or a new connection between the same ports.
        let again = end == state.next;
        return (
            if again { Arrival::Retransmitted } else { Arrival::InOrder },
            if again { state } else { fresh },
        );
    }
    if ahead >= 0 {
        if ahead > 0 {
            (state.gap, state.gap_end) = (state.next, sequence);
        }
        state.next = end;
        return (Arrival::InOrder, state);
    }
    let into_gap = sequence.wrapping_sub(state.gap);
    let gap = state.gap_end.wrapping_sub(state.gap);
    let fills = into_gap < gap;
    if fills {
        if into_gap == 0 {
            state.gap = if length < gap { end } else { state.gap_end };
        } else {
            state.gap_end = sequence;
        }
    }
    if end.wrapping_sub(state.next) as i32 > 0 {
        state.next = end;
    }
    (if fills { Arrival::OutOfOrder } else { Arrival::Retransmitted }, state)
}

#[inline(always)]
fn shake_hands(key: &FlowKey, flags: u16, delta: &mut WideCounters, state: &mut impl TcpState) {
    if flags & ACK == 0 {
        let handshake = Handshake {
            client: key.source_address,
            server: key.destination_address,
            client_port: key.source_port,
            server_port: key.destination_port,
            ip_version: key.ip_version.into(),
        };
        state.began(&handshake);
        return;
    }
    let handshake = Handshake {
        client: key.destination_address,
        server: key.source_address,
        client_port: key.destination_port,
        server_port: key.source_port,
        ip_version: key.ip_version.into(),
    };
    if let Some(nanos) = state.took(&handshake) {
        let microseconds = nanos / 1000;
        // 0 means "not measured".
        delta.round_trip_microseconds = if microseconds == 0 {
            1
        } else if microseconds > 0xffff_ffff {
            u32::MAX
        } else {
            microseconds as u32
        };
    }
}

const _: () = {
    assert!(size_of::<Expectation>() == 16);
    assert!(size_of::<Handshake>() == 40);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments as (sequence, length, SYN); what each is.
    fn orders(segments: &[(u32, u32, bool)]) -> [Arrival; 8] {
        let mut orders = [Arrival::InOrder; 8];
        let mut known = None;
        for (order, (sequence, length, syn)) in orders.iter_mut().zip(segments) {
            let (found, state) = judge(known, *sequence, *length, *syn);
            (*order, known) = (found, Some(state));
        }
        orders
    }

    use Arrival::{InOrder as I, OutOfOrder as O, Retransmitted as R};

    #[test]
    fn a_stream_in_order_has_nothing_to_tell_even_where_numbers_wrap() {
        let start = u32::MAX - 150;
        let segments =
            [(start, 1, true), (start + 1, 100, false), (start + 101, 100, false), (50, 10, false)];
        assert_eq!(orders(&segments), [I; 8]);
    }

    #[test]
    fn what_was_seen_before_is_retransmitted() {
        let segments = [(10, 1, true), (10, 1, true), (11, 100, false), (11, 100, false), (61, 20, false)];
        assert_eq!(orders(&segments), [I, R, I, R, R, I, I, I]);
    }

    #[test]
    fn what_fills_a_gap_is_out_of_order_and_once_only() {
        let segments = [
            (0, 100, false),
            (300, 100, false),
            (100, 100, false),
            (200, 100, false),
            (200, 100, false),
            (400, 1, false),
        ];
        assert_eq!(orders(&segments), [I, I, O, O, R, I, I, I]);
    }

    #[test]
    fn a_new_connection_between_the_same_ports_starts_anew() {
        assert_eq!(orders(&[(1000, 1, true), (1001, 50, false), (10, 1, true), (11, 50, false)]), [I; 8]);
    }
}
