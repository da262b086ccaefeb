//! The IPv4 header (RFC 791).

use bytemuck::AnyBitPattern;
use netflow_common::{Address, FlowKey, IpVersion, NetworkU16, Refusal};

use super::{Fragment, Frame, Observer, Packet, transport};

/// Of flags and offset: more fragments follow, or some came before.
pub(super) const IS_FRAGMENT: u16 = 0x3fff;

/// The fixed part, 20 octets, fields in wire order.
#[derive(Clone, Copy, AnyBitPattern)]
#[repr(C)]
pub(super) struct Header {
    pub(super) version_and_length: u8,
    pub(super) class_of_service: u8,
    pub(super) total_length: NetworkU16,
    identification: NetworkU16,
    pub(super) flags_and_offset: NetworkU16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    checksum: NetworkU16,
    pub(super) source: u32,
    pub(super) destination: u32,
}

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    offset: usize,
    vlan_id: u16,
    observer: &mut O,
) -> Result<Packet, Refusal> {
    let header: Header = frame.read(offset).ok_or(Refusal::IpTruncated)?;
    if header.version_and_length >> 4 != IpVersion::V4 {
        return Err(Refusal::IpVersion);
    }
    let header_length = usize::from(header.version_and_length & 0x0f) * 4;
    if header_length < size_of::<Header>() {
        return Err(Refusal::IpHeaderLength);
    }
    if header_length > size_of::<Header>() {
        // The options must be there to the last octet, whether somebody reads them or not.
        let _last: NetworkU16 = frame.read(offset + header_length - 2).ok_or(Refusal::IpTruncated)?;
    }
    observer.ip_header();
    observer.ipv4_fragment_word(header.identification.value(), header.flags_and_offset.value());
    observer.ipv4_options(offset + size_of::<Header>(), header_length - size_of::<Header>());
    let octets = usize::from(header.total_length.value());
    // A total length below the header's own leaves nothing for a transport header.
    let available = octets.saturating_sub(header_length);
    let flags_and_offset = header.flags_and_offset.value();
    if flags_and_offset & IS_FRAGMENT != 0 {
        observer.fragment(Fragment {
            identification: header.identification.value().into(),
            offset: flags_and_offset & 0x1fff,
            more: flags_and_offset & 0x2000 != 0,
            octets: available as u16,
        });
    }
    let payload = offset + header_length;
    observer.payload(payload);
    let transport =
        transport::read(frame, payload, available, header.protocol, flags_and_offset & 0x1fff != 0, observer);
    Ok(Packet {
        key: FlowKey {
            source_address: Address::from_ipv4(header.source.to_ne_bytes()),
            destination_address: Address::from_ipv4(header.destination.to_ne_bytes()),
            interface: 0,
            source_port: transport.source_port,
            destination_port: transport.destination_port,
            vlan_id,
            protocol: header.protocol,
            class_of_service: header.class_of_service,
            ip_version: IpVersion::V4,
            direction: 0,
            ports: transport.ports,
            reserved: 0,
        },
        octets: octets as u32,
        offset: offset as u32,
        flow_label: 0,
        tcp_control_bits: transport.tcp_control_bits,
        ttl: header.ttl,
        notes: transport.notes,
    })
}
