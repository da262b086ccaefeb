//! Flow counts by the key of the reference: of the reference itself, of what tshark reads, of what nfcapd keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::calendar;
use tests::captures::ReferenceFlow;
use tests::judges::ExportedRecord;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// What is one flow here. Records have no word for "none": 0 then stands for ICMP type and code and for the VLAN id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
    pub icmp_type_code: u16,
    pub vlan: u16,
}

/// What was counted of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub packets: u64,
    pub octets: u64,
    pub tcp_control_bits: u16,
    pub minimum_ttl: u8,
    pub maximum_ttl: u8,
    /// Milliseconds since 1970.
    pub first: u64,
    pub last: u64,
}

pub type Rows = BTreeMap<Key, Row>;

/// Adds packets of a flow to what there is of it.
pub fn add(rows: &mut Rows, key: Key, row: Row) {
    rows.entry(key)
        .and_modify(|sum| {
            sum.packets += row.packets;
            sum.octets += row.octets;
            sum.tcp_control_bits |= row.tcp_control_bits;
            sum.minimum_ttl = sum.minimum_ttl.min(row.minimum_ttl);
            sum.maximum_ttl = sum.maximum_ttl.max(row.maximum_ttl);
            sum.first = sum.first.min(row.first);
            sum.last = sum.last.max(row.last);
        })
        .or_insert(row);
}

/// The reference count's.
pub fn of_reference(flows: &[ReferenceFlow]) -> Rows {
    let mut rows = Rows::new();
    for flow in flows {
        let (kind, code) = flow.key.icmp.unwrap_or_default();
        let key = Key {
            source: flow.key.source,
            destination: flow.key.destination,
            protocol: flow.key.protocol,
            source_port: flow.key.source_port,
            destination_port: flow.key.destination_port,
            icmp_type_code: u16::from_be_bytes([kind, code]),
            vlan: flow.key.vlan.unwrap_or(0),
        };
        let row = Row {
            packets: flow.packets,
            octets: flow.ip_octets,
            tcp_control_bits: flow.tcp_flags,
            minimum_ttl: flow.min_ttl,
            maximum_ttl: flow.max_ttl,
            first: flow.first_unix_nanos / 1_000_000,
            last: flow.last_unix_nanos / 1_000_000,
        };
        add(&mut rows, key, row);
    }
    rows
}

/// The same with other addresses; flows that become one are summed up.
pub fn with_addresses(rows: &Rows, of: &dyn Fn(IpAddr) -> IpAddr) -> Rows {
    let mut changed = Rows::new();
    for (key, row) in rows {
        let (source, destination) = (of(key.source), of(key.destination));
        add(&mut changed, Key { source, destination, ..*key }, *row);
    }
    changed
}

/// Those of exported records.
pub fn of_records<'a>(records: impl IntoIterator<Item = &'a ExportedRecord>) -> Rows {
    let mut rows = Rows::new();
    for record in records {
        let icmp = matches!(record.protocol, ICMP | ICMPV6);
        // Collectors look for type and code in one of the two places.
        assert!(!icmp || record.destination_port == record.icmp_type_code, "{record:?}");
        assert!(icmp || record.icmp_type_code == 0, "{record:?}");
        let key = Key {
            source: record.source,
            destination: record.destination,
            protocol: record.protocol,
            source_port: record.source_port,
            destination_port: if icmp { 0 } else { record.destination_port },
            icmp_type_code: record.icmp_type_code,
            vlan: record.vlan,
        };
        let row = Row {
            packets: record.packets,
            octets: record.octets,
            tcp_control_bits: record.tcp_control_bits,
            minimum_ttl: record.minimum_ttl,
            maximum_ttl: record.maximum_ttl,
            first: record.start_unix_millis,
            last: record.end_unix_millis,
        };
        add(&mut rows, key, row);
    }
    rows
}

