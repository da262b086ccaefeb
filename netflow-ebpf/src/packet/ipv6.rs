//! The IPv6 header and its extension headers (RFC 8200), AH among them (RFC 4302).

use bytemuck::AnyBitPattern;
use netflow_common::{Address, FlowKey, IpVersion, NetworkU16, Note, Refusal};

use super::{Fragment, Frame, Notes, Observer, Packet, transport};

/// Extension headers that are read. RFC 8504 section 5.3 lets a host limit them; no packet that a
/// sender means seriously has more.
const MAX_EXTENSION_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// What a Next Header number announces: [`EIGHTS`], [`WORDS`], [`PIECE`], or 0, the upper layer.
#[inline(always)]
const fn kind(protocol: u8) -> u8 {
    match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => EIGHTS,
        AUTHENTICATION => WORDS,
        FRAGMENT => PIECE,
        _ => 0,
    }
}

/// The same, to be looked up ([`Observer::LOOKS_UP`]).
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut protocol = 0;
    while protocol < kinds.len() {
        kinds[protocol] = kind(protocol as u8);
        protocol += 1;
    }
    kinds
};

/// A header that says its length in units of eight octets.
const EIGHTS: u8 = 1;
/// One that says it in words: AH.
const WORDS: u8 = 2;
/// The fragment header.
const PIECE: u8 = 3;

/// Of the first word: flowLabelIPv6.
pub(super) const FLOW_LABEL: u32 = 0x000f_ffff;

/// The fixed header, 40 octets, fields in wire order.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
pub(super) struct Header {
    pub(super) version_class_label: u32,
    pub(super) payload_length: NetworkU16,
    pub(super) next_header: u8,
    pub(super) hop_limit: u8,
    pub(super) source: [u64; 2],
    pub(super) destination: [u64; 2],
}

/// What all extension headers but the fragment header begin with.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Extension {
    next_header: u8,
    length: u8,
}

/// The fragment header, 8 octets.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    offset_and_more: NetworkU16,
    identification: u32,
}

/// Where the walk over the extension headers ended.
struct Upper {
    protocol: u8,
    /// From the start of the frame.
    offset: usize,
    /// It is the middle of a packet.
    later_fragment: bool,
    unread: bool,
}

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    offset: usize,
    vlan_id: u16,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    let header: Header = frame.read(offset).ok_or(Refusal::IpTruncated)?;
    let word = u32::from_be(header.version_class_label);
    if word >> 28 != u32::from(IpVersion::V6) {
        return Err(Refusal::IpVersion);
    }
    let octets = size_of::<Header>() + usize::from(header.payload_length.value());
    observer.ip_header();
    let upper = walk(frame, offset + size_of::<Header>(), header.next_header, observer);
    let available = (offset + octets).saturating_sub(upper.offset);
    observer.payload(upper.offset);
    observer.fragment_octets(available as u16);
    let transport =
        transport::read(frame, upper.offset, available, upper.protocol, upper.later_fragment, observer);
    Ok(Packet {
        key: FlowKey {
            source_address: Address::from_words(header.source),
            destination_address: Address::from_words(header.destination),
            interface: 0,
            source_port: transport.source_port,
            destination_port: transport.destination_port,
            vlan_id,
            protocol: upper.protocol,
            class_of_service: (word >> 20) as u8,
            ip_version: IpVersion::V6,
            direction: 0,
            ports: transport.ports,
            reserved: 0,
        },
        octets: octets as u32,
        offset: offset as u32,
        flow_label: word & FLOW_LABEL,
        tcp_control_bits: transport.tcp_control_bits,
        ttl: header.hop_limit,
        notes: transport.notes.and(Notes::when(upper.unread, Note::Ipv6HeadersUnread)),
    })
}

/// Follows the chain from `offset` to the upper-layer protocol. Where it cannot be followed, the
/// protocol is the number of the header that could not be read.
#[inline(always)]
fn walk<F: Frame + ?Sized, O: Observer>(frame: &F, offset: usize, first: u8, observer: &mut O) -> Upper {
    let mut upper = Upper { protocol: first, offset, later_fragment: false, unread: false };
    observer.ipv6_next_header(first);
    for _ in 0..MAX_EXTENSION_HEADERS {
        let length = match kind_for::<O>(upper.protocol) {
            EIGHTS => {
                let Some(header) = frame.read::<Extension>(upper.offset) else { break };
                upper.protocol = header.next_header;
                (usize::from(header.length) + 1) * 8
            }
            WORDS => {
                let Some(header) = frame.read::<Extension>(upper.offset) else { break };
                observer.authentication_header(upper.offset);
                upper.protocol = header.next_header;
                (usize::from(header.length) + 2) * 4
            }
            PIECE => {
                let Some(header) = frame.read::<FragmentHeader>(upper.offset) else { break };
                let (identification, word) =
                    (u32::from_be(header.identification), header.offset_and_more.value());
                observer.ipv6_fragment(identification, word);
                upper.protocol = header.next_header;
                // An atomic fragment (RFC 6946) has neither, and is whole. A second fragment header counts, too.
                if word & 0xfff9 != 0 {
                    let (offset, more) = (word >> 3, word & 1 != 0);
                    observer.fragment(Fragment { identification, offset, more, octets: 0 });
                }
                if word & 0xfff8 != 0 {
                    // What follows is the middle of the original packet: no header to read.
                    upper.offset = frame.forget(upper.offset + size_of::<FragmentHeader>());
                    upper.later_fragment = true;
                    return upper;
                }
                size_of::<FragmentHeader>()
            }
            _ => return upper,
        };
        upper.offset = frame.forget(upper.offset + length);
        observer.ipv6_next_header(upper.protocol);
    }
    upper.unread = kind_for::<O>(upper.protocol) != 0;
    upper
}

#[inline(always)]
fn kind_for<O: Observer>(protocol: u8) -> u8 {
    if O::LOOKS_UP { KINDS[usize::from(protocol)] } else { kind(protocol) }
}
