//! From the first octet of a frame to its network header: Ethernet II and LLC/SNAP, VLAN tags, MPLS
//! label stack, PPPoE session; and the link types of captures.

use bytemuck::AnyBitPattern;
use netflow_common::{NetworkU16, Refusal};

use super::{Frame, Observer};

/// What a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// An Ethernet header (DLT 1).
    Ethernet,
    /// The IP header itself (DLT 101 and relatives; tun devices).
    RawIp,
    /// BSD loopback: the address family in four octets, of either byte order (DLT 0 and 108).
    Loopback,
    /// Linux "cooked" capture, version 1, 16 octets (DLT 113).
    CookedV1,
    /// Linux "cooked" capture, version 2, 20 octets (DLT 276).
    CookedV2,
}

/// VLAN tags that are read.
pub const MAX_TAGS: usize = 4;
/// MPLS labels that are read.
pub const MAX_LABELS: usize = 10;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
/// Below this an EtherType is the length of an LLC frame (IEEE 802.3).
const SMALLEST_ETHERTYPE: u16 = 0x0600;
const SNAP_HEADER_LENGTH: usize = 8;

/// Where the network header is, and what the link layer says of it.
pub(super) struct Network {
    pub(super) version: Version,
    pub(super) offset: usize,
    /// The outermost tag's VLAN id; 0 without one.
    pub(super) vlan_id: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// An 802.1Q tag behind its EtherType: control information, then the next EtherType.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Tag {
    control: NetworkU16,
    ethertype: NetworkU16,
}

/// LLC and SNAP header (RFC 1042): AA AA 03, organisation 00 00 00, EtherType.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Snap {
    saps: NetworkU16,
    control: u8,
    organisation: [u8; 3],
    ethertype: NetworkU16,
}

#[inline(always)]
pub(super) fn network<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    link: LinkType,
    start: usize,
    observer: &mut O,
) -> Result<Network, Refusal> {
    match link {
        LinkType::Ethernet => {
            let ethertype = read(frame, start + 12)?;
            observer.ethernet(frame);
            behind_ethertype(frame, ethertype, start + 14, observer)
        }
        LinkType::CookedV1 => behind_ethertype(frame, read(frame, start + 14)?, start + 16, observer),
        LinkType::CookedV2 => {
            // The protocol comes first here; the frame must still hold the whole header.
            let _end = read(frame, start + 18)?;
            behind_ethertype(frame, read(frame, start)?, start + 20, observer)
        }
        LinkType::RawIp => by_version_octet(frame, start, 0),
        LinkType::Loopback => {
            let family: u32 = frame.read(start).ok_or(Refusal::LinkTruncated)?;
            // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs.
            match u32::from_be(family).min(u32::from_le(family)) {
                2 => Ok(Network { version: Version::V4, offset: start + 4, vlan_id: 0 }),
                10 | 24 | 28 | 30 => Ok(Network { version: Version::V6, offset: start + 4, vlan_id: 0 }),
                _ => Err(Refusal::NotIp),
            }
        }
    }
}

#[inline(always)]
fn read<F: Frame + ?Sized>(frame: &F, offset: usize) -> Result<NetworkU16, Refusal> {
    frame.read(offset).ok_or(Refusal::LinkTruncated)
}

/// What follows an EtherType that ends at `offset`.
#[inline(always)]
fn behind_ethertype<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    ethertype: NetworkU16,
    offset: usize,
    observer: &mut O,
) -> Result<Network, Refusal> {
    // Nearly every packet takes this way; the loop of the others must not stand in it.
    match ethertype.value() {
        IPV4 => {
            observer.ethernet_type(IPV4);
            return Ok(Network { version: Version::V4, offset, vlan_id: 0 });
        }
        IPV6 => {
            observer.ethernet_type(IPV6);
            return Ok(Network { version: Version::V6, offset, vlan_id: 0 });
        }
        _ => {}
    }
    let (mut ethertype, mut offset) = (ethertype.value(), offset);
    let (mut vlan_id, mut tags) = (0, 0);
    // One step more than tags, for LLC/SNAP before, between or behind them.
    for _ in 0..=MAX_TAGS {
        match ethertype {
            0x8100 | 0x88a8 | 0x9100 => {
                if tags == MAX_TAGS {
                    return Err(Refusal::LinkTooDeep);
                }
                let tag: Tag = frame.read(offset).ok_or(Refusal::LinkTruncated)?;
                if tags == 0 {
                    vlan_id = tag.control.value() & 0x0fff;
                }
                observer.vlan_tag(tags, tag.control.value());
                tags += 1;
                offset += size_of::<Tag>();
                ethertype = tag.ethertype.value();
            }
            _ if ethertype < SMALLEST_ETHERTYPE => {
                let Some(snap) = frame.read::<Snap>(offset) else { return Err(Refusal::NotIp) };
                if snap.saps.value() != 0xaaaa || snap.control != 3 || snap.organisation != [0; 3] {
                    return Err(Refusal::NotIp);
                }
                offset += SNAP_HEADER_LENGTH;
                ethertype = snap.ethertype.value();
            }
            _ => break,
        }
    }
    offset = frame.forget(offset);
    observer.ethernet_type(ethertype);
    match ethertype {
        IPV4 => Ok(Network { version: Version::V4, offset, vlan_id }),
        IPV6 => Ok(Network { version: Version::V6, offset, vlan_id }),
        0x8847 | 0x8848 => behind_labels(frame, offset, vlan_id, observer),
        0x8864 => behind_pppoe(frame, offset, vlan_id),
        0x8100 | 0x88a8 | 0x9100 => Err(Refusal::LinkTooDeep),
        _ => Err(Refusal::NotIp),
    }
}

/// An MPLS label stack (RFC 3032). Nothing says what is under it but its first four bits.
#[inline(always)]
fn behind_labels<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    mut offset: usize,
    vlan_id: u16,
    observer: &mut O,
) -> Result<Network, Refusal> {
    for number in 0..MAX_LABELS {
        let entry: u32 = frame.read(offset).ok_or(Refusal::LinkTruncated)?;
        let entry = u32::from_be(entry);
        observer.mpls_label(number, entry);
        offset += size_of::<u32>();
        if entry & 0x100 != 0 {
            return by_version_octet(frame, frame.forget(offset), vlan_id);
        }
    }
    Err(Refusal::LinkTooDeep)
}

/// A PPPoE session header (RFC 2516, 6 octets) and the PPP protocol number behind it.
#[inline(always)]
fn behind_pppoe<F: Frame + ?Sized>(frame: &F, offset: usize, vlan_id: u16) -> Result<Network, Refusal> {
    let version = match read(frame, offset + 6)?.value() {
        0x0021 => Version::V4,
        0x0057 => Version::V6,
        _ => return Err(Refusal::NotIp),
    };
    Ok(Network { version, offset: frame.forget(offset + 8), vlan_id })
}

#[inline(always)]
fn by_version_octet<F: Frame + ?Sized>(frame: &F, offset: usize, vlan_id: u16) -> Result<Network, Refusal> {
    let version = match read(frame, offset)?.value() >> 12 {
        4 => Version::V4,
        6 => Version::V6,
        _ => return Err(Refusal::NotIp),
    };
    Ok(Network { version, offset, vlan_id })
}
