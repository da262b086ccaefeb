//! Tunnels: where the inner packet begins, and the number of the tunnel it is in.
//!
//! In: a packet's protocol, ports and payload. Out: what kind of layer begins where inside of it.

use bytemuck::AnyBitPattern;
use netflow_common::{NetworkU16, Ports, Tunnel};

use super::{Frame, LinkType, Observer, Packet};

/// Tunnels in one another that are looked into.
pub const MAX_TUNNELS: usize = 4;
/// GTP-U extension headers that are skipped.
const MAX_GTP_EXTENSIONS: usize = 4;

const IPV4_IN_IP: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;

const UDP_HEADER: usize = 8;
const PORT_GTP_U: u16 = 2152;
const PORT_VXLAN: u16 = 4789;
const PORT_GENEVE: u16 = 6081;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Transparent Ethernet bridging.
const ETHERTYPE_ETHERNET: u16 = 0x6558;

/// What a packet's payload is.
pub(super) enum Inside {
    /// No tunnel, or one that nobody asked to look into.
    Nothing,
    /// A tunnel whose inside cannot be read.
    Unread,
    /// An inner packet.
    Packet { link: LinkType, offset: usize, tunnel: Tunnel, id: u32 },
}

/// A GRE header's first word (RFC 2784).
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Gre {
    flags_and_version: NetworkU16,
    protocol: NetworkU16,
}

/// VXLAN: flags, 24 bits reserved, VNI, 8 bits reserved. Geneve: version and option length, flags, protocol,
/// VNI, 8 bits reserved.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Overlay {
    first: NetworkU16,
    protocol: NetworkU16,
    vni: u32,
}

/// GTP-U: version, flags and message type; length; tunnel endpoint.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct GtpU {
    flags_and_type: NetworkU16,
    length: NetworkU16,
    endpoint: u32,
}

/// Sequence number, N-PDU number, type of the next extension header.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct GtpUOptions {
    sequence: NetworkU16,
    n_pdu: u8,
    next: u8,
}

#[inline(always)]
pub(super) fn inside<F: Frame + ?Sized, O: Observer>(frame: &F, packet: &Packet, observer: &O) -> Inside {
    if packet.key.ports == Ports::LATER_FRAGMENT {
        return Inside::Nothing;
    }
    let offset = frame.forget(observer.payload_offset());
    match packet.key.protocol {
        IPV4_IN_IP | IPV6_IN_IP if observer.enters(Tunnel::IpInIp) => {
            Inside::Packet { link: LinkType::RawIp, offset, tunnel: Tunnel::IpInIp, id: 0 }
        }
        GRE if observer.enters(Tunnel::Gre) || observer.enters(Tunnel::GreEthernet) => {
            gre(frame, offset, observer)
        }
        UDP if packet.key.ports == Ports::PRESENT => {
            let offset = offset + UDP_HEADER;
            match packet.key.destination_port.value() {
                PORT_VXLAN if observer.enters(Tunnel::Vxlan) => vxlan(frame, offset),
                PORT_GENEVE if observer.enters(Tunnel::Geneve) => geneve(frame, offset),
                PORT_GTP_U if observer.enters(Tunnel::GtpU) => gtp_u(frame, offset),
                _ => Inside::Nothing,
            }
        }
        _ => Inside::Nothing,
    }
}

