//! Datagrams of NetFlow v5 in, flows out: its fixed fields under the names of the elements that mean the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netflow_parser::static_versions::v5::V5;

use super::element::Element;
use super::flow::{DecodedFlow, SysUpTime};
use super::type_information::Told;
use super::value::Value;

/// Octets of the header without the version, and of a record.
const HEADER_LEN: usize = 22;
const RECORD_LEN: usize = 48;

/// One datagram.
pub(super) struct V5Datagram {
    /// Engine type and engine id.
    pub(super) engine: u32,
    /// Records before it.
    pub(super) flow_sequence: u32,
    /// Its records.
    pub(super) flows: Vec<DecodedFlow>,
    /// Whether the datagram is as long as its header says.
    pub(super) whole: bool,
}

impl V5Datagram {
    /// Reads what follows the version; nothing where the header is cut, or the records are fewer than it says.
    pub(super) fn read(exporter: SocketAddr, after_version: &[u8]) -> Option<Self> {
        let (_, V5 { header, flowsets }) = V5::parse_direct(after_version).ok()?;
        let engine = u32::from(u16::from_be_bytes([header.engine_type, header.engine_id]));
        let clock = SysUpTime {
            uptime: header.sys_up_time,
            unix_millis: u64::from(header.unix_secs) * 1000 + u64::from(header.unix_nsecs / 1_000_000),
        };
        let whole = after_version.len() == HEADER_LEN + flowsets.len() * RECORD_LEN;
        let flows = flowsets.iter().map(|record| {
            let address = |address: Ipv4Addr| Value::Address(IpAddr::V4(address));
            let fields = [
                (8, address(record.src_addr)),
                (12, address(record.dst_addr)),
                (15, address(record.next_hop)),
                (10, Value::Unsigned(record.input.into())),
                (14, Value::Unsigned(record.output.into())),
                (2, Value::Unsigned(record.d_pkts.into())),
                (1, Value::Unsigned(record.d_octets.into())),
                (22, Value::Unsigned(record.first.into())),
                (21, Value::Unsigned(record.last.into())),
                (7, Value::Unsigned(record.src_port.into())),
                (11, Value::Unsigned(record.dst_port.into())),
                (6, Value::Unsigned(record.tcp_flags.into())),
                (4, Value::Unsigned(record.protocol_number.into())),
                (5, Value::Unsigned(record.tos.into())),
                (16, Value::Unsigned(record.src_as.into())),
                (17, Value::Unsigned(record.dst_as.into())),
                (9, Value::Unsigned(record.src_mask.into())),
                (13, Value::Unsigned(record.dst_mask.into())),
            ];
            let fields = fields.into_iter().map(|(id, value)| (Element::iana(id), value)).collect();
            DecodedFlow::new(exporter, 5, engine, None, Some(clock), fields, Told::default())
        });
        Some(Self { engine, flow_sequence: header.flow_sequence, flows: flows.collect(), whole })
    }
}
