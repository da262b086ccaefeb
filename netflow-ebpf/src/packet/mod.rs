//! PACKET: octets -> Flow Key and measured values, or the reason why it is not a flow packet.
//!
//! In: a [`Frame`] and its [`LinkType`]. Out: a [`Packet`] or a [`Refusal`]. This module refuses to
//! know maps, clocks and interfaces; the same code runs in the kernel and on the host.
//!
//! A packet whose IP header is whole and valid is metered with the length that the header *states*,
//! however short the frame. It is refused only where the IP header is missing, cut, of the wrong
//! version or below five words.

mod fragments;
mod frame;
mod ipv4;
mod ipv6;
mod link;
mod observer;
mod transport;
mod tunnel;
mod wide;

use netflow_common::{FlowKey, Note, Refusal};

use self::tunnel::Inside;

pub use self::{
    fragments::{FirstFragment, Fragment, FragmentKey, FragmentState, join},
    frame::{Frame, HEADER_LIMIT},
    link::{LinkType, MAX_LABELS, MAX_TAGS},
    observer::{Observer, Unobserved},
    tunnel::MAX_TUNNELS,
    wide::{Wanted, Wide},
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
    /// What the IP header says of fragmentation.
    pub fragment: Fragment,
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

/// What an IP packet carries.
#[derive(Clone, Copy)]
struct Payload {
    /// From the start of the frame.
    offset: usize,
}

/// Reads one packet.
///
/// # Errors
/// The reason why it is not a flow packet.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, link: LinkType) -> Result<Packet, Refusal> {
    let network = link::network(frame, link, 0, &mut Unobserved)?;
    let (packet, _) = ip(frame, &network, &mut Unobserved)?;
    Ok(packet)
}

/// Reads one packet, and the packets in it where it is a tunnel's and `observer` wants to enter: the innermost
/// one that can be read. Tells `observer` what is on the way.
///
/// # Errors
/// The reason why it is not a flow packet: of the outermost packet, since an inner one that cannot be read
/// leaves the outer one as the flow's, with a note.
#[inline(always)]
pub fn parse_observed<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    link: LinkType,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    let network = link::network(frame, link, 0, observer)?;
    let (mut packet, mut payload) = ip(frame, &network, observer)?;
    for level in 0..=MAX_TUNNELS {
        let (link, offset, kind, id) = match tunnel::inside(frame, &packet, payload, observer) {
            Inside::Nothing => return Ok(packet),
            Inside::Unread => break,
            Inside::Packet { .. } if level == MAX_TUNNELS => {
                packet.notes = packet.notes.and(Notes::when(true, Note::TunnelTooDeep));
                return Ok(packet);
            }
            Inside::Packet { link, offset, tunnel, id } => (link, frame.forget(offset), tunnel, id),
        };
        // The link layer of an inner frame tells no observer: what is asked for is that of the received one.
        let Ok(mut network) = link::network(frame, link, offset, &mut Unobserved) else { break };
        if link == LinkType::RawIp {
            network.vlan_id = packet.key.vlan_id;
        }
        let Ok((inner, within)) = ip(frame, &network, observer) else { break };
        observer.tunnel(kind, id);
        (packet, payload) = (inner, within);
    }
    packet.notes = packet.notes.and(Notes::when(true, Note::TunnelUnread));
    Ok(packet)
}

#[inline(always)]
fn ip<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    network: &link::Network,
    observer: &mut O,
) -> Result<(Packet, Payload), Refusal> {
    match network.version {
        link::Version::V4 => ipv4::parse(frame, network.offset, network.vlan_id, observer),
        link::Version::V6 => ipv6::parse(frame, network.offset, network.vlan_id, observer),
    }
}
