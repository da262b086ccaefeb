//! PACKET: octets -> Flow Key and measured values, or the reason why it is not a flow packet.
//!
//! In: a [`Frame`] and its [`LinkType`]. Out: a [`Packet`] or a [`Refusal`]. This module refuses to
//! know maps, clocks and interfaces; the same code runs in the kernel and on the host.
//!
//! A packet whose IP header is whole and valid is metered with the length that the header *states*,
//! however short the frame. It is refused only where the IP header is missing, cut, of the wrong
//! version or below five words.

mod common;
mod fragments;
mod frame;
mod ipv4;
mod ipv6;
mod link;
mod merged;
mod observer;
mod sampling;
mod transport;
mod tunnel;
mod wide;

use netflow_common::{FlowCounters, FlowKey, Note, Refusal};

use self::tunnel::Inside;

pub use self::{
    common::{common_ipv4, common_ipv6},
    fragments::{FirstFragment, Fragment, FragmentKey, FragmentState, PacketObserver, join},
    frame::{Frame, HEADER_LIMIT},
    link::{LinkType, MAX_LABELS, MAX_TAGS},
    merged::{Merged, OnWire},
    observer::{Observer, Unobserved},
    sampling::{mask, sampling_hash},
    tunnel::MAX_TUNNELS,
    wide::{Expectation, Handshake, Segment, TcpState, Wanted, Wide, follow},
};

/// tcpControlBits (RFC 9293 section 3.1).
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// What one packet contributes to its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The Flow Key; `interface` and `direction` are zero, the caller knows them.
    pub key: FlowKey,
    /// IP octets as the header states them (IPv6: 40 + payload length).
    pub octets: u32,
    /// Where the IP header stands in the frame. A frame shorter than `offset + octets` states more
    /// than it has ([`Note::ShortFrame`]); the caller knows the frame's length.
    pub offset: u32,
    /// flowLabelIPv6; 0 for IPv4.
    pub flow_label: u32,
    /// tcpControlBits: the 12 bits behind the data offset; 0 for other protocols.
    pub tcp_control_bits: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What is worth counting about it.
    pub notes: Notes,
}

impl Packet {
    /// Where the frame should end by the IP header's statement, Ethernet padding apart.
    #[inline(always)]
    pub const fn end(&self) -> usize {
        (self.offset + self.octets) as usize
    }

    /// What it adds to its flow at this time, where it stands for so many packets on the wire.
    #[inline(always)]
    pub fn counters(&self, packets: u64, now: u64) -> FlowCounters {
        FlowCounters {
            packets,
            octets: self.octets.into(),
            first: now,
            last: now,
            flow_label: self.flow_label,
            tcp_control_bits: self.tcp_control_bits,
            minimum_ttl: self.ttl,
            maximum_ttl: self.ttl,
        }
    }

    /// Whether it is a SYN without ACK.
    #[inline(always)]
    pub const fn is_initial_syn(&self) -> bool {
        self.tcp_control_bits & (SYN | ACK) == SYN
    }
}

impl Packet {
    /// All of it in words, for [`Observer::settle`].
    #[inline(always)]
    pub fn words(&self) -> [u64; 9] {
        let [a, b, c, d, e, f]: [u64; 6] = bytemuck::cast(self.key);
        let lengths = u64::from(self.octets) << 32 | u64::from(self.offset);
        let bits = u64::from(self.flow_label) << 32
            | u64::from(self.tcp_control_bits) << 16
            | u64::from(self.notes.0);
        [a, b, c, d, e, f, lengths, bits, u64::from(self.ttl)]
    }

    /// Back from words.
    #[inline(always)]
    pub fn from_words(words: [u64; 9]) -> Self {
        let [a, b, c, d, e, f, lengths, bits, ttl] = words;
        Self {
            key: bytemuck::cast([a, b, c, d, e, f]),
            octets: (lengths >> 32) as u32,
            offset: lengths as u32,
            flow_label: (bits >> 32) as u32,
            tcp_control_bits: (bits >> 16) as u16,
            ttl: ttl as u8,
            notes: Notes(bits as u16),
        }
    }
}

/// A set of [`Note`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notes(u16);

impl Notes {
    /// No note.
    pub const NONE: Self = Self(0);

    /// The set of this one note, if the condition holds.
    #[inline(always)]
    pub const fn when(condition: bool, note: Note) -> Self {
        Self(if condition { 1 << note as u16 } else { 0 })
    }

    /// Both sets.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without this one note.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, note: Note) -> Self {
        Self(self.0 & !(1 << note as u16))
    }

    /// Whether there is nothing to say.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the note is in the set.
    #[inline(always)]
    pub const fn has(self, note: Note) -> bool {
        self.0 & (1 << note as u16) != 0
    }
}

/// Reads one packet.
///
/// # Errors
/// The reason why it is not a flow packet.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, link: LinkType) -> Result<Packet, Refusal> {
    parse_outer(frame, link, &mut Unobserved)
}

/// The same; tells `observer` what is on the way.
///
/// # Errors
/// The reason why it is not a flow packet.
#[inline(always)]
pub fn parse_outer<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    link: LinkType,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    let network = link::network(frame, link, 0, observer)?;
    ip(frame, &network, observer)
}

/// Reads one packet, and the packets in it where it is a tunnel's and `observer` wants to enter: the innermost
/// one that can be read. Tells `observer` what is on the way.
///
/// # Errors
/// The reason why it is not a flow packet: of the outermost packet, since an inner one that cannot be read
/// leaves the outer one as the flow's, with a note.
#[inline(always)]
pub fn parse_inner<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    link: LinkType,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    let packet = parse_outer(frame, link, observer)?;
    let packet = observer.settle(packet);
    let packet = innermost(frame, packet, observer);
    observer.look_closer(frame);
    Ok(observer.settle(packet))
}

#[inline(always)]
fn innermost<F: Frame + ?Sized, O: Observer>(frame: &F, mut packet: Packet, observer: &mut O) -> Packet {
    for level in 0..=MAX_TUNNELS {
        let (link, offset, kind, id) = match tunnel::inside(frame, &packet, observer) {
            Inside::Nothing => return packet,
            Inside::Unread => break,
            Inside::Packet { .. } if level == MAX_TUNNELS => {
                packet.notes = packet.notes.and(Notes::when(true, Note::TunnelTooDeep));
                return packet;
            }
            Inside::Packet { link, offset, tunnel, id } => (link, frame.forget(offset), tunnel, id),
        };
        // The link layer of an inner frame tells no observer: what is asked for is that of the received one.
        let Ok(mut network) = link::network(frame, link, offset, &mut Unobserved) else { break };
        if link == LinkType::RawIp {
            network.vlan_id = packet.key.vlan_id;
        }
        let Ok(inner) = ip(frame, &network, observer) else { break };
        observer.tunnel(kind, id);
        packet = observer.settle(inner);
    }
    packet.notes = packet.notes.and(Notes::when(true, Note::TunnelUnread));
    packet
}

#[inline(always)]
fn ip<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    network: &link::Network,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    match network.version {
        link::Version::V4 => ipv4::parse(frame, network.offset, network.vlan_id, observer),
        link::Version::V6 => ipv6::parse(frame, network.offset, network.vlan_id, observer),
    }
}
