//! PACKET: octets -> Flow Key and measured values, or the reason why it is not a flow packet.
//!
//! In: a [`Frame`] and its [`LinkType`]. Out: a [`Packet`] or a [`Refusal`]. This module refuses to
//! know maps, clocks and interfaces; the same code runs in the kernel and on the host.
//!
//! A packet whose IP header is whole and valid is metered with the length that the header *states*,
//! however short the frame. It is refused only where the IP header is missing, cut, of the wrong
//! version or below five words.

mod frame;
mod ipv4;
mod ipv6;
mod link;
mod transport;

use netflow_common::{FlowKey, Note, Refusal};

pub use self::{
    frame::{Frame, HEADER_LIMIT},
    link::{LinkType, MAX_LABELS, MAX_TAGS},
};

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
    let network = link::network(frame, link)?;
    match network.version {
        link::Version::V4 => ipv4::parse(frame, network.offset, network.vlan_id),
        link::Version::V6 => ipv6::parse(frame, network.offset, network.vlan_id),
    }
}
