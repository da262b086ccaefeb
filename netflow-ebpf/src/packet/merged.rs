//! Packets that stand for several on the wire: those that are yet to be cut up (GSO), and those that
//! were put together on arrival (GRO).
//!
//! In: what the kernel says of the packet, and how it was read. Out: how many packets it is on the
//! wire, and how many octets they have. Each of them has all headers again, so that
//! octets = total + (segments - 1) * headers.

use netflow_common::{IpVersion, NetworkU16};

use super::{Frame, LinkType, Packet};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Where the data offset stands in a TCP header, in the upper four bits of 16 (RFC 9293 section 3.1).
const TCP_DATA_OFFSET: usize = 12;
const IPV6_HEADER: u32 = 40;
/// What the kernel puts into an IPv6 packet above 64 KiB, and takes out before it is sent (RFC 2675):
/// a hop-by-hop header of 8 octets, whose first option is the jumbo payload (0xc2, length 4).
const JUMBO_HEADER: u32 = 8;
const JUMBO_OPTION: u16 = 0xc204;

/// What the kernel says of a packet that it may have merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Merged {
    /// `gso_segs`: packets on the wire; 0 where nobody counted them yet.
    pub segments: u32,
    /// `gso_size`: octets of payload in each of them, the last one apart; 0: not merged.
    pub size: u32,
    /// `wire_len - len`: what their frames have together beyond this one, octets, as the kernel reckons for
    /// packets that are sent; 0: unknown.
    pub more_octets: u32,
}

/// How much a packet is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnWire {
    /// Packets, at least 1.
    pub segments: u32,
    /// IP octets of the smallest of them.
    pub smallest: u32,
    /// And of the largest one.
    pub largest: u32,
    /// Octets of all their frames.
    pub frame_octets: usize,
}

impl OnWire {
    /// A packet that is one on the wire.
    #[inline(always)]
    pub const fn one(packet: &Packet, frame_octets: usize) -> Self {
        Self { segments: 1, smallest: packet.octets, largest: packet.octets, frame_octets }
    }
}

/// Headers that all segments have in common.
#[derive(Clone, Copy)]
struct Headers {
    /// From the IP header to the end of the transport header, octets.
    octets: u32,
    /// Octets of them that are in this packet alone.
    here_only: u32,
    /// Whether `octets` is the whole truth: of a tunnel it is not, the inner headers are missing.
    whole: bool,
}

impl Merged {
    /// A packet that is one on the wire.
    pub const ONE: Self = Self { segments: 1, size: 0, more_octets: 0 };
    /// What the IP header of a packet states that cannot state its length.
    pub const LONGEST: u16 = u16::MAX;

    /// Whether it is one on the wire.
    #[inline(always)]
    pub const fn is_one(&self) -> bool {
        self.size == 0
    }

    /// Where the IP header should state a length and cannot, since the packet has more than 64 KiB (BIG TCP):
    /// there is zero. [`Self::LONGEST`] is to stand there when it is parsed. The frame has one tag at most before
    /// its IP header, of `tag_octets`.
    #[inline(always)]
    pub fn missing_length<F: Frame + ?Sized>(
        &self,
        frame: &F,
        link: LinkType,
        tag_octets: usize,
    ) -> Option<usize> {
        if self.is_one() {
            return None;
        }
        let (start, is_v4) = match link {
            LinkType::Ethernet => {
                let start = 14 + tag_octets;
                let ethertype: NetworkU16 = frame.read(start - 2)?;
                match ethertype.value() {
                    0x0800 => (start, true),
                    0x86dd => (start, false),
                    _ => return None,
                }
            }
            _ => {
                let first: NetworkU16 = frame.read(0)?;
                (0, first.value() >> 12 == 4)
            }
        };
        let place = if is_v4 { start + 2 } else { start + 4 };
        let stated: NetworkU16 = frame.read(place)?;
        (stated.value() == 0).then_some(place)
    }

