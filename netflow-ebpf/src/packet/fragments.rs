//! Later fragments take the ports of their first fragment, so that a fragmented flow is one flow.
//!
//! The state is bounded and outlives the generations: losing an entry costs a later fragment its ports,
//! never its count. A later fragment that comes before its first one keeps port 0.

use bytemuck::{Pod, Zeroable};
use netflow_common::{Address, IpVersion, NetworkU16, Note, Ports};

use super::{Notes, Observer, Packet};

const TCP: u8 = 6;
/// A first fragment with less of TCP hides control bits from filters (RFC 1858 section 3).
const SMALLEST_TCP: u32 = 16;

/// What an IP header says of fragmentation; [`Fragment::NONE`] where it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fragment {
    /// fragmentIdentification.
    pub identification: u32,
    /// fragmentOffset, in units of eight octets.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Octets of the fragment behind its IP headers; without meaning for a whole packet.
    pub octets: u16,
}

impl Fragment {
    /// A whole packet.
    pub const NONE: Self = Self { identification: 0, offset: 0, more: false, octets: 0 };

    /// All of it in a word.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        (self.identification as u64) << 32
            | (self.octets as u64) << 16
            | (self.offset as u64) << 1
            | self.more as u64
    }

    /// Back from a word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            identification: (word >> 32) as u32,
            offset: (word as u16) >> 1,
            more: word & 1 != 0,
            octets: (word >> 16) as u16,
        }
    }

    /// The same word with other octets.
    #[inline(always)]
    pub const fn with_octets(word: u64, octets: u16) -> u64 {
        word & !0xffff_0000 | (octets as u64) << 16
    }

    /// Whether it is one.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.more || self.offset != 0
    }
}

/// What the fragments of one packet have in common, 40 octets (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FragmentKey {
    source_address: Address,
    destination_address: Address,
    identification: u32,
    /// IPv4 only: in IPv6 each fragment may name another header.
    protocol: u8,
    ip_version: u8,
    reserved: u16,
}

/// What later fragments need to know of the first one, 8 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FirstFragment {
    source_port: NetworkU16,
    destination_port: NetworkU16,
    /// Octets of the first fragment behind its IP headers.
    octets: u16,
    protocol: u8,
    reserved: u8,
}

/// Where first fragments are remembered.
pub trait FragmentState {
    /// Remembers the first fragment of a packet.
    fn remember(&mut self, key: &FragmentKey, first: &FirstFragment);
    /// The first fragment of this packet, where it is known.
    fn recall(&mut self, key: &FragmentKey) -> Option<FirstFragment>;
}

/// Keeps what the parser says of fragmentation, and where what the packet carries begins. (It stands here and not
/// in [`Packet`]: of what a refusal leaves undefined there the verifier will have none.)
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketObserver {
    /// What the IP header said of fragmentation.
    pub fragment: Fragment,
    /// Where the transport header stands in the frame.
    pub payload: usize,
}

impl Observer for PacketObserver {
    #[inline(always)]
    fn fragment(&mut self, fragment: Fragment) {
        self.fragment = fragment;
    }

    #[inline(always)]
    fn fragment_octets(&mut self, octets: u16) {
        self.fragment.octets = octets;
    }

    #[inline(always)]
    fn payload(&mut self, offset: usize) {
        self.payload = offset;
    }
}

/// Joins a fragment with its first fragment, or remembers it as that. Whole packets stay as they are.
#[inline(always)]
pub fn join(packet: &mut Packet, fragment: Fragment, state: &mut impl FragmentState) {
    if !fragment.is_some() {
        return;
    }
    let is_v4 = packet.key.ip_version == IpVersion::V4;
    let key = FragmentKey {
        source_address: packet.key.source_address,
        destination_address: packet.key.destination_address,
        identification: fragment.identification,
        protocol: if is_v4 { packet.key.protocol } else { 0 },
        ip_version: packet.key.ip_version,
        reserved: 0,
    };
    if fragment.offset == 0 {
        let tiny = packet.key.ports == Ports::CUT
            || packet.key.protocol == TCP && u32::from(fragment.octets) < SMALLEST_TCP;
        packet.notes = packet.notes.and(Notes::when(tiny, Note::TinyFragment));
        if packet.key.ports == Ports::PRESENT {
            let first = FirstFragment {
                source_port: packet.key.source_port,
                destination_port: packet.key.destination_port,
                octets: fragment.octets,
                protocol: packet.key.protocol,
                reserved: 0,
            };
            state.remember(&key, &first);
        }
        return;
    }
    let Some(first) = state.recall(&key) else {
        // RFC 3128: it would overwrite the control bits of a first fragment that is too short for them.
        let tiny = packet.key.protocol == TCP && fragment.offset == 1;
        packet.notes = packet.notes.and(Notes::when(tiny, Note::TinyFragment));
        return;
    };
    let overlaps = u32::from(fragment.offset) * 8 < u32::from(first.octets);
    let tiny = first.protocol == TCP && fragment.offset == 1;
    packet.key.source_port = first.source_port;
    packet.key.destination_port = first.destination_port;
    packet.key.protocol = first.protocol;
    packet.key.ports = Ports::PRESENT;
    packet.notes = packet
        .notes
        .without(Note::LaterFragment)
        .and(Notes::when(true, Note::FragmentJoined))
        .and(Notes::when(overlaps, Note::OverlappingFragment))
        .and(Notes::when(tiny, Note::TinyFragment));
}

const _: () = {
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<FirstFragment>() == 8);
};
