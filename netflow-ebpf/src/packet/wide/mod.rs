//! Wide entries: what the parser tells of a packet becomes a [`WideKey`] and [`WideCounters`].
//!
//! In: what the parser meets. Out: one packet's key and delta. This module refuses to know maps, and what
//! came before in the flow. Groups that nobody asked for are zero, and their code is dead to the verifier.

mod options;
mod tcp;

use netflow_common::{FirstPacket, Group, Tunnel, WideCounters, WideKey, WideScratch};

use super::{Fragment, Frame, Observer, OnWire, Packet};

pub use self::tcp::{Expectation, Handshake, Segment, TcpState, follow};

const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const IGMP: u8 = 2;
const TCP: u8 = 6;

/// What the operator asked for.
pub trait Wanted {
    /// Whether values of this group are wanted.
    fn group(&self, group: Group) -> bool;
    /// Whether tunnels of this kind are looked into.
    fn tunnel(&self, tunnel: Tunnel) -> bool;
    /// The same words; in the kernel by way of memory that the verifier cannot see through.
    fn settle(&self, _memory: &mut [u64; 9], words: [u64; 9]) -> [u64; 9] {
        words
    }
}

/// An observer that fills the key and the delta of one packet, wherever they stand.
pub struct Wide<'a, W> {
    wanted: W,
    key: &'a mut WideKey,
    delta: &'a mut WideCounters,
    packet: &'a mut [u64; 9],
    fragment: &'a mut u64,
    payload: &'a mut u64,
    options: &'a mut u64,
    transport: &'a mut u64,
    spi: &'a mut u64,
    segment: &'a mut [u32; 2],
}

/// Destination and source address, as they stand.
type Addresses = [u8; 12];

impl<'a, W: Wanted> Wide<'a, W> {
    /// Over an entry that is empty, or that the parser has already told its part.
    #[inline(always)]
    pub fn over(wanted: W, entry: &'a mut WideScratch) -> Self {
        let WideScratch { key, delta, packet, fragment, payload, options, transport, spi, segment } = entry;
        Self { wanted, key, delta, packet, fragment, payload, options, transport, spi, segment }
    }

    /// What the innermost IP header said of fragmentation.
    #[inline(always)]
    pub fn fragment(&self) -> Fragment {
        Fragment::from_word(*self.fragment)
    }

    /// Where the packet stands in its TCP connection: without meaning for other protocols.
    #[inline(always)]
    pub fn segment(&self) -> Segment {
        Segment { sequence: self.segment[0], length: self.segment[1] }
    }

    /// Enters what the packet itself says. Interface and direction are the caller's, in `packet.key`; TCP sequence and
    /// handshakes too, in the delta.
    #[inline(always)]
    pub fn finish(self, packet: &Packet, fragment: Fragment, on_wire: &OnWire, now: u64) {
        let Self { wanted, key, delta, .. } = self;
        key.flow = packet.key;
        delta.flow = packet.counters(on_wire.segments.into(), now);
        if wanted.group(Group::Layer2) {
            delta.layer2_octets = on_wire.frame_octets as u64;
        }
        if wanted.group(Group::Size) {
            delta.minimum_ip_length = on_wire.smallest;
            delta.maximum_ip_length = on_wire.largest;
        }
        if wanted.group(Group::Fragments) {
            delta.fragments = fragment.is_some().into();
        }
        if wanted.group(Group::ClassOfService) {
            delta.first_packet.class_of_service = packet.key.class_of_service;
            delta.all_classes_of_service = packet.key.class_of_service;
        }
        if wanted.group(Group::Ttl) {
            delta.first_packet.ttl = packet.ttl;
        }
    }

    #[inline(always)]
    fn first(&mut self) -> &mut FirstPacket {
        &mut self.delta.first_packet
    }
}