/// Those of the records that nfcapd kept of one exporter; nfdump's JSON has no TTL.
pub fn of_nfdump(records: &[Value], system: u64) -> Result<Rows> {
    let mut rows = Rows::new();
    for record in records.iter().filter(|record| record["export_sysid"] == system) {
        let text = |name: &str| record[name].as_str().with_context(|| format!("no {name} in {record}"));
        // "...AP.S.", from CWR to FIN; protocols without have none.
        let bits = record["tcp_flags"].as_str().unwrap_or_default();
        let row = Row {
            packets: nfdump_number(record, "in_packets")?,
            octets: nfdump_number(record, "in_bytes")?,
            tcp_control_bits: bits.chars().fold(0, |bits, bit| bits << 1 | u16::from(bit != '.')),
            minimum_ttl: 0,
            maximum_ttl: 0,
            first: calendar::unix_millis_of(text("first")?)?,
            last: calendar::unix_millis_of(text("last")?)?,
        };
        add(&mut rows, nfdump_key(record)?, row);
    }
    Ok(rows)
}

fn nfdump_key(record: &Value) -> Result<Key> {
    let number = |name: &str| nfdump_number(record, name);
    let address = |v4: &str, v6: &str| -> Result<IpAddr> {
        let text = record[v4].as_str().or_else(|| record[v6].as_str());
        Ok(text.with_context(|| format!("no {v4} in {record}"))?.parse()?)
    };
    let protocol = number("proto")? as u8;
    let mut key = Key {
        source: address("src4_addr", "src6_addr")?,
        destination: address("dst4_addr", "dst6_addr")?,
        protocol,
        source_port: 0,
        destination_port: 0,
        icmp_type_code: 0,
        vlan: number("src_vlan")? as u16,
    };
    if matches!(protocol, ICMP | ICMPV6) {
        key.icmp_type_code = (number("icmp_type")? * 256 + number("icmp_code")?) as u16;
    } else {
        (key.source_port, key.destination_port) = (number("src_port")? as u16, number("dst_port")? as u16);
    }
    Ok(key)
}

fn nfdump_number(record: &Value, name: &str) -> Result<u64> {
    record[name].as_u64().with_context(|| format!("no {name} in {record}"))
}

/// What of a row two counts must have in common.
#[derive(Clone, Copy)]
pub struct Compared {
    /// The control bits that the protocol has room for.
    pub tcp_control_bits: u16,
    /// Whether times are the capture's.
    pub times: bool,
    /// Whether both have TTLs.
    pub ttls: bool,
}

impl Compared {
    fn part(self, key: &Key, mut row: Row) -> Row {
        // Damaged packets: the reference gives control bits to protocols that have none.
        row.tcp_control_bits =
            if key.protocol == TCP { row.tcp_control_bits & self.tcp_control_bits } else { 0 };
        if !self.times {
            (row.first, row.last) = (0, 0);
        }
        if !self.ttls {
            (row.minimum_ttl, row.maximum_ttl) = (0, 0);
        }
        row
    }
}

/// The rows that differ, as lines.
pub fn differences(expected: &Rows, found: &Rows, compared: Compared) -> Vec<String> {
    let keys: BTreeSet<&Key> = expected.keys().chain(found.keys()).collect();
    let part = |rows: &Rows, key: &Key| rows.get(key).map(|row| compared.part(key, *row));
    keys.into_iter()
        .map(|key| (key, part(expected, key), part(found, key)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(key, expected, found)| format!("{key:?}: expected {expected:?}, found {found:?}"))
        .collect()
}

/// How many flows there are by addresses, protocol and ports, and whatever else `more` gives.
pub fn flows<T: Ord>(rows: &Rows, more: impl Fn(&Key) -> T) -> u64 {
    let five = |key: &Key| (key.source, key.destination, key.protocol, key.source_port, key.destination_port);
    rows.keys().map(|key| (five(key), more(key))).collect::<BTreeSet<_>>().len() as u64
}