/// RFC 2784, RFC 2890. Version 1 (PPTP), source routes and ERSPAN are not read.
#[inline(always)]
fn gre<F: Frame + ?Sized, O: Observer>(frame: &F, offset: usize, observer: &O) -> Inside {
    let Some(header) = frame.read::<Gre>(offset) else { return Inside::Unread };
    let flags = header.flags_and_version.value();
    if flags & 0x4007 != 0 {
        return Inside::Unread;
    }
    let mut inner = offset + size_of::<Gre>();
    if flags & 0x8000 != 0 {
        inner += 4;
    }
    let mut id = 0;
    if flags & 0x2000 != 0 {
        let Some(key) = frame.read::<u32>(inner) else { return Inside::Unread };
        id = u32::from_be(key);
        inner += 4;
    }
    if flags & 0x1000 != 0 {
        inner += 4;
    }
    match header.protocol.value() {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 if observer.enters(Tunnel::Gre) => {
            Inside::Packet { link: LinkType::RawIp, offset: inner, tunnel: Tunnel::Gre, id }
        }
        ETHERTYPE_ETHERNET if observer.enters(Tunnel::GreEthernet) => {
            // NVGRE keeps its VSID in the upper 24 bits, and says so by nothing: the key is told whole.
            Inside::Packet { link: LinkType::Ethernet, offset: inner, tunnel: Tunnel::GreEthernet, id }
        }
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 | ETHERTYPE_ETHERNET => Inside::Nothing,
        _ => Inside::Unread,
    }
}

#[inline(always)]
fn vxlan<F: Frame + ?Sized>(frame: &F, offset: usize) -> Inside {
    let Some(header) = frame.read::<Overlay>(offset) else { return Inside::Unread };
    // The I bit says that there is a VNI; with others set it is not VXLAN as RFC 7348 has it.
    if header.first.value() & 0xff00 != 0x0800 {
        return Inside::Unread;
    }
    let (offset, id) = (offset + size_of::<Overlay>(), u32::from_be(header.vni) >> 8);
    Inside::Packet { link: LinkType::Ethernet, offset, tunnel: Tunnel::Vxlan, id }
}

#[inline(always)]
fn geneve<F: Frame + ?Sized>(frame: &F, offset: usize) -> Inside {
    let Some(header) = frame.read::<Overlay>(offset) else { return Inside::Unread };
    let first = header.first.value();
    // Version 0; the O bit marks control packets, whose payload is none.
    if first & 0xc080 != 0 {
        return Inside::Unread;
    }
    let link = match header.protocol.value() {
        ETHERTYPE_ETHERNET => LinkType::Ethernet,
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => LinkType::RawIp,
        _ => return Inside::Unread,
    };
    let options = usize::from(first >> 8 & 0x3f) * 4;
    let (offset, id) = (offset + size_of::<Overlay>() + options, u32::from_be(header.vni) >> 8);
    Inside::Packet { link, offset, tunnel: Tunnel::Geneve, id }
}

#[inline(always)]
fn gtp_u<F: Frame + ?Sized>(frame: &F, offset: usize) -> Inside {
    let Some(header) = frame.read::<GtpU>(offset) else { return Inside::Unread };
    let first = header.flags_and_type.value();
    // Version 1, protocol type GTP (not GTP'), message type 255: a user's packet.
    if first & 0xf0ff != 0x30ff {
        return Inside::Unread;
    }
    let mut inner = offset + size_of::<GtpU>();
    if first & 0x0700 != 0 {
        let Some(options) = frame.read::<GtpUOptions>(inner) else { return Inside::Unread };
        inner += size_of::<GtpUOptions>();
        let mut next = if first & 0x0400 != 0 { options.next } else { 0 };
        for _ in 0..MAX_GTP_EXTENSIONS {
            if next == 0 {
                break;
            }
            // Its length, in units of four octets, comes first; the type of the next one last.
            inner = frame.forget(inner);
            let Some(words) = frame.read::<[u8; 2]>(inner) else { return Inside::Unread };
            if words[0] == 0 {
                return Inside::Unread;
            }
            inner = frame.forget(inner + usize::from(words[0]) * 4 - 2);
            let Some(last) = frame.read::<[u8; 2]>(inner) else { return Inside::Unread };
            next = last[1];
            inner += 2;
        }
        if next != 0 {
            return Inside::Unread;
        }
    }
    let id = u32::from_be(header.endpoint);
    Inside::Packet { link: LinkType::RawIp, offset: inner, tunnel: Tunnel::GtpU, id }
}