impl<W: Wanted> Observer for Wide<'_, W> {
    const LOOKS_UP: bool = true;

    #[inline(always)]
    fn enters(&self, tunnel: Tunnel) -> bool {
        self.wanted.tunnel(tunnel)
    }

    #[inline(always)]
    fn ethernet<F: Frame + ?Sized>(&mut self, frame: &F) {
        if self.wanted.group(Group::Layer2)
            && let Some(addresses) = frame.read::<Addresses>(0)
        {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = addresses;
            self.key.destination_mac = [a, b, c, d, e, f];
            self.key.source_mac = [g, h, i, j, k, l];
            self.first().destination_mac = [a, b, c, d, e, f];
            self.first().source_mac = [g, h, i, j, k, l];
        }
    }

    #[inline(always)]
    fn vlan_tag(&mut self, number: usize, control: u16) {
        if self.wanted.group(Group::Layer2) {
            match number {
                0 => self.first().outer_tag = control,
                1 => {
                    self.first().customer_tag = control;
                    self.key.customer_vlan_id = control & 0x0fff;
                }
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn ethernet_type(&mut self, ethertype: u16) {
        if self.wanted.group(Group::Layer2) {
            self.first().ethernet_type = ethertype;
        }
    }

    #[inline(always)]
    fn mpls_label(&mut self, number: usize, entry: u32) {
        if self.wanted.group(Group::Mpls) {
            if number == 0 {
                self.key.mpls_label = entry >> 12;
            }
            let [a, b, c, _ttl] = entry.to_be_bytes();
            if let Some(label) = self.first().mpls_labels.get_mut(number) {
                *label = [a, b, c];
            }
            self.first().mpls_depth = number as u8 + 1;
        }
    }

    #[inline(always)]
    fn fragment(&mut self, fragment: Fragment) {
        *self.fragment = fragment.word();
    }

    #[inline(always)]
    fn fragment_octets(&mut self, octets: u16) {
        *self.fragment = Fragment::with_octets(*self.fragment, octets);
    }

    #[inline(always)]
    fn ip_header(&mut self) {
        *self.fragment = Fragment::NONE.word();
        (*self.options, *self.transport, *self.spi) = (0, 0, 0);
        self.delta.ipv6_extension_headers = 0;
        let first = self.first();
        first.fragment_identification = 0;
        first.fragment_offset = 0;
        first.fragment_flags = 0;
    }

    #[inline(always)]
    fn ipv4_fragment_word(&mut self, identification: u16, flags_and_offset: u16) {
        if self.wanted.group(Group::Fragments) {
            let first = self.first();
            first.fragment_identification = identification.into();
            first.fragment_offset = flags_and_offset & 0x1fff;
            // fragmentFlags has the three bits where the header has them: reserved, DF, MF.
            first.fragment_flags = (flags_and_offset >> 8) as u8 & 0xe0;
        }
    }

    #[inline(always)]
    fn ipv4_options(&mut self, offset: usize, length: usize) {
        *self.options = (offset as u64) << 32 | length as u64;
    }

    #[inline(always)]
    fn ipv6_next_header(&mut self, protocol: u8) {
        if self.wanted.group(Group::Options) {
            self.delta.ipv6_extension_headers |= options::extension_header_bit(protocol);
        }
    }

    #[inline(always)]
    fn ipv6_fragment(&mut self, identification: u32, offset_and_more: u16) {
        if self.wanted.group(Group::Options) {
            self.delta.ipv6_extension_headers |= options::fragment_header_bit(offset_and_more & 0xfff8 != 0);
        }
        if self.wanted.group(Group::Fragments) {
            let first = self.first();
            first.fragment_identification = identification;
            first.fragment_offset = offset_and_more >> 3;
            first.fragment_flags = ((offset_and_more & 1) << 5) as u8;
        }
    }

    #[inline(always)]
    fn authentication_header(&mut self, offset: usize) {
        if self.wanted.group(Group::Spi) {
            *self.spi = offset as u64 + 4;
        }
    }

    #[inline(always)]
    fn transport(&mut self, offset: usize, available: usize, protocol: u8) {
        *self.transport = (offset as u64) << 40 | (available as u64) << 8 | u64::from(protocol);
        if self.wanted.group(Group::Spi) {
            match protocol {
                ESP if available >= 4 => *self.spi = offset as u64,
                AUTHENTICATION if available >= 8 => *self.spi = offset as u64 + 4,
                _ => {}
            }
        }
    }

    #[inline(always)]
    fn look_closer<F: Frame + ?Sized>(&mut self, frame: &F) {
        let (offset, available) = ((*self.transport >> 40) as usize, *self.transport as u32 as usize >> 8);
        let offset = frame.forget(offset);
        let protocol = *self.transport as u8;
        // The loops first: what stands before them is verified once for each way through them.
        if self.wanted.group(Group::Options) {
            let (options, length) = ((*self.options >> 32) as usize, *self.options as u32 as usize);
            if length > 0 {
                // Options are mapped to bits by their number, the low five bits of the type (RFC 791 section 3.1).
                self.delta.ipv4_options = options::seen(frame, frame.forget(options), length, 0x1f) as u32;
            }
            if protocol == TCP && available >= 20 {
                self.delta.tcp_options = options::of_tcp(frame, offset, available);
            }
        }
        if self.wanted.group(Group::Spi) && *self.spi != 0 {
            let spi: Option<u32> = frame.read(frame.forget(*self.spi as usize));
            self.first().ipsec_spi = u32::from_be(spi.unwrap_or(0));
        }
        if self.wanted.group(Group::Igmp) && protocol == IGMP && available >= 2 {
            let octets: Option<[u8; 2]> = frame.read(offset);
            self.first().igmp_type = octets.map_or(0, |[kind, _]| kind);
        }
        if self.wanted.group(Group::Tcp) {
            let has_header = protocol == TCP && available >= 20;
            *self.segment = if has_header { tcp::place(frame, offset, available) } else { [0, 0] };
        }
    }

    #[inline(always)]
    fn payload(&mut self, offset: usize) {
        *self.payload = offset as u64;
    }

    #[inline(always)]
    fn payload_offset(&self) -> usize {
        *self.payload as usize
    }

    #[inline(always)]
    fn settle(&mut self, packet: Packet) -> Packet {
        Packet::from_words(self.wanted.settle(self.packet, packet.words()))
    }

    #[inline(always)]
    fn tunnel(&mut self, tunnel: Tunnel, id: u32) {
        self.key.tunnel = tunnel as u8;
        self.key.tunnel_id = id;
    }
}
