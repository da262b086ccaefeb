//! Attributes of netlink messages, and the numbers in them: of the host's octet order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::prefix::Family;

/// Attributes (struct rtattr): type without its flags, value. One that cannot be ends the walk.
pub(super) fn attributes_of(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(octets, 0)?);
        let kind = u16_at(octets, 2)? & 0x3fff;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(super) fn attribute(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes_of(octets).find(|(other, _)| *other == kind).map(|(_, value)| value)
}

/// An IP address, by its length.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into())
}

/// RTA_VIA: a gateway of another family than the route's.
pub(super) fn via(octets: &[u8]) -> Option<IpAddr> {
    address(octets.get(2..)?)
}

/// An address of this family, left-aligned.
pub(super) fn left_aligned(octets: &[u8], family: Family) -> Option<u128> {
    match (family, address(octets)?) {
        (Family::V4, IpAddr::V4(address)) => Some(u128::from(address.to_bits()) << 96),
        (Family::V6, IpAddr::V6(address)) => Some(address.to_bits()),
        _ => None,
    }
}

/// A name, up to the octet zero.
pub(super) fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

pub(super) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn i32_at(octets: &[u8], at: usize) -> Option<i32> {
    u32_at(octets, at).map(u32::cast_signed)
}