    /// How much the packet is on the wire; its `octets` become those of all segments.
    ///
    /// What it carries begins at `payload`. Its frame has `frame_octets`, with the `tag_octets` of a tag that the
    /// kernel keeps beside it. If it states the longest length that there is, its buffer says how long it is.
    #[inline(always)]
    pub fn on_wire<F: Frame + ?Sized>(
        &self,
        frame: &F,
        packet: &mut Packet,
        payload: usize,
        frame_octets: usize,
        tag_octets: usize,
    ) -> OnWire {
        let lengthless = packet.octets >= u32::from(Self::LONGEST);
        let headers = headers(frame, packet, payload, lengthless);
        let mut octets = packet.octets;
        if lengthless {
            octets = (frame_octets as u32).saturating_sub(packet.offset + headers.here_only);
        }
        let carried = octets.saturating_sub(headers.octets);
        let mut segments = self.segments;
        if segments == 0 {
            // Not counted yet, as of packets that a virtual machine or a tun device hands over.
            segments = carried.div_ceil(self.size.max(1));
        }
        let more = segments.max(1) - 1;
        let mut frames = more * (packet.offset + headers.octets);
        if !headers.whole && self.more_octets > 0 {
            // The kernel knows the inner headers of a tunnel, too.
            frames = self.more_octets + more * tag_octets as u32;
        }
        packet.octets = octets + frames.saturating_sub(more * packet.offset);
        OnWire {
            segments: more + 1,
            smallest: headers.octets + carried.saturating_sub(more * self.size),
            largest: headers.octets + if more == 0 { carried } else { self.size },
            frame_octets: frame_octets - headers.here_only as usize + frames as usize,
        }
    }
}

#[inline(always)]
fn headers<F: Frame + ?Sized>(frame: &F, packet: &Packet, payload: usize, lengthless: bool) -> Headers {
    let (length, whole) = match packet.key.protocol {
        TCP => {
            let word: Option<NetworkU16> = frame.read(frame.forget(payload + TCP_DATA_OFFSET));
            (word.map_or(0, |word| u32::from(word.value() >> 12) * 4), true)
        }
        UDP => (8, false),
        SCTP => (12, true),
        _ => (0, false),
    };
    let mut here_only = 0;
    if lengthless && packet.key.ip_version == IpVersion::V6 {
        let option: Option<NetworkU16> = frame.read(frame.forget((packet.offset + IPV6_HEADER) as usize + 2));
        if option.is_some_and(|option| option.value() == JUMBO_OPTION) {
            here_only = JUMBO_HEADER;
        }
    }
    let octets = (payload as u32 + length).saturating_sub(packet.offset + here_only);
    Headers { octets, here_only, whole }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::packet::parse;

    /// A TCP packet over IPv4 with this total length and payload.
    fn packet(total_length: u16, payload: usize) -> Vec<u8> {
        let mut packet = vec![0; 40 + payload];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&total_length.to_be_bytes());
        packet[9] = TCP;
        packet[32] = 5 << 4;
        packet
    }

    #[test]
    fn segments_have_all_headers_each_and_the_last_one_is_the_smallest() {
        let frame = packet(1140, 1100);
        for segments in [3, 0] {
            let merged = Merged { segments, size: 500, more_octets: 0 };
            let mut packet = parse(frame.as_slice(), LinkType::RawIp).unwrap();
            let on_wire = merged.on_wire(frame.as_slice(), &mut packet, 20, 1140, 0);
            assert_eq!(packet.octets, 1100 + 3 * 40);
            let expected = OnWire { segments: 3, smallest: 140, largest: 540, frame_octets: 1220 };
            assert_eq!(on_wire, expected);
        }
    }

    #[test]
    fn a_packet_that_cannot_state_its_length_has_that_of_its_buffer() {
        let mut frame = packet(0, 100_000);
        let merged = Merged { segments: 100, size: 1000, more_octets: 0 };
        assert_eq!(Merged::ONE.missing_length(frame.as_slice(), LinkType::RawIp, 0), None);
        let place = merged.missing_length(frame.as_slice(), LinkType::RawIp, 0).unwrap();
        assert_eq!(place, 2);
        frame[place..place + 2].copy_from_slice(&Merged::LONGEST.to_be_bytes());
        let mut packet = parse(frame.as_slice(), LinkType::RawIp).unwrap();
        let on_wire = merged.on_wire(frame.as_slice(), &mut packet, 20, frame.len(), 0);
        assert_eq!((packet.octets, on_wire.segments), (100 * 1040, 100));
        assert_eq!((on_wire.smallest, on_wire.largest), (1040, 1040));
    }
}
